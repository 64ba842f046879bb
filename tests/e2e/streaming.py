#!/usr/bin/env python3
"""1 GiB through the gateway each way, to a receiver that reads nothing until its sender has been stopped.

The sender must be stopped by back-pressure with little under way, all of it must arrive once the receiver reads, and
the gateway's memory must hardly grow. Needs the PyPI package grpcio; `.ci/run` starts this with an interpreter that has
it.
"""

import concurrent.futures
import pathlib
import re
import socket
import subprocess
import threading

import grpc

from e2e import GUARD, Folder, Limen, check, finish, free_port

TOTAL = 1 << 30
PIECE = b"x" * (256 * 1024)


def system_buffers():
    """What the system keeps at most for one connection, in bytes: at its sender and at its receiver."""
    most = [pathlib.Path(f"/proc/sys/net/ipv4/tcp_{way}mem").read_text().split()[2] for way in "wr"]
    return sum(map(int, most))


# What may be under way before the receiver reads: the system's buffers for two connections, and what is the gateway's.
AHEAD = 2 * system_buffers() + (4 << 20)
GROWTH = 20 << 20
# A sender that can send nothing for so long has been stopped. On a slow machine this may be taken for it too early,
# which makes the check weaker and never wrong.
STOPPED = 1.0
LONG = 5 * GUARD

CONFIG = """
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: edge}
spec:
  selector: {istio: ingressgateway}
  servers: [{port: {number: 80, name: http, protocol: HTTP}, hosts: ["*"]}]
---
{apiVersion: v1, kind: Service, metadata: {name: plain}, spec: {ports: [{name: http, port: 80}]}}
---
{apiVersion: v1, kind: Service, metadata: {name: calls}, spec: {ports: [{name: grpc, port: 80}]}}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: all}
spec:
  hosts: ["*"]
  gateways: [edge]
  http:
  - {match: [{uri: {prefix: /test.Stream}}], route: [{destination: {host: calls}}]}
  - {route: [{destination: {host: plain}}]}
"""


class Sender:
    """Counts what was sent, and knows when nothing more can be."""

    def __init__(self):
        self.sent = 0
        self.grown = threading.Condition()

    def add(self, n):
        with self.grown:
            self.sent += n
            self.grown.notify_all()

    def stopped(self, total):
        """Waits until it is stopped, or has sent all; returns how much it has sent then."""
        with self.grown:
            self.grown.wait_for(lambda: self.sent > 0, GUARD)
            while self.sent < total:
                before = self.sent
                if not self.grown.wait_for(lambda: self.sent > before, STOPPED):
                    break
            return self.sent


