#!/usr/bin/env python3
"""h2spec, strictly, against a release build, in clear text and over TLS.

Needs the path of h2spec in H2SPEC (see .ci/h2spec). Every case is run and passes, or is excepted or skipped by name, and
their number is the one that is known. h2spec is of RFC 7540; docs/http2.md names the cases for which RFC 9113 no longer asks,
and what becomes of each: what is found must be what is written there; `--write` writes it.
"""

import http.server
import os
import socket
import ssl
import struct
import subprocess
import sys
import threading
import xml.etree.ElementTree

from e2e import GUARD, ROOT, Folder, check, finish
from raw import edge

H2SPEC = os.environ.get("H2SPEC") or sys.exit("set H2SPEC to the program")
DOCUMENT = ROOT / "docs/http2.md"
HEAD = "| Case | Now | In clear text | Over TLS |\n|---|---|---|---|\n"

# All of h2spec 2.2.1 when it is strict, which adds one. No later tag can be had as a Go module: those have a go.mod with a
# path that they contradict. From 2.5.0 on there are 147; the one that came is LATER, which is played here. Such an h2spec can
# be given too, and then must run all 147.
CASES = 146
LATER = "hpack/2.3.3", "Sends a literal header field representation with invalid index"
RENAMED = {"Sends HEADERS frame that depends on itself": "Sends HEADERS frame that depend on itself"}

# Cases that cannot pass, each with the reason.
EXCEPTED = {
    ("plain", "http2/3.5", "Sends invalid connection preface"): (
        "the port speaks HTTP/1.1 too, and what is no preface is a request of that: it is answered 400 there, which this"
        " reads as a frame; over TLS, where HTTP/2 was agreed on, it holds"
    ),
}

# Cases that h2spec may leave out, each with the reason, named as in EXCEPTED. It does so where a server bounds no streams, or
# answers with no data: the gateway does, and the origin here too.
SKIPPED = {}

# Cases that look at a request which is whole and not answered. They pass after its answer too, but look at something else.
HELD = {
    "http2/5.1/5": "half closed (remote): Sends a DATA frame",
    "http2/5.1/6": "half closed (remote): Sends a HEADERS frame",
    "http2/5.1/7": "half closed (remote): Sends a CONTINUATION frame",
    "http2/6.1/2": 'Sends a DATA frame on the stream that is not in "open" or "half-closed (local)" state',
}

# Cases for which RFC 9113 no longer asks as RFC 7540 did.
DEPENDS = "withdrawn: what streams depend on means nothing (5.3.2)"
CLOSED = "may, where it was must (5.1)"
FORM = "to be taken as before, and means nothing (5.3.2, 6.3)"
WITHDRAWN = {
    ("http2/5.3.1", "Sends HEADERS frame that depend on itself"): DEPENDS,
    ("http2/5.3.1", "Sends PRIORITY frame that depend on itself"): DEPENDS,
    ("http2/5.1", "closed: Sends a DATA frame after sending RST_STREAM frame"): CLOSED,
    ("http2/5.1", "closed: Sends a HEADERS frame after sending RST_STREAM frame"): CLOSED,
    ("http2/5.1", "closed: Sends a CONTINUATION frame after sending RST_STREAM frame"): CLOSED,
    ("http2/5.1", "closed: Sends a DATA frame"): CLOSED,
    ("http2/5.1", "closed: Sends a HEADERS frame"): CLOSED,
    ("http2/5.1", "closed: Sends a CONTINUATION frame"): CLOSED,
    ("generic/2", "Sends a PRIORITY frame on idle stream"): FORM,
    ("generic/2", "Sends a PRIORITY frame on half-closed (remote) stream"): FORM,
    ("generic/2", "Sends a PRIORITY frame on closed stream"): FORM,
    ("generic/3.2", "Sends a HEADERS frame with priority"): FORM,
    ("generic/3.3", "Sends a PRIORITY frame with priority 1"): FORM,
    ("generic/3.3", "Sends a PRIORITY frame with priority 256"): FORM,
    ("generic/3.3", "Sends a PRIORITY frame with stream dependency"): FORM,
    ("generic/3.3", "Sends a PRIORITY frame with exclusive"): FORM,
    ("generic/3.3", "Sends a PRIORITY frame for an idle stream, then send a HEADER frame for a lower stream ID"): FORM,
}


class Whole(http.server.BaseHTTPRequestHandler):
    """Answers a request once it is whole, and one for /held never: that ends with the connection to the gateway. So no case
    depends on how fast anybody is: those that look at a request which is open have not ended it, or ask for that."""

    protocol_version = "HTTP/1.1"

    def answer(self):
        if self.path == "/held":
            self.rfile.read()
            raise EOFError
        if self.headers.get("transfer-encoding") == "chunked":
            while size := int(self.rfile.readline(), 16):
                self.rfile.read(size + 2)
            while self.rfile.readline().strip():
                pass
        else:
            length = int(self.headers.get("content-length", 0))
            if len(self.rfile.read(length)) < length:
                raise EOFError
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
            title = case.get("classname")
            yield case.get("package"), RENAMED.get(title, title), outcome, children


