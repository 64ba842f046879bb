#!/usr/bin/env python3
"""The first run: `limen demo`, the lines that it prints, and its end."""

import json
import re
import signal

from e2e import check, demo, finish, shell

gateway, http, https = demo()
with gateway:
    gateway.says(r"Ctrl-C")
    lines = re.findall(r"^\s+(curl .*)$", gateway.output(), re.M)
    check("the demo prints three curl lines", len(lines) == 3, gateway.output())
    answers = [shell(line) for line in lines]
    for line, (code, out, err) in zip(lines, answers):
        check(f"its line works: {line[:60]}", code == 0 and out, f"{code} {out} {err}")
    check("an origin says what it saw", answers and '"version"' in answers[0][1], answers[:1])
    counts = dict(re.findall(r"(\d+)\s+\"version\": \"(v\d)\"", answers[1][1])) if len(answers) > 1 else {}
    shares = {version: int(count) for count, version in counts.items()}
    check("a hundred requests are split", sum(shares.values()) == 100 and shares.get("v1", 0) > 70, answers[1:2])
    metrics = gateway.get(gateway.metrics, "/stats/prometheus")
    seen = re.search(r'istio_requests_total\{[^}]*destination_service_name="my-service"[^}]*\} (\d+)', metrics)
    check("requests are counted with Istio's labels", bool(seen), metrics)
    state = gateway.get(gateway.admin, "/state")
    check("the admin port says the state as JSON", json.loads(state), state)
    check("no key is shown", "PRIVATE KEY" not in state + metrics + gateway.output(), "a private key")
    check("Ctrl-C ends it well", gateway.stop(signal.SIGINT) == 0, gateway.output()[-500:])
    gateway.says("\x04")
    lines = [line for line in gateway.output().splitlines() if line.startswith("[20")]
    check("each request has a line in Istio's format", len(lines) >= 102 and "via_upstream" in lines[0], lines[:3])
finish()
