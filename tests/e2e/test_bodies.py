# SPDX-License-Identifier: Apache-2.0
"""Request bodies that arrive compressed: what is decoded, what is refused, and what a bomb costs."""

import ctypes
import ctypes.util
import gzip
import json
import pathlib
import struct
import sys
import zlib

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from engine import Engine  # noqa: E402
from gateway import Gateway, chat_body, http  # noqa: E402

CHAT = "/v1/chat/completions"
MIB = 1 << 20
BODY = json.dumps(chat_body("small", user="x" * 3000)).encode()


def zstd(data):
    """What the reference library makes of it."""
    library = ctypes.CDLL(ctypes.util.find_library("zstd") or "libzstd.so.1")
    library.ZSTD_compressBound.restype = library.ZSTD_compress.restype = ctypes.c_size_t
    library.ZSTD_compressBound.argtypes = [ctypes.c_size_t]
    library.ZSTD_compress.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_char_p, ctypes.c_size_t, ctypes.c_int]
    room = ctypes.create_string_buffer(library.ZSTD_compressBound(len(data)))
    size = library.ZSTD_compress(room, len(room), data, len(data), 3)
    return room.raw[:size]


def zstd_by_hand(blocks, window_log=17):
    """A frame of (is_run, data, length): bombs that no compressor makes."""
    frame = b"\x28\xb5\x2f\xfd\0" + bytes([(window_log - 10) << 3])
    for place, (is_run, data, length) in enumerate(blocks):
        header = (place + 1 == len(blocks)) | is_run << 1 | length << 3
        frame += struct.pack("<I", header)[:3] + data
    return frame


@pytest.fixture(scope="module")
def engine():
    with Engine("--served-model-name", "small", "--tokens", "4") as one:
        yield one


@pytest.fixture(scope="module")
def gateway(engine):
    with Gateway({"small": engine}, limits={"body": "4MiB", "queue": {"bytes": "64MiB"}}) as one:
        yield one


@pytest.fixture(autouse=True)
def forget(engine):
    engine.reset()


def post(gateway, body, *headers, chunked=0):
    with gateway.connect() as connection:
        if not chunked:
            connection.send_unless_closed(http("POST", CHAT, body, [*headers, "Connection: close"]))
        else:
            lines = ["POST " + CHAT + " HTTP/1.1", "Host: gateway", "Content-Type: application/json",
                     "Transfer-Encoding: chunked", "Connection: close", *headers, "", ""]
            connection.send("\r\n".join(lines).encode())
            for at in range(0, len(body), chunked):
                piece = body[at:at + chunked]
                connection.send_unless_closed(b"%x\r\n%b\r\n" % (len(piece), piece))
            connection.send_unless_closed(b"0\r\n\r\n")
        return connection.read_answer("POST")


CODED = {
    "gzip": gzip.compress(BODY),
    "x-gzip": gzip.compress(BODY, 1),
    "GZIP": gzip.compress(BODY[:100]) + gzip.compress(BODY[100:]),  # two members are one text
    "zstd": zstd(BODY),
    "Zstd": zstd(BODY[:100]) + zstd(BODY[100:]),
    "identity": BODY,
}


@pytest.mark.parametrize("coding", CODED)
@pytest.mark.parametrize("chunked", [0, 1, 1000], ids=["whole", "by bytes", "in chunks"])
def test_the_engine_gets_the_decoded_body_and_no_word_of_its_coding(gateway, engine, coding, chunked):
    answer = post(gateway, CODED[coding], f"Content-Encoding: {coding}", chunked=chunked)
    assert answer.status == 200, answer
    request = engine.requests()[0]
    assert request["body"].encode() == BODY
    assert "content-encoding" not in request["head"].lower()


@pytest.mark.parametrize("headers", [
    ["Content-Encoding: br"], ["Content-Encoding: deflate"], ["Content-Encoding: gzip, zstd"],
    ["Content-Encoding: gzip, gzip"], ["Content-Encoding: gzip", "Content-Encoding: gzip"], ["Content-Encoding:"],
], ids=lambda headers: " + ".join(headers))
def test_other_and_stacked_codings_are_refused_with_those_that_work(gateway, engine, headers):
    answer = post(gateway, CODED["gzip"], *headers)
    assert answer.status == 415 and answer.error["code"] == "unsupported_content_encoding"
    assert answer.get("accept-encoding") == "gzip, zstd"
    assert engine.counters()["requests"] == 0


