#!/usr/bin/env python3
"""The raw requests of gunicorn's source distribution, sent as they are to a release build.

Needs the folder of that distribution in GUNICORN (see .ci/gunicorn). Every request that it calls invalid must be refused.
Those that it calls valid are taken, and the origin hears what they say, or are refused by one of RULES, or are in EXCEPTIONS.
Which of these, and which rule, stands in docs/parsing.md: what is found must be what is written there; `--write` writes it.
A request that names no host is sent again with one, since a rule that is met first hides all others.
"""

import os
import pathlib
import re
import socket
import sys
import types

from e2e import GUARD, ROOT, check, finish
from raw import Origin, edge

GUNICORN = pathlib.Path(os.environ.get("GUNICORN") or sys.exit("set GUNICORN to the folder of its sources")) / "tests/requests"
DOCUMENT = ROOT / "docs/parsing.md"
HEAD = "| Request | As it is | With a host |\n|---|---|---|\n"
RULES_HEAD = "| Rule | What is asked for | By | What the access log says |\n|---|---|---|---|\n"
EXCEPTIONS_HEAD = "| Request | Why it is refused | What shows it |\n|---|---|---|\n"
# What requests must be like. The numbers are those of the list that Limen is built by; what is not met here is left out.
RULES = {
    1: ("`Content-Length` is digits, and there once", "RFC 9112 6.2, 6.3"),
    2: ("`Transfer-Encoding` and `Content-Length` are not there together", "RFC 9112 6.1, 6.3"),
    3: ("`Transfer-Encoding` is `chunked`, there once, and in HTTP/1.1", "RFC 9112 6.1"),
    4: ("a field line is a token, a colon at once and a value, and is not folded", "RFC 9112 5.1, 5.2"),
    5: ("no field value holds a control byte", "RFC 9110 5.5"),
    6: ("a line ends with CR and LF", "RFC 9112 2.2"),
    7: ("a chunk is its size in hexadecimal digits, extensions, so many bytes and a line end", "RFC 9112 7.1"),
    8: ("no trailer says anything of framing or routing", "RFC 9110 6.5.1"),
    9: (
        "a request line is a method, a target without a fragment and a version that is served; the host is named once, by the"
        " target or a `Host` that agrees, without a user",
        "RFC 9112 3, RFC 9110 4.2.4, 7.2",
    ),
}
# By which of them Limen refuses what it says this of.
RULES_OF = {
    "content-length": [1],
    "several content-length fields": [1],
    "transfer-encoding with content-length": [2],
    "transfer-encoding other than chunked": [3],
    "transfer-encoding in HTTP/1.0": [3],
    "field name": [4],
    "control byte in a field value": [5],
    "line feed without carriage return": [6],
    # What comes after a head is told apart no further.
    "http1.codec error": [7, 8],
    "method": [9],
    "request line": [9],
    "http version not supported": [9],
    "form of target": [9],
    "target is not ASCII": [9],
    "target * is for OPTIONS only": [9],
    "fragment in target": [9],
    "authority in target": [9],
    "no host field": [9],
    "several host fields": [9],
}
UNPROXIED = "no PROXY header that is one"
CUT = "the client ends before its request does"
CUT_HEAD = "the client ends before its head does"
# For what else it refuses those that are invalid.
ALSO_INVALID = {
    "request headers too large": "a limit",
    "too many headers": "a limit",
    "http1.unexpected underscore": "a setting",
    "several content-type fields": "what is looked at and what is made of the body would be of two types",
    UNPROXIED: "what the port asks for",
    CUT: "RFC 9112 8",
    CUT_HEAD: "RFC 9112 8",
}
# Those that are valid and refused by none of RULES: for what, why, and what shows that it is for nothing else.
NOBODYS = (
    "404, route not found",
    "it is read, and no route is for it",
    "the request behind it, on the same connection, is taken",
)
EXCEPTIONS = {
    "099": (
        f"closed, {CUT}",
        "its body is shorter than its `Content-Length` says (RFC 9112 8); gunicorn takes what there is",
        "with as many bytes as it says it is taken",
    ),
    "pp_03": (
        f"closed, {UNPROXIED}",
        "the port asks for a PROXY header and it has none; gunicorn then does without",
        "where none is asked for it is taken",
    ),
    "rfc9112_target_asterisk_options_01": NOBODYS,
    "rfc9112_target_authority_connect_01": NOBODYS,
    "rfc9112_target_authority_ipv6_01": NOBODYS,
}
# Invalid for nothing but the lack of a host, as far as others could tell.
HARMLESS = {
    "003c": "a method is any token (RFC 9110 9.1), and gunicorn wants a letter first",
    "019": "what a client says of its scheme is not passed on, so it may contradict itself",
}
# Cases of a limit: which one they are sent to, for what they must be refused there, and nowhere else. gunicorn has limits for
# the request line and for each field. Limen has one for the whole head, which gets the same number, if it is not below 512.
SIZE, COUNT = "request headers too large", "too many headers"
LIMITED = {
    "006": ("a head of 4094 bytes", SIZE),
    "007": ("a head of 8190 bytes", SIZE),
    "008": ("a head of 8190 bytes", SIZE),
    "009": ("100 fields", COUNT),
    "010": ("1 field", COUNT),
    "011": ("2 fields", COUNT),
    "012": ("1 field", COUNT),
    "017": ("a head of 8190 bytes", SIZE),
    "limit_header_default_01": ("a head of 8190 bytes", SIZE),
}
# These are of a field of more than 10 and 98 bytes. So small no limit of Limen's is, so they are also stretched.
TOO_SMALL = {"010", "012"}
# Refused without a line in the access log: there was no request yet.
UNLOGGED = {"001"}


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


