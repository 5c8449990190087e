# SPDX-License-Identifier: Apache-2.0
"""A client that goes away, in each phase of its request: the engine is let go at once and the account is exact.

Run with -rP it tells how long each took."""

import pathlib
import re
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from engine import Engine, binary, wait_until  # noqa: E402
from gateway import Connection, Gateway, chat_body, http  # noqa: E402

CHAT = "/v1/chat/completions"
KEY = "sk-alice-0123456789"
AUTH = {"keys": [{"name": "alice", "key": KEY, "tpm": 1000000, "concurrency": 50}]}
PROMISED_MS, SLACK_MS = 100, 150  # the slack: sanitizers, on a machine that does other things too
LEAVE = {"reset": Connection.reset, "close": Connection.close}
STREAM = pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
WAY = pytest.mark.parametrize("way", LEAVE)


def ask(gateway, stream, model="small", **more):
    connection = gateway.connect()
    connection.send(http("POST", CHAT, chat_body(model, stream=stream, **more), [f"Authorization: Bearer {KEY}"]))
    return connection


def process(name, *args):
    command = [binary("vllmgw-engine"), "--port", "${PORT}", "--model", name, *args]
    return {"backend": {"kind": "process", "command": command, "stop_timeout": "10s"}}


def chats(gateway, count):
    """The lines about chats, once there are so many."""
    return wait_until(lambda: (found := [line for line in gateway.access() if line["path"] == CHAT]) and
                      len(found) >= count and found, 10, f"{count} lines")


def check_account(gateway, tokens, count=1):
    """All chats were given up by their clients, and cost so many completion tokens."""
    lines = chats(gateway, count)
    assert {line["outcome"] for line in lines} == {"client_closed"}, lines
    metrics = gateway.metrics()
    counted = {name: number for name, number in metrics.items() if name.startswith("vllmgw_key_completion_tokens_total")}
    assert sum(counted.values()) == tokens, (counted, lines)
    assert {number for name, number in metrics.items() if name.startswith(("vllmgw_requests_in_flight", "vllmgw_streams_open",
                                                                           "vllmgw_requests_waiting"))} == {0}
    return lines[-1]


def let_go(engine, connection, way, phase):
    """Leave; how long after it the engine saw the end of its connection."""
    now = engine.counters()["now_ms"]
    LEAVE[way](connection)
    took = engine.wait_for(lambda counters: counters["closed_by_client"] == 1)["last_close_ms"] - now
    print(f"{phase}, {way}: {took} ms")
    assert took <= PROMISED_MS + SLACK_MS
    assert engine.counters()["requests"] == 1 and engine.counters()["running"] == 0


@WAY
@STREAM
def test_while_its_request_waits_for_a_model_that_is_kept_out(stream, way):
    """`a` is busy and there is room for one: `b` is wanted by nobody any more, so it is never started."""
    with Gateway({"a": process("a", "--ttft", "60s"), "b": process("b")}, auth=AUTH, residency={"min_resident": "0s"}) as gateway:
        busy = ask(gateway, True, "a")
        wait_until(lambda: gateway.metrics().get('vllmgw_replica_in_flight{model="a",replica="a/0"}') == 1, 20, "a being busy")
        connection = ask(gateway, stream, "b")
        wait_until(lambda: gateway.metrics()['vllmgw_requests_waiting{model="b"}'] == 1, 10, "one that waits")
        LEAVE[way](connection)
        wait_until(lambda: gateway.metrics()['vllmgw_requests_waiting{model="b"}'] == 0, 10, "none that waits")
        assert chats(gateway, 1)[0]["model"] == "b"
        busy.close()
        check_account(gateway, 0, 2)
        assert not re.search(r"model=\"b\",to=\"starting\"} [1-9]", gateway.request("GET", "/metrics").body.decode())


@WAY
@STREAM
def test_while_its_model_loads(stream, way):
    with Gateway({"a": process("a", "--load-time", "60s")}, auth=AUTH) as gateway:
        connection = ask(gateway, stream, "a")
        wait_until(lambda: gateway.metrics()['vllmgw_requests_waiting{model="a"}'] == 1, 10, "one that waits")
        LEAVE[way](connection)
        wait_until(lambda: gateway.metrics()['vllmgw_requests_waiting{model="a"}'] == 0, 10, "none that waits")
        assert check_account(gateway, 0)["model"] == "a"


@WAY
@STREAM
def test_while_it_waits_for_the_first_byte(stream, way):
    with Engine(served_model_name="small", ttft="60s") as engine, Gateway({"small": engine}, auth=AUTH) as gateway:
        connection = ask(gateway, stream)
        engine.wait_for(lambda counters: counters["running"] == 1)
        let_go(engine, connection, way, f"first byte, {'streamed' if stream else 'whole'}")
        check_account(gateway, 0)


@WAY
def test_while_it_streams_and_what_was_sent_is_what_is_counted(way):
    """The engine sends so many events and no more, so that the count is exact: the first of a chat is no token."""
    events = 9
    with Engine(served_model_name="small", tokens=1000) as engine, Gateway({"small": engine}, auth=AUTH) as gateway:
        connection = ask(gateway, True, x_fault=f"stall-mid-stream:{events}")
        wait_until(lambda: connection.receive() and connection.data.count(b"data: {") == events, 10, "all events")
        let_go(engine, connection, way, "streaming")
        check_account(gateway, events - 1)
        assert engine.requests()[0]["events"] == events


@WAY
@pytest.mark.parametrize("fault", ["split-every-byte:20ms", "big-body:8388608"], ids=["slow", "unread"])
def test_while_a_whole_answer_is_on_its_way(fault, way):
    """Held back because it is short, or delivered in part to one who does not read."""
    with Engine(served_model_name="small", tokens=500) as engine, Gateway({"small": engine}, auth=AUTH) as gateway:
        with_little_room = gateway.connect(receive_buffer=4096)
        with_little_room.send(http("POST", CHAT, chat_body("small", x_fault=fault), [f"Authorization: Bearer {KEY}"]))
        engine.wait_for(lambda counters: counters["running"] == 1)
        wait_until(lambda: gateway.metrics().get('vllmgw_replica_in_flight{model="small",replica="small/0"}') == 1, 10, "it")
        if fault.startswith("big"):
            with_little_room.receive()
        let_go(engine, with_little_room, way, f"whole answer, {fault}")
        check_account(gateway, 0)
