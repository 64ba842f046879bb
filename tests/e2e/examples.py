#!/usr/bin/env python3
"""The READMEs of the examples, followed to the letter: their shell blocks are run, on other ports."""

import os
import pathlib
import re
import shutil
import signal
import subprocess
import tempfile

from e2e import GUARD, ROOT, Limen, check, finish, free_port

BLOCK = re.compile(r"^```sh\n(.*?)^```$", re.M | re.S)


def moved(text, ports):
    """The text with other ports."""
    for port, other in ports.items():
        text = text.replace(port, other)
    return text


def follow(name):
    """Runs the blocks before `limen run`, starts it, runs those after; returns what the last ones said."""
    text = (ROOT / "examples" / name / "README.md").read_text()
    ports = {port: str(free_port()) for port in ["9001", "9002", "8080", "8443"]}
    text = moved(text, ports)
    blocks = BLOCK.findall(text)
    at = next(n for n, block in enumerate(blocks) if block.startswith("limen run"))
    said = []
    with tempfile.TemporaryDirectory() as home:
        shutil.copytree(ROOT / "examples", pathlib.Path(home) / "examples")
        for file in (pathlib.Path(home) / "examples" / name).glob("*.yaml"):
            file.write_text(moved(file.read_text(), ports))
        # One shell for all that stays in the background, so that it can be ended.
        before = "\n".join(blocks[:at])
        shell = subprocess.Popen(
            ["bash", "-e"], stdin=subprocess.PIPE, cwd=home, text=True, start_new_session=True,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        shell.stdin.write(f"{before}\ntouch done\nwait\n")
        shell.stdin.close()
        try:
            while not (pathlib.Path(home) / "done").exists() and shell.poll() is None:
                os.sched_yield()
            command = blocks[at].replace("\\\n", " ").split()
            with Limen(*command[1:], wrap=["env", "-C", home]).ready() as gateway:
                for block in blocks[at + 1 :]:
                    # The backends may still be starting; the second try of a newcomer succeeds as well.
                    block = block.replace("curl ", "curl --retry 30 --retry-all-errors --retry-delay 1 -f ")
                    done = subprocess.run(["bash", "-c", block], cwd=home, capture_output=True, text=True, timeout=GUARD * 2)
                    said.append(done.stdout + done.stderr)
                told = re.search(r"^(error|warning)\[", gateway.output(), re.M)
                check(f"{name}: no problem is told", not told, gateway.output())
        finally:
            if shell.poll() is None:
                os.killpg(shell.pid, signal.SIGTERM)
            shell.wait()
    return "\n".join(said)


said = follow("canary-90-10")
counts = re.findall(r"^\s*(\d+) the (\w+) shop", said, re.M)
shares = {version: int(count) for count, version in counts}
check("canary-90-10: most go to the stable version", shares.get("stable", 0) > 70, said)
check("canary-90-10: a hundred answers", sum(shares.values()) == 100, said)
said = follow("tls-termination")
check("tls-termination: the page comes over TLS", "the stable shop" in said, said)
check("tls-termination: plain HTTP is redirected", "301" in said and "location: https://" in said.lower(), said)
said = follow("hello-world")
check("hello-world: three answers by path", re.findall(r"hello from v(\d)", said) == ["1", "2", "2"], said)
said = follow("several-gateways")
check("several-gateways: three answers", said.count("the stable shop") == 3, said)
said = follow("tcp-and-sni")
check("tcp-and-sni: the page comes over TCP", "the stable shop" in said, said)
check("tcp-and-sni: the vault answers itself", "s_server" in said, said)
for name in ["edge-nodeport", "systemd", "replace-sidecar"]:
    said = follow(name)
    check(f"{name}: the page comes", "the stable shop" in said, said)
said = follow("egress-external-host")
check("egress-external-host: the weather comes in", said.count("sunny") == 2, said)
finish()
