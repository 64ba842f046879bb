#!/usr/bin/env python3
"""gRPC with clients in two languages: calls that stream both ways, statuses, and what a gateway says itself.

Needs the PyPI package grpcio, and Node with the npm package @grpc/grpc-js for `grpc_client.js`; `.ci/run` installs them.
"""

import concurrent.futures
import pathlib
import queue

import grpc

from e2e import GUARD, Folder, Limen, certificate, check, demo, finish, free_port, run

SERVICE = "test.Echo"
HOST = "calls.example.com"
CONFIG = """
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: edge, namespace: istio-system}
spec:
  selector: {istio: ingressgateway}
  servers:
  - {port: {number: 80, name: grpc, protocol: GRPC}, hosts: ["*"]}
  - {port: {number: 443, name: https, protocol: HTTPS}, hosts: ["*"], tls: {mode: SIMPLE, serverCertificate: CERT, privateKey: KEY}}
---
{apiVersion: v1, kind: Service, metadata: {name: calls}, spec: {ports: [{name: grpc, port: 80}]}}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: calls}
spec:
  hosts: [calls.example.com]
  gateways: [istio-system/edge]
  http: [{route: [{destination: {host: calls}}]}]
"""


def chat(messages, context):
    """Answers each message as it comes; `deny` ends the call with a status while the client still speaks."""
    context.send_initial_metadata((("x-first", "metadata"),))
    for message in messages:
        if message == b"deny":
            context.set_trailing_metadata((("x-last", "trailer"),))
            context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "no more: 100 %")
        yield b"heard " + message


def origin():
    """Starts a server; returns it with its port."""
    whole = {
        "Chat": grpc.stream_stream_rpc_method_handler(chat),
        "Say": grpc.unary_unary_rpc_method_handler(lambda message, _: message),
        "Sum": grpc.stream_unary_rpc_method_handler(lambda parts, _: b"".join(parts)),
        "Count": grpc.unary_stream_rpc_method_handler(lambda message, _: (b"%d" % n for n in range(int(message)))),
    }
    server = grpc.server(concurrent.futures.ThreadPoolExecutor(8))
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, whole),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    return server, port


def outcome(call):
    """The status of a call that is expected to fail."""
    try:
        call()
    except grpc.RpcError as error:
        return error.code(), error.details(), dict(error.trailing_metadata() or ())
    return None, "an answer", {}


def converse(how, channel):
    """Every kind of call over a channel."""
    say = channel.unary_unary(f"/{SERVICE}/Say")
    check(f"{how}: a call", say(b"hello", timeout=GUARD) == b"hello")
    large = b"x" * (3 << 20)
    check(f"{how}: a large message", say(large, timeout=GUARD) == large)
    heard = channel.stream_unary(f"/{SERVICE}/Sum")(iter([b"a", b"b", b"c"]), timeout=GUARD)
    check(f"{how}: the client streams", heard == b"abc", heard)
    heard = list(channel.unary_stream(f"/{SERVICE}/Count")(b"50", timeout=GUARD))
    check(f"{how}: the server streams", heard == [b"%d" % n for n in range(50)], heard)

    # The next message is said only when the answer to the last one is there: whoever held one back would stop it all.
    said = queue.Queue()
    replies = channel.stream_stream(f"/{SERVICE}/Chat")(iter(said.get, None), timeout=GUARD)
    first = dict(replies.initial_metadata())
    check(f"{how}: metadata comes before any message", first.get("x-first") == "metadata", first)
    heard = []
    for turn in range(50):
        said.put(b"%d" % turn)
        heard.append(next(replies))
    check(f"{how}: fifty turns, one by one", heard == [b"heard %d" % turn for turn in range(50)], heard)
    said.put(None)
    check(f"{how}: and an end", next(replies, None) is None and replies.code() == grpc.StatusCode.OK, replies.code())

    said = queue.Queue()
    said.put(b"deny")
    replies = channel.stream_stream(f"/{SERVICE}/Chat")(iter(said.get, None), timeout=GUARD)
    code, text, trailers = outcome(lambda: next(replies))
    held = (code, text, trailers.get("x-last")) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "no more: 100 %", "trailer")
    check(f"{how}: a status, its text and trailers", held, f"{code} {text!r} {trailers}")
    said.put(None)


keys = Folder()
cert, key = certificate(keys, HOST)
server, port = origin()
folder = Folder()
folder.write("calls.yaml", CONFIG.replace("CERT", str(cert)).replace("KEY", str(key)))
http, https = free_port(), free_port()
ports = ["--map-port", f"80:{http}", "--map-port", f"443:{https}"]
with Limen("run", folder.path, *ports, "--backend", f"calls=127.0.0.1:{port}").ready() as gateway:
    options = [("grpc.default_authority", HOST)]
    with grpc.insecure_channel(f"127.0.0.1:{http}", options=options) as channel:
        converse("gRPC", channel)
    trust = grpc.ssl_channel_credentials(cert.read_bytes())
    options = [("grpc.ssl_target_name_override", HOST)]
    with grpc.secure_channel(f"127.0.0.1:{https}", trust, options=options) as channel:
        converse("gRPC in TLS", channel)
    script = pathlib.Path(__file__).with_name("grpc_client.js")
    code, out, err = run("node", script, http, https, cert, HOST)
    print(out, end="")
    check("gRPC from Node ends well", code == 0 and out, f"{code} {out} {err}")
server.stop(None)

gateway, http, https = demo()


def status(host):
    """How one unary call ends."""
    with grpc.insecure_channel(f"127.0.0.1:{http}", options=[("grpc.default_authority", host)]) as channel:
        return outcome(lambda: channel.unary_unary("/test.Echo/Echo")(b"hello", timeout=30))[:2]


with gateway:
    code, details = status("httpbin.example.com")
    clean = {grpc.StatusCode.UNIMPLEMENTED, grpc.StatusCode.UNKNOWN, grpc.StatusCode.UNAVAILABLE}
    check("gRPC: an origin without gRPC gives a status", code in clean, f"{code} {details}")
    code, details = status("nobody.example.com")
    check("gRPC: an absent host is UNIMPLEMENTED", code == grpc.StatusCode.UNIMPLEMENTED, f"{code} {details}")
finish()
