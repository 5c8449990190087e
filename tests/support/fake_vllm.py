#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""`vllm` for tests of what is passed through: says what it was asked, byte for byte.

    vllm serve MODEL [OPTIONS] --port N

    GET  /v1/models       lists MODEL           /echo...   the request as it arrived, its own head and body
    ANY  /stream          events, one a chunk   /hang      a head and one event, then nothing until the client leaves
    GET  /left            how many have left    /flood     64 MiB, as fast as they are read; /sent: how much went out
    options: --die CODE (before it listens), --never (listens), --noise N (lines of output)
"""

import json
import socket
import sys
import threading

EVENTS = [b"data: one\n\n", b"data: t", b"wo\n\n: comment\n", b"\ndata: \xf0\x9f\x98\x80\n\n", b"data: [DONE]\n\n"]
FLOOD = 64 << 20
counts = {"left": 0, "sent": 0}


def read_request(connection):
    data = b""
    while b"\r\n\r\n" not in data:
        piece = connection.recv(65536)
        if not piece:
            return None, b""
        data += piece
    head, _, body = data.partition(b"\r\n\r\n")
    length = next((int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")), 0)
    while len(body) < length:
        body += connection.recv(65536)
    return head, body


def answer(connection, body, kind=b"application/json", status=b"200 OK", more=b""):
    head = b"HTTP/1.1 %s\r\nContent-Type: %s\r\nContent-Length: %d\r\n%s\r\n" % (status, kind, len(body), more)
    connection.sendall(head + body)


def stream(connection, pieces):
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
    for piece in pieces:
        connection.sendall(b"%x\r\n%s\r\n" % (len(piece), piece))


def flood(connection):
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nContent-Length: %d\r\n\r\n" % FLOOD)
    for _ in range(FLOOD // 65536):
        connection.sendall(b"x" * 65536)
        counts["sent"] += 65536


def serve_one(connection, model, head, body):
    method, path = head.split(b" ")[:2]
    path = path.partition(b"?")[0]
    if path == b"/v1/models":
        answer(connection, json.dumps({"object": "list", "data": [{"id": model, "object": "model"}]}).encode())
    elif path.startswith(b"/echo"):
        echoed = head + b"\r\n\r\n" + body
        answer(connection, b"" if method == b"HEAD" else echoed, b"text/x-echo; charset=latin-1", b"207 Multi",
               b"ETag: \"7\"\r\nServer: fake\r\n")
    elif path == b"/page":
        answer(connection, b"<html>docs</html>", b"text/html", b"418 I'm a teapot")
    elif path == b"/stream":
        stream(connection, EVENTS)
        connection.sendall(b"0\r\n\r\n")
    elif path == b"/cut":
        stream(connection, EVENTS[:1])
        return False
    elif path == b"/hang":
        stream(connection, EVENTS[:1])
        connection.recv(1)
        counts["left"] += 1
        return False
    elif path == b"/flood":
        flood(connection)
    elif path in (b"/left", b"/sent"):
        answer(connection, str(counts[path[1:].decode()]).encode())
    else:
        answer(connection, b'{"detail":"Not Found"}', status=b"404 Not Found")
    return True


def serve(connection, model):
    try:
        while True:
            head, body = read_request(connection)
            if head is None or not serve_one(connection, model, head, body):
                return
    except OSError:
        counts["left"] += 1
    finally:
        connection.close()


def option(name, otherwise=None):
    return sys.argv[sys.argv.index(name) + 1] if name in sys.argv else otherwise


def main():
    model = sys.argv[2]
    print("args", json.dumps(sys.argv[1:]), flush=True)
    for number in range(int(option("--noise", "0"))):
        print("line", number, "x" * 100)
    sys.stdout.flush()
    if option("--die"):
        print("ValueError: no such weights", flush=True)
        sys.exit(int(option("--die")))
    if "--never" in sys.argv:
        threading.Event().wait()
    listener = socket.create_server((option("--host", "0.0.0.0"), int(option("--port"))))
    while True:
        connection, _ = listener.accept()
        threading.Thread(target=serve, args=(connection, model), daemon=True).start()


if __name__ == "__main__":
    main()
