# SPDX-License-Identifier: Apache-2.0
"""Clients that leave, dawdle, ask too much or do not read: engines are let go at once, memory stays bounded."""

import json
import pathlib
import sys
import threading
import time

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from engine import Engine, wait_until  # noqa: E402
from gateway import Connection, Gateway, chat_body, http  # noqa: E402

CHAT = "/v1/chat/completions"
MIB = 1 << 20


@pytest.fixture(scope="module")
def engine():
    with Engine(tokens=12, served_model_name="small") as engine:
        yield engine


@pytest.fixture(scope="module")
def gateway(engine):
    limits = {"header_timeout": "600ms", "body_timeout": "600ms", "body": "1MiB"}
    with Gateway({"small": engine}, limits=limits) as gateway:
        yield gateway


@pytest.fixture(autouse=True)
def fresh(engine):
    engine.reset()


def post(*headers, **more):
    return http("POST", CHAT, chat_body("small", **more), headers)


# --- row 76: the client is gone ---

LEAVE = {"reset": Connection.reset, "close": Connection.close, "half-close": lambda connection: connection.sock.shutdown(1)}


@pytest.mark.parametrize("way", LEAVE)
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("phase", ["before the first byte", "in the middle"])
def test_row_76_the_engine_is_let_go_within_100_ms_of_the_clients_leaving(phase, stream, way):
    """A half-close counts as leaving, in every phase: nobody who waits for tokens closes his side."""
    timing = {"ttft": "60s"} if phase == "before the first byte" else {"itl": "50ms", "tokens": "1200"}
    with Engine(served_model_name="small", **timing) as engine, Gateway({"small": engine}) as gateway:
        connection = gateway.connect()
        connection.send(post(stream=stream))
        engine.wait_for(lambda counters: counters["running"] == 1)
        if phase == "in the middle" and stream:
            connection.read_until(b"data: ")
        now = engine.counters()["now_ms"]
        LEAVE[way](connection)
        counters = engine.wait_for(lambda counters: counters["closed_by_client"] == 1)
        assert counters["last_close_ms"] - now <= 100 + SLACK_MS
        assert counters["requests"] == 1
        line = gateway.access(1)[-1]
        assert line["outcome"] == "client_closed"
        wait_until(lambda: gateway.metrics()['vllmgw_requests_in_flight{model="small"}'] == 0, what="nothing in flight")
        connection.close()


SLACK_MS = 100  # the sanitizers' build on a machine that does other things too


def test_a_half_closed_connection_is_answered_when_the_answer_was_there_first(gateway):
    """Requests that are answered within the same turn do not wait, so they are not given up."""
    with gateway.connect() as connection:
        connection.send(http("GET", "/v1/models", headers=["Connection: close"]))
        connection.sock.shutdown(1)
        raw = connection.read_all()
    assert raw == b"" or raw.startswith(b"HTTP/1.1 200")


def test_a_client_that_leaves_during_its_body_costs_the_engine_nothing(gateway, engine):
    for cut in (1, 40, 100):
        connection = gateway.connect()
        connection.send(post()[:-cut])
        connection.close()
    wait_until(lambda: gateway.metrics()["vllmgw_client_connections"] == 1, what="all requests' end")
    assert engine.counters()["requests"] == 0


def test_three_hundred_clients_that_leave_at_once_leave_nothing_behind():
    with Engine(served_model_name="small", ttft="60s") as engine, Gateway({"small": engine}, workers=2) as gateway:
        descriptors = gateway.descriptors()
        connections = [gateway.connect() for _ in range(300)]
        for number, connection in enumerate(connections):
            connection.send(post(stream=number % 2 == 0))
        engine.wait_for(lambda counters: counters["running"] == 300)
        for number, connection in enumerate(connections):
            connection.reset() if number % 3 else connection.close()
        engine.wait_for(lambda counters: counters["running"] == 0)
        wait_until(lambda: gateway.descriptors() <= descriptors + 2, what="the descriptors' return")
        assert engine.counters()["requests"] == 300


# --- rows 26 and 27: dawdling ---

def trickle(connection, data, pause=0.02):
    """Byte by byte until the other side ends it; how long it let us."""
    began = time.monotonic()
    connection.sock.settimeout(pause)
    for at in range(len(data)):
        try:
            connection.sock.send(data[at:at + 1])
            if not connection.receive():
                break
        except TimeoutError:
            continue
        except OSError:
            break
    return time.monotonic() - began


