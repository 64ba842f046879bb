#!/usr/bin/env python3
"""A real WebSocket client and server with the gateway between them, in clear text and in TLS.

Needs the PyPI package websockets; `.ci/run` starts this with an interpreter that has it.
"""

import socket
import ssl
import threading

from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect
from websockets.sync.server import serve

from e2e import GUARD, Folder, Limen, certificate, check, finish, free_port

HOST = "chat.example.com"
CONFIG = """
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: edge, namespace: istio-system}
spec:
  selector: {istio: ingressgateway}
  servers:
  - {port: {number: 80, name: http, protocol: HTTP}, hosts: ["*"]}
  - {port: {number: 443, name: https, protocol: HTTPS}, hosts: ["*"], tls: {mode: SIMPLE, serverCertificate: CERT, privateKey: KEY}}
---
{apiVersion: v1, kind: Service, metadata: {name: chat}, spec: {ports: [{name: http, port: 80}]}}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: chat}
spec:
  hosts: [chat.example.com]
  gateways: [istio-system/edge]
  http:
  - {match: [{uri: {prefix: /denied}}], directResponse: {status: 403}}
  - {route: [{destination: {host: chat}}]}
"""


def echo(chat):
    """Sends back what comes; `bye` makes it close with a code and a reason of its own."""
    try:
        for message in chat:
            if message == "bye":
                chat.close(4001, "as you say")
                return
            chat.send(message)
    except ConnectionClosed:
        pass  # the client has gone; it is looked at from there


def converse(how, port, **options):
    """Everything that people do with one."""
    scheme = "wss" if "ssl" in options else "ws"
    asked = {"subprotocols": ["other", "chat"], "max_size": None, "open_timeout": GUARD, "close_timeout": GUARD, **options}

    def opened(path):
        # The name decides about the request and the handshake; the connection goes to this machine.
        sock = socket.create_connection(("127.0.0.1", port))
        return connect(f"{scheme}://{HOST}:{port}{path}", sock=sock, proxy=None, **asked)

    with opened("/") as chat:
        check(f"{how}: the subprotocol is agreed", chat.subprotocol == "chat", chat.subprotocol)
        heard = []
        for turn in range(50):
            chat.send(f"hello {turn}")
            heard.append(chat.recv(GUARD))
        check(f"{how}: fifty texts, one by one", heard == [f"hello {turn}" for turn in range(50)], heard)
        large = bytes(range(256)) * (4 << 12)
        chat.send(large)
        check(f"{how}: 4 MiB at once", chat.recv(GUARD) == large)
        chat.send(iter(["in ", "three ", "parts"]))
        check(f"{how}: a message in parts", chat.recv(GUARD) == "in three parts")
        check(f"{how}: a ping is answered", chat.ping().wait(GUARD))
        chat.send("bye")
        try:
            code = chat.recv(GUARD), "no end"
        except ConnectionClosed as end:
            code = end.rcvd.code, end.rcvd.reason
        check(f"{how}: the server closes, and says why", code == (4001, "as you say"), code)
    with opened("/") as chat:
        chat.close(4002, "enough")
        end = chat.close_code, chat.close_reason
        check(f"{how}: the client closes, and is answered", end == (4002, "enough"), end)
    try:
        opened("/denied").close()
        code = "an upgrade"
    except InvalidStatus as refused:
        code = refused.response.status_code
    check(f"{how}: a refusal is the answer of its rule", code == 403, code)


keys = Folder()
cert, key = certificate(keys, HOST)
with serve(echo, "127.0.0.1", 0, subprotocols=["chat"], max_size=None) as origin:
    threading.Thread(target=origin.serve_forever, daemon=True).start()
    folder = Folder()
    folder.write("chat.yaml", CONFIG.replace("CERT", str(cert)).replace("KEY", str(key)))
    http, https = free_port(), free_port()
    ports = ["--map-port", f"80:{http}", "--map-port", f"443:{https}"]
    backend = f"chat=127.0.0.1:{origin.socket.getsockname()[1]}"
    with Limen("run", folder.path, *ports, "--backend", backend).ready() as gateway:
        converse("WebSocket", http)
        converse("WebSocket in TLS", https, ssl=ssl.create_default_context(cafile=cert))
    origin.shutdown()
finish()