RAW_DEFLATE = zlib.compressobj(wbits=-15)
WRONG = {
    "gzip cut off": ("gzip", CODED["gzip"][:-1]),
    "gzip without its middle": ("gzip", CODED["gzip"][:20] + CODED["gzip"][40:]),
    "gzip with another length": ("gzip", CODED["gzip"][:-4] + b"\1\2\3\4"),
    "gzip and garbage": ("gzip", CODED["gzip"] + b"}"),
    "gzip and zeros": ("gzip", CODED["gzip"] + b"\0" * 8),
    "gzip, second member cut off": ("gzip", CODED["gzip"] + CODED["gzip"][:12]),
    "zlib": ("gzip", zlib.compress(BODY)),
    "raw deflate": ("gzip", RAW_DEFLATE.compress(BODY) + RAW_DEFLATE.flush()),
    "no gzip": ("gzip", BODY),
    "zstd cut off": ("zstd", CODED["zstd"][:-1]),
    "zstd and garbage": ("zstd", CODED["zstd"] + b"garbage"),
    "zstd and a byte": ("zstd", CODED["zstd"] + b"\x28"),
    "no zstd": ("zstd", BODY),
    "gzip as zstd": ("zstd", CODED["gzip"]),
}


@pytest.mark.parametrize("what", WRONG)
@pytest.mark.parametrize("chunked", [0, 7], ids=["whole", "in chunks"])
def test_what_is_no_such_coding_is_a_bad_request(gateway, engine, what, chunked):
    coding, body = WRONG[what]
    answer = post(gateway, body, f"Content-Encoding: {coding}", chunked=chunked)
    assert answer.status == 400 and answer.error["code"] == "bad_request", answer
    assert "body" in answer.error["message"]
    assert engine.counters()["requests"] == 0


RUNS = [(True, b"a", 128 * 1024)] * 8000  # 32 KB that are a gigabyte
BOMBS = {
    "gzip": ("gzip", gzip.compress(b"a" * 512 * MIB, 1)),
    "zstd": ("zstd", zstd_by_hand(RUNS)),
    "many members": ("gzip", gzip.compress(b"a" * MIB) * 300),
}


@pytest.mark.parametrize("what", BOMBS)
def test_a_bomb_is_refused_early_and_costs_little(gateway, engine, what):
    coding, body = BOMBS[what]
    before, used = gateway.resident_bytes(), gateway.cpu_seconds()
    answer = post(gateway, body, f"Content-Encoding: {coding}", chunked=16384)
    assert answer.status == 413 and answer.error["code"] == "request_too_large", answer
    assert gateway.resident_bytes() - before < 16 * MIB
    assert gateway.cpu_seconds() - used < 1
    assert engine.counters()["requests"] == 0


def test_the_limit_of_bodies_holds_for_what_comes_out(gateway, engine):
    """Less than any bomb: a text of 5 MiB that shrinks to half."""
    text = b"".join(b"%06x" % (number * 7919 % (1 << 24)) for number in range(5 * MIB // 6))
    body = json.dumps(chat_body("small", user=text.decode())).encode()
    assert len(gzip.compress(body, 1)) < 4 * MIB < len(body)
    answer = post(gateway, gzip.compress(body, 1), "Content-Encoding: gzip")
    assert answer.status == 413 and answer.error["code"] == "request_too_large"
    small = json.dumps(chat_body("small", user=text[:3 * MIB].decode())).encode()
    for coding, pack in (("gzip", gzip.compress), ("zstd", zstd)):
        assert post(gateway, pack(small), f"Content-Encoding: {coding}").status == 200
    assert [request["body_bytes"] for request in engine.requests()] == [len(small)] * 2


def test_a_window_of_more_than_8_mib_is_refused(gateway):
    block = (False, BODY, len(BODY))
    assert post(gateway, zstd_by_hand([block], 23), "Content-Encoding: zstd").status == 200
    answer = post(gateway, zstd_by_hand([block], 24), "Content-Encoding: zstd")
    assert answer.status == 413 and "window" in answer.error["message"]


def test_a_connection_goes_on_after_a_compressed_body(gateway):
    with gateway.connect() as connection:
        for _ in range(3):
            connection.send(http("POST", CHAT, CODED["zstd"], ["Content-Encoding: zstd"]))
            assert connection.read_answer("POST").status == 200
            connection.send(http("POST", CHAT, BODY))
            assert connection.read_answer("POST").status == 200
