# SPDX-License-Identifier: Apache-2.0
"""The simulator itself, over raw sockets: what it says it does, byte for byte. All other tests stand on this."""

import base64
import gzip
import hashlib
import http.client
import json
import os
import pathlib
import re
import resource
import signal
import socket
import struct
import subprocess
import sys
import time

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from engine import Engine, binary, memory_used, wait_until  # noqa: E402

CHAT = {"model": "simulated", "messages": [{"role": "user", "content": "hello"}]}


def raw_post(path, body, *headers):
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = [f"POST {path} HTTP/1.1", "host: x", "content-type: application/json", f"content-length: {len(data)}"]
    return "\r\n".join([*lines, *headers, "", ""]).encode() + data


def connect(engine):
    return socket.create_connection((engine.host, engine.port), timeout=20)


def read_until(sock, done):
    """Everything received until done(bytes) or the end of the connection."""
    data = b""
    while not done(data):
        piece = sock.recv(65536)
        if not piece:
            break
        data += piece
    return data


def converse(engine, request):
    """Send, read to the connection's end. A reset after what came is said by raising."""
    with connect(engine) as sock:
        sock.sendall(request)
        return read_until(sock, lambda data: False)


def chat(engine, fault=None, path="/v1/chat/completions", **more):
    headers = ["connection: close"] + ([f"x-fault: {fault}"] if fault else [])
    return converse(engine, raw_post(path, {**CHAT, **more}, *headers))


def split(answer):
    head, _, body = answer.partition(b"\r\n\r\n")
    return head.decode("latin-1"), body


def dechunk(body):
    """Strict: the data, and what follows the last chunk's size line."""
    data = b""
    while True:
        line, newline, body = body.partition(b"\r\n")
        assert newline, "unfinished chunk"
        size = int(line.split(b";")[0], 16)
        if size == 0:
            return data, body
        assert body[size:size + 2] == b"\r\n"
        data, body = data + body[:size], body[size + 2:]


def events(data):
    return [json.loads(e[6:]) for e in data.decode().split("\n\n") if e.startswith("data: {")]


@pytest.fixture(scope="module")
def shared():
    with Engine(tokens=8) as engine:
        yield engine
        assert engine.stop() == 0, engine.log  # a sanitizer's report would be another code


@pytest.fixture
def engine(shared):
    shared.wait_for(lambda c: c["open"] == 0)
    shared.reset()
    return shared


# --- answers ---

def test_the_same_request_gives_the_same_bytes_and_the_stream_the_same_text(engine):
    first, second = chat(engine), chat(engine)
    whole = json.loads(split(first)[1])
    streamed = events(dechunk(split(chat(engine, stream=True))[1])[0])

    assert first == second
    text = "".join(c["choices"][0]["delta"]["content"] for c in streamed)
    assert text == whole["choices"][0]["message"]["content"] and text
    assert {c["id"] for c in streamed} == {whole["id"]}
    assert chat(engine, messages=[{"role": "user", "content": "else"}]) != first


def test_a_stream_ends_with_usage_when_asked_and_done_always(engine):
    plain = dechunk(split(chat(engine, stream=True))[1])[0]
    body = dechunk(split(chat(engine, stream=True, stream_options={"include_usage": True}))[1])[0]

    assert plain.endswith(b"data: [DONE]\n\n") and not any("usage" in e for e in events(plain))
    assert events(body)[-1]["usage"] == {"prompt_tokens": 3, "total_tokens": 11, "completion_tokens": 8}
    assert events(body)[-1]["choices"] == []
    continuous = chat(engine, stream=True, stream_options={"continuous_usage_stats": True})
    assert [e["usage"]["completion_tokens"] for e in events(dechunk(split(continuous)[1])[0])] == [0, *range(1, 9), 8]


def test_max_tokens_cuts_the_answer_and_says_length(engine):
    short = json.loads(split(chat(engine, max_tokens=3))[1])
    full = json.loads(split(chat(engine, max_completion_tokens=50))[1])

    assert (short["choices"][0]["finish_reason"], short["usage"]["completion_tokens"]) == ("length", 3)
    assert (full["choices"][0]["finish_reason"], full["usage"]["completion_tokens"]) == ("stop", 8)


