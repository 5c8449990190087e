# SPDX-License-Identifier: Apache-2.0
"""Another model answers when the one asked for would not soon: told in a header, in the access log, in the metrics."""

import json
import pathlib
import socket
import sys
import time

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from engine import Engine, binary, wait_until  # noqa: E402
from gateway import Gateway, chat_body, http  # noqa: E402

ALICE = ["Authorization: Bearer sk-alice-0123456789"]


def static(engine, **keys):
    return {"backend": {"kind": "static", "urls": [getattr(engine, "url", engine)]}, **keys}


def slow(load_time, **keys):
    """A model that is started when it is asked for, and takes its time."""
    command = [binary("vllmgw-engine"), "serve", "${MODEL}", "--port", "${PORT}", "--tokens", "3", "--load-time", load_time]
    return {"backend": {"kind": "process", "command": command, "stop_timeout": "10s"}, **keys}


def closed_port():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{sock.getsockname()[1]}"


@pytest.fixture(scope="module")
def engine():
    with Engine("--served-model-name", "org/small", "--tokens", "4") as one:
        yield one


@pytest.fixture(autouse=True)
def forget(engine):
    engine.reset()


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_a_request_that_has_waited_long_enough_is_answered_by_the_other_model(engine, stream):
    models = {"small": static(engine, served_name="org/small", request={"defaults": {"top_k": 7}, "strip": ["logit_bias"]}),
              "big": slow("60s", fallback={"model": "small", "after": "300ms"}, request={"defaults": {"min_p": 0.5}})}
    with Gateway(models) as gateway:
        began = time.monotonic()
        answer = gateway.chat("big", stream=stream, logit_bias={"1": 2}, seed=1.50)
        assert answer.status == 200 and answer.is_clean
        assert 0.25 <= time.monotonic() - began < 5
        assert answer.get("x-vllmgw-fallback") == "big -> small" and answer.get("x-vllmgw-model") == "small"
        sent = json.loads(engine.requests()[0]["body"])
        assert (sent["model"], sent["top_k"], sent["seed"]) == ("org/small", 7, 1.5)
        assert not {"min_p", "logit_bias"} & set(sent)
        line = gateway.access_of(answer)
        assert (line["model"], line["fallback_from"], line["outcome"]) == ("small", "big", "ok")
        assert line["queue_us"] > 200000
        metrics = gateway.metrics()
        assert metrics['vllmgw_fallbacks_total{model="big"}'] == 1 and metrics['vllmgw_fallbacks_total{model="small"}'] == 0
        assert metrics['vllmgw_requests_in_flight{model="big"}'] == metrics['vllmgw_requests_in_flight{model="small"}'] == 0


def test_a_wait_known_to_be_too_long_is_not_begun(engine):
    """Once a start has been measured, nobody waits for what will not come in time."""
    models = {"small": static(engine, served_name="org/small"),
              "big": slow("1500ms", fallback={"model": "small", "after": "1s"})}
    with Gateway(models) as gateway:
        first = gateway.chat("big")
        assert first.get("x-vllmgw-fallback") == "big -> small" and gateway.access_of(first)["queue_us"] > 900000
        wait_until(lambda: gateway.chat("big").get("x-vllmgw-fallback") is None, 15, "big")
        with gateway.connect() as admin:
            admin.send(http("POST", "/admin/models/big/unload?wait=true", {}, host="localhost"))
            assert admin.read_answer("POST").status in (200, 202)
        again = gateway.chat("big")
        assert again.get("x-vllmgw-fallback") == "big -> small"
        assert gateway.access_of(again)["queue_us"] < 700000


def test_a_model_that_is_there_in_time_answers_itself(engine):
    models = {"small": static(engine, served_name="org/small"), "big": slow("200ms", fallback={"model": "small", "after": "20s"})}
    with Gateway(models) as gateway:
        answer = gateway.chat("big")
        assert answer.status == 200 and answer.get("x-vllmgw-fallback") is None
        assert "fallback_from" not in gateway.access_of(answer)
        assert engine.counters()["requests"] == 0


@pytest.mark.parametrize("cause", ["no start", "no connection"])
def test_a_model_that_fails_is_replaced_at_once(engine, cause):
    broken = {"backend": {"kind": "process", "command": ["/bin/false", "${PORT}"]}} if cause == "no start" else static(closed_port())
    with Gateway({"small": static(engine, served_name="org/small"), "big": {**broken, "fallback": {"model": "small", "after": "20s"}}}) as gateway:
        for _ in range(3):
            answer = gateway.chat("big", timeout=10)
            assert answer.status == 200 and answer.get("x-vllmgw-fallback") == "big -> small"
        assert engine.counters()["requests"] == 3


