# SPDX-License-Identifier: Apache-2.0
"""Many raw connections at a time from one thread.

    answers = swarm(gateway.port, [http("POST", path, body) for body in bodies], connections=64)

Each connection takes the next request when its answer is complete: by its Content-Length, or by its end. Answers come
in the order of the requests, as bytes. Standard library only.
"""

import re
import resource
import select
import socket
import time

LENGTH = re.compile(rb"^content-length: *(\d+)\r$", re.I | re.M)
CLOSE = re.compile(rb"^connection: *close\r$", re.I | re.M)


def raise_descriptors(wanted=4096):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(wanted, hard), hard))


class _Member:
    def __init__(self, address):
        self.address, self.sock, self.index = address, None, None

    def open(self):
        self.sock = socket.socket(socket.AF_INET)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock.connect(self.address)
        self.sock.setblocking(False)

    def begin(self, index, request):
        """The request is small, or the other side reads: sent at once."""
        self.index, self.pieces, self.size, self.need, self.closes = index, [], 0, None, False
        self.sock.setblocking(True)
        self.sock.sendall(request)
        self.sock.setblocking(False)

    def take(self, piece):
        self.pieces.append(piece)
        self.size += len(piece)
        if self.need is None:
            data = b"".join(self.pieces)
            head, end, _ = data.partition(b"\r\n\r\n")
            if end:
                length = LENGTH.search(head + b"\r\n")
                self.closes = bool(CLOSE.search(head + b"\r\n"))
                self.need = len(head) + 4 + int(length[1]) if length else 1 << 62

    @property
    def is_complete(self):
        return self.need is not None and self.size >= self.need


def swarm(port, requests, connections=64, timeout=120.0, host="127.0.0.1", keep_alive=True, on_start=None):
    """The bytes of each answer. An answer without a length ends with its connection. on_start() is called once all
    connections have sent their first request."""
    raise_descriptors(connections + 64)
    answers, poller, members = [None] * len(requests), select.epoll(), {}
    deadline, pending = time.monotonic() + timeout, iter(enumerate(requests))

    def go_on(member):
        index, request = next(pending, (None, None))
        if index is None:
            if member.sock:
                close(member)
            return
        if member.sock is None:
            member.open()
            members[member.sock.fileno()] = member
            poller.register(member.sock, select.EPOLLIN)
        member.begin(index, request)

    def close(member):
        poller.unregister(member.sock)
        del members[member.sock.fileno()]
        member.sock.close()
        member.sock = None

    for _ in range(min(connections, len(requests))):
        go_on(_Member((host, port)))
    if on_start:
        on_start()
    while members:
        ready = poller.poll(max(0.0, deadline - time.monotonic()))
        if not ready:
            raise TimeoutError(f"{len(members)} connections got no answer in {timeout} s")
        for descriptor, _ in ready:
            member = members[descriptor]
            piece = member.sock.recv(262144)
            if piece:
                member.take(piece)
            if piece and not member.is_complete:
                continue
            if not piece and not member.pieces:
                raise ConnectionError(f"request {member.index} was not answered")
            answers[member.index] = b"".join(member.pieces)
            if not piece or member.closes or not keep_alive:
                close(member)
            go_on(member)
    poller.close()
    return answers