def test_row_26_a_head_that_trickles_in_is_cut_at_its_deadline(gateway, engine):
    with gateway.connect() as connection:
        took = trickle(connection, post("X-Long: " + "a" * 500))
    assert 0.5 <= took < 3
    assert connection.data == b"" or connection.data.startswith(b"HTTP/1.1 408")
    assert engine.counters()["requests"] == 0


@pytest.mark.parametrize("framing", ["length", "chunks"])
def test_row_27_a_body_that_trickles_in_is_told_and_cut_at_its_deadline(gateway, engine, framing):
    head = b"POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
    head += b"Content-Length: 1000000\r\n\r\n" if framing == "length" else b"Transfer-Encoding: chunked\r\n\r\n"
    with gateway.connect() as connection:
        connection.send(head)
        took = trickle(connection, b"1\r\na\r\n" * 500)
        connection.sock.settimeout(10)
        answer = connection.read_answer()
    assert 0.5 <= took < 3
    assert (answer.status, answer.error["code"]) == (408, "request_timeout")
    assert answer.get("connection") == "close" and connection.is_closed
    assert gateway.access_of(answer)["status"] == 408
    assert engine.counters()["requests"] == 0


def test_a_connection_that_says_nothing_is_cut_at_the_head_deadline(gateway):
    began = time.monotonic()
    assert gateway.converse(b"") == b""
    assert 0.5 <= time.monotonic() - began < 3


def test_row_26_a_head_on_a_kept_connection_has_no_more_time_than_the_first(gateway):
    """A byte now and then does not make it longer; to say nothing is no head and takes nothing away."""
    with gateway.connect() as trickling, gateway.connect() as quiet:
        for connection in (trickling, quiet):
            connection.send(http("GET", "/v1/models"))
            assert connection.read_answer().status == 200
        began, pause = time.monotonic(), threading.Event()
        trickling.sock.settimeout(0.1)
        text = http("GET", "/v1/models", headers=["X-Slow: " + "x" * 1000])
        for byte in text:
            trickling.send_unless_closed(bytes([byte]))
            try:
                trickling.receive()
            except TimeoutError:
                pause.wait(0.01)
            if trickling.is_closed:
                break
            assert time.monotonic() - began < 5
        assert 0.5 < time.monotonic() - began < 3 and trickling.data == b""
        wait_until(lambda: time.monotonic() - began > 2, what="two seconds")
        quiet.send(http("GET", "/v1/models"))
        assert quiet.read_answer().status == 200


# --- too much ---

@pytest.mark.parametrize("framing", ["length", "chunks"])
@pytest.mark.parametrize("size", [MIB + 1, 2 * MIB, 20 * MIB])
def test_a_body_over_the_limit_is_413_and_the_answer_can_be_read(gateway, engine, framing, size):
    """Also by a client that sends all of it before it reads, up to the MiB that is read and thrown away."""
    body = b'{"model":"small","pad":"' + b"x" * size + b'"}'
    if framing == "length":
        data = http("POST", CHAT, body)
    else:
        pieces = [body[at:at + 65536] for at in range(0, len(body), 65536)]
        data = b"POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
        data += b"Transfer-Encoding: chunked\r\n\r\n"
        data += b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"
    with gateway.connect() as connection:
        sender = threading.Thread(target=connection.send_unless_closed, args=(data,))
        sender.start()
        answer = connection.read_answer()
        connection.read_all()
        sender.join()
    assert (answer.status, answer.error["code"]) == (413, "request_too_large")
    assert answer.get("connection") == "close"
    assert engine.counters()["requests"] == 0


def test_a_body_of_exactly_the_limit_is_served(gateway, engine):
    frame = json.dumps(chat_body("small", pad="")).encode()
    body = frame[:-2] + b"x" * (MIB - len(frame)) + frame[-2:]
    assert len(body) == MIB
    assert gateway.request("POST", CHAT, body).status == 200
    assert engine.requests()[0]["body_bytes"] == MIB
    assert gateway.request("POST", CHAT, body[:-2] + b'x"}').status == 413