def test_chains_go_on_to_the_first_that_answers(engine):
    models = {"huge": slow("60s", fallback={"model": "big", "after": "100ms"}, groups=["a"]),
              "big": static(closed_port(), fallback={"model": "tiny"}),
              "small": static(engine, served_name="org/small", aliases=["tiny"])}
    with Gateway(models) as gateway:
        answer = gateway.chat("huge")
        assert answer.status == 200 and answer.get("x-vllmgw-fallback") == "huge -> big -> small"
        assert gateway.access_of(answer)["fallback_from"] == "huge"


def test_a_request_that_an_engine_has_is_never_sent_to_another(engine):
    with Engine("--served-model-name", "big", "--fault", "reset-before-headers") as broken:
        models = {"small": static(engine, served_name="org/small"), "big": static(broken, fallback={"model": "small", "after": "0s"})}
        with Gateway(models) as gateway:
            answer = gateway.chat("big")
            assert answer.status == 502 and answer.get("x-vllmgw-fallback") is None
            assert engine.counters()["requests"] == 0


def test_a_key_falls_back_only_to_models_it_may_use(engine):
    keys = {"keys": [{"name": "alice", "key": ALICE[0][-19:], "models": ["big"]},
                     {"name": "bob", "key": "sk-bob-0123456789", "rpm": 10, "may_swap": False}]}
    models = {"small": static(engine, served_name="org/small"), "big": static(closed_port(), fallback={"model": "small"}),
              "cold": slow("60s", fallback={"model": "small", "after": "10s"})}
    with Gateway(models, auth=keys) as gateway:
        refused = gateway.chat("big", ALICE)
        assert refused.status == 502 and refused.get("x-vllmgw-fallback") is None
        bob = ["Authorization: Bearer sk-bob-0123456789"]
        answer = gateway.chat("big", bob)
        assert answer.status == 200 and answer.get("x-ratelimit-remaining-requests") == "9", "one request, counted once"
        assert gateway.chat("cold", bob).get("x-vllmgw-fallback") == "cold -> small", "it may not cause a load"
        metrics = gateway.metrics()
        assert metrics['vllmgw_key_requests_total{key="bob",model="small"}'] == 2


def test_forms_fall_back_too(engine):
    models = {"small": static(engine, served_name="org/small"), "big": static(closed_port(), fallback={"model": "small"})}
    body = b'--B\r\nContent-Disposition: form-data; name="model"\r\n\r\nbig\r\n--B--\r\n'
    with Gateway(models) as gateway:
        answer = gateway.request("POST", "/v1/audio/transcriptions", body, ["Content-Type: multipart/form-data; boundary=B"])
        assert answer.status == 200 and answer.json()["model"] == "org/small"
        assert engine.requests()[0]["body"].encode() == body.replace(b"\r\nbig\r\n", b"\r\norg/small\r\n")


def test_a_client_that_leaves_before_and_after_the_change_is_let_go(engine):
    with Engine("--served-model-name", "org/small", "--itl", "50ms", "--tokens", "1000") as busy:
        models = {"small": static(busy, served_name="org/small"), "big": slow("60s", fallback={"model": "small", "after": "200ms"})}
        with Gateway(models) as gateway:
            with gateway.connect() as early:
                early.send(http("POST", "/v1/chat/completions", chat_body("big", stream=True)))
            gateway.access(1)
            assert busy.counters()["requests"] == 0
            with gateway.connect() as late:
                late.send(http("POST", "/v1/chat/completions", chat_body("big", stream=True, max_tokens=1000)))
                late.read_until(b"data: ")
            busy.wait_for(lambda counters: counters["closed_by_client"] == 1)
            line = gateway.access(2)[-1]
            assert (line["outcome"], line["fallback_from"]) == ("client_closed", "big")


def test_cycles_are_refused_when_the_configuration_is_read(engine):
    with Gateway({"small": static(engine)}) as gateway:
        assert not gateway.reload({name: static(engine, fallback={"model": other})
                                   for name, other in (("a", "b"), ("b", "c"), ("c", "a"))})
        assert "this chain of fallbacks comes back to 'a'" in gateway.text
