#!/usr/bin/env python3
"""Certificates of clients, made by OpenSSL and shown by curl and `openssl s_client`, as Istio's guide for gateways has it."""

import pathlib
import shutil
import tempfile
import time

from e2e import GUARD, Folder, Limen, check, finish, free_port, run, shell

HOST = "httpbin.example.com"
here = pathlib.Path(tempfile.mkdtemp(prefix="limen-clients-"))
SUBJECTS = {"server": f"/CN={HOST}/O=httpbin organization", "ann": "/CN=ann/O=client organization"}
made = [
    "openssl req -x509 -sha256 -nodes -days 2 -newkey rsa:2048 -subj '/O=example Inc./CN=example.com'"
    " -keyout ca.key -out ca.crt",
    "openssl req -x509 -sha256 -nodes -days 2 -newkey rsa:2048 -subj '/O=other/CN=other'"
    " -keyout other.key -out other.crt",
]
for number, (name, subject) in enumerate(SUBJECTS.items()):
    made.append(f"openssl req -nodes -newkey rsa:2048 -subj '{subject}' -keyout {name}.key -out {name}.csr")
    made.append(
        f"openssl x509 -req -sha256 -days 2 -CA ca.crt -CAkey ca.key -set_serial {number} -in {name}.csr"
        f" -extfile <(printf 'subjectAltName=DNS:{name}.example.com,DNS:{HOST}') -out {name}.crt"
    )
for line in made:
    code, out, err = shell(line, cwd=here)
    check(f"openssl makes {line.split()[-1]}", code == 0, out + err)

CONFIG = """
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: edge}
spec:
  selector: {istio: ingressgateway}
  servers:
  - port: {number: 443, name: https, protocol: HTTPS}
    hosts: [%s]
    tls:
      mode: %s
      serverCertificate: %s/server.crt
      privateKey: %s/server.key
      caCertificates: %s/ca.crt
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: talk}
spec: {hosts: [%s], gateways: [edge], http: [{directResponse: {status: 200, body: {string: in}}}]}
"""


def config(mode):
    return CONFIG % (HOST, mode, here, here, here, HOST)


def curl(*more):
    where = f"https://{HOST}:{port}/"
    base = ["curl", "-sS", "--max-time", "30", "--cacert", here / "ca.crt", "--resolve", f"{HOST}:{port}:127.0.0.1"]
    return run(*base, *more, where)


def s_client(version, *more):
    """A handshake with one request; returns what OpenSSL said."""
    line = ["openssl", "s_client", "-connect", f"127.0.0.1:{port}", "-servername", HOST, version, "-CAfile", here / "ca.crt"]
    request = f"GET / HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n"
    code, out, err = run(*line, "-ign_eof", *more, input=request)
    return out + err


folder = Folder()
folder.write("edge.yaml", config("SIMPLE"))
port = free_port()
ann = ["--cert", here / "ann.crt", "--key", here / "ann.key"]
other = ["--cert", here / "other.crt", "--key", here / "other.key"]
shown = ["-cert", here / "ann.crt", "-key", here / "ann.key"]
with Limen("run", folder.path, "--map-port", f"443:{port}").ready() as gateway:
    check("SIMPLE asks for nothing", curl()[1] == "in", gateway.output())
    for version in ("-tls1_2", "-tls1_3"):
        said = s_client(version, "-sess_out", here / f"ticket{version}")
        check(f"openssl {version} is served in mode SIMPLE", "HTTP/1.1 200" in said, said)
    folder.write("edge.yaml", config("MUTUAL"))
    end = time.monotonic() + GUARD
    while curl()[0] == 0 and time.monotonic() < end:
        pass
    check("without a certificate nobody comes in once the mode is MUTUAL", curl()[0] != 0, gateway.output())
    for version in ("-tls1_2", "-tls1_3"):
        said = s_client(version, "-sess_in", here / f"ticket{version}")
        check(f"a ticket of SIMPLE opens nothing {version}", "HTTP/1.1 200" not in said, said)
        said = s_client(version)
        check(f"openssl {version} without a certificate is refused", "HTTP/1.1 200" not in said, said)
        said = s_client(version, *shown)
        check(f"openssl {version} with a certificate is served", "HTTP/1.1 200" in said, said)
        check(f"and was told whose certificates are taken {version}", "O = example Inc." in said or "O=example Inc." in said, said)
    for protocol in ("--http1.1", "--http2"):
        check(f"curl {protocol} with a certificate", curl(protocol, *ann)[1] == "in", gateway.output())
        check(f"curl {protocol} without one", curl(protocol)[0] != 0, gateway.output())
        check(f"curl {protocol} with a stranger's", curl(protocol, *other)[0] != 0, gateway.output())
    folder.write("edge.yaml", config("OPTIONAL_MUTUAL"))
    end = time.monotonic() + GUARD
    while curl()[0] != 0 and time.monotonic() < end:
        pass
    check("OPTIONAL_MUTUAL takes those without one", curl()[1] == "in", gateway.output())
    check("and those with one", curl(*ann)[1] == "in", gateway.output())
    check("but not a stranger's", curl(*other)[0] != 0, gateway.output())
shutil.rmtree(here)
finish()
