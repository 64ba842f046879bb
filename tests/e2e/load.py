#!/usr/bin/env python3
"""wrk and h2load for a moment: no error under load, and a drain in the middle of it."""

import re
import signal
import subprocess

from e2e import GUARD, check, demo, finish, run

HOST = "httpbin.example.com"


def failures(out):
    """Requests that h2load did not see succeed."""
    found = re.search(r"requests: (\d+) total, \d+ started, \d+ done, (\d+) succeeded", out)
    return int(found.group(1)) - int(found.group(2)) if found else None


gateway, http, https = demo("--access-log", "off")
with gateway:
    url = f"http://127.0.0.1:{http}/get"
    code, out, err = run("wrk", "-t1", "-c32", "-d2s", "-H", f"Host: {HOST}", url)
    served = re.search(r"(\d+) requests in", out)
    check("wrk: requests are served", served and int(served.group(1)) > 100, out + err)
    check("wrk: none fails", "Non-2xx" not in out and "Socket errors" not in out, out)
    code, out, err = run("wrk", "-t1", "-c8", "-d1s", "-H", f"Host: {HOST}", "-H", "Connection: close", url)
    check("wrk: a connection for each request", "Non-2xx" not in out and "requests in" in out, out + err)
    code, out, err = run("h2load", "-n2000", "-c4", "-m16", "-H", f":authority: {HOST}", url)
    check("h2load: 2000 streams in clear text", failures(out) == 0, out + err)
    connect = f"--connect-to=127.0.0.1:{https}"
    code, out, err = run("h2load", "-n2000", "-c4", "-m16", connect, f"https://{HOST}:{https}/get")
    check("h2load: 2000 streams over TLS", failures(out) == 0, out + err)
    code, out, err = run("h2load", "--h1", "-n2000", "-c8", "-H", f":authority: {HOST}", url)
    check("h2load: 2000 requests over HTTP/1.1", failures(out) == 0, out + err)

    # A request that takes a second is under way when the end is asked for: the origin's 100 says that it has it.
    slow = subprocess.Popen(
        ["curl", "-sv", "-H", f"Host: {HOST}", "-H", "Expect: 100-continue", "-d", "x", f"http://127.0.0.1:{http}/delay/1"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    for line in slow.stderr:
        if line.startswith("< HTTP/1.1 100"):
            break
    gateway.process.send_signal(signal.SIGTERM)
    out, err = slow.communicate(timeout=GUARD)
    check("a drain lets a request finish", '"version"' in out, out + err)
    check("and the process ends well", gateway.ended() == 0, gateway.output()[-500:])
finish()