def test_bodies_of_many_clients_have_a_common_limit(engine):
    limits = {"body": "1MiB", "queue": {"bytes": "2MiB"}}
    with Gateway({"small": engine}, limits=limits) as gateway:
        held = []
        for _ in range(4):
            held.append(gateway.connect())
            held[-1].send(http("POST", CHAT, b"x" * MIB)[:-10])
        codes = []
        for connection in held:
            try:
                connection.sock.settimeout(0.5)
                codes.append(connection.read_answer().error["code"])
            except TimeoutError:
                codes.append(None)
        assert codes.count("server_overloaded") >= 1 and codes.count(None) >= 1, codes
        for connection in held:
            connection.close()
        wait_until(lambda: gateway.chat("small").status == 200, what="room for bodies again")


# --- row 28 and friends: 100-continue, pipelines, HTTP/1.0, keep-alive ---

def test_100_continue_is_sent_to_who_waits_for_it(gateway, engine):
    data = post("Expect: 100-continue")
    head, body = data[:data.index(b"\r\n\r\n") + 4], data[data.index(b"\r\n\r\n") + 4:]
    with gateway.connect() as connection:
        connection.send(head)
        connection.read_until(b"HTTP/1.1 100 Continue\r\n\r\n")
        connection.data = b""
        connection.send(body)
        assert connection.read_answer().status == 200
    assert "expect" not in engine.requests()[0]["head"].lower()


def test_100_continue_is_not_waited_for_when_the_body_comes_anyway(gateway):
    with gateway.connect() as connection:
        connection.send(post("Expect: 100-continue"))
        answer = connection.read_answer()
        if answer.status == 100:
            answer = connection.read_answer()
        assert answer.status == 200


def test_pipelined_requests_are_answered_in_their_order(gateway):
    wanted = ["/health", "/v1/models", "/version", "/nope", "/v1/models/small"]
    with gateway.connect() as connection:
        connection.send(b"".join(http("GET", path) for path in wanted))
        answers = [connection.read_answer() for _ in wanted]
        connection.send(post(n=1) + http("GET", "/version"))
        answers += [connection.read_answer(), connection.read_answer()]
    assert [answer.status for answer in answers] == [200, 200, 200, 404, 200, 200, 200]
    assert "version" in answers[2].json() and answers[4].json()["id"] == "small" and "choices" in answers[5].json()


def test_a_connection_is_used_again_after_streams(gateway, engine):
    asked = [post(stream=True), post(), post(stream=True), post(stream=True), http("GET", "/v1/models")]
    with gateway.connect() as connection:
        for number in range(25):
            connection.send(asked[number % len(asked)])
            answer = connection.read_answer()
            assert answer.status == 200 and answer.is_clean and answer.get("connection") is None
    assert engine.counters()["requests"] == 20


def test_a_request_sent_while_a_stream_runs_is_answered_behind_it(engine):
    """MHD has not read it: it waits in the socket until the connection is MHD's again."""
    with Engine(served_model_name="small", itl="20ms", tokens=12) as slow, Gateway({"small": slow}) as gateway:
        with gateway.connect() as connection:
            for _ in range(3):
                connection.send(post(stream=True))
                connection.read_until(b"data: ")
                connection.send(post() + http("GET", "/version"))
                answers = [connection.read_answer() for _ in range(3)]
                assert answers[0].events()[-1] == "[DONE]" and answers[0].get("connection") is None
                assert "choices" in answers[1].json() and "version" in answers[2].json()


@pytest.mark.parametrize("data", [
    post("Connection: close", stream=True), post("Connection: upgrade, close", "Upgrade: websocket", stream=True),
    post(stream=True).replace(b"HTTP/1.1", b"HTTP/1.0")], ids=["close", "upgrade", "1.0"])
def test_a_client_that_wants_no_more_sees_the_end_of_the_connection(gateway, data):
    with gateway.connect() as connection:
        connection.send(post(stream=True))
        assert connection.read_answer().get("connection") is None
        connection.send(data)
        connection.read_all()
        answer = connection.read_answer()
        assert answer.get("connection") == "close" and b"[DONE]" in answer.body


def test_a_stream_whose_request_came_in_chunks_is_the_last_on_its_connection(gateway):
    """How many bytes chunks took is not known, and so not whether a next request has been read with them."""
    body = chat_body("small", stream=True)
    text = json.dumps(body).encode()
    with gateway.connect() as connection:
        connection.send(http("POST", CHAT, None, ["Content-Type: application/json", "Transfer-Encoding: chunked"])
                        + b"%x\r\n%b\r\n0\r\n\r\n" % (len(text), text))
        answer = connection.read_answer()
        assert answer.get("connection") == "close" and answer.events()[-1] == "[DONE]"
        assert connection.read_all() == b""


