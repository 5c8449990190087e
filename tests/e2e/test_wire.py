# SPDX-License-Identifier: Apache-2.0
"""What must not pass as HTTP, one row per trick: bytes in, the class of the answer, and how much of it may reach an
engine. The classes:

    refused   at most one answer, 4xx or 5xx, and the connection ends; nothing reaches the engine
    answered  exactly one answer with one of the statuses; nothing reaches the engine

Old versions of libmicrohttpd repair or drop bytes before the gateway sees a request. What they let through is listed
in WEAK, with what happens instead; it is never more than one request at the engine, nor one that a strict reader of
the same bytes would not see. The README's security section says the same."""

import json
import pathlib
import random
import re
import subprocess
import sys
import threading

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from engine import Engine, binary  # noqa: E402
from gateway import Answer, Connection, Gateway, chat_body, http  # noqa: E402

CHAT = json.dumps(chat_body("small")).encode()
SMUGGLED = http("POST", "/v1/chat/completions", CHAT)
POST = b"POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
GET = b"GET /v1/models HTTP/1.1\r\n"
LENGTH = b"Content-Length: %d\r\n" % len(CHAT)
CHUNKED = b"Transfer-Encoding: chunked\r\n"


def chunk(data, size=None, extension=b""):
    return (size if size is not None else b"%x" % len(data)) + extension + b"\r\n" + data + b"\r\n"


def chunked(first):
    """A chunked chat whose first chunk is given; what follows completes it."""
    return POST + CHUNKED + b"\r\n" + first + b"0\r\n\r\n"


WHOLE = chunk(CHAT)

