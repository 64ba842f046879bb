#!/usr/bin/env python3
"""`limen selftest attack` as whoever tries their gateway runs it: all classes, against a release build, in clear text and in
TLS. The tests beside the code play each class alone and look at what this cannot see."""

import re
import subprocess

from e2e import GUARD, LIMEN, ROOT, check, demo, finish

HOST = "httpbin.example.com"
CLASSES = re.findall(r"^\| `([a-z0-9-]+)` \| ", (ROOT / "docs/security.md").read_text(), re.M)

gateway, http, https = demo()
with gateway:
    gateway.says(r"Ctrl-C")
    check("docs/security.md lists classes", len(CLASSES) > 30, CLASSES)
    for what, port, flags in [("in clear text", http, []), ("in TLS", https, ["--tls"])]:
        command = [LIMEN, "selftest", "attack", "--host", HOST, "--path", "/get", *flags]
        command += ["--target", f"127.0.0.1:{port}", "--admin", f"127.0.0.1:{gateway.admin}"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=20 * GUARD)
        verdicts = dict(reversed(line.split(" - ")) for line in re.findall(r"^(?:ok|NOT held) - .*$", done.stdout, re.M))
        check(f"all classes are played {what}", list(verdicts) == CLASSES, done.stdout + done.stderr)
        ill = {name: verdict for name, verdict in verdicts.items() if verdict != "ok"}
        check(f"every bound holds {what}", done.returncode == 0 and not ill, f"{ill} {done.stderr} {done.stdout}")
finish()