def test_a_connection_that_has_streamed_has_the_deadlines_of_others(gateway):
    with gateway.connect() as connection:
        connection.send(post(stream=True))
        assert connection.read_answer().is_clean
        took = trickle(connection, post("X-Long: " + "a" * 500))
    assert 0.5 <= took < 3


def test_clients_that_leave_after_their_stream_leave_nothing_behind(gateway):
    before = gateway.descriptors()
    for number in range(40):
        connection = gateway.connect()
        connection.send(post(stream=True))
        assert connection.read_answer().is_clean
        connection.reset() if number % 2 else connection.close()
    wait_until(lambda: gateway.descriptors() <= before, what="the descriptors' return")


def test_what_is_pipelined_behind_a_stream_is_not_answered(gateway, engine):
    """It was read with the stream's request. Connection: close tells the client that it was not taken."""
    with gateway.connect() as connection:
        connection.send(post(stream=True) + post())
        first = connection.read_answer()
        assert first.get("connection") == "close" and first.is_clean and first.events()[-1] == "[DONE]"
        assert connection.read_all() == b""
    assert engine.counters()["requests"] == 1


def test_http_1_0_gets_plain_bodies_that_end_with_the_connection(gateway):
    for stream in (False, True):
        expected = gateway.chat("small", stream=stream).body
        data = post(stream=stream).replace(b"HTTP/1.1", b"HTTP/1.0")
        with gateway.connect() as connection:
            connection.send(data)
            connection.read_all()
            answer = connection.read_answer()
        assert answer.status == 200 and answer.get("transfer-encoding") is None
        assert answer.body == expected


def test_a_connection_is_used_again_for_whole_answers(gateway, engine):
    with gateway.connect() as connection:
        for number in range(50):
            connection.send(post() if number % 2 else http("GET", "/v1/models"))
            answer = connection.read_answer()
            assert answer.status == 200 and answer.get("connection") != "close"
    counters = engine.counters()
    assert counters["requests"] == 25 and counters["connections"] <= 1, "one at most: it may have been open before"


def test_a_request_that_comes_byte_by_byte_or_in_two_pieces_is_the_same(engine):
    data = post()
    with Gateway({"small": engine}) as gateway:
        with gateway.connect() as connection:
            for at in range(len(data)):
                connection.send(data[at:at + 1])
            expected = connection.read_answer().body
            for at in range(1, len(data), 7):
                connection.send(data[:at])
                connection.send(data[at:])
                assert connection.read_answer().body == expected


# --- row 75: readers that do not read ---

def test_three_hundred_slow_readers_of_large_streams_take_bounded_memory():
    """A stream holds at most 64 KiB that wait for the client and what one read of the engine brings, another 64 KiB;
    then the engine is paused. Whatever the engine could send (here 40 MiB each) makes no difference."""
    count, bound = 300, (64 + 64 + 16) << 10
    quiet = {"ASAN_OPTIONS": "quarantine_size_mb=1:thread_local_quarantine_size_kb=64"}
    with Engine(served_model_name="small", tokens=10000, chunk_bytes="4KiB") as engine:
        with Gateway({"small": engine}, workers=2, env=quiet) as gateway:
            gateway.chat("small", stream=True, max_tokens=10)
            before = gateway.resident_bytes()
            readers = [gateway.connect(receive_buffer=4096) for _ in range(count)]
            for reader in readers:
                reader.send(post(stream=True))
            engine.wait_for(lambda counters: counters["running"] == count, timeout=60)
            settled(lambda: engine.counters()["bytes_sent"])
            grown = gateway.resident_bytes() - before
            assert grown < count * bound * 2, f"{grown / count / 1024:.0f} KiB each (twice the bound: the sanitizer's part)"
            assert gateway.request("GET", "/health").status == 200
            cpu, began = gateway.cpu_seconds(), time.monotonic()
            wait_until(lambda: time.monotonic() - began > 1, what="a second")
            assert gateway.cpu_seconds() - cpu < 0.3, "paused streams cost nothing"
            for reader in readers:
                reader.reset()
            engine.wait_for(lambda counters: counters["running"] == 0, timeout=60)