REFUSED = [
    ("1 bare LF lines", b"GET /v1/models HTTP/1.1\nHost: a\n\n"),
    ("1 bare LF in a chat", POST.replace(b"\r\n", b"\n") + b"Content-Length: %d\n\n" % len(CHAT) + CHAT),
    ("2 bare CR inside a value", GET + b"Host: a\r\nX-A: 1\rX-B: 2\r\n\r\n"),
    ("2 bare CR as the line's end", GET + b"Host: a\rX-B: 2\r\n\r\n"),
    ("3 folded line", GET + b"Host: a\r\nX-A: 1\r\n Authorization: Bearer K\r\n\r\n"),
    ("3 folded line in a chat", POST + LENGTH + b"X-A: 1\r\n more\r\n\r\n" + CHAT),
    ("4 folded Content-Length", POST + b"Content-: %d\r\n Length\r\n\r\n" % len(CHAT) + CHAT),
    ("5 folded Authorization", GET + b"Host: a\r\nAuthor: Bearer K\r\n ization\r\n\r\n"),
    ("6 space before the colon", POST + b"Content-Length : 5\r\n\r\n12345"),
    ("7 tab before the colon", POST + b"Transfer-Encoding\t: chunked\r\n\r\n" + WHOLE + b"0\r\n\r\n"),
    ("8 length and chunks", POST + b"Content-Length: 6\r\n" + CHUNKED + b"\r\n0\r\n\r\n" + SMUGGLED),
    ("9 chunks and length", POST + CHUNKED + b"Content-Length: 4\r\n\r\n" + WHOLE + b"0\r\n\r\n" + SMUGGLED),
    ("10 two different lengths", POST + LENGTH + b"Content-Length: 0\r\n\r\n" + CHAT + SMUGGLED),
    ("10 two equal lengths", POST + LENGTH + LENGTH + b"\r\n" + CHAT),
    *((f"11 length {text!r}", POST + b"Content-Length: " + text + b"\r\n\r\n12345")
      for text in (b"+5", b"-0", b"0x5", b"5_0", b"5,5", b"", b"5 5", b"-1", b"5a")),
    ("12 length over 64 bits", POST + b"Content-Length: 18446744073709551616\r\n\r\n" + CHAT),
    *((f"14 coding {text!r}", POST + b"Transfer-Encoding: " + text + b"\r\n\r\n" + WHOLE + b"0\r\n\r\n")
      for text in (b"xchunked", b"chunked, identity", b",chunked", b"chunked, chunked", b"identity", b'"chunked"',
                   b"gzip", b"chunked;q=1", b"")),
    ("15 coding twice", POST + CHUNKED + CHUNKED + b"\r\n" + WHOLE + b"0\r\n\r\n"),
    ("15 coding twice, second odd", POST + CHUNKED + b"Transfer-Encoding: identity\r\n\r\n" + WHOLE + b"0\r\n\r\n"),
    ("16 chunks in HTTP/1.0", POST.replace(b"/1.1", b"/1.0") + CHUNKED + b"\r\n" + WHOLE + b"0\r\n\r\n"),
    *((f"17 chunk size {size!r}", chunked(chunk(CHAT, size)))
      for size in (b"0x%x" % len(CHAT), b"+%x" % len(CHAT), b"-1", b"5_0", b" %x" % len(CHAT), b"",
                   b"FFFFFFFFFFFFFFFF5", b"g", b"%x " % len(CHAT))),
    ("18 bare LF in a chunk extension", chunked(chunk(CHAT, extension=b";a\nb"))),
    ("18 bare CR in a chunk extension", chunked(chunk(CHAT, extension=b";a\rb"))),
    ("18 NUL in a chunk extension", chunked(chunk(CHAT, extension=b";a\0b"))),
    ("18 bare LF after a chunk size", chunked(b"%x\n" % len(CHAT) + CHAT + b"\r\n")),
    ("18 64 KiB of chunk extension", chunked(chunk(CHAT, extension=b";" + b"a" * 65536))),
    ("19 chunk longer than its size", chunked(b"5\r\n" + CHAT + b"\r\n")),
    ("19 no line end after a chunk", chunked(b"%x\r\n" % len(CHAT) + CHAT)),
    ("20 NUL in the path", b"GET /v1/models\0x HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("20 NUL in a header's name", GET + b"Host: a\r\nX-\0A: 1\r\n\r\n"),
    ("20 NUL in a header's value", GET + b"Host: a\r\nX-A: 1\0 2\r\n\r\n"),
    ("20 NUL in the method", b"GE\0T /v1/models HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("20 control character in a value", GET + b"Host: a\r\nX-A: 1\x012\r\n\r\n"),
    ("21 no Host", GET + b"\r\n"),
    ("21 two Hosts", GET + b"Host: a\r\nHost: a\r\n\r\n"),
    *((f"21 Host {text!r}", GET + b"Host: " + text + b"\r\n\r\n")
      for text in (b"a,b", b"u@h", b"h/path", b"", b"a b", b"a?b")),
    ("23 preface of HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0"),
    ("23 greeting of TLS", bytes.fromhex("16030100c8010000c40303") + bytes(range(200))),
    ("23 random bytes", random.Random(7).randbytes(3000)),
    ("23 nothing at all", b""),
    ("23 nothing but line ends", b"\r\n" * 40),
    ("24 version HTTP/1.1x", b"GET /v1/models HTTP/1.1x\r\nHost: a\r\n\r\n"),
    ("24 version http/1.1", b"GET /v1/models http/1.1\r\nHost: a\r\n\r\n"),
    ("24 version HTTP/01.1", b"GET /v1/models HTTP/01.1\r\nHost: a\r\n\r\n"),
    ("24 version HTTP/2.0", b"GET /v1/models HTTP/2.0\r\nHost: a\r\n\r\n"),
    ("24 no version", b"GET /v1/models\r\nHost: a\r\n\r\n"),
    ("25 request line of 64 KiB", b"GET /" + b"a" * 65536 + b" HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("25 header of 64 KiB", GET + b"Host: a\r\nX-A: " + b"a" * 65536 + b"\r\n\r\n"),
    ("25 10,000 headers", GET + b"Host: a\r\n" + b"X-A: 1\r\n" * 10000 + b"\r\n"),
    ("25 101 headers", GET + b"Host: a\r\n" + b"X-A: 1\r\n" * 100 + b"\r\n"),
    ("29 Expect x 100-continue", POST + LENGTH + b"Expect: x 100-continue\r\n\r\n" + CHAT),
    ("29 Expect 200-ok", POST + LENGTH + b"Expect: 200-ok\r\n\r\n" + CHAT),
    ("header name with an underscore", GET + b"Host: a\r\nX_A: 1\r\n\r\n"),
    ("header name that is no token", GET + b"Host: a\r\nX(A): 1\r\n\r\n"),
    ("header line without a colon", GET + b"Host: a\r\nnonsense\r\n\r\n"),
    ("two Authorization headers", GET + b"Host: a\r\nAuthorization: Bearer a\r\nAuthorization: Bearer b\r\n\r\n"),
    ("GET with a body", GET + b"Host: a\r\nContent-Length: 5\r\n\r\n12345" + SMUGGLED),
    ("space in the path", b"GET /v1/models x HTTP/1.1\r\nHost: a\r\n\r\n"),
]

# What libmicrohttpd below 1.0 makes of it, where it is not refused: the status of the one answer, and how many
# requests the engine sees.
WEAK = {
    "1 bare LF lines": (200, 0),
    "1 bare LF in a chat": (200, 1),
    "3 folded line in a chat": (200, 1),
    "4 folded Content-Length": (200, 1),
    "5 folded Authorization": (200, 0),
    "18 bare CR in a chunk extension": (200, 1),
    "18 NUL in a chunk extension": (200, 1),
    "18 bare LF after a chunk size": (200, 1),
    "20 NUL in the path": (200, 0),
    "20 NUL in a header's value": (200, 0),
    "20 NUL in the method": (405, 0),
}

END = b" HTTP/1.1\r\nHost: a\r\n\r\n"

ANSWERED = [
    ("24 version HTTP/1.9", b"GET /v1/models HTTP/1.9\r\nHost: a\r\n\r\n", {200, 505}, None),
    ("31 CONNECT", b"CONNECT a:443" + END, {405, 501}, "method_not_allowed"),
    ("31 TRACE", b"TRACE /" + END, {405, 501}, "method_not_allowed"),
    ("31 unknown method", b"FOO /v1/models" + END, {405, 501}, "method_not_allowed"),
    ("31 method of another route", b"DELETE /v1/chat/completions" + END, {405}, "method_not_allowed"),
    ("31 GET of a chat", b"GET /v1/chat/completions" + END, {405}, "method_not_allowed"),
    ("32 HEAD of the models", b"HEAD /v1/models" + END, {200}, None),
    ("32 HEAD of a chat", b"HEAD /v1/chat/completions" + END, {405}, None),
    ("33 preflight", b"OPTIONS /v1/chat/completions HTTP/1.1\r\nHost: a\r\nOrigin: https://b\r\n"
     b"Access-Control-Request-Method: POST\r\n\r\n", {204, 405}, None),
    ("34 absolute form", b"GET http://other/v1/models" + END, {400, 404}, "not_found"),
    ("34 OPTIONS of everything", b"OPTIONS *" + END, {200, 204, 404}, None),
    *((f"35 path {path}", b"GET " + path + END, {404}, "not_found")
      for path in (b"/v1/../admin", b"//v1/models", b"/v1/models/", b"/V1/models", b"/v1/chat%2Fcompletions",
                   b"/v1/%2e%2e/admin", b"/v1/models%00x", b"/v1/models;x", b"/v1/models#frag", b"/v1/models/a//b",
                   b"/v1/models/%zz", b"/v1/models/small%00", b"/", b"/v1", b"/v1/model", b"/v1/modelss")),
    ("35 a name of two segments", b"GET /v1/models/a/b" + END, {404}, "model_not_found"),
    ("38 line ends in the model's name", http("POST", "/v1/chat/completions", {"model": "a\r\nX-Evil: y"}), {400},
     "invalid_model"),
    ("38 line ends in a path", b"GET /v1/models/a%0d%0aX-Evil:%20y" + END, {404}, "not_found"),
    ("38 line ends in an unknown path", b"GET /a%0d%0aX-Evil:%20y" + END, {404}, "not_found"),
]


def is_strict():
    """From libmicrohttpd 1.0.5 on everything of REFUSED is."""
    said = subprocess.run([binary("vllmgw-server"), "--version"], capture_output=True, check=True, text=True).stdout
    return int(re.search(r"libmicrohttpd (\d+)\.", said)[1]) >= 1


STRICT = is_strict()


@pytest.fixture(scope="module")
def engine():
    with Engine(tokens=5, served_model_name="small") as engine:
        yield engine


@pytest.fixture(scope="module")
def gateway(engine):
    with Gateway({"small": engine}, limits={"header_timeout": "1s", "body_timeout": "2s"}) as gateway:
        yield gateway


def first_answer(raw, method="GET"):
    """The only answer of a closed connection. libmicrohttpd 0.9.75 sends the head of some of its own errors twice:
    what follows the first one's length is then no second answer, but the rest of its page."""
    answer = Answer(raw, method)
    assert not answer.after.startswith(b"HTTP/"), raw
    assert not answer.after or not STRICT, raw
    return answer


@pytest.mark.parametrize("name, data", REFUSED, ids=[name for name, _ in REFUSED])
def test_bytes_that_two_readers_could_take_in_two_ways_are_refused(gateway, engine, name, data):
    engine.reset()
    if name in WEAK and not STRICT:
        status, reached = WEAK[name]
        with gateway.connect() as connection:
            connection.send(data)
            assert connection.read_answer().status == status
            assert connection.data == b"", "one request, one answer"
        seen = engine.requests()
        assert len(seen) == reached
        assert all(request["body"].encode() == CHAT for request in seen)
        return
    raw = gateway.converse(data, timeout=10)
    assert raw or not name.startswith("25"), "a head that is too long is told so, not left to the deadline"
    if raw:
        answer = first_answer(raw)
        assert answer.status in {400, 408, 413, 414, 417, 431, 501, 505}
        assert answer.get("connection") == "close"
    assert engine.counters()["requests"] == 0


@pytest.mark.parametrize("name, data, statuses, code", ANSWERED, ids=[row[0] for row in ANSWERED])
def test_odd_methods_and_paths_are_answered_and_go_nowhere(gateway, engine, name, data, statuses, code):
    engine.reset()
    method = data.split(b" ")[0].decode()
    with gateway.connect() as connection:
        connection.send(data)
        answer = connection.read_answer(method)
    assert answer.status in statuses, answer
    assert answer.get("x-request-id").startswith("req-")
    assert answer.get("x-evil") is None
    if answer.status == 405:
        assert answer.get("allow")
    if method == "HEAD":
        assert answer.body == b"" and int(answer.get("content-length")) > 0
    elif code:
        assert answer.error["code"] == code
    assert engine.counters()["requests"] == 0


def test_a_head_answer_has_the_headers_of_the_get(gateway):
    head = gateway.request("HEAD", "/v1/models")
    get = gateway.request("GET", "/v1/models")
    assert int(head.get("content-length")) == len(get.body)
    assert [name for name, _ in head.headers] == [name for name, _ in get.headers]


def test_row_13_ten_gibibytes_declared_are_refused_before_they_come(gateway, engine):
    engine.reset()
    answer = first_answer(gateway.converse(POST + b"Content-Length: 10737418240\r\n\r\n" + CHAT))
    assert (answer.status, answer.error["code"]) == (413, "request_too_large")
    assert answer.error["type"] == "invalid_request_error" and answer.get("connection") == "close"
    assert engine.counters()["requests"] == 0


def test_row_18_a_body_of_one_byte_chunks_costs_little(gateway, engine):
    """A chunk of one byte is a call of our handler: 100,000 of them are milliseconds, and no memory."""
    engine.reset()
    body = json.dumps(chat_body("small", pad="x" * 100_000)).encode()
    data = POST + CHUNKED + b"\r\n" + b"".join(chunk(body[i:i + 1]) for i in range(len(body))) + b"0\r\n\r\n"
    cpu, memory = gateway.cpu_seconds(), gateway.resident_bytes()
    with gateway.connect() as connection:
        connection.send(data)
        answer = connection.read_answer()
    assert answer.status == 200
    assert engine.requests()[0]["body_bytes"] == len(body)
    assert gateway.cpu_seconds() - cpu < 2  # the sanitizers' build; a tenth of it without
    assert gateway.resident_bytes() - memory < 16 << 20


def test_row_18_a_line_that_does_not_fit_the_buffer_is_no_busy_loop(gateway, engine):
    """libmicrohttpd stops reading there and asks to be run for ever; one client could take a whole core."""
    cpu = gateway.cpu_seconds()
    raw = gateway.converse(chunked(chunk(CHAT, extension=b";" + b"a" * 65536)))
    assert not raw or first_answer(raw).error["code"] == "bad_request"  # version 1.0 itself hangs up, without a word
    filling = [gateway.connect() for _ in range(32000, 33000, 50)]
    for number, connection in enumerate(filling):  # exactly, or nearly: nothing is left to read
        connection.send(POST + CHUNKED + b"\r\n1;" + b"a" * (32000 + 50 * number))
    for connection in filling:
        connection.read_all()
        connection.close()
    assert gateway.cpu_seconds() - cpu < 1, "for two seconds they were open"


def test_row_23_garbage_does_not_flood_the_log(gateway):
    before = len(gateway.text)
    for seed in range(50):
        gateway.converse(random.Random(seed).randbytes(500) + b"\r\n\r\n", timeout=10)
    assert len(gateway.text) - before < 50 * 400


def test_row_28_a_refused_upload_is_never_asked_to_go_on(gateway, engine):
    engine.reset()
    for head, status in ((POST.replace(b"application/json", b"text/plain"), 415), (POST.replace(b"chat", b"c"), 404)):
        answer = first_answer(gateway.converse(head + LENGTH + b"Expect: 100-continue\r\n\r\n"))
        assert answer.status == status and answer.get("connection") == "close"
    assert engine.counters()["requests"] == 0


@pytest.mark.parametrize("protocol", ["websocket", "h2c"])
def test_row_30_an_upgrade_is_ignored_and_what_follows_is_not_read(gateway, engine, protocol):
    engine.reset()
    lines = f"Host: a\r\nConnection: Upgrade\r\nUpgrade: {protocol}\r\n".encode()
    for head in (GET + lines + b"\r\n", POST + lines[9:] + LENGTH + b"\r\n" + CHAT):
        answer = first_answer(gateway.converse(head + SMUGGLED))
        assert answer.status == 200
    assert engine.counters()["requests"] == 1


def test_a_body_that_is_stuck_does_not_end_the_uploads_of_others(engine):
    """MHD never reads on behind a chunk's line that is longer than its buffer. Who sends one is dropped, and nobody
    else, whichever listener he came by."""
    def upload(host, port):
        with Connection(port, host=host) as client:
            client.send_unless_closed(http("POST", "/v1/chat/completions", big, ["Connection: close"]))
            return client.read_answer("POST").status
    def get_stuck(gateway, is_over):
        while not is_over.is_set():
            with gateway.connect() as client:
                client.send_unless_closed(POST + CHUNKED + b"\r\n1;" + b"a" * 65000)
                client.read_all()
    big = json.dumps(chat_body("small", user="x" * (3 << 20))).encode()
    is_over = threading.Event()
    with Gateway({"small": engine}, listen=["127.0.0.1:0", "127.0.0.2:0"]) as gateway:
        attacker = threading.Thread(target=get_stuck, args=(gateway, is_over))
        attacker.start()
        try:
            other = int(re.search(r"http://127\.0\.0\.2:(\d+)", gateway.text)[1])
            for host, port in [("127.0.0.2", other), ("127.0.0.1", gateway.port)] * 3:
                assert upload(host, port) == 200
        finally:
            is_over.set()
            attacker.join(20)


def test_row_36_nothing_follows_a_refused_request_with_a_body(gateway, engine):
    engine.reset()
    first = POST.replace(b"application/json", b"text/plain") + LENGTH + b"\r\n" + CHAT
    answer = first_answer(gateway.converse(first + SMUGGLED))
    assert (answer.status, answer.get("connection")) == (415, "close")
    assert engine.counters()["requests"] == 0
