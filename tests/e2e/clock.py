#!/usr/bin/env python3
"""The system's clock is set while requests are under way. Only the gateway sees it set: what it asks the system for goes
through a library that is loaded before the system's own."""

import datetime
import http.client
import json
import os
import pathlib
import socket
import struct
import sys
import tempfile
import threading
import time

from e2e import EDGE, GUARD, Folder, Limen, check, finish, free_port, run

DAY = 24 * 3600
LIBRARY = r"""
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static volatile long long *seconds;

__attribute__((constructor)) static void begin(void) {
    const char *path = getenv("SET_CLOCK");
    int file = path ? open(path, O_RDONLY) : -1;
    void *page = file < 0 ? MAP_FAILED : mmap(0, sizeof *seconds, PROT_READ, MAP_SHARED, file, 0);
    if (page == MAP_FAILED) abort();
    seconds = page;
}

int clock_gettime(clockid_t which, struct timespec *to) {
    int failed = syscall(SYS_clock_gettime, which, to);
    if (!failed && (which == CLOCK_REALTIME || which == CLOCK_REALTIME_COARSE)) to->tv_sec += *seconds;
    return failed;
}

int gettimeofday(struct timeval *to, void *zone) {
    struct timespec now;
    int failed = clock_gettime(CLOCK_REALTIME, &now);
    (void)zone;
    to->tv_sec = now.tv_sec;
    to->tv_usec = now.tv_nsec / 1000;
    return failed;
}

time_t time(time_t *to) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (to) *to = now.tv_sec;
    return now.tv_sec;
}
"""
CONFIG = (
    EDGE
    + """---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: shop}
spec:
  hosts: ["*"]
  gateways: [edge]
  http:
  - {match: [{uri: {exact: /local}}], directResponse: {status: 200, body: {string: local}}}
  - {match: [{uri: {prefix: /silent}}], timeout: 1s, retries: {attempts: 0}, route: [{destination: {host: shop}}]}
  - {timeout: 3600s, retries: {attempts: 0}, route: [{destination: {host: shop}}]}
---
{apiVersion: v1, kind: Service, metadata: {name: shop}, spec: {ports: [{name: http, port: 80}]}}
"""
)


class Origin:
    """Answers; `/held…` when it is released, `/silent…` never."""

    def __init__(self):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.reached, self.release = threading.Semaphore(0), threading.Semaphore(0)
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            threading.Thread(target=self._serve, args=self.listener.accept()[:1], daemon=True).start()

    def _serve(self, connection):
        unread = b""
        while True:
            while b"\r\n\r\n" not in unread:
                more = connection.recv(4096)
                if not more:
                    return
                unread += more
            head, unread = unread.split(b"\r\n\r\n", 1)
            path = head.split(b" ")[1]
            if path.startswith(b"/silent"):
                continue
            if path.startswith(b"/held"):
                self.reached.release()
                self.release.acquire()
            connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")


def ask(connection, path):
    """The status, and the `date` of an answer."""
    try:
        connection.request("GET", path, headers={"Host": "shop.example.com"})
        answer = connection.getresponse()
        answer.read()
        return answer.status, answer.getheader("date")
    except (OSError, http.client.HTTPException) as error:
        return repr(error), None


def days_off(text, form):
    """By how many days a time differs from what it is."""
    then = datetime.datetime.strptime(text, form).replace(tzinfo=datetime.timezone.utc)
    return round((then - datetime.datetime.now(datetime.timezone.utc)).total_seconds() / DAY)


def until(what, holds):
    end = time.monotonic() + GUARD
    while not holds():
        if time.monotonic() > end:
            sys.exit(f"not ok - waited for {what}")
        os.sched_yield()


with tempfile.TemporaryDirectory() as place:
    place = pathlib.Path(place)
    (place / "clock.c").write_text(LIBRARY)
    (place / "set").write_bytes(struct.pack("q", 0))
    code, _, err = run("cc", "-shared", "-fPIC", "-O1", "-o", place / "clock.so", place / "clock.c")
    check("the library is built", code == 0, err)
    origin, folder, port = Origin(), Folder(), free_port()
    folder.write("shop.yaml", CONFIG)
    wrap = ["env", f"LD_PRELOAD={place}/clock.so", f"SET_CLOCK={place}/set"]
    flags = ["--bind", "127.0.0.1", "--map-port", f"80:{port}", "--workers", "1"]
    flags += ["--backend", f"shop=127.0.0.1:{origin.port}"]
    log = place / "access.log"
    with Limen("run", folder.path, *flags, "--access-log", "json", "--access-log-file", log, wrap=wrap) as gateway:
        gateway.ready()
        client = lambda: http.client.HTTPConnection("127.0.0.1", port, timeout=GUARD)  # noqa: E731
        idle = client()
        check("it serves", ask(idle, "/before")[0] == 200)
        for days in (10, -10, 0):
            name, answers = f"by {days} days", []
            busy = threading.Thread(target=lambda: answers.append(ask(client(), "/held")))
            busy.start()
            check(f"{name}: a request is under way", origin.reached.acquire(timeout=GUARD))
            (place / "set").write_bytes(struct.pack("q", days * DAY))
            date = lambda: days_off(ask(idle, "/local")[1], "%a, %d %b %Y %H:%M:%S GMT")  # noqa: E731
            until(f"the date {name}", lambda: date() == days)
            check(f"{name}: `date` follows, on the connection that was there", True)
            asked = ask(idle, f"/line/{days}")
            check(f"{name}: what comes is served", asked[0] == 200, asked)
            line = lambda: [json.loads(one) for one in log.read_text().splitlines() if f"/line/{days}" in one]  # noqa: E731
            until("its line", line)
            off = days_off(line()[0]["start_time"], "%Y-%m-%dT%H:%M:%S.%fZ")
            check(f"{name}: so does the access log", off == days, line()[0])
            check(f"{name}: a time that passes is as long as ever", ask(client(), "/silent")[0] == 504)
            check(f"{name}: what was under way is so still", not answers, answers)
            origin.release.release()
            busy.join(GUARD)
            check(f"{name}: and is answered", [status for status, _ in answers] == [200], answers)
        panics = gateway.get(gateway.metrics, "/stats/prometheus").split("\nlimen_panics_total ")[1].split()[0]
        check("nothing panics", panics == "0", panics)
        check("and the process ends well", gateway.stop() == 0, gateway.output()[-500:])
finish()