@pytest.mark.parametrize("path, body, check", [
    ("/v1/completions", {"prompt": "a"}, lambda j: j["choices"][0]["text"]),
    ("/v1/responses", {"input": "a"}, lambda j: j["output"][0]["content"][0]["text"]),
    ("/v1/messages", {"messages": CHAT["messages"], "max_tokens": 9}, lambda j: j["content"][0]["text"]),
    ("/v1/embeddings", {"input": ["a", "b"]}, lambda j: [len(d["embedding"]) for d in j["data"]] == [16, 16]),
    ("/v1/rerank", {"query": "q", "documents": ["a", "b", "c"], "top_n": 2}, lambda j: len(j["results"]) == 2),
    ("/score", {"text_1": "a", "text_2": ["b", "c"]}, lambda j: len(j["data"]) == 2),
    ("/pooling", {"input": "a"}, lambda j: len(j["data"][0]["data"]) == 16),
    ("/classify", {"input": ["a"]}, lambda j: j["data"][0]["label"].startswith("LABEL_")),
    ("/tokenize", {"prompt": "ab"}, lambda j: j["tokens"] == [97, 98]),
    ("/detokenize", {"tokens": [97, 98]}, lambda j: j["prompt"] == "ab"),
])
def test_each_inference_route_answers(engine, path, body, check):
    head, answer = split(converse(engine, raw_post(path, body, "connection: close")))

    assert head.startswith("HTTP/1.1 200 OK")
    assert check(json.loads(answer))


def test_an_embedding_is_the_same_as_numbers_and_as_base64(engine):
    def vector(**more):
        answer = converse(engine, raw_post("/v1/embeddings", {"input": "a", **more}, "connection: close"))
        return json.loads(split(answer)[1])["data"][0]["embedding"]

    numbers = vector()
    assert list(struct.unpack("<16f", base64.b64decode(vector(encoding_format="base64")))) == numbers
    assert len(vector(dimensions=3)) == 3


@pytest.mark.parametrize("request_bytes, status, text", [
    (raw_post("/v1/chat/completions", {**CHAT, "model": "nobody"}, "connection: close"), 404, "NotFoundError"),
    (raw_post("/v1/chat/completions", b"{broken", "connection: close"), 400, "json_invalid"),
    (raw_post("/v1/chat/completions", {"model": "simulated"}, "connection: close"), 400, "missing"),
    (raw_post("/nowhere", {}, "connection: close"), 404, '{"detail":"Not Found"}'),
    (b"GET /v1/chat/completions HTTP/1.1\r\nconnection: close\r\n\r\n", 405, "Method Not Allowed"),
    (b"POST /v1/completions HTTP/1.1\r\ncontent-type: text/plain\r\nconnection: close\r\n\r\n", 415, "Unsupported"),
    (b"what is this\r\n\r\n", 400, "Invalid HTTP request received."),
])
def test_mistakes_are_answered_as_vllm_does(engine, request_bytes, status, text):
    head, body = split(converse(engine, request_bytes))

    assert head.startswith(f"HTTP/1.1 {status} ")
    assert text in body.decode()


def test_a_request_split_anywhere_and_chunked_is_read_the_same(engine):
    data = json.dumps(CHAT).encode()
    chunked = (b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
               b"connection: close\r\ntransfer-encoding: chunked\r\n\r\n%x;note=1\r\n%s\r\n%x\r\n%s\r\n0\r\nx-trailer: 1\r\n\r\n"
               % (10, data[:10], len(data) - 10, data[10:]))
    expected = chat(engine)

    for at in range(1, len(chunked), 7):
        with connect(engine) as sock:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.sendall(chunked[:at])
            sock.sendall(chunked[at:])
            assert read_until(sock, lambda d: False) == expected
    assert engine.requests()[-1]["body"] == data.decode()


def test_pipelined_requests_are_answered_in_order_on_one_connection(engine):
    first = raw_post("/v1/completions", {"prompt": "a"})
    second = raw_post("/v1/completions", {"prompt": "b"}, "connection: close")
    answer = converse(engine, first + second)
    seen = engine.requests()

    assert answer.count(b"HTTP/1.1 200 OK") == 2
    assert [r["on_connection"] for r in seen] == [1, 2] and seen[0]["connection"] == seen[1]["connection"]
    assert engine.counters()["connections"] == 1


def test_expect_100_continue_gets_its_continue_before_the_body(engine):
    request = raw_post("/v1/chat/completions", CHAT, "expect: 100-continue", "connection: close")
    head, _, body = request.partition(b"\r\n\r\n")
    with connect(engine) as sock:
        sock.sendall(head + b"\r\n\r\n")
        assert sock.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        sock.sendall(body)
        assert read_until(sock, lambda d: False).startswith(b"HTTP/1.1 200")


def test_a_multipart_upload_is_answered_with_its_size_and_hash(engine):
    body = os.urandom(300000)
    head = (f"POST /v1/audio/transcriptions HTTP/1.1\r\ncontent-type: multipart/form-data; boundary=b\r\n"
            f"connection: close\r\ncontent-length: {len(body)}\r\n\r\n").encode()

    answer = json.loads(split(converse(engine, head + body))[1])
    assert (answer["bytes"], answer["sha256"]) == (len(body), hashlib.sha256(body).hexdigest())


