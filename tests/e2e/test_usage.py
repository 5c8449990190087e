# SPDX-License-Identifier: Apache-2.0
"""What a stream cost, told by the engine as it goes: counted exactly wherever the stream ends, and hidden again from
clients that did not ask."""

import json
import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from engine import Engine, binary, wait_until  # noqa: E402
from gateway import Connection, Gateway, chat_body, http  # noqa: E402

CHAT = "/v1/chat/completions"
KEY = "sk-alice-0123456789"
ALICE = [f"Authorization: Bearer {KEY}"]
KEYS = {"keys": [{"name": "alice", "key": KEY, "tpm": 1000000}]}
BODIES = {CHAT: {"messages": [{"role": "user", "content": "say \"usage\":{}"}]}, "/v1/completions": {"prompt": "hello"}}


@pytest.fixture(scope="module")
def engine():
    with Engine("--served-model-name", "small", "--tokens", "30") as one:
        yield one


@pytest.fixture(autouse=True)
def forget(engine):
    engine.reset()


def static(engine, **keys):
    return {"backend": {"kind": "static", "urls": [engine.url]}, **keys}


def sent_options(engine):
    return [json.loads(request["body"]).get("stream_options") for request in engine.requests()]


@pytest.mark.parametrize("path", BODIES)
@pytest.mark.parametrize("asked", [None, {"include_usage": True}, {"include_usage": False}, {"continuous_usage_stats": True},
                                   {"include_usage": True, "continuous_usage_stats": True}], ids=json.dumps)
def test_a_client_sees_the_bytes_it_would_have_seen_of_the_engine(engine, path, asked):
    body = {"model": "small", "stream": True, **BODIES[path], **({"stream_options": asked} if asked else {})}
    with Gateway({"small": engine}, auth=KEYS) as counting, Gateway({"small": static(engine, usage="off")}, auth=KEYS) as plain:
        hidden = counting.request("POST", path, body, ALICE)
        both = {"include_usage": True, "continuous_usage_stats": True}
        assert sent_options(engine) == [both]
        if asked == {"continuous_usage_stats": True}:
            body.pop("stream_options")  # alone it means nothing to vLLM
        expected = plain.request("POST", path, body, ALICE)
        assert hidden.status == 200 and hidden.is_clean and hidden.body == expected.body
        line = counting.access_of(hidden)
        assert line["completion_tokens"] == 30 and line["prompt_tokens"] > 0 and "tokens_estimated" not in line
        assert line["events"] == plain.access_of(expected)["events"]


@pytest.mark.parametrize("usage, options", [
    ("auto", {"include_usage": True, "continuous_usage_stats": True}), ("continuous", {"include_usage": True, "continuous_usage_stats": True}),
    ("final", {"include_usage": True}), ("off", None)])
def test_how_an_engine_is_asked_can_be_configured(engine, usage, options):
    with Gateway({"small": static(engine, usage=usage)}, auth=KEYS) as gateway:
        assert gateway.chat("small", ALICE, stream=True).is_clean
        assert sent_options(engine) == [options]
    with Gateway({"small": static(engine, usage=usage)}) as gateway:
        assert gateway.chat("small", stream=True).is_clean
        assert sent_options(engine)[-1] is None, "nobody's tokens are counted"


def abort(gateway, model, until):
    with gateway.connect() as connection:
        connection.send(http("POST", CHAT, chat_body(model, stream=True, max_tokens=1000), ALICE))
        until(connection)
        connection.reset()
    return wait_until(lambda: [line for line in gateway.access() if line["path"] == CHAT], 10, "the access line")[-1]


def test_nothing_is_counted_for_who_leaves_while_the_model_loads():
    command = [binary("vllmgw-engine"), "serve", "${MODEL}", "--port", "${PORT}", "--load-time", "60s"]
    with Gateway({"big": {"backend": {"kind": "process", "command": command, "stop_timeout": "5s"}}}, auth=KEYS) as gateway:
        line = abort(gateway, "big", lambda connection: wait_until(
            lambda: gateway.metrics()['vllmgw_requests_in_flight{model="big"}'] == 1, 10, "the request"))
        assert (line["outcome"], line["prompt_tokens"], line["completion_tokens"]) == ("client_closed", -1, -1)


@pytest.mark.parametrize("phase, events", [("before the first event", 0), ("after the first", 1), ("in the middle", 17), ("before the end", 31)])
def test_what_is_counted_is_what_the_engine_sent_whenever_the_client_leaves(phase, events):
    """The engine stops after so many events, so that there is no doubt about the last."""
    options = ["--fault", f"stall-mid-stream:{events}"] if events else ["--ttft", "60s"]
    with Engine("--served-model-name", "small", "--tokens", "30", *options) as engine, Gateway({"small": engine}, auth=KEYS) as gateway:
        def until(connection: Connection):
            engine.wait_for(lambda counters: counters["running"] == 1 and counters["events"] >= events)
            if events:
                wait_until(lambda: connection.data.count(b"data: ") >= events or not connection.receive(), 10, "the events")

        line = abort(gateway, "small", until)
        sent = engine.counters()["generation_tokens"]
        assert line["outcome"] == "client_closed" and "tokens_estimated" not in line
        assert line["completion_tokens"] == (max(events - 1, 0) if events else -1)
        assert not events or sent - 1 <= line["completion_tokens"] <= sent, "one more may be made than is sent"
        counted = gateway.metrics().get('vllmgw_key_completion_tokens_total{key="alice",model="small"}', 0)
        assert counted == max(events - 1, 0)
        assert engine.wait_for(lambda counters: counters["closed_by_client"] == 1)


def test_a_stream_that_the_engine_breaks_off_is_counted_too():
    with Engine("--served-model-name", "small", "--tokens", "30", "--fault", "reset-mid-stream:9") as engine, \
            Gateway({"small": engine}, auth=KEYS) as gateway:
        answer = gateway.chat("small", ALICE, stream=True)
        assert not answer.is_clean and b"usage" not in answer.body
        assert json.loads(answer.events()[-1])["error"]["code"] == "upstream_aborted"
        assert gateway.access_of(answer)["completion_tokens"] == len(answer.events()) - 2
