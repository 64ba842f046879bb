#!/usr/bin/env python3
"""The tutorial's YAML with no backends: what a newcomer is told, and that the told line works when pasted."""

import re
import shlex
import subprocess

from e2e import EDGE, Folder, Limen, check, finish, free_port, run

TUTORIAL = (
    EDGE
    + """
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: myd}
spec: {replicas: 2}
---
apiVersion: v1
kind: Service
metadata: {name: my-service}
spec: {selector: {app: myd}, type: LoadBalancer, ports: [{protocol: TCP, port: 80, targetPort: 80}]}
---
apiVersion: networking.istio.io/v1beta1
kind: DestinationRule
metadata: {name: my-service-dr}
spec:
  host: my-service
  subsets:
  - {name: one, labels: {version: one}}
  - {name: two, labels: {version: two}}
---
apiVersion: networking.istio.io/v1alpha3
kind: VirtualService
metadata: {name: my-service-vs}
spec:
  hosts: ["*"]
  gateways: [edge]
  http:
  - route:
    - {destination: {host: my-service, subset: one}, weight: 90}
    - {destination: {host: my-service, subset: two}, weight: 10}
"""
)

folder, port = Folder(), free_port()
folder.write("tutorial.yaml", TUTORIAL)
arguments = ["run", folder.path, "--map-port", f"80:{port}"]
ask = ["curl", "-sS", "--max-time", "30", f"http://127.0.0.1:{port}/"]
with Limen(*arguments).ready() as gateway:
    check("a Service without endpoints is 503", run(*ask)[1] == "no healthy upstream", gateway.output())
    check("the flag to paste is printed", gateway.says(r"--backend my-service\S*version=one=\S+"), gateway.output())
    printed = re.findall(r"--backend (my-service\S*)=[\d.]+:\d+", gateway.output())
    check("for both subsets", len(set(printed)) >= 2, gateway.output())


def serve(port):
    """A web server such as a newcomer has at hand."""
    command = ["python3", "-m", "http.server", str(port), "--bind", "127.0.0.1"]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


# Python may take a moment to listen; curl tries again until then.
patient = ["curl", "-sS", "--retry", "30", "--retry-all-errors", "--retry-delay", "1", "-f", ask[-1]]
backends = []
servers = []
for flag in sorted(set(printed)):
    origin = free_port()
    servers.append(serve(origin))
    backends += ["--backend", f"{flag}=127.0.0.1:{origin}"]
try:
    with Limen(*arguments, *backends).ready() as gateway:
        code, out, err = run(*patient)
        check("pasted, it serves", code == 0 and "Directory listing" in out, f"{out} {err} {gateway.output()}")
    # To the letter: the line means this machine and the port of the Service, so a server there is all that is missing.
    origin = free_port()
    folder.write("tutorial.yaml", TUTORIAL.replace("port: 80, targetPort: 80", f"port: {origin}"))
    with Limen(*arguments).ready() as gateway:
        gateway.says(r"(?s)(--backend \S+.*){2}")
        lines = sorted(set(re.findall(r"--backend \S+", gateway.output())))
        check("the flags name the port of the Service", len(lines) == 2 and f":{origin}" in lines[0], gateway.output())
    servers.append(serve(origin))
    with Limen(*arguments, *shlex.split(" ".join(lines))).ready() as gateway:
        code, out, err = run(*patient)
        check("pasted to the letter, it serves", code == 0 and "Directory listing" in out, f"{out} {err}")
        told = re.search(r"^(error|warning)\[", gateway.output(), re.M)
        check("and no problem is left", not told, gateway.output())
    # In another namespace, and a Service whose port the gateway itself binds: the line still works as it stands.
    folder.write("tutorial.yaml", TUTORIAL.replace("port: 80, targetPort: 80", f"port: {port}"))
    elsewhere = [*arguments, "--namespace", "shop"]
    with Limen(*elsewhere).ready() as gateway:
        gateway.says(r"(?s)(--backend \S+.*){2}")
        lines = sorted(set(re.findall(r"--backend \S+", gateway.output())))
    target = int(re.search(r"=127\.0\.0\.1:(\d+)$", lines[0]).group(1))
    check("the flag does not lead back to the gateway", target != port, str(lines))
    servers.append(serve(target))
    with Limen(*elsewhere, *shlex.split(" ".join(lines))).ready() as gateway:
        code, out, err = run(*patient)
        check("pasted in another namespace, it serves", code == 0 and "Directory listing" in out, f"{out} {err}")
        told = re.search(r"^(error|warning)\[", gateway.output(), re.M)
        check("and there too no problem is left", not told, gateway.output())
finally:
    for server in servers:
        server.kill()
finish()
