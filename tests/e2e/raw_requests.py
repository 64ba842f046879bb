#!/usr/bin/env python3
"""The raw requests of gunicorn's source distribution, sent as they are to a release build.

Needs the folder of that distribution in GUNICORN (see .ci/gunicorn). Every request that it calls invalid must be refused.
Those that it calls valid are taken, and the origin hears what they say, or are refused by a rule that has a name. Which
of both, and which rule, stands in docs/parsing.md: what is found must be what is written there; `--write` writes it.
A request that names no host is sent again with one, since a rule that is met first hides all others.
"""

import os
import pathlib
import re
import socket
import sys
import types

from e2e import ROOT, check, finish
from raw import Origin, edge

GUNICORN = pathlib.Path(os.environ.get("GUNICORN") or sys.exit("set GUNICORN to the folder of its sources")) / "tests/requests"
DOCUMENT = ROOT / "docs/parsing.md"
HEAD = "| Request | As it is | With a host |\n|---|---|---|\n"
# Invalid for nothing but the lack of a host, as far as others could tell.
HARMLESS = {
    "003c": "a method is any token (RFC 9110 9.1), and gunicorn wants a letter first",
    "019": "what a client says of its scheme is not passed on, so it may contradict itself",
}
# What cases presume is set: which gateway they are sent to.
LIMITED = {
    "006", "007", "008", "010", "011", "012", "013", "017", "limit_header_default_01", "009",
}  # fmt: skip


class Anything(types.ModuleType):
    """A module of gunicorn's of which the cases want classes by their names."""

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return type(name, (), {"set": lambda *_: None})


for module in ["gunicorn", "gunicorn.http", "gunicorn.http.errors", "gunicorn.config"]:
    sys.modules[module] = Anything(module)


def bytes_of(path):
    """What the file stands for: line ends of its own do not count, and some bytes are spelt."""
    data = path.read_bytes().replace(b"\n", b"").replace(b"\\r\\n", b"\r\n")
    data = data.replace(b"\\0", b"\0").replace(b"\\n", b"\n").replace(b"\\t", b"\t")
    return re.sub(rb"\\x([0-9a-fA-F]{2})", lambda found: bytes([int(found[1], 16)]), data)


def told(path):
    """What the case beside the file expects: a request or a list of them, or an error."""
    names = {"uri": lambda text: text, "cfg": types.SimpleNamespace(set=lambda *_: None)}
    exec(compile(path.with_suffix(".py").read_text(), str(path), "exec"), names)  # noqa: S102
    return names["request"]


def with_host(data):
    """The same with a field that names a host, if it says HTTP/1.1 and names none."""
    line, end, rest = data.partition(b"\r\n")
    if line.startswith(b"PROXY ") and rest:
        return line + end + with_host(rest)
    if data.startswith(b"\r\n\r\n\0"):
        return data
    if not line.endswith(b"HTTP/1.1") or re.search(rb"(?im)^host *:", rest):
        return data
    return line + end + b"Host: a.example\r\n" + rest


def answer(heard):
    """The origin takes whole requests, and answers them all alike."""
    head, end, rest = heard.partition(b"\r\n\r\n")
    if not end:
        return None
    head = head.lower()
    if b"\r\ntransfer-encoding: chunked" in head:
        found = re.search(rb"(^|\r\n)0\r\n(?:[^\r\n]+\r\n)*\r\n", rest)
        if not found:
            return None
        size = found.end()
    else:
        length = re.search(rb"\r\ncontent-length: (\d+)", head)
        size = int(length[1]) if length else 0
        if len(rest) < size:
            return None
    # One request for each connection: what was heard on it is whole when it has ended.
    return len(heard) - len(rest) + size, b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok", True


def read(heard):
    """What the origin heard on a connection: the requests, each as method, target and body."""
    requests = []
    while (taken := answer(heard)) is not None:
        whole, heard = heard[: taken[0]], heard[taken[0] :]
        head, _, body = whole.partition(b"\r\n\r\n")
        method, target, _ = head.split(b"\r\n")[0].split(b" ")
        if b"\r\ntransfer-encoding: chunked" in head.lower():
            data = b""
            while size := int(body.split(b"\r\n")[0].split(b";")[0], 16):
                _, _, body = body.partition(b"\r\n")
                data, body = data + body[:size], body[size + 2 :]
            body = data
        requests.append((method, target, body))
    return requests