def test_keys_are_asked_for_when_told(engine):
    with Engine(api_key=["one", "two"]) as locked:
        assert b"401" in converse(locked, raw_post("/v1/completions", {"prompt": "a"}, "connection: close"))[:15]
        good = raw_post("/v1/completions", {"prompt": "a"}, "connection: close", "authorization: Bearer two")
        assert b"200" in converse(locked, good)[:15]


# --- faults on the wire ---

@pytest.mark.parametrize("fault, status, text", [
    ("status-500-html", 500, "<h1>"), ("status-422-json", 422, "UnprocessableEntityError"),
    ("status-501", 501, "does not support"), ("status-503", 503, "overloaded"),
    ("status-429:7", 429, "TooManyRequests"), ("html-200", 200, "<html>"), ("redirect-307", 307, ""),
    ("switching-101", 101, ""), ("no-content-204-with-body", 204, "never")])
def test_scripted_statuses_come_as_named(engine, fault, status, text):
    head, body = split(chat(engine, fault))

    assert head.startswith(f"HTTP/1.1 {status} ")
    assert text in body.decode()
    assert ("retry-after: 7" in head) == fault.startswith("status-429")
    assert ("location: " in head) == (status == 307)


@pytest.mark.parametrize("where", ["header", "body", "model"])
def test_a_fault_can_be_asked_for_in_header_body_or_model_name(engine, where):
    more = {"header": {}, "body": {"x_fault": "status-503"}, "model": {"model": "simulated!status-503"}}[where]
    answer = chat(engine, "status-503" if where == "header" else None, **more)

    assert answer.startswith(b"HTTP/1.1 503 ")