def with_host(data, requests):
    """The same with a field that names a host, if it says HTTP/1.1 and names none; several requests get one each."""
    line, end, rest = data.partition(b"\r\n")
    if line.startswith(b"PROXY ") and rest:
        return line + end + with_host(rest, requests)
    if data.startswith(b"\r\n\r\n\0") or re.search(rb"(?im)^host *:", rest):
        return data
    if requests > 1:
        return data.replace(b" HTTP/1.1\r\n", b" HTTP/1.1\r\nHost: a.example\r\n")
    return line + end + b"Host: a.example\r\n" + rest if line.endswith(b"HTTP/1.1") else data


def stretched(data, size):
    """A head of this size: its last value is longer."""
    head = data.removesuffix(b"\r\n\r\n")
    return head + b"x" * (size - len(data)) + b"\r\n\r\n"


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

    def unproxied(self):
        """How many connections it has closed for the lack of a PROXY header."""
        said = self.gateway.get(self.gateway.metrics, "/stats/prometheus")
        return int(re.search(r"(?m)^limen_proxy_header_errors_total (\d+)", said)[1])

    def send(self, data):
        """Sends bytes and says its last; the codes of the answers. What is whole is answered, and what is not is not waited
        for: the gateway ends the connection, or this raises TimeoutError."""
        said = b""
        with socket.create_connection(("127.0.0.1", self.port), timeout=GUARD) as connection:
            try:
                connection.sendall(data)
                connection.shutdown(socket.SHUT_WR)
            except OSError:
                # It is gone already.
                pass
            try:
                while piece := connection.recv(65536):
                    said += piece
            except ConnectionError:
                # It has not read all.
                pass
        return self.codes(said)

    @staticmethod
    def codes(said):
        return [int(code) for code in re.findall(rb"HTTP/1\.1 (\d{3})", said) if code != b"100"]


def verdict(gateway, data, logged=True):
    """What becomes of these bytes: the codes, what is said of each, and what the origin heard."""
    origin.take()
    before = gateway.unproxied()
    codes = gateway.send(data)
    if not codes and gateway.unproxied() > before:
        said = [UNPROXIED]
    elif logged:
        said = gateway.lines(max(1, len(codes)))
    else:
        said = [CUT_HEAD]
    heard = [request for one in origin.take() for request in read(one)]
    return codes, said, heard


def outcome(codes, said):
    """What that comes to, and for what it is refused, if it is."""
    refused = [(code, why) for code, why in zip(codes + [None] * len(said), said) if code != 200]
    if not refused:
        return ("taken", None) if codes else ("refused: closed without a reason", "")
    code, why = refused[0]
    if why == "downstream_remote_disconnect":
        why = CUT
    why = re.sub(r"^http\.bad_request\{(.*)\}$", r"\1", why).replace("_", " ")
    before = f"after {codes.index(code)} taken, " if code in codes and codes.index(code) else ""
    return f"{before}refused: {code or 'closed'}, {why}", why


def is_as_meant(expected, heard):
    """What its option makes of a method is gunicorn's own matter, and an empty body may be a text there."""
    meant = [(one["method"].upper().encode(), one["body"] or b"") for one in expected]
    return meant == [(method.upper(), body) for method, _, body in heard]


def excepted(name, data, expected):
    """Whether what must show an exception does, and what was seen."""
    plain = gateways["as it comes"]
    if name == "099":
        body = data.partition(b"\r\n\r\n")[2]
        length = int(re.search(rb"(?i)\r\ncontent-length: (\d+)", data)[1])
        body += b"x" * (length - len(body))
        codes, said, heard = verdict(plain, data[: data.index(b"\r\n\r\n") + 4] + body)
        return codes == [200] and [one[2] for one in heard] == [body], (codes, said)
    if name == "pp_03":
        codes, said, heard = verdict(plain, data)
        return codes == [200] and is_as_meant(expected, heard), (codes, said, heard)
    codes, said, heard = verdict(plain, data + b"GET /next HTTP/1.1\r\nHost: a.example\r\n\r\n")
    return codes == [404, 200] and [one[1] for one in heard] == [b"/next"], (codes, said, heard)


