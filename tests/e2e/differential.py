#!/usr/bin/env python3
"""Requests that are nearly right, sent to a release build, and read by others: Node's llhttp, and h11.

What the gateway passes on, each reads as the same requests: as many, with the same methods, targets, fields and bodies.
And of what it takes from a client, none sees messages that end elsewhere. Usage: differential.py [--seed N] [--count N]

What the origin hears is credited by the client's address, which the gateway tells it: each client has one of its own. The
mark in a target says the same, but a damaged target may bear another one's, so marks are compared where nothing was damaged.
"""

import argparse
import itertools
import json
import pathlib
import random
import re
import socket
import subprocess
import threading
import urllib.parse

import h11

from e2e import GUARD, check, finish
from raw import Origin, edge

TELLING = b"\r\n\0\t :;,0159afAFx\x7f\x80\xff#@*/%-+_?[]"
FIELDS = [
    b"Host: a.example", b"host: b.example", b"Content-Length: 5", b"content-length: 0", b"Content-Length: 05",
    b"Content-Length: 5, 5", b"Content-Length: +5", b"Transfer-Encoding: chunked", b"transfer-encoding: Chunked",
    b"Transfer-Encoding: gzip, chunked", b"Transfer-Encoding: identity", b"Transfer-Encoding:\tchunked",
    b"Transfer-Encoding: chunked, chunked", b"Transfer-Encoding : chunked", b"Transfer_Encoding: chunked",
    b"Transfer-Encoding: xchunked", b"X: y\r\n Transfer-Encoding: chunked", b"X: y\nTransfer-Encoding: chunked",
    b"X: y\rTransfer-Encoding: chunked", b"Connection: close", b"Connection: keep-alive", b"Connection: X-Hop",
    b"X-Hop: 1", b"Connection: Content-Length", b"Expect: 100-continue", b"TE: trailers", b"Upgrade: websocket",
    b"Connection: upgrade", b"Cookie: a=1", b"cookie: b=2", b"X-Empty:", b"X-Blank: \t ", b"X-Text: \xe9\xff",
    b"Trailer: x", b"Content-Type: a/b", b"X" * 200 + b": " + b"y" * 900,
]  # fmt: skip
CHUNKS = [
    b"5\r\nhello\r\n", b"005\r\nhello\r\n", b"5;a=b\r\nhello\r\n", b"5 \r\nhello\r\n", b"5\nhello\r\n", b"5\r\nhello\n",
    b"a\r\n0123456789\r\n", b"A\r\n0123456789\r\n", b"0x5\r\nhello\r\n", b"+5\r\nhello\r\n", b"5;\nx\r\nhello\r\n",
    b"5\r\nhelloXX", b"6\r\nhello\r\n\r\n",
]  # fmt: skip
ENDS = [b"0\r\n\r\n", b"000\r\n\r\n", b"0\r\nx: y\r\n\r\n", b"0\r\nContent-Length: 9\r\n\r\n", b"0\n\n", b"0;a\r\n\r\n", b"\r\n\r\n"]


METHODS = json.loads(subprocess.check_output(["node", "-p", "JSON.stringify(require('http').METHODS)"]))


def likely(dice, usual, strange):
    return dice.choice(usual) if dice.random() < 0.85 else dice.choice(strange)


def request(dice, name):
    """One request whose target says which it is."""
    method = likely(dice, [b"GET", b"POST", b"PUT", b"HEAD", b"DELETE"], [b"get", b"OPTIONS", b"G", b"PATCH", b"X-Y"])
    target = likely(dice, [b"/%s", b"/%s?a=b&c"], [b"http://a.example/%s", b"/%s#x", b"//%s//x", b"/%s\xe9", b"%s"]) % name
    version = likely(dice, [b"HTTP/1.1"], [b"HTTP/1.0", b"HTTP/1.2", b"HTTP/2.0", b"http/1.1", b"HTTP/1.1 "])
    fields = [b"Host: a.example"] if dice.random() < 0.95 else []
    fields += dice.sample(FIELDS[18:], dice.randrange(4))
    body = b""
    kind = dice.random()
    if kind < 0.3:
        body = b"hello"[: dice.choice([5, 5, 5, 4])] + dice.choice([b"", b"", b"X"])
        fields.append(likely(dice, [b"Content-Length: 5"], FIELDS[2:7]))
    elif kind < 0.6:
        body = b"".join(likely(dice, CHUNKS[:3], CHUNKS) for _ in range(dice.randrange(3))) + likely(dice, ENDS[:3], ENDS)
        fields.append(likely(dice, [b"Transfer-Encoding: chunked"], FIELDS[7:19]))
    if dice.random() < 0.15:
        fields.append(dice.choice(FIELDS))
    dice.shuffle(fields)
    end = b"\r\n" if dice.random() < 0.97 else b"\n"
    return end.join([b" ".join([method, target, version]), *fields, b"", b""]) + body