class Gateway:
    """A gateway, where it listens, and what it says of each request."""

    def __init__(self, origin, *flags, mesh=None):
        log = ["--access-log-format", "said %RESPONSE_CODE_DETAILS%"]
        self.gateway, self.port, _ = edge(origin, *log, *flags, mesh=mesh)
        self.seen = 0

    def lines(self, wanted):
        """The lines of its log since the last time, at least so many."""
        def new():
            lines = [line.strip() for line in list(self.gateway.said) if line.startswith("said ")]
            return [line.partition(" ")[2] for line in lines[self.seen :]]

        with self.gateway.grown:
            self.gateway.grown.wait_for(lambda: len(new()) >= wanted, 5)
        found = new()
        self.seen += len(found)
        return found

    def send(self, data, wanted):
        """Sends bytes; the codes of the answers. Waits for so many answers, or for the end. What is waited for in vain ends
        with us: then more than what was sent belongs to the request."""
        said = b""
        with socket.create_connection(("127.0.0.1", self.port), timeout=3) as connection:
            try:
                connection.sendall(data)
                while len(self.codes(said)) < wanted or not said.endswith((b"\r\n\r\nok", b"\r\n\r\n")):
                    piece = connection.recv(65536)
                    if not piece:
                        break
                    said += piece
            except TimeoutError:
                connection.shutdown(socket.SHUT_WR)
                while piece := connection.recv(65536):
                    said += piece
            except OSError:
                pass
        return self.codes(said)

    @staticmethod
    def codes(said):
        return [int(code) for code in re.findall(rb"HTTP/1\.1 (\d{3})", said) if code != b"100"]


def verdict(gateway, origin, data, wanted):
    """What becomes of these bytes: the codes, the rules, and what the origin heard."""
    origin.take()
    codes = gateway.send(data, wanted)
    rules = gateway.lines(max(1, len(codes)))
    heard = [request for one in origin.take() for request in read(one)]
    return codes, rules, heard


def said(codes, rules):
    refused = [(code, rule) for code, rule in zip(codes + [None] * len(rules), rules) if code != 200]
    if not refused:
        return "taken" if codes else "refused: closed without an answer"
    code, rule = refused[0]
    if rule == "downstream_remote_disconnect":
        rule = "the client ends before its request does"
    rule = re.sub(r"^http\.bad_request\{(.*)\}$", r"\1", rule).replace("_", " ")
    before = f"after {codes.index(code)} taken, " if code in codes and codes.index(code) else ""
    return f"{before}refused: {code or 'closed'}, {rule}"


origin = Origin(answer)
PROXIED = "defaultConfig: {gatewayTopology: {proxyProtocol: {}}}"
STRICT = "defaultConfig: {connectionSettings: {profile: EDGE}}"
gateways = {
    "as it comes": Gateway(origin),
    "small limits": Gateway(origin, "--max-header-bytes", "512", "--max-headers", "1"),
    "strict profile": Gateway(origin, mesh=STRICT),
    "PROXY protocol": Gateway(origin, mesh=PROXIED),
}


def place(name, text):
    """Which gateway a case is for, by what it sets."""
    if "proxy_protocol" in text:
        return "PROXY protocol"
    if name in LIMITED:
        return "small limits"
    return "strict profile" if "\"refuse\"" in text else "as it comes"


rows = {"invalid": [], "valid": []}
for kind, listed in rows.items():
    for path in sorted((GUNICORN / kind).glob("*.http")):
        case, data = told(path), bytes_of(path)
        where = place(path.stem if kind == "invalid" else "", path.with_suffix(".py").read_text())
        expected = case if isinstance(case, list) else [case]
        wanted = len(expected) if kind == "valid" else 1
        found = []
        for sent in [data, with_host(data)]:
            codes, rules, heard = verdict(gateways[where], origin, sent, wanted)
            found.append(said(codes, rules))
            name = f"{kind}/{path.stem}{'' if sent is data else ', with a host'}"
            if kind == "invalid" and sent is not data and path.stem in HARMLESS:
                check(f"{name} is taken: {HARMLESS[path.stem]}", found[-1] == "taken", found[-1])
            elif kind == "invalid":
                check(f"{name} is refused", "refused" in found[-1] and not heard, f"{codes} {rules} {heard}")
            elif found[-1] == "taken":
                # What its option makes of a method is gunicorn's own matter, and an empty body may be a text there.
                meant = [(one["method"].upper().encode(), one["body"] or b"") for one in expected]
                same = meant == [(method.upper(), body) for method, _, body in heard]
                check(f"{name} is taken, and heard as it was meant", same, f"{meant} {heard}")
            else:
                rule = found[-1].rsplit(", ", 1)[-1]
                check(f"{name} is refused by a rule that has a name", rule not in ("", "-", "via upstream"), found[-1])
        shown = found[1] if with_host(data) != data else "" if "host" not in found[0] else found[1]
        listed.append(f"| `{path.stem}`{'' if where == 'as it comes' else f' ({where})'} | {found[0]} | {shown} |")
    check(f"all {kind} requests are there", len(listed) == {"invalid": 81, "valid": 62}[kind], len(listed))

tables = {kind: HEAD + "\n".join(listed) + "\n" for kind, listed in rows.items()}
text = DOCUMENT.read_text()
parts = re.split(r"(?<=\n)(?=## )", text)
for at, part in enumerate(parts):
    for kind, table in tables.items():
        if part.startswith(f"## Requests that are {kind}"):
            parts[at] = part[: part.index("| Request")] + table + ("\n" if at + 1 < len(parts) else "")
if "--write" in sys.argv:
    DOCUMENT.write_text("".join(parts))
else:
    wrong = [line for line in "".join(parts).splitlines() if line not in text.splitlines()]
    check("docs/parsing.md says so", text == "".join(parts), "\n".join(wrong))
for gateway in gateways.values():
    gateway.gateway.stop()
finish()