def run(name, flags):
    """Runs it; returns its cases."""
    report = folder.path / f"{name}.xml"
    command = [H2SPEC, "-h", "127.0.0.1", "-S", "-o", "5", "-j", report, *flags]
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, timeout=10 * GUARD)
    if not report.exists():
        check(f"h2spec: {name}: a report", False, done.stdout[-500:] + done.stderr[-500:])
        return []
    return list(cases(report))


def frame(kind, flags, stream, data):
    return len(data).to_bytes(3, "big") + struct.pack(">BBI", kind, flags, stream) + data


def heard(port, tls, block):
    """The frames that answer a head of this block, up to the answer's head or GOAWAY: each as its type and what it holds."""
    with socket.create_connection(("127.0.0.1", port), GUARD) as connection:
        if tls:
            context = ssl._create_unverified_context()
            context.set_alpn_protocols(["h2"])
            connection = context.wrap_socket(connection, server_hostname="localhost")
        connection.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4, 0, 0, b"") + frame(1, 5, 1, block))
        frames, read = [], connection.makefile("rb")
        while not frames or frames[-1][0] not in (1, 7):
            head = read.read(9)
            if len(head) < 9:
                break
            frames.append((head[3], read.read(int.from_bytes(head[:3], "big"))))
        return frames


def later(name, port):
    """LATER: a field whose name is the 70th of tables that have 61, and one whose name is the 61st."""
    tls = name == "TLS"
    head = b"\x82" + (b"\x87" if tls else b"\x86") + b"\x84\x41\x09a.example"
    last = heard(port, tls, head + b"\x7d\x00")[-1:]
    check(f"h2spec: {name}: {LATER[0]}: a name of the last index is answered", last and last[0][0] == 1, last)
    last = heard(port, tls, head + b"\x7f\x07\x00")[-1:]
    code = int.from_bytes(last[0][1][4:8], "big") if last and last[0][0] == 7 else None
    check(f"h2spec: {name}: {LATER[0]} {LATER[1]}", code == 9, last)


origin = Server(("127.0.0.1", 0), Whole)
origin.port = origin.server_address[1]
threading.Thread(target=origin.serve_forever, daemon=True).start()
gateway, plain, secure = edge(origin, secure=True)
folder = Folder()
became = {}
with gateway:
    for name, flags in [("plain", ["-p", plain]), ("TLS", ["-p", secure, "-t", "-k"])]:
        later(name, flags[1])
        found = run(name, flags)
        counts = {"passed": 0, "failed": 0, "skipped": 0}
        for section, title, outcome, children in found:
            counts[outcome] += 1
            became[name, section, title] = outcome
            excepted, skipped = (named.get((name, section, title)) for named in (EXCEPTED, SKIPPED))
            detail = "skipped" if outcome == "skipped" else children
            if excepted:
                check(f"h2spec: {name}: {section} {title}: fails, since {excepted}", outcome == "failed", outcome)
            elif skipped:
                check(f"h2spec: {name}: {section} {title}: is skipped, since {skipped}", outcome == "skipped", outcome)
            else:
                check(f"h2spec: {name}: {section} {title}", outcome == "passed", detail)
        total = sum(counts.values())
        known = CASES + ((name, *LATER) in became)
        check(f"h2spec: {name}: {total} cases, {counts}", total == known, f"{known} are known")
        # Nobody misspelt what is listed above.
        listed = {(section, title) for _, section, title in [*EXCEPTED, *SKIPPED]} | WITHDRAWN.keys()
        listed |= {(case.rsplit("/", 1)[0], title) for case, title in HELD.items()}
        unknown = listed - {(section, title) for section, title, _, _ in found}
        check(f"h2spec: {name}: every case that is named here is one", not unknown, unknown)
        held = run(f"{name}, not answered", [*flags, "-P", "/held", *HELD])
        for section, title, outcome, children in held:
            check(f"h2spec: {name}, not answered: {section} {title}", outcome == "passed", children)
        titles = sorted(title for _, title, _, _ in held)
        check(f"h2spec: {name}, not answered: {len(titles)} cases", titles == sorted(HELD.values()), titles)

rows = HEAD
for (section, title), now in WITHDRAWN.items():
    outcomes = [became.get((name, section, title)) for name in ("plain", "TLS")]
    rows += f"| `{section}` {title} | {now} | {outcomes[0]} | {outcomes[1]} |\n"
text = DOCUMENT.read_text()
written = text[: text.index("| Case |")] + rows
if "--write" in sys.argv:
    DOCUMENT.write_text(written)
else:
    wrong = [line for line in written.splitlines() if line not in text.splitlines()]
    check("docs/http2.md says so", text == written, "\n".join(wrong))
finish()