def test_resets_are_resets_and_closes_are_closes(engine):
    with pytest.raises(ConnectionResetError):
        chat(engine, "reset-before-headers")
    assert chat(engine, "close-before-headers") == b""
    with connect(engine) as sock:
        sock.sendall(raw_post("/v1/chat/completions", CHAT, "x-fault: reset-after-headers"))
        with pytest.raises(ConnectionResetError):
            assert read_until(sock, lambda d: d.endswith(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 OK\r\n")
            read_until(sock, lambda d: False)
    assert not chat(engine, "garbage").startswith(b"HTTP")


def test_a_stream_that_dies_stops_after_the_event_it_was_told_and_is_unfinished(engine):
    body = split(chat(engine, "die-mid-stream:2", stream=True))[1]

    assert body.count(b"data: ") == 2 and b"\r\n0\r\n" not in body
    assert [(r["outcome"], r["events"]) for r in engine.requests()] == [("faulted", 2)]
    with pytest.raises(ConnectionResetError):
        chat(engine, "reset-mid-stream:2", stream=True)
    none = split(chat(engine, "die-mid-stream:0", stream=True))
    assert none[0].startswith("HTTP/1.1 200") and none[1] == b""


def test_stalls_stall_and_the_clients_going_is_seen_in_its_phase(engine):
    for fault, phase, seen in [("stall-before-headers", "waiting", 0), ("stall-mid-stream:2", "streaming", 2),
                               ("stall-mid-stream:0", "headers", 0)]:
        engine.reset()
        with connect(engine) as sock:
            sock.sendall(raw_post("/v1/chat/completions", {**CHAT, "stream": True}, f"x-fault: {fault}"))
            read_until(sock, lambda d: d.count(b"data: ") == seen and (seen or phase == "waiting" or b"\r\n\r\n" in d))
            engine.wait_for(lambda c: c["running"] == 1)
            left = time.monotonic() * 1000
        counters = engine.wait_for(lambda c: c["closed_by_client"] == 1)
        record = engine.requests()[0]
        assert (record["outcome"], record["phase"], record["events"]) == ("client_closed", phase, seen)
        assert -1 <= counters["last_close_ms"] - left < 1000
        assert counters["running"] == 0


def test_lengths_lie_as_told(engine):
    true_body = split(chat(engine))[1]

    for fault, difference in [("length-too-long", 10), ("length-too-short", -10), ("length-and-chunked", -10)]:
        head, body = split(chat(engine, fault))
        stated = int(re.search(r"content-length: (\d+)", head).group(1))
        assert stated == len(true_body) + difference
        if fault == "length-and-chunked":
            assert "transfer-encoding: chunked" in head and dechunk(body) == (true_body, b"\r\n")
        else:
            assert body == true_body


def test_heads_are_odd_as_told(engine):
    plain_head, plain_body = split(chat(engine))

    assert chat(engine, "early-103").startswith(b"HTTP/1.1 103 Early Hints\r\n")
    giant = split(chat(engine, "giant-header"))
    assert "x-giant: " + "a" * 1048576 + "\r\n" in giant[0] and giant[1] == plain_body
    assert split(chat(engine, "many-headers"))[0].count("\r\n") == plain_head.count("\r\n") + 100000
    assert "x-odd: one\rx-smuggled: two\r\n" in split(chat(engine, "cr-in-header"))[0]


def test_bodies_are_framed_as_told(engine):
    plain = split(chat(engine))[1]

    two = chat(engine, "two-responses")
    assert two.count(b"HTTP/1.1 200 OK") == 2 and two.endswith(b'{"unasked": "reply"}')
    head, body = split(chat(engine, "gzip"))
    assert "content-encoding: gzip" in head and gzip.decompress(body) == plain
    head, body = split(chat(engine, "close-delimited"))
    assert head.startswith("HTTP/1.0 200") and "content-length" not in head and body == plain
    assert dechunk(split(chat(engine, "trailers"))[1]) == (plain, b"x-trailer: end\r\n\r\n")
    body = split(chat(engine, "chunk-extensions"))[1]
    assert b';note="a;b"' in body and dechunk(body)[0] == plain


def test_a_gzipped_stream_unpacks_to_the_plain_one(engine):
    plain = dechunk(split(chat(engine, stream=True))[1])[0]

    assert gzip.decompress(dechunk(split(chat(engine, "gzip", stream=True))[1])[0]) == plain


@pytest.mark.parametrize("size", [1000, 65536, 3000001])
def test_a_big_body_has_exactly_the_size(engine, size):
    head, body = split(chat(engine, f"big-body:{size}"))

    assert f"content-length: {size}\r\n" in head and len(body) == size
    assert json.loads(body)["choices"][0]["finish_reason"] == "stop"


def test_a_stream_can_hold_one_giant_event(engine):
    body = dechunk(split(chat(engine, "event-8mb", stream=True))[1])[0]

    assert max(len(e["choices"][0]["delta"]["content"]) for e in events(body)) == 8 << 20
    assert body.endswith(b"data: [DONE]\n\n")


def test_an_endless_line_goes_on_while_it_is_read(engine):
    with connect(engine) as sock:
        sock.sendall(raw_post("/v1/chat/completions", {**CHAT, "stream": True}, "x-fault: endless-line"))
        data = read_until(sock, lambda d: len(d) > 3 << 20)
    assert b"\n" not in data[len(data) // 2:].replace(b"\r\n", b"")
    engine.wait_for(lambda c: c["closed_by_client"] == 1 and c["open"] == 0)


def test_newlines_differ_as_told_and_mean_the_same(engine):
    plain = dechunk(split(chat(engine, stream=True))[1])[0]

    crlf = dechunk(split(chat(engine, "crlf", stream=True))[1])[0]
    cr = dechunk(split(chat(engine, "cr", stream=True))[1])[0]
    mixed = dechunk(split(chat(engine, "mixed-newlines", stream=True))[1])[0]
    assert crlf == plain.replace(b"\n", b"\r\n") and cr == plain.replace(b"\n", b"\r")
    assert b"\r\r" in mixed and b"\n\n" in mixed and b"\r\n\r\n" in mixed
    assert re.sub(rb"\r\n|\r", b"\n", mixed) == plain
    assert dechunk(split(chat(engine, "no-done", stream=True))[1])[0] == plain.replace(b"data: [DONE]\n\n", b"")


@pytest.mark.parametrize("fault", ["split-every-byte", "split-utf8", "slow-headers:1ms"])
def test_slow_and_split_answers_have_the_same_bytes(engine, fault):
    assert chat(engine, fault, stream=True) == chat(engine, stream=True)
    assert chat(engine, fault) == chat(engine)


def test_characters_are_split_between_packets(engine):
    with connect(engine) as sock:
        body = {"prompt": "x", "stream": True}
        sock.sendall(raw_post("/v1/completions", body, "x-fault: split-utf8", "connection: close"))
        pieces = list(iter(lambda: sock.recv(65536), b""))

    assert any(ord(c) > 127 for c in b"".join(pieces).decode())
    assert any(p[0] & 0xC0 == 0x80 for p in pieces)


# --- counting ---

def test_injected_faults_hit_so_many_requests_and_no_more(engine):
    engine.fault("status-503", times=2)

    assert [chat(engine)[9:12] for _ in range(3)] == [b"503", b"503", b"200"]
    engine.fault("status-503")
    assert [chat(engine)[9:12] for _ in range(3)] == [b"503"] * 3
    engine.reset()
    assert chat(engine)[9:12] == b"200"
    with pytest.raises(RuntimeError, match="no fault is called 'nonsense'"):
        engine.fault("nonsense")
    assert b"no fault is called 'typo'" in chat(engine, "typo")


def test_a_fault_of_all_routes_spares_the_simulators_own(engine):
    engine.fault("status-503", where="all")

    assert order(engine, "GET", "/v1/models")[0] == 503
    assert order(engine, "GET", "/_engine/counters")[0] == 200
    engine.reset()
    assert order(engine, "GET", "/v1/models")[0] == 200


def test_own_questions_are_not_traffic(engine):
    converse(engine, b"GET /_engine/counters HTTP/1.1\r\nconnection: close\r\n\r\n")
    chat(engine)
    engine.wait_for(lambda c: c["open"] == 0)

    counters = engine.counters()
    assert (counters["requests"], counters["connections"], counters["answered"]) == (1, 1, 1)
    assert len(engine.requests()) == 1


def test_the_record_file_tells_the_conversation(tmp_path):
    record = tmp_path / "record"
    with Engine(record=record) as engine:
        chat(engine)
        engine.wait_for(lambda c: c["open"] == 0)
        lines = [json.loads(line) for line in record.read_text().splitlines()]

    assert [line["event"] for line in lines] == ["open", "request", "end", "close"]
    assert lines[1]["head"].startswith("POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\n")
    assert json.loads(lines[1]["body"]) == CHAT and lines[3]["by"] in ("client", "engine")


def test_old_records_make_room_and_are_counted_as_dropped():
    with Engine(keep_bytes="20k") as engine:
        for _ in range(50):
            chat(engine, user="x" * 1000)
        answer = engine.ask("GET", "/_engine/requests")

    assert answer["dropped"] + len(answer["requests"]) == 50 and 1 <= len(answer["requests"]) < 20
    assert answer["requests"][-1]["request"] == 50


def test_idle_connections_are_closed_and_only_idle_ones():
    with Engine(keepalive="60ms", ttft="200ms", tokens=2) as engine, connect(engine) as sock:
        sock.sendall(raw_post("/v1/chat/completions", CHAT))
        answer = read_until(sock, lambda d: False)
        assert answer.startswith(b"HTTP/1.1 200") and b"connection: close" not in answer


# --- the process ---

def test_connections_are_refused_until_it_has_loaded():
    with Engine("serve", "big/model", "--gpu-memory-utilization", "0.9", "--enforce-eager", load_time="400ms",
                log_lines=True, wait="bound") as engine:
        with pytest.raises(ConnectionRefusedError):
            connect(engine)
        assert not engine.counters()["ready"]
        wait_until(lambda: "listening on" in engine.log)
        assert b'"big/model"' in converse(engine, b"GET /v1/models HTTP/1.1\r\nconnection: close\r\n\r\n")
        log = engine.log
    assert "100% Completed" in log and "Application startup complete." in log


def test_listening_while_loading_says_503_and_lies_say_200():
    models = b"GET /v1/models HTTP/1.1\r\nconnection: close\r\n\r\n"
    health = b"GET /health HTTP/1.1\r\nconnection: close\r\n\r\n"
    with Engine(load_time="60s", listen_while_loading=True) as engine:
        assert converse(engine, health)[9:12] == b"503"
    with Engine(load_time="60s", fault="health-lies") as engine:
        assert (converse(engine, health)[9:12], converse(engine, models)[9:12]) == (b"200", b"503")
    with Engine(fault="wrong-model") as engine:
        assert b"another-model" in converse(engine, models)


@pytest.mark.parametrize("fault, code, text", [
    ("start-exit:7", 7, "Engine core initialization failed"), ("start-exit0", 0, ""),
    ("start-oom", 1, "is less than desired GPU memory utilization"),
    ("start-unknown-arg", 2, "error: unrecognized arguments: --foo"),
    ("unknown-arg", 2, "unrecognized arguments: --bar")])
def test_starts_fail_as_told(fault, code, text):
    with Engine("--bar", fault=fault, wait="no") as engine:
        assert engine.process.wait(10) == code
        assert text in engine.log and "listening on" not in engine.log


def test_it_can_refuse_hang_and_recover():
    with Engine() as engine:
        engine.fault("refuse")
        with pytest.raises(ConnectionRefusedError):
            connect(engine)
        engine.reset()
        assert chat(engine)[9:12] == b"200"
        engine.fault("hang")
        with connect(engine) as sock:
            sock.sendall(raw_post("/v1/chat/completions", CHAT, "connection: close"))
            sock.settimeout(0.1)
            with pytest.raises(TimeoutError):
                sock.recv(1)
            sock.settimeout(20)
            engine.reset()
            assert sock.recv(12) == b"HTTP/1.1 200"


def test_it_can_die_in_every_way_told():
    with Engine() as engine:
        body = split(chat(engine, "kill-mid-stream:2", stream=True))[1]
        assert body.count(b"data: ") == 2
        assert engine.process.wait(10) == -signal.SIGKILL
    with Engine() as engine:
        assert chat(engine, "exit-on-request:5") == b"" and engine.process.wait(10) == 5
    with Engine(fault="crash-after:50ms") as engine:
        assert engine.process.wait(10) == -signal.SIGKILL


def test_sigterm_cuts_what_runs_and_exits_0_or_is_ignored():
    with Engine(ttft="60s", stop_time="50ms") as engine, connect(engine) as sock:
        sock.sendall(raw_post("/v1/chat/completions", CHAT))
        engine.wait_for(lambda c: c["running"] == 1)
        assert engine.stop() == 0
        assert sock.recv(100) == b""
    with Engine(fault="ignore-sigterm") as engine:
        engine.process.send_signal(signal.SIGTERM)
        assert engine.wait_for(lambda c: c["sigterms"] == 1) and chat(engine)[9:12] == b"200"


def test_a_flood_of_log_lines_does_not_stop_the_answers():
    with Engine(log_flood="30MiB") as engine:
        assert chat(engine)[9:12] == b"200"
        wait_until(lambda: os.path.getsize(engine.log_path) > 30 << 20)


def test_running_out_of_descriptors_delays_connections_and_loses_none():
    command = ["prlimit", "--nofile=40:40", binary("vllmgw-engine")]
    with Engine(program=command) as engine:
        sockets = [connect(engine) for _ in range(60)]
        for sock in sockets:
            sock.sendall(b"GET /health HTTP/1.1\r\nconnection: close\r\n\r\n")
            sock.settimeout(20)
        assert all(sock.recv(12) == b"HTTP/1.1 200" for sock in sockets)
        for sock in sockets:
            sock.close()


def test_a_unix_socket_works_too(tmp_path):
    path = str(tmp_path / "s")
    with Engine(uds=path), socket.socket(socket.AF_UNIX) as sock:
        sock.connect(path)
        sock.sendall(b"GET /health HTTP/1.1\r\nconnection: close\r\n\r\n")
        assert sock.recv(12) == b"HTTP/1.1 200"


def test_memory_is_held_and_released_however_it_ends(tmp_path):
    gpu = tmp_path / "gpu"
    options = {"memory_file": gpu, "memory_bytes": "1000"}
    with Engine(**options) as one, Engine(**options) as two:
        assert memory_used(gpu) == 2000
        one.stop()
        assert memory_used(gpu) == 1000
        two.kill()
        wait_until(lambda: memory_used(gpu) == 0 and gpu.read_text() == "")
    with Engine(memory_release_delay="300ms", **options) as slow:
        killed = time.monotonic()
        slow.kill()
        wait_until(lambda: memory_used(gpu) == 0)
        assert time.monotonic() - killed >= 0.25


def test_a_grandchild_outlives_the_engine_and_keeps_memory_and_log(tmp_path):
    gpu = tmp_path / "gpu"
    with Engine(fault="grandchild:60s", memory_file=gpu, memory_bytes="1000") as engine:
        wait_until(lambda: memory_used(gpu) == 2000)
        engine.kill()
        wait_until(lambda: memory_used(gpu) == 1000)
        pid = int(gpu.read_text().split()[0])
        assert pid != engine.pid and os.getsid(pid) != engine.pid
        assert os.path.realpath(f"/proc/{pid}/fd/1") == os.path.realpath(engine.log_path)
        os.kill(pid, signal.SIGKILL)
    wait_until(lambda: memory_used(gpu) == 0)


# --- sleep, adapters, router ---

DEV = {"VLLM_SERVER_DEV_MODE": "1"}


def order(engine, method, path, body=None):
    connection = http.client.HTTPConnection(engine.host, engine.port, timeout=20)
    connection.request(method, path, json.dumps(body) if body is not None else None,
                       {"content-type": "application/json"} if body is not None else {})
    response = connection.getresponse()
    data = response.read()
    connection.close()
    return response.status, data


def is_sleeping(engine):
    return json.loads(order(engine, "GET", "/is_sleeping")[1])["is_sleeping"]


def test_sleep_is_not_there_without_flag_and_environment(engine):
    assert order(engine, "POST", "/sleep")[0] == 404
    with Engine(enable_sleep_mode=True) as flag_only:
        assert order(flag_only, "POST", "/sleep")[0] == 404


def test_level_1_frees_memory_down_to_the_residue_and_wakes_whole(tmp_path):
    gpu = tmp_path / "gpu"
    with Engine(enable_sleep_mode=True, env=DEV, memory_file=gpu, memory_bytes=1000, sleep_residue_bytes=10,
                asleep_request="wait") as engine:
        before = chat(engine)
        assert order(engine, "POST", "/sleep?level=1")[0] == 200
        assert (is_sleeping(engine), memory_used(gpu)) == (True, 10)
        assert b'sleep_state="weights_offloaded"} 1' in order(engine, "GET", "/metrics")[1]
        with connect(engine) as sock:
            sock.sendall(raw_post("/v1/chat/completions", CHAT, "connection: close"))
            engine.wait_for(lambda c: c["running"] == 1)
            assert order(engine, "POST", "/wake_up?tags=weights")[0] == 200 and is_sleeping(engine)
            assert order(engine, "POST", "/wake_up?tags=kv_cache")[0] == 200 and not is_sleeping(engine)
            assert read_until(sock, lambda d: False) == before
        assert memory_used(gpu) == 1000


def test_level_2_gives_garbage_with_200_until_the_weights_are_reloaded():
    reload = {"method": "reload_weights", "args": [], "kwargs": {}}
    with Engine(enable_sleep_mode=True, env=DEV) as engine:
        before = chat(engine)
        order(engine, "POST", "/sleep?level=2")
        assert order(engine, "POST", "/collective_rpc", reload)[0] == 500
        order(engine, "POST", "/wake_up")
        garbage = chat(engine)
        assert garbage[9:12] == b"200" and garbage != before
        assert order(engine, "POST", "/collective_rpc", reload)[0] == 200
        assert order(engine, "POST", "/reset_prefix_cache")[0] == 200
        assert chat(engine) == before


def test_sleep_aborts_waits_or_keeps_as_the_mode_says():
    with Engine(enable_sleep_mode=True, env=DEV, itl="30ms", tokens=10, asleep_request="wait") as engine:
        expected = chat(engine, stream=True)
        for mode, ending in [("abort", b'"finish_reason":"abort"'), ("wait", None), ("keep", None)]:
            with connect(engine) as sock:
                sock.sendall(raw_post("/v1/chat/completions", {**CHAT, "stream": True}, "connection: close"))
                first = read_until(sock, lambda d: d.count(b"data: ") >= 2)
                assert order(engine, "POST", f"/sleep?mode={mode}")[0] == 200
                still_running = engine.counters()["running"]
                order(engine, "POST", "/wake_up")
                answer = first + read_until(sock, lambda d: False)
            assert still_running == (1 if mode == "keep" else 0)
            assert ending in answer if ending else answer == expected


def test_sleepers_lie_hang_and_crash_as_told(tmp_path):
    gpu = tmp_path / "gpu"
    options = {"enable_sleep_mode": True, "env": DEV, "memory_file": gpu, "memory_bytes": 1000}
    with Engine(fault="sleep-lies", **options) as engine:
        assert order(engine, "POST", "/sleep")[0] == 200 and is_sleeping(engine) and memory_used(gpu) == 1000
    with Engine(fault="wake-hangs", asleep_request="crash", **options) as engine:
        order(engine, "POST", "/sleep")
        with connect(engine) as sock:
            sock.sendall(b"POST /wake_up HTTP/1.1\r\ncontent-length: 0\r\n\r\n")
            engine.wait_for(lambda c: c["requests"] == 2)
            sock.settimeout(0.05)
            with pytest.raises(TimeoutError):
                sock.recv(1)
        with pytest.raises(ConnectionError):
            if not chat(engine):
                raise ConnectionError
        assert engine.process.wait(10) == -signal.SIGKILL


def test_adapters_load_serve_and_unload():
    env = {"VLLM_ALLOW_RUNTIME_LORA_UPDATING": "True"}
    adapter = {"lora_name": "fine", "lora_path": "/adapters/fine"}
    with Engine(enable_lora=True, max_loras=1, env=env) as engine:
        status, text = order(engine, "POST", "/v1/load_lora_adapter", adapter)
        assert (status, text) == (200, b"Success: LoRA adapter 'fine' added successfully.")
        assert order(engine, "POST", "/v1/load_lora_adapter", adapter)[0] == 400
        assert order(engine, "POST", "/v1/load_lora_adapter", {"lora_name": "b", "lora_path": "/missing"})[0] == 404
        assert order(engine, "POST", "/v1/load_lora_adapter", {"lora_name": "c", "lora_path": "/c"})[0] == 400
        assert chat(engine, model="fine")[9:12] == b"200"
        card = json.loads(order(engine, "GET", "/v1/models")[1])["data"][1]
        assert (card["id"], card["parent"], card["root"]) == ("fine", "simulated", "/adapters/fine")
        assert order(engine, "POST", "/v1/unload_lora_adapter", {"lora_name": "fine"})[0] == 200
        assert chat(engine, model="fine")[9:12] == b"404"


def test_a_router_loads_on_request_and_puts_out_the_least_recently_used():
    def states():
        return {m["id"]: m["status"]["value"] for m in json.loads(order(engine, "GET", "/models")[1])["data"]}

    with Engine(router="a,b,c=other", models_max=2, load_time="50ms") as engine:
        assert set(states().values()) == {"unloaded"}
        with connect(engine) as listener:
            listener.sendall(b"GET /models/sse HTTP/1.1\r\n\r\n")
            read_until(listener, lambda d: b"\r\n\r\n" in d)
            assert order(engine, "POST", "/models/load", {"model": "a"}) == (200, b'{"success":true}')
            assert states()["a"] == "loading" and order(engine, "POST", "/models/load", {"model": "a"})[0] == 400
            told = read_until(listener, lambda d: b'"loaded"' in d)
            assert b'{"data":{"status":"loading"},"event":"model_status","model":"a"}' in told
            assert b'{"data":{"status":"loaded"},"event":"status_change","model":"a"}' in told
        assert chat(engine, model="b")[9:12] == b"200"
        assert chat(engine, model="other")[9:12] == b"200"
        assert states() == {"a": "unloaded", "b": "loaded", "c": "loaded"}
        assert order(engine, "POST", "/models/unload", {"model": "b"})[0] == 200
        assert states()["b"] == "unloaded" and chat(engine, model="d")[9:12] == b"400"
        assert order(engine, "POST", "/models/unload", {"model": "b"})[0] == 400
        assert [order(engine, "POST", f"/models/{what}", {"model": "d"})[0] for what in ("load", "unload")] == [404, 400]


def test_a_router_lists_a_model_as_loaded_until_it_is_gone_and_one_killed_while_it_loads_as_failed():
    def status(name):
        return next(m["status"] for m in json.loads(order(engine, "GET", "/models")[1])["data"] if m["id"] == name)

    with Engine(router="a,b", load_time="50ms", unload_time="100ms") as engine:
        assert chat(engine, model="a")[9:12] == b"200"
        assert order(engine, "POST", "/models/unload", {"model": "a"})[0] == 200 and status("a")["value"] == "loaded"
        assert order(engine, "POST", "/models/load", {"model": "a"})[0] == 400, "it is still running"
        assert chat(engine, model="a")[9:12] == b"200", "it waited for the end and the next load"
        assert order(engine, "POST", "/models/load", {"model": "b"})[0] == 200
        assert order(engine, "POST", "/models/unload", {"model": "b"})[0] == 200
        assert (status("b")["value"], status("b")["failed"]) == ("unloaded", True)
        assert chat(engine, model="b")[9:12] == b"200" and "failed" not in status("b")


# --- many at once ---

def test_500_streams_and_thousands_of_connections_at_once():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    count = min(5000, hard - 200)
    with Engine(tokens=20, itl="5ms", ttft="300ms") as engine:
        sockets = [connect(engine) for _ in range(count)]
        engine.wait_for(lambda c: c["open"] == count, timeout=60)
        request = raw_post("/v1/chat/completions", {**CHAT, "stream": True}, "connection: close")
        for sock in sockets[:500]:
            sock.sendall(request)
        engine.wait_for(lambda c: c["peak_running"] >= 100)
        answers = {read_until(sock, lambda d: False) for sock in sockets[:500]}
        assert len(answers) == 1 and answers.pop().endswith(b"data: [DONE]\n\n\r\n0\r\n\r\n")
        for sock in sockets:
            sock.close()
        counters = engine.wait_for(lambda c: c["open"] == 0, timeout=60)
        assert (counters["answered"], counters["closed_by_client"], counters["connections"]) == (500, 0, count)
        assert engine.stop() == 0
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_help_lists_every_fault_and_the_table_is_the_same():
    def output_of(argument):
        return subprocess.run([binary("vllmgw-engine"), argument], capture_output=True, text=True, check=True).stdout

    text, table = output_of("--help"), output_of("--fault-table")
    names = re.findall(r"^\| `([a-z0-9-]+)", table, re.M)

    assert len(names) > 50 and all(f"  {name}" in text for name in names)