class Transfer:
    """One body on its way: the sender's count, and the receiver's leave to read."""

    def __init__(self, total):
        self.total, self.sender, self.go, self.received = total, Sender(), threading.Event(), 0

    def pieces(self):
        for _ in range(self.total // len(PIECE)):
            yield PIECE
            self.sender.add(len(PIECE))

    def send(self, sock):
        left = memoryview(PIECE)
        for _ in range(self.total // len(PIECE)):
            at = 0
            while at < len(left):
                n = sock.send(left[at:])
                self.sender.add(n)
                at += n

    def write(self, pipe):
        for piece in self.pieces():
            pipe.write(piece)
        pipe.close()


now = None  # the transfer under way


def head_of(sock):
    """Reads a head; returns it with what came behind it."""
    seen = b""
    while b"\r\n\r\n" not in seen:
        more = sock.recv(65536)
        if not more:
            return None, b""
        seen += more
    head, rest = seen.split(b"\r\n\r\n", 1)
    return head.decode(), rest


def read_all(read, transfer, behind):
    """Reads a body of the length that is known; what frames it may come on top."""
    buffer = bytearray(1 << 20)
    transfer.received += len(behind)
    while transfer.received < transfer.total:
        n = read(buffer)
        if not n:
            return
        transfer.received += n


def narrow():
    """A socket that holds little."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * 1024)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 64 * 1024)
    return sock


def plain_origin():
    """Speaks HTTP/1.1: sends the transfer's body for a GET, takes it for a POST or PUT."""
    listener = narrow()
    listener.bind(("127.0.0.1", 0))
    listener.listen(16)

    def serve(sock):
        while True:
            head, behind = head_of(sock)
            if head is None:
                return
            if head.startswith("GET"):
                sock.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % now.total)
                now.send(sock)
                continue
            now.go.wait(LONG)
            chunked = "transfer-encoding" in head.lower()
            if not chunked:
                read_all(sock.recv_into, now, behind)
            else:
                last, buffer = behind[-5:], bytearray(1 << 20)
                now.received += behind.count(b"x")
                while last != b"0\r\n\r\n":
                    n = sock.recv_into(buffer)
                    if not n:
                        return
                    now.received += buffer.count(b"x", 0, n)
                    last = (last + bytes(buffer[max(0, n - 5) : n]))[-5:]
            sock.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")

    def accept():
        while True:
            threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    return listener.getsockname()[1]


def grpc_origin():
    def take(messages, _):
        now.go.wait(LONG)
        for message in messages:
            now.received += len(message)
        return b"done"

    rpcs = {
        "Up": grpc.stream_unary_rpc_method_handler(take),
        "Down": grpc.unary_stream_rpc_method_handler(lambda *_: now.pieces()),
    }
    server = grpc.server(concurrent.futures.ThreadPoolExecutor(4))
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("test.Stream", rpcs),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    return server, port


def h1_up(port, transfer):
    sock = narrow()
    sock.connect(("127.0.0.1", port))
    sock.sendall(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: %d\r\n\r\n" % transfer.total)
    transfer.send(sock)
    return head_of(sock)[0].startswith("HTTP/1.1 200")


def h1_down(port, transfer):
    sock = narrow()
    sock.connect(("127.0.0.1", port))
    sock.sendall(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
    head, behind = head_of(sock)
    transfer.go.wait(LONG)
    read_all(sock.recv_into, transfer, behind)
    return head.startswith("HTTP/1.1 200")


def curl(port, *more, **pipes):
    command = ["curl", "-sS", "--http2-prior-knowledge", *more, f"http://127.0.0.1:{port}/"]
    return subprocess.Popen(command, bufsize=0, **pipes)


def h2_up(port, transfer):
    client = curl(port, "-T", "-", "-w", "%{http_code} %{http_version}", stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    transfer.write(client.stdin)
    return client.stdout.read() == b"200 2"


def h2_down(port, transfer):
    client = curl(port, "--fail", stdout=subprocess.PIPE)
    transfer.go.wait(LONG)
    read_all(client.stdout.readinto, transfer, b"")
    return client.wait(GUARD) == 0


def grpc_up(port, transfer):
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        return channel.stream_unary("/test.Stream/Up")(transfer.pieces(), timeout=LONG) == b"done"


def grpc_down(port, transfer):
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        messages = channel.unary_stream("/test.Stream/Down")(b"", timeout=LONG)
        transfer.go.wait(LONG)
        for message in messages:
            transfer.received += len(message)
    return True


def memory(gateway, name):
    """A figure of the process, in bytes."""
    with open(f"/proc/{gateway.process.pid}/status") as status:
        return int(re.search(rf"^{name}:\s+(\d+) kB", status.read(), re.M).group(1)) << 10


def forget_the_peak(gateway):
    with open(f"/proc/{gateway.process.pid}/clear_refs", "w") as refs:
        refs.write("5")


def transfer_of(total, way, port):
    """One transfer; returns whether it went well, and how far the sender got before anything was read."""
    global now
    now = Transfer(total)
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        done = pool.submit(way, port, now)
        ahead = now.sender.stopped(total)
        now.go.set()
        return done.result(LONG) and now.received == total, ahead


folder = Folder()
folder.write("all.yaml", CONFIG)
server, calls = grpc_origin()
port = free_port()
backends = ["--backend", f"plain=127.0.0.1:{plain_origin()}", "--backend", f"calls=127.0.0.1:{calls}"]
with Limen("run", folder.path, "--map-port", f"80:{port}", *backends).ready() as gateway:
    ways = {
        "up, HTTP/1.1 to HTTP/1.1": h1_up,
        "down, HTTP/1.1 to HTTP/1.1": h1_down,
        "up, HTTP/2 to HTTP/1.1": h2_up,
        "down, HTTP/2 to HTTP/1.1": h2_down,
        "up, HTTP/2 to HTTP/2": grpc_up,
        "down, HTTP/2 to HTTP/2": grpc_down,
    }
    for way in ways.values():
        transfer_of(4 * len(PIECE), way, port)
    for name, way in ways.items():
        forget_the_peak(gateway)
        before = memory(gateway, "VmRSS")
        good, ahead = transfer_of(TOTAL, way, port)
        grown = memory(gateway, "VmHWM") - before
        check(f"1 GiB {name}: all of it arrives", good, f"{now.received} bytes")
        check(f"1 GiB {name}: the sender is stopped", 0 < ahead <= AHEAD, f"{ahead >> 10} KiB before a byte was read")
        check(f"1 GiB {name}: memory hardly grows", grown <= GROWTH, f"{grown >> 10} KiB more than {before >> 10} KiB")
        print(f"# {ahead >> 10} KiB ahead, {grown >> 10} KiB grown", flush=True)
server.stop(None)
finish()