origin = Origin(answer)
PROXIED = "defaultConfig: {gatewayTopology: {proxyProtocol: {}}}"
STRICT = "defaultConfig: {connectionSettings: {profile: EDGE}}"
gateways = {
    "as it comes": Gateway(origin),
    "a head of 512 bytes": Gateway(origin, "--max-header-bytes", "512"),
    "a head of 4094 bytes": Gateway(origin, "--max-header-bytes", "4094"),
    "a head of 8190 bytes": Gateway(origin, "--max-header-bytes", "8190"),
    "1 field": Gateway(origin, "--max-headers", "1"),
    "2 fields": Gateway(origin, "--max-headers", "2"),
    "100 fields": Gateway(origin, "--max-headers", "100"),
    "strict profile": Gateway(origin, mesh=STRICT),
    "PROXY protocol": Gateway(origin, mesh=PROXIED),
}


def place(kind, name, text):
    """Which gateway a case is for, by what it sets."""
    if "proxy_protocol" in text:
        return "PROXY protocol"
    if kind == "invalid" and name in LIMITED:
        return LIMITED[name][0]
    return "strict profile" if kind == "invalid" and "\"refuse\"" in text else "as it comes"


rows, met = {"invalid": [], "valid": []}, set()
for kind, listed in rows.items():
    for path in sorted((GUNICORN / kind).glob("*.http")):
        case, data = told(path), bytes_of(path)
        where = place(kind, path.stem, path.with_suffix(".py").read_text())
        expected = case if isinstance(case, list) else [case]
        logged = not (kind == "invalid" and path.stem in UNLOGGED)
        cells, why = [], None
        versions = [data, with_host(data, len(expected))]
        for sent in versions if versions[0] != versions[1] else versions[:1]:
            codes, said, heard = verdict(gateways[where], sent, logged)
            found, why = outcome(codes, said)
            name = f"{kind}/{path.stem}{'' if sent is data else ', with a host'}"
            rules = RULES_OF.get(why, [])
            met |= {why}
            cells.append(f"{found} (rule {' or '.join(map(str, rules))})" if rules else found)
            if kind == "invalid" and sent is not data and path.stem in HARMLESS:
                check(f"{name} is taken: {HARMLESS[path.stem]}", found == "taken", found)
            elif kind == "invalid":
                check(f"{name} is refused", why is not None and not heard, f"{codes} {said} {heard}")
                check(f"{name} is refused for a reason that is known", rules or why in ALSO_INVALID, found)
            elif why is None:
                check(f"{name} is taken, and heard as it was meant", is_as_meant(expected, heard), f"{expected} {heard}")
            elif path.stem in EXCEPTIONS:
                meant, reason, shown = EXCEPTIONS[path.stem]
                cells[-1] += " (an exception)"
                check(f"{name} is refused, since {reason}", found == f"refused: {meant}", found)
                check(f"{name}: {shown}", *excepted(path.stem, sent, expected))
            else:
                check(f"{name} is refused by a rule", rules, found)
        if kind == "invalid" and path.stem in LIMITED:
            check(f"{name} is refused for that limit", why == LIMITED[path.stem][1], cells[-1])
            codes, said, _ = verdict(gateways["as it comes"], sent)
            check(f"{name} is not where that is higher", 431 not in codes, f"{codes} {said}")
        if kind == "invalid" and path.stem in TOO_SMALL:
            for size, meant in [(512, None), (513, SIZE)]:
                codes, said, _ = verdict(gateways["a head of 512 bytes"], stretched(sent, size))
                check(f"{name}, stretched to {size} bytes", outcome(codes, said)[1] == meant, f"{codes} {said}")
        named = f"| `{path.stem}`{'' if where == 'as it comes' else f' ({where})'} | "
        listed.append(named + " | ".join((cells + [""])[:2]) + " |")
    check(f"all {kind} requests are there", len(listed) == {"invalid": 81, "valid": 62}[kind], len(listed))
unmet = {*RULES_OF, *ALSO_INVALID} - met
check("every reason that is listed is met", not unmet, unmet)

tables = {
    "The rules": RULES_HEAD
    + "".join(
        f"| {number} | {what} | {by} | {', '.join(f'`{why}`' for why, rules in RULES_OF.items() if number in rules)} |\n"
        for number, (what, by) in RULES.items()
    ),
    **{f"Requests that are {kind}": HEAD + "\n".join(listed) + "\n" for kind, listed in rows.items()},
    "Exceptions": EXCEPTIONS_HEAD
    + "".join(f"| `{name}` | {reason} | {shown} |\n" for name, (_, reason, shown) in EXCEPTIONS.items()),
}
text = DOCUMENT.read_text()
parts = re.split(r"(?<=\n)(?=## )", text)
for at, part in enumerate(parts):
    table = tables.pop(part.partition("\n")[0].removeprefix("## "), None)
    if table:
        parts[at] = part[: part.index("| R")] + table + ("\n" if at + 1 < len(parts) else "")
check("docs/parsing.md has a place for each table", not tables, list(tables))
if "--write" in sys.argv:
    DOCUMENT.write_text("".join(parts))
else:
    wrong = [line for line in "".join(parts).splitlines() if line not in text.splitlines()]
    check("docs/parsing.md says so", text == "".join(parts), "\n".join(wrong))
for gateway in gateways.values():
    gateway.gateway.stop()
finish()