def damage(dice, data):
    """A few bytes changed."""
    data = bytearray(data)
    for _ in range(dice.randrange(3)):
        at, other = sorted(dice.randrange(len(data) + 1) for _ in range(2))
        how = dice.randrange(4)
        if how == 0:
            data[at : at + 1] = bytes([dice.choice(TELLING)])
        elif how == 1:
            data[at:at] = bytes([dice.choice(TELLING)])
        elif how == 2:
            del data[at : at + 1]
        else:
            data[at:at] = data[at : min(other, at + 40)]
    return bytes(data)


def whole(heard):
    """The first request of what an origin hears: its length and its parts, or None."""
    head, end, rest = heard.partition(b"\r\n\r\n")
    if not end:
        return None
    line, *lines = head.split(b"\r\n")
    method, target, _ = line.split(b" ")
    headers = [[part.strip() for part in line.split(b":", 1)] for line in lines]
    named = dict(map(tuple, headers))
    body = b""
    if named.get(b"transfer-encoding") == b"chunked":
        while True:
            size, end, after = rest.partition(b"\r\n")
            if not end:
                return None
            length = int(size, 16)
            if not length:
                break
            if len(after) < length + 2:
                return None
            body, rest = body + after[:length], after[length + 2 :]
        # Trailers end with an empty line.
        found = re.match(rb"(?:[^\r\n]+\r\n)*\r\n", after)
        if not found:
            return None
        rest = after[found.end() :]
    else:
        length = int(named.get(b"content-length", 0))
        if len(rest) < length:
            return None
        body, rest = rest[:length], rest[length:]
    return len(heard) - len(rest), shown(method, target, headers, body)


def shown(method, target, headers, body):
    text = lambda part: bytes(part).decode("latin1")  # noqa: E731
    return {
        "method": text(method), "target": text(target),
        "headers": [[text(name).lower(), text(value)] for name, value in headers], "body": text(body),
    }  # fmt: skip


def answer(heard):
    found = whole(heard)
    if found is None:
        return None
    body = b"" if found[1]["method"] == "HEAD" else b"ok"
    return found[0], b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n" + body, False


def ours(heard):
    """The requests that an origin heard on a connection."""
    requests = []
    while (found := whole(heard)) is not None:
        requests.append(found[1])
        heard = heard[found[0] :]
    return requests


def by_h11(data):
    """What h11 reads."""
    connection, requests, now = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 20), [], None
    connection.receive_data(data)
    connection.receive_data(b"")
    try:
        while True:
            event = connection.next_event()
            if isinstance(event, h11.Request):
                now = [event.method, event.target, event.headers.raw_items(), bytearray()]
            elif isinstance(event, h11.Data):
                now[3] += event.data
            elif isinstance(event, h11.EndOfMessage):
                requests.append(shown(*now))
                connection.send(h11.Response(status_code=200, headers=[("content-length", "0")]))
                connection.send(h11.EndOfMessage())
                connection.start_next_cycle()
            else:
                return requests
    except h11.ProtocolError:
        return requests


def by_node(all_data):
    """What Node reads of each."""
    script = pathlib.Path(__file__).with_name("read_http.js")
    given = "".join(data.hex() + "\n" for data in all_data)
    done = subprocess.run(["node", script], input=given, capture_output=True, text=True, timeout=600)
    read = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(read) == len(all_data), done.stderr
    return read


def node_ends_at(one):
    """Node reads no further after a method that it does not know, or where another protocol is asked for."""
    return one["method"] not in METHODS or any(name == "upgrade" for name, _ in one["headers"])


def address(number):
    """The address of a client: all of 127/8 is this machine's."""
    return f"127.1.{number >> 8}.{number & 255}"


