#!/usr/bin/env python3
"""A gRPC client against origins that speak HTTP/1.1 only, as all do for now: a clean status, never a hang.

Needs the PyPI package grpcio; `.ci/run` starts this with an interpreter that has it.
"""

import grpc

from e2e import check, demo, finish

gateway, http, https = demo()


def call(host):
    """One unary call; returns its status code."""
    options = [("grpc.default_authority", host)]
    with grpc.insecure_channel(f"127.0.0.1:{http}", options=options) as channel:
        echo = channel.unary_unary("/test.Echo/Echo", lambda b: b, lambda b: b)
        try:
            echo(b"hello", timeout=30)
        except grpc.RpcError as error:
            return error.code(), error.details()
    return None, "an answer"


with gateway:
    code, details = call("httpbin.example.com")
    clean = {grpc.StatusCode.UNIMPLEMENTED, grpc.StatusCode.UNKNOWN, grpc.StatusCode.UNAVAILABLE}
    check("gRPC: an origin without gRPC gives a status", code in clean, f"{code} {details}")
    code, details = call("nobody.example.com")
    check("gRPC: an absent host is UNIMPLEMENTED", code == grpc.StatusCode.UNIMPLEMENTED, f"{code} {details}")
finish()
