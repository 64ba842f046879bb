#!/usr/bin/env python3
"""curl in all the ways that people use it."""

import json

from e2e import Folder, check, demo, finish, run

HOST = "httpbin.example.com"
gateway, http, https = demo()


def curl(*arguments, **kw):
    return run("curl", "-sS", "--max-time", "30", *arguments, **kw)


with gateway:
    gateway.says(r"Ctrl-C")
    authority = next(word for word in gateway.output().split() if word.endswith("ca.pem"))
    plain = f"http://127.0.0.1:{http}"
    host = ["-H", f"Host: {HOST}"]
    resolve = ["--cacert", authority, "--resolve", f"{HOST}:{https}:127.0.0.1"]
    status = ["-o", "/dev/null", "-w", "%{http_code} %{http_version}"]
    secure = f"https://{HOST}:{https}"

    for name, expected, arguments in [
        ("HTTP/1.1", "200 1.1", ["--http1.1", *host, f"{plain}/get"]),
        ("HTTP/1.0", "200 1.", ["--http1.0", *host, f"{plain}/get"]),
        ("HTTP/2 by prior knowledge", "200 2", ["--http2-prior-knowledge", *host, f"{plain}/get"]),
        ("HTTP/2 by ALPN", "200 2", ["--http2", *resolve, f"{secure}/get"]),
        ("HTTP/1.1 in TLS", "200 1.1", ["--http1.1", *resolve, f"{secure}/get"]),
        ("TLS 1.2", "200 2", ["--tls-max", "1.2", *resolve, f"{secure}/get"]),
        ("an absent host", "404 1.1", ["-H", "Host: nobody.example.com", f"{plain}/"]),
        ("HEAD", "200 1.1", ["-I", *host, f"{plain}/get"]),
        ("a status of the origin", "418 1.1", [*host, f"{plain}/status/418"]),
    ]:
        code, out, err = curl(*status, *arguments)
        check(f"curl: {name}", code == 0 and out.startswith(expected), f"{code} {out!r} {err}")

    code, out, err = curl(*host, f"{plain}/anything/a%20b?x=1")
    seen = json.loads(out or "{}")
    check("curl: the origin sees path and query", (seen.get("query")) == "x=1", out)
    headers = {name.lower(): value for name, value in seen.get("headers", {}).items()}
    expected = {"x-forwarded-for", "x-forwarded-proto", "x-request-id"}
    check("curl: the origin sees who asked", expected <= headers.keys(), headers)

    folder = Folder()
    big = folder.path / "big"
    big.write_bytes(b"x" * (4 << 20))
    for version, target in [("--http1.1", [*host, f"{plain}/post"]), ("--http2", [*resolve, f"{secure}/post"])]:
        code, out, err = curl(version, "--data-binary", f"@{big}", *target)
        length = json.loads(out or "{}").get("body", {}).get("length") if code == 0 else None
        check(f"curl: 4 MiB up with {version}", length == 4 << 20, f"{code} {out[:200]} {err}")
        code, out, err = curl(version, "-H", "Transfer-Encoding: chunked", "-d", "@/dev/null", *target)
        check(f"curl: an empty chunked body with {version}", code == 0, f"{code} {err}")
    target = [*host, f"{plain}/bytes/3000000"]
    code, out, err = curl("-o", "/dev/null", "-w", "%{size_download}", *target)
    check("curl: 3 MB down", out == "3000000", f"{code} {out} {err}")
    code, out, err = curl("-H", "Expect: 100-continue", "-d", "hello", *host, f"{plain}/post")
    check("curl: Expect: 100-continue", code == 0 and "hello" in out, f"{code} {out} {err}")

    unknown = ["--cacert", authority, "--resolve", f"other.example.com:{https}:127.0.0.1"]
    code, out, err = curl(*unknown, f"https://other.example.com:{https}/")
    check("curl: an unknown server name gets no handshake", code == 35, f"{code} {out} {err}")
    code, out, err = curl("--resolve", f"{HOST}:{https}:127.0.0.1", f"{secure}/get")
    check("curl: who does not trust the authority is warned", code == 60, f"{code} {out} {err}")
finish()
