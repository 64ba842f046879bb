"""What the scripts that speak bytes share: an origin that keeps what it is told, and a gateway in front of it."""

import socket
import threading

from e2e import EDGE, GUARD, Folder, Limen, certificate, free_port

ROUTE = """
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: all}
spec:
  hosts: ["*"]
  gateways: [edge]
  http: [{route: [{destination: {host: origin.default.svc.cluster.local, port: {number: 80}}}]}]
---
apiVersion: v1
kind: Service
metadata: {name: origin}
spec: {ports: [{port: 80, name: http}]}
"""
MESH = """
apiVersion: v1
kind: ConfigMap
metadata: {name: istio, namespace: istio-system}
data: {mesh: "%s"}
"""
SECURE = """
  - {port: {number: 443, name: https, protocol: HTTPS}, hosts: ["*"], tls: {mode: SIMPLE, serverCertificate: %s, privateKey: %s}}
"""


class Origin:
    """Keeps the bytes of each connection. `answer(bytes so far)` says what to send back, once it says anything, and whether
    to close then."""

    def __init__(self, answer):
        self.answer = answer
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.port = self.listener.getsockname()[1]
        self.lock = threading.Lock()
        self.heard, self.pieces = [], []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            connection, _ = self.listener.accept()
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection):
        heard, taken = bytearray(), 0
        with self.lock:
            self.heard.append(heard)
        connection.settimeout(GUARD)
        try:
            while piece := connection.recv(65536):
                with self.lock:
                    heard += piece
                    self.pieces.append((id(heard), piece))
                while (answer := self.answer(bytes(heard[taken:]))) is not None:
                    length, reply, close = answer
                    taken += length
                    connection.sendall(reply)
                    if close:
                        return
        except OSError:
            pass
        finally:
            connection.close()

    def news(self):
        """What was heard since the last time, in its order: each piece with its connection."""
        with self.lock:
            pieces, self.pieces = self.pieces, []
        return pieces

    def take(self):
        """What was heard since the last time, a text for each connection."""
        with self.lock:
            heard, self.heard = [bytes(one) for one in self.heard], []
        return heard


def edge(origin, *more, secure=False, mesh=None):
    """A gateway that sends everything to the origin, ready; returns it with its HTTP and HTTPS port. `mesh` is what the
    mesh configuration says."""
    folder = Folder()
    text = EDGE.rstrip()
    if secure:
        pair = certificate(folder, "localhost")
        listed = "servers: [{port: {number: 80, name: http, protocol: HTTP}, hosts: [\"*\"]}]"
        spread = "servers:\n  - {port: {number: 80, name: http, protocol: HTTP}, hosts: [\"*\"]}" + (SECURE % pair).rstrip()
        text = text.replace(listed, spread)
    folder.write("edge.yaml", f"{text}\n---{ROUTE}")
    if mesh:
        folder.write("mesh.yaml", MESH % mesh)
    http, https = free_port(), free_port()
    ports = ["--map-port", f"80:{http}", "--map-port", f"443:{https}"]
    gateway = Limen("run", folder.path, "--bind", "127.0.0.1", *ports, "--backend", f"origin.default=127.0.0.1:{origin.port}", *more)
    gateway.folder = folder
    return gateway.ready(), http, https