def settled(measure, quiet=0.5, timeout=60):
    """Wait until what is measured has not changed for a while."""
    last, since = measure(), time.monotonic()

    def still():
        nonlocal last, since
        now = measure()
        if now != last:
            last, since = now, time.monotonic()
        return time.monotonic() - since > quiet
    wait_until(still, timeout, "an end of the changes")


def test_a_slow_reader_gets_every_byte_in_the_end():
    with Engine(served_model_name="small", tokens=1000, chunk_bytes="4KiB") as engine, Gateway({"small": engine}) as gateway:
        expected = gateway.chat("small", stream=True, timeout=60).body
        with gateway.connect(receive_buffer=16384) as connection:
            connection.send(post(stream=True))
            settled(lambda: engine.counters()["bytes_sent"])
            answer = connection.read_answer()
        assert answer.is_clean and answer.body == expected and len(expected) > 4 * MIB


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_row_75_a_reader_that_stopped_is_cut_after_the_write_timeout_and_the_engine_let_go(stream):
    with Engine(served_model_name="small", tokens=10000, chunk_bytes="4KiB") as engine:
        with Gateway({"small": engine}, timeouts={"idle": "500ms"}) as gateway:
            if not stream:
                engine.fault("big-body:20MiB")
            with gateway.connect(receive_buffer=4096) as connection:
                connection.send(post(stream=stream))
                engine.wait_for(lambda counters: counters["requests"] == 1)
                engine.wait_for(lambda counters: counters["running"] == 0, timeout=20)
                assert gateway.access(1)[-1]["outcome"] == "client_closed"
                connection.read_all()
                assert connection.data[-5:] != b"0\r\n\r\n"


# --- limits of heads, connections and descriptors ---

@pytest.mark.parametrize("head, token, cookie, status", [
    ("16KiB", 12000, 0, 200), ("16KiB", 0, 7000, 200), ("16KiB", 0, 9000, 431), ("16KiB", 18000, 0, 431),
    ("48KiB", 18000, 9000, 200), ("4KiB", 6000, 0, 431)])
def test_there_is_room_for_the_headers_of_a_sign_on_proxy(engine, head, token, cookie, status):
    with Gateway({"small": engine}, limits={"head": head}) as gateway:
        with gateway.connect() as connection:
            connection.send(post(f"X-Forwarded-Access-Token: {'t' * token}", f"Cookie: session={'c' * cookie}"))
            assert connection.read_answer().status == status



def test_over_the_limit_of_connections_nobody_is_served_badly(engine):
    with Gateway({"small": engine}, limits={"connections": 8, "header_timeout": "2s"}) as gateway:
        held = [gateway.connect() for _ in range(40)]
        served = 0
        for connection in held:
            connection.send_unless_closed(http("GET", "/health", headers=["Connection: close"]))
        for connection in held:
            raw = connection.read_all()
            served += raw.startswith(b"HTTP/1.1 200")
            assert raw == b"" or raw.startswith((b"HTTP/1.1 200", b"HTTP/1.1 503"))
            connection.close()
        assert served >= 8
        assert gateway.chat("small").status == 200


def test_row_88_without_descriptors_it_says_so_waits_without_spinning_and_recovers():
    with Engine(served_model_name="small", ttft="60s") as engine:
        limit = ["prlimit", "--nofile=40:40"]
        with Gateway({"small": engine}, limits={"connections": 200, "header_timeout": "60s"}, program=limit) as gateway:
            held = [gateway.connect() for _ in range(100)]
            wait_until(lambda: gateway.descriptors() == 40, what="the last descriptor's use")
            for number, connection in enumerate(held):
                connection.send_unless_closed(post(stream=number % 2 == 0))
            answers = gateway.access(8)
            assert {(line["status"], line["outcome"]) for line in answers} == {(503, "server_overloaded")}
            settled(lambda: len(gateway.text), quiet=0.3)
            cpu, began = gateway.cpu_seconds(), time.monotonic()
            wait_until(lambda: time.monotonic() - began > 1, what="a second")
            assert gateway.cpu_seconds() - cpu < 0.5, "waiting for a descriptor is no busy loop"
            assert gateway.process.poll() is None
            for connection in held:
                connection.reset()
            wait_until(lambda: health(gateway), timeout=20, what="/health after the rush")
            engine.wait_for(lambda counters: counters["running"] == 0)


def health(gateway):
    try:
        return gateway.request("GET", "/health", timeout=2).status == 200
    except (OSError, AssertionError):
        return False
