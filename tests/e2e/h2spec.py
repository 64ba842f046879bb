#!/usr/bin/env python3
"""h2spec, strictly, against a release build, in clear text and over TLS.

Needs the path of h2spec in H2SPEC (see .ci/h2spec).
"""

import http.server
import os
import subprocess
import sys
import threading
import time
import xml.etree.ElementTree

from e2e import Folder, check, finish
from raw import edge

H2SPEC = os.environ.get("H2SPEC") or sys.exit("set H2SPEC to the program")

# Cases that cannot pass, each with the reason.
EXCEPTED = {
    ("plain", "http2/3.5", "Sends invalid connection preface"): (
        "the port speaks HTTP/1.1 too, and what is no preface is a request of that: it is answered 400 there, which this"
        " reads as a frame; over TLS, where HTTP/2 was agreed on, it holds"
    ),
}


class Slow(http.server.BaseHTTPRequestHandler):
    """Answers a moment after it was asked: cases look at what happens to requests that are not answered yet."""

    protocol_version = "HTTP/1.1"

    def answer(self):
        self.rfile.read(int(self.headers.get("content-length", 0)))
        time.sleep(0.3)
        self.send_response(200)
        self.send_header("content-length", "32")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(b"x" * 32)

    do_GET = do_HEAD = do_POST = do_OPTIONS = do_PUT = answer

    def log_message(self, *_):
        pass


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 512

    def handle_error(self, *_):
        """Requests that are given up are what many cases are about."""


def cases(report):
    """Each case as its section, its title, and what became of it."""
    for suite in xml.etree.ElementTree.parse(report).getroot():
        for case in suite.iter("testcase"):
            children = {child.tag: (child.text or "").strip() for child in case}
            outcome = "failed" if children.keys() & {"failure", "error"} else "skipped" if "skipped" in children else "passed"
            yield case.get("package"), case.get("classname"), outcome, children


origin = Server(("127.0.0.1", 0), Slow)
origin.port = origin.server_address[1]
threading.Thread(target=origin.serve_forever, daemon=True).start()
gateway, plain, secure = edge(origin, secure=True)
folder = Folder()
with gateway:
    for name, flags in [("plain", ["-p", plain]), ("TLS", ["-p", secure, "-t", "-k"])]:
        report = folder.path / f"{name}.xml"
        command = [H2SPEC, "-h", "127.0.0.1", "-S", "-o", "5", "-j", report, *flags]
        done = subprocess.run([str(part) for part in command], capture_output=True, text=True, timeout=600)
        if not report.exists():
            check(f"h2spec: {name}: a report", False, done.stdout[-500:] + done.stderr[-500:])
            continue
        counts = {"passed": 0, "failed": 0, "skipped": 0}
        for section, title, outcome, children in cases(report):
            reason = EXCEPTED.get((name, section, title))
            counts[outcome] += 1
            if reason:
                check(f"h2spec: {name}: {section} {title}: fails, since {reason}", outcome == "failed")
            elif outcome == "skipped":
                print(f"# {name}: {section} {title}: skipped by h2spec")
            else:
                check(f"h2spec: {name}: {section} {title}", outcome == "passed", children)
        total = sum(counts.values())
        check(f"h2spec: {name}: {total} cases, {counts}", total >= 146)
finish()
