"""What the end-to-end scripts share: a gateway process, ports of the kernel's choice, and a way to say what held.

A script prints one line for each thing that it looked at, `ok - …` or `not ok - …`, and exits with 1 if one did not
hold. It is told the binary by the environment variable LIMEN. It waits for events, never for a while.
"""

import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
LIMEN = os.environ.get("LIMEN") or sys.exit("set LIMEN to the binary")
GUARD = 60  # seconds; longer than anything that works takes
failed = 0
held = []  # the sockets that hold free ports


def check(what, held, detail=""):
    """Says whether something held."""
    global failed
    if held:
        print(f"ok - {what}", flush=True)
    else:
        failed += 1
        print(f"not ok - {what}: {str(detail).strip()[:2000]}", flush=True)


def finish():
    sys.exit(1 if failed else 0)


def free_port():
    """A port that is free, and stays so for servers that this script starts.

    It is bound until the script ends, so that the kernel gives it to no connection and to no other program that asks for
    any port; but nobody listens there, so that a server with SO_REUSEADDR can. It is bound on all addresses: a client's
    connection that lingers on 127.0.0.2 leaves a port free on 127.0.0.1, but not for a server on 0.0.0.0.
    """
    s = socket.socket()
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    s.bind(("0.0.0.0", 0))
    held.append(s)
    return s.getsockname()[1]


def run(*command, **kw):
    """Runs a command to its end; returns its exit code and what it said."""
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True, timeout=GUARD, **kw)
    return done.returncode, done.stdout, done.stderr


def shell(line, **kw):
    return run("bash", "-c", line, **kw)


class Limen:
    """A gateway process. `with Limen("run", folder) as gateway:`; its own ports are free ones unless given."""

    def __init__(self, *arguments, wrap=(), ports=True):
        self.readiness, self.admin, self.metrics = free_port(), free_port(), free_port()
        own = []
        if ports:
            for flag, port in [("--readiness", self.readiness), ("--admin", self.admin), ("--metrics", self.metrics)]:
                own += [flag, f"127.0.0.1:{port}"]
        command = [*wrap, LIMEN, *arguments, *own]
        self.said = []
        self.grown = threading.Condition()
        self.process = subprocess.Popen(
            [str(c) for c in command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=ROOT
        )
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self):
        for line in self.process.stdout:
            with self.grown:
                self.said.append(line)
                self.grown.notify_all()
        with self.grown:
            self.said.append("\x04")
            self.grown.notify_all()

    def output(self):
        return "".join(self.said)

    def says(self, pattern):
        """Waits until its output matches; returns the match, or None if it ended or never said so."""
        found = lambda: re.search(pattern, self.output()) or "\x04" in self.said[-1:]  # noqa: E731
        with self.grown:
            self.grown.wait_for(found, GUARD)
        return re.search(pattern, self.output())

    def ready(self):
        """Waits until readiness says yes."""
        end = time.monotonic() + GUARD
        while time.monotonic() < end and self.process.poll() is None:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{self.readiness}/healthz/ready", timeout=5) as answer:
                    if answer.status == 200:
                        return self
            except OSError:
                # Not yet: give the processor to those who start it.
                os.sched_yield()
        sys.exit(f"not ok - the gateway gets ready: {self.output()}")

    def get(self, port, path):
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=GUARD) as answer:
            return answer.read().decode()

    def stop(self, how=signal.SIGTERM):
        """Ends it; returns its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(how)
        return self.ended()

    def ended(self):
        """Waits for its end; returns its exit code, or None if it had to be killed."""
        try:
            return self.process.wait(GUARD)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            return None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()


class Folder:
    """A folder of configuration that ends with the script."""

    def __init__(self):
        self.keeper = tempfile.TemporaryDirectory()
        self.path = pathlib.Path(self.keeper.name)

    def write(self, name, text):
        aside = self.path / f".{name}.aside"
        aside.write_text(text)
        aside.rename(self.path / name)


def certificate(folder, name):
    """Makes a certificate that is its own authority; returns its file and that of its key."""
    pair = folder.path / "cert.pem", folder.path / "key.pem"
    make = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=edge"
    code, out, err = run(*make.split(), "-addext", f"subjectAltName=DNS:{name}", "-keyout", pair[1], "-out", pair[0])
    if code:
        sys.exit(f"not ok - openssl makes a certificate: {err}")
    return pair


def demo(*more):
    """`limen demo` on free ports, ready; returns it with its HTTP and HTTPS port."""
    http, https = free_port(), free_port()
    gateway = Limen("demo", "--map-port", f"8080:{http}", "--map-port", f"8443:{https}", *more)
    gateway.ready()
    return gateway, http, https


EDGE = """
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: edge}
spec:
  selector: {istio: ingressgateway}
  servers: [{port: {number: 80, name: http, protocol: HTTP}, hosts: ["*"]}]
"""


def says(text):
    """A VirtualService that answers with a text."""
    return f"""
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: talk}}
spec:
  hosts: [talk.example.com]
  gateways: [edge]
  http: [{{directResponse: {{status: 200, body: {{string: "{text}"}}}}}}]
"""
