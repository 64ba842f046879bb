#!/usr/bin/env python3
"""A disk that is really full under the access log: a small tmpfs, in a mount namespace of the gateway's own."""

import http.client
import json
import os
import pathlib
import random
import sys
import tempfile
import time

from e2e import EDGE, GUARD, Folder, Limen, check, finish, free_port, run, says

HOST = "talk.example.com"
# Of 256 KiB what takes the rest is taken away by and by, so that the log ends at places of the disk's choice.
MOUNT = 'mount -t tmpfs -o size=256k limen "$0" && head -c 192k /dev/zero > "$0/filler" && exec "$@"'
ROUNDS = 5


def namespace(place):
    """What to start the gateway with, by whatever right there is to mount."""
    said = []
    for rights in ([], ["--user", "--map-root-user"]):
        wrap = ["unshare", *rights, "--mount", "sh", "-c", MOUNT, place]
        code, _, err = run(*wrap, "true")
        if code == 0:
            return wrap
        said.append(err)
    check("a small disk can be mounted (as root, or in a user namespace)", False, "".join(said))
    finish()


def metric(gateway, name):
    page = gateway.get(gateway.metrics, "/stats/prometheus")
    return sum(float(line.split()[-1]) for line in page.splitlines() if line.split(" ")[0] == name)


def written(gateway):
    return metric(gateway, "limen_access_log_lines_written_total")


def lost(gateway):
    return metric(gateway, "limen_access_log_lines_lost_total")


def until(what, holds):
    end = time.monotonic() + GUARD
    while not holds():
        if time.monotonic() > end:
            sys.exit(f"not ok - waited for {what}")
        os.sched_yield()


class Client:
    """Asks on a connection that stays, each time for a path of its own."""

    def __init__(self, port):
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=GUARD)
        self.dice = random.Random(1)
        self.asked = 0
        self.failed = []

    def ask(self, times=1):
        for _ in range(times):
            path = f"/{self.asked}/{'x' * self.dice.randrange(400)}"
            self.asked += 1
            try:
                self.connection.request("GET", path, headers={"Host": HOST})
                answer = self.connection.getresponse()
                answer.read()
                if answer.status != 200:
                    self.failed.append(f"{path}: {answer.status}")
            except OSError as error:
                self.failed.append(f"{path}: {error}")
                self.connection.close()


with tempfile.TemporaryDirectory() as place:
    wrap = namespace(place)
    folder, port = Folder(), free_port()
    folder.write("edge.yaml", EDGE + "---" + says("hello"))
    flags = ["--bind", "127.0.0.1", "--map-port", f"80:{port}", "--workers", "1"]
    log = ["--access-log", "json", "--access-log-file", f"{place}/access.log"]
    with Limen("run", folder.path, *flags, *log, wrap=wrap) as gateway:
        gateway.ready()
        # The disk as the gateway sees it; nobody else does.
        disk = pathlib.Path(f"/proc/{gateway.process.pid}/root{place}")
        client, torn = Client(port), 0
        for nth in range(ROUNDS):
            before = lost(gateway)
            until("lost lines", lambda: client.ask(50) or lost(gateway) > before)
            torn += not (disk / "access.log").read_bytes().endswith(b"\n")
            client.ask(200)
            os.truncate(disk / "filler", (192 - 16 * (nth + 1)) << 10)
        errors = metric(gateway, "limen_access_log_errors_total")
        check("a disk that is full is an error", errors >= ROUNDS, errors)
        check("a line was written in part", torn > 0)
        (disk / "filler").unlink()
        # Whatever comes from now on has room; what is on its way may have come before.
        until("every line", lambda: written(gateway) + lost(gateway) >= client.asked)
        before = lost(gateway)
        client.ask(50)
        until("every line", lambda: written(gateway) + lost(gateway) >= client.asked)
        check("no request waits or fails", not client.failed, client.failed[:5])
        check("with room, no line is lost", lost(gateway) == before, f"{lost(gateway)}, {before} before")
        there, gone = written(gateway), lost(gateway)
        check("every line is counted once", there + gone == client.asked, f"{there} + {gone} of {client.asked}")
        text = (disk / "access.log").read_text()
        numbers, halves = [], []
        for line in text.splitlines():
            try:
                numbers.append(int(json.loads(line)["path"].split("/")[1]))
            except ValueError:
                halves.append(line)
        check("no line is there in part", not halves and text.endswith("\n"), halves[:3])
        check("as many are there as are said to be", len(numbers) == there, f"{len(numbers)} of {there}")
        check("in their order, each once", numbers == sorted(set(numbers)), numbers)
        check("to the last", numbers[-50:] == list(range(client.asked - 50, client.asked)), numbers[-50:])
        check("and the process ends well", gateway.stop() == 0, gateway.output()[-500:])
finish()
