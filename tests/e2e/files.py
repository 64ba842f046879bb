#!/usr/bin/env python3
"""A folder of YAML that is edited, broken and mended under a running gateway, as people do it."""

import os
import shutil

from e2e import EDGE, GUARD, Folder, Limen, check, finish, free_port, run, says

HOST = ["-H", "Host: talk.example.com"]


def ask(port):
    return run("curl", "-sS", "--max-time", "30", *HOST, f"http://127.0.0.1:{port}/")[1]


folder = Folder()
folder.write("edge.yaml", EDGE)
folder.write("talk.yaml", says("one"))
port = free_port()
with Limen("run", folder.path, "--map-port", f"80:{port}").ready() as gateway:
    check("the folder is served", ask(port) == "one", gateway.output())
    folder.write("talk.yaml", says("two").replace("gateways", "gatways"))
    told = gateway.says(r"talk\.yaml:7")
    check("a misspelt field is told with file and line", told, gateway.output())
    check("and what was meant", gateway.says(r"gateways"), gateway.output())
    check("the last good version goes on", ask(port) == "one", gateway.output())
    folder.write("talk.yaml", says("three"))
    check("that it is mended is told", gateway.says(r"mended"), gateway.output())
    check("the mended version is served", ask(port) == "three", gateway.output())
    folder.write("other.yaml", "kind: [unclosed\n")
    check("a file that is not YAML is told", gateway.says(r"other\.yaml:\d"), gateway.output())
    check("and harms nothing", ask(port) == "three", gateway.output())
    check("SIGTERM ends it well", gateway.stop() == 0, gateway.output())

code, out, err = run(os.environ["LIMEN"], "run", "/does/not/exist")
check("a path that is not there is a usage error", code == 2 and "/does/not/exist" in out + err, f"{code} {out}{err}")

folder = Folder()
folder.write("edge.yaml", EDGE)
folder.write("talk.yaml", says("one"))
os.chmod(folder.path, 0o755)
binary = folder.path.parent / f"limen-{os.getpid()}"
shutil.copy(os.environ["LIMEN"], binary)
os.chmod(binary, 0o755)
nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"] if os.geteuid() == 0 else []
os.environ["LIMEN"], before = str(binary), os.environ["LIMEN"]
import e2e  # noqa: E402  (the copy is one that an unprivileged user can execute)

e2e.LIMEN = str(binary)
with Limen("run", folder.path, wrap=nobody).ready() as gateway:
    limit = int(open("/proc/sys/net/ipv4/ip_unprivileged_port_start").read())
    expected, wanted = (8080, r"declared port 80 .*moved to 8080") if limit > 80 else (80, r":80  declared port 80")
    check("an unprivileged user is told which port is served", gateway.says(wanted), gateway.output())
    check("and it is served", ask(expected) == "one", gateway.output())
if limit > 80:
    with Limen("run", folder.path, "--strict-ports", wrap=nobody) as gateway:
        told = gateway.says(r"no right to bind \S+:80\b[\s\S]*--map-port 80:")
        check("with --strict-ports nothing is moved, and the mend is told", told, gateway.output())
binary.unlink()
finish()