def send(port, number, data):
    """Sends it all, says its last, and reads to the end. What was asked whole is answered, and what is not whole is not
    waited for, so the gateway ends the connection; returns whether it did."""
    with socket.create_connection(("127.0.0.1", port), GUARD, (address(number), 0)) as connection:
        try:
            connection.sendall(data)
            connection.shutdown(socket.SHUT_WR)
            while connection.recv(65536):
                pass
        except TimeoutError:
            return False
        except OSError:
            # It ended before all was said, or without having read all.
            pass
    return True


def heard_out(origin, others):
    """Waits until the origin has heard all that was said by a gateway that is gone. Connections are accepted in their order:
    once this one is answered, each before it has a thread, which ends with it. `others` are threads that do not."""
    with socket.create_connection(("127.0.0.1", origin.port), GUARD) as connection:
        connection.sendall(b"GET /last HTTP/1.1\r\nHost: a.example\r\n\r\n")
        connection.recv(65536)
    for thread in set(threading.enumerate()) - others:
        thread.join(GUARD)


parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--seed", type=int, default=20261122)
parser.add_argument("--count", type=int, default=400)
told = parser.parse_args()
print(f"# seed {told.seed}, {told.count} connections", flush=True)
assert told.count <= 1 << 16, "there are no more addresses"
dice = random.Random(told.seed)
sent, damaged = [], set()
for number in range(told.count):
    names = [b"c%d.%d" % (number, at) for at in range(dice.randint(1, 3))]
    data = b"".join(request(dice, name) for name in names)
    if dice.random() < 0.5:
        damaged.add(number)
        data = damage(dice, data)
    sent.append(data)

origin = Origin(answer)
others = set(threading.enumerate())
gateway, port, _ = edge(origin)
with gateway:
    open_still = [number for number, data in enumerate(sent) if not send(port, number, data)]
    gateway.stop()
check("the gateway ends each connection whose client has said its last", not open_still, [sent[at] for at in open_still[:1]])
heard_out(origin, others)

# One request of a connection is passed on after the other was answered, so they are whole in their order.
numbers = {address(number): number for number in range(told.count)}
taken, parts, strays, mixed = [[] for _ in sent], {}, [], []
for connection, piece in origin.news():
    parts[connection] = parts.get(connection, b"") + piece
    while (found := whole(parts[connection])) is not None:
        parts[connection] = parts[connection][found[0] :]
        one = found[1]
        number = numbers.get(dict(one["headers"]).get("x-forwarded-for"))
        if number is not None:
            taken[number].append(one)
        elif one["target"] != "/last":
            strays.append(one)
        if number is not None and number not in damaged and not re.search(rf"\bc{number}\.\d", one["target"]):
            mixed.append((number, one))
check("each request that was passed on names its client", not strays, strays[:1])
check("and bears the mark of that client, unless it was damaged", not mixed, mixed[:1])
streams = [stream for stream in origin.take() if stream and not stream.startswith(b"GET /last ")]
passed = [ours(stream) for stream in streams]
total = sum(map(len, passed))
check(f"{total} requests were taken, of {told.count} connections", total > told.count / 4)
for name, read in [("h11", list(map(by_h11, streams))), ("Node", by_node(streams))]:
    wrong = []
    for seen, meant in zip(read, passed):
        ends = [at for at, one in enumerate(meant) if name == "Node" and node_ends_at(one)]
        seen, meant = (seen[: ends[0]], meant[: ends[0]]) if ends else (seen, meant)
        differ = [pair for pair in itertools.zip_longest(seen, meant) if pair[0] != pair[1]]
        wrong += differ[:1]
    check(f"{name} reads what was passed on as it was meant", not wrong, wrong[:1])

for name, read in [("h11", list(map(by_h11, sent))), ("Node", by_node(sent))]:
    wrong, compared = [], 0
    for data, mine, theirs in zip(sent, taken, read):
        for one, other in zip(mine, theirs):
            if name == "Node" and node_ends_at(other):
                break
            compared += 1
            # Who reads another message here reads another method, another target or another body. Targets are spelt anew.
            named = [re.findall(r"c\d+\.\d+", urllib.parse.unquote(seen["target"])) for seen in (one, other)]
            if one["method"] != other["method"] or named[0] != named[1] or one["body"] != other["body"]:
                wrong.append((data, one, other))
    check(f"{name} sees no other messages in what was taken ({compared} compared)", not wrong and compared, wrong[:1])
finish()
