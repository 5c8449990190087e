# SPDX-License-Identifier: Apache-2.0
"""Engines that misbehave: what the client is told, that nothing is sent twice, and that good bytes stay as they are."""

import json
import pathlib
import socket
import sys
import threading
import time

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from engine import Engine, wait_until  # noqa: E402
from gateway import Connection, Gateway, chat_body, http  # noqa: E402

CHAT = "/v1/chat/completions"
TIMEOUTS = {"connect": "500ms", "first_byte": "400ms", "idle": "400ms", "total": "20s", "drain": "5s"}


@pytest.fixture(scope="module")
def engine():
    with Engine(tokens=12, served_model_name="small") as engine:
        yield engine


@pytest.fixture(scope="module")
def gateway(engine):
    with Gateway({"small": engine}, timeouts=TIMEOUTS) as gateway:
        yield gateway


@pytest.fixture(autouse=True)
def fresh(engine):
    engine.reset()


def direct(engine, **more):
    """What the engine answers to the same body without a gateway."""
    with Connection(engine.port) as connection:
        connection.send(http("POST", CHAT, chat_body("small", **more), ["Connection: close"]))
        return connection.read_answer()


def free_port():
    """A port nobody listens on."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


# --- before the head: one request, one status ---

BEFORE_HEAD = [
    ("68 reset", "reset-before-headers", 502, "upstream_connection_lost"),
    ("68 close", "close-before-headers", 502, "upstream_connection_lost"),
    ("69 stall", "stall-before-headers", 504, "upstream_timeout"),
    ("71 HTML 200", "html-200", 502, "upstream_error"),
    ("71 HTML 500", "status-500-html", 502, "upstream_error"),
    ("72 garbage", "garbage", 502, "bad_upstream_response"),
    ("72 redirect", "redirect-307", 502, "bad_upstream_response"),
    ("72 switching protocols", "switching-101", 502, "bad_upstream_response"),
    ("72 gzip", "gzip", 502, "bad_upstream_response"),
    ("72 length and chunks", "length-and-chunked", 502, "bad_upstream_response"),
    ("73 header of a mebibyte", "giant-header", 502, "bad_upstream_response"),
    ("73 100,000 headers", "many-headers", 502, "bad_upstream_response"),
    ("73 CR in a header", "cr-in-header", 502, "bad_upstream_response"),
]


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("name, fault, status, code", BEFORE_HEAD, ids=[row[0] for row in BEFORE_HEAD])
def test_an_engine_that_fails_before_its_answer_is_told_by_a_status_and_asked_once(
        gateway, engine, name, fault, status, code, stream):
    engine.fault(fault)
    memory = gateway.resident_bytes()
    answer = gateway.chat("small", stream=stream)
    assert (answer.status, answer.error["code"], answer.error["type"]) == (status, code, "server_error"), answer
    assert answer.is_clean and answer.get("content-type") == "application/json"
    assert answer.get("retry-after") is None and "location" not in dict(answer.headers)
    assert "<" not in answer.error["message"] and len(answer.error["message"]) < 300
    assert engine.counters()["requests"] == 1, "never a second time"
    assert gateway.resident_bytes() - memory < 8 << 20
    line = gateway.access_of(answer)
    assert (line["status"], line["outcome"], line["replica"]) == (status, code, engine.url)
    assert answer.get("x-vllmgw-replica") == "small/0", "who failed can be told"
    engine.reset()
    assert gateway.chat("small").status == 200, "the next one is served"
    if "HTML" not in name:
        assert engine.requests()[0]["on_connection"] == 1, "not on the connection that went wrong"


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_an_answer_without_content_has_no_length(stream):
    with socket.create_server(("127.0.0.1", 0)) as server:
        def answer_once():
            connection, _ = server.accept()
            with connection:
                while b"}]" not in connection.recv(65536):
                    pass
                connection.sendall(b"HTTP/1.1 204 No Content\r\n\r\n")
                connection.recv(1)
        threading.Thread(target=answer_once, daemon=True).start()
        with Gateway({"small": f"http://127.0.0.1:{server.getsockname()[1]}"}, timeouts=TIMEOUTS) as gateway:
            answer = gateway.chat("small", stream=stream)
    assert (answer.status, answer.get("content-length"), answer.after) == (204, None, b"")


@pytest.mark.parametrize("name, fault", [
    ("length too long", "length-too-long"), ("reset after the head", "reset-after-headers")])
def test_a_whole_answer_that_breaks_off_is_an_error_and_not_half_an_answer(gateway, engine, name, fault):
    engine.fault(fault)
    answer = gateway.chat("small")
    assert (answer.status, answer.error["code"]) == (502, "upstream_aborted")
    assert engine.counters()["requests"] == 1


@pytest.mark.parametrize("fault", ["length-too-short", "two-responses", "no-content-204-with-body"])
def test_what_an_engine_sends_beyond_its_answer_reaches_nobody(gateway, engine, fault):
    expected = direct(engine)
    engine.reset()
    engine.fault(fault)
    answer = gateway.chat("small")
    if fault == "two-responses":
        assert answer.status == 200 and answer.body == expected.body
    elif fault == "length-too-short":
        assert answer.status == 502 or expected.body.startswith(answer.body)
    else:
        assert (answer.status, answer.body) == (204, b"") or answer.status == 502
    engine.reset()
    again = gateway.chat("small")
    assert again.status == 200 and again.body == expected.body
    assert engine.requests()[0]["on_connection"] == 1


def test_early_hints_are_passed_over(gateway, engine):
    expected = direct(engine)
    engine.fault("early-103")
    answer = gateway.chat("small")
    assert answer.status == 200 and answer.body == expected.body


def test_a_slow_head_is_waited_for_byte_by_byte(gateway, engine):
    engine.fault("slow-headers:500us")
    assert gateway.chat("small").status == 200


# --- statuses that are the engine's to give ---

@pytest.mark.parametrize("fault, status", [("status-422-json", 422), ("status-429:7", 429), ("status-501", 501), ("status-503", 503)])
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_an_engines_own_json_errors_pass_unchanged(gateway, engine, fault, status, stream):
    engine.fault(fault)
    expected = direct(engine, stream=stream)
    answer = gateway.chat("small", stream=stream)
    assert expected.status == status
    assert (answer.status, answer.body) == (status, expected.body)
    assert answer.get("retry-after") == expected.get("retry-after")
    assert answer.get("retry-after") == {429: "7"}.get(status, answer.get("retry-after"))


# --- several engines ---

@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_row_67_a_refused_connection_goes_to_another_engine(engine, stream):
    dead = [f"http://127.0.0.1:{free_port()}" for _ in range(2)]
    with Gateway({"small": [dead[0], engine.url, dead[1]]}, timeouts=TIMEOUTS) as gateway:
        answers = [gateway.chat("small", stream=stream) for _ in range(6)]
        assert [answer.status for answer in answers] == [200] * 6
        assert {answer.get("x-vllmgw-replica") for answer in answers} == {"small/1"}
        assert engine.counters()["inference_requests"] == 6
        assert max(line["attempts"] for line in gateway.access(6)) > 1


def test_row_67_when_no_engine_can_be_reached_the_client_is_told_so(engine):
    with Gateway({"small": [f"http://127.0.0.1:{free_port()}" for _ in range(3)]}, timeouts=TIMEOUTS) as gateway:
        for stream in (False, True):
            answer = gateway.chat("small", stream=stream)
            assert (answer.status, answer.error["code"]) == (502, "upstream_unavailable")
            assert gateway.access_of(answer)["attempts"] == 3


def test_row_68_a_request_that_may_have_been_read_is_not_sent_to_another_engine(engine):
    with Engine(tokens=3, served_model_name="small", fault="reset-before-headers") as broken:
        with Gateway({"small": [broken, engine]}, timeouts=TIMEOUTS) as gateway:
            statuses = sorted(gateway.chat("small").status for _ in range(6))
            assert set(statuses) == {200, 502}
            assert broken.counters()["inference_requests"] == statuses.count(502)
            assert engine.counters()["inference_requests"] == statuses.count(200)


def test_a_kept_connection_the_engine_has_closed_is_no_error(engine):
    with Engine(tokens=3, served_model_name="small", keepalive="30ms") as hasty:
        with Gateway({"small": hasty}) as gateway:
            for _ in range(5):
                assert gateway.chat("small").status == 200
                hasty.wait_for(lambda counters: counters["open"] == 0)
            assert hasty.counters()["inference_requests"] == 5


def test_an_engine_that_dies_and_comes_back_elsewhere_is_found_by_a_reload():
    with Engine(tokens=3, served_model_name="small") as first, Gateway({"small": first}, timeouts=TIMEOUTS) as gateway:
        assert gateway.chat("small").status == 200
        first.kill()
        assert gateway.chat("small").error["code"] == "upstream_unavailable"
        with Engine(tokens=3, served_model_name="small") as second:
            assert gateway.reload({"small": second})
            assert gateway.chat("small").status == 200


# --- mid-stream ---

MID_STREAM = [
    ("70 close", "die-mid-stream:3", "upstream_aborted"),
    ("70 reset", "reset-mid-stream:3", "upstream_aborted"),
    ("69 stall", "stall-mid-stream:3", "upstream_timeout"),
]


def check_broken_stream(answer, expected, code):
    """What came, then one error event, then an end that no client takes for a clean one."""
    assert answer.status == 200
    assert not answer.is_clean, "no last chunk"
    *came, last = answer.body.split(b"\n\n")[:-1]
    assert expected.body.startswith(b"\n\n".join(came) + b"\n\n")
    assert last.startswith(b"data: {")
    error = json.loads(last[6:])["error"]
    assert set(error) == {"message", "type", "param", "code"} and error["code"] == code
    assert b"[DONE]" not in answer.body
    return len(came)


@pytest.mark.parametrize("name, fault, code", MID_STREAM, ids=[row[0] for row in MID_STREAM])
def test_a_stream_that_breaks_off_says_why_and_ends_uncleanly(gateway, engine, name, fault, code):
    expected = direct(engine, stream=True)
    engine.reset()
    engine.fault(fault)
    answer = gateway.chat("small", stream=True)
    assert check_broken_stream(answer, expected, code) == 3
    assert engine.counters()["requests"] == 1
    line = gateway.access_of(answer)
    assert (line["status"], line["outcome"]) == (200, code)


def test_a_stream_that_a_server_on_the_way_ends_with_words_of_its_own_has_broken_off(gateway, engine):
    engine.fault("end-mid-line:3")
    assert direct(engine, stream=True).is_clean
    answer = gateway.chat("small", stream=True)
    assert not answer.is_clean and json.loads(answer.events()[-1])["error"]["code"] == "upstream_aborted"
    assert gateway.access_of(answer)["outcome"] == "upstream_aborted"


def test_row_70_an_engine_killed_mid_stream_leaves_what_came_and_an_error_event():
    with Engine(tokens=200, itl="5ms", served_model_name="small") as engine, Gateway({"small": engine}) as gateway:
        with gateway.connect() as connection:
            connection.send(http("POST", CHAT, chat_body("small", stream=True)))
            while connection.data.count(b"data: ") < 5:
                assert connection.receive()
            engine.kill()
            answer = connection.read_answer()
        assert not answer.is_clean
        events = answer.events()
        assert len(events) > 5 and json.loads(events[-1])["error"]["code"] == "upstream_aborted"
        assert all("choices" in json.loads(event) for event in events[:-1])
        assert gateway.access_of(answer)["outcome"] == "upstream_aborted"
        assert gateway.chat("small").error["code"] == "upstream_unavailable"


def test_an_event_that_broke_off_within_a_line_is_ended_before_the_error_event(engine):
    with Gateway({"small": engine}, timeouts=TIMEOUTS) as gateway:
        engine.fault("endless-line")
        answer = gateway.chat("small", stream=True, timeout=60)
        assert not answer.is_clean
        assert json.loads(answer.events()[-1])["error"]["code"] == "upstream_aborted"
        assert answer.body.rsplit(b"\n\ndata: ", 1)[1].startswith(b'{"error"')
        assert gateway.resident_bytes() < 200 << 20


def test_the_idle_timeout_is_between_pieces_and_not_of_the_whole(engine):
    with Engine(tokens=12, itl="100ms", served_model_name="small") as slow, Gateway({"small": slow}, timeouts=TIMEOUTS) as gateway:
        answer = gateway.chat("small", stream=True)
        assert answer.is_clean and answer.events()[-1] == "[DONE]"


def test_the_total_timeout_ends_a_stream_that_never_pauses(engine):
    with Engine(tokens=10000, itl="20ms", served_model_name="small") as slow:
        with Gateway({"small": slow}, timeouts={**TIMEOUTS, "total": "600ms"}) as gateway:
            began = time.monotonic()
            answer = gateway.chat("small", stream=True)
            assert 0.5 < time.monotonic() - began < 5
            assert not answer.is_clean and json.loads(answer.events()[-1])["error"]["code"] == "upstream_timeout"
            slow.wait_for(lambda counters: counters["running"] == 0)


# --- row 74: good bytes, however they come ---

@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("fault", ["split-utf8", "split-every-byte", "crlf", "cr", "mixed-newlines", "no-done", "event-8mb:8388608",
                                   "chunk-extensions", "trailers", "close-delimited"])
def test_row_74_an_answer_is_byte_exact_however_it_comes(gateway, engine, fault, stream):
    engine.fault(fault)
    expected = direct(engine, stream=stream)
    answer = gateway.chat("small", stream=stream, timeout=60)
    assert answer.status == 200 and answer.is_clean
    assert answer.body == expected.body and answer.trailers == b""
    assert not stream or fault != "event-8mb:8388608" or len(answer.body) > 8 << 20


@pytest.mark.parametrize("size", [0, 1, 511, 512, 65535, 65536, 524287, 524288, 1048576, 10485760])
def test_whole_answers_of_any_size_are_byte_exact(gateway, engine, size):
    engine.fault(f"big-body:{size}")
    expected = direct(engine)
    answer = gateway.chat("small", timeout=60)
    assert answer.is_clean and answer.body == expected.body


def test_events_arrive_one_by_one_as_the_engine_sends_them():
    with Engine(tokens=6, itl="60ms", served_model_name="small") as slow, Gateway({"small": slow}) as gateway:
        with gateway.connect() as connection:
            connection.send(http("POST", CHAT, chat_body("small", stream=True), ["Connection: close"]))
            times, seen = [], 0
            while connection.receive():
                if connection.data.count(b"data: ") > seen:
                    seen = connection.data.count(b"data: ")
                    times.append(time.monotonic())
    assert len(times) >= 6 and times[-1] - times[0] > 0.2


def test_a_hundred_streams_at_once_do_not_mix():
    with Engine(tokens=20, itl="5ms", served_model_name="small") as engine, Gateway({"small": engine}, workers=2) as gateway:
        expected = {}
        connections = []
        for number in range(100):
            messages = [{"role": "user", "content": f"question {number}"}]
            body = {"model": "small", "stream": True, "messages": messages}
            connections.append(gateway.connect())
            connections[-1].send(http("POST", CHAT, body))
            with Connection(engine.port) as connection:
                connection.send(http("POST", CHAT, body))
                expected[number] = connection.read_answer().body
        for number, connection in enumerate(connections):
            answer = connection.read_answer()
            assert answer.is_clean and answer.body == expected[number]
            connection.close()
        wait_until(lambda: gateway.metrics()['vllmgw_streams_open{model="small"}'] == 0, what="all streams' end")
