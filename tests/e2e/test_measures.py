# SPDX-License-Identifier: Apache-2.0
"""What is measured: every time and count there should be, by both families of names, and what models and circuits do."""

import json
import pathlib
import re
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from engine import Engine, binary, wait_until  # noqa: E402
from gateway import Gateway, chat_body, http  # noqa: E402

TWINS = {"vllmgw_request_duration_seconds": "gen_ai_server_request_duration_seconds",
         "vllmgw_time_to_first_token_seconds": "gen_ai_server_time_to_first_token_seconds",
         "vllmgw_inter_token_seconds": "gen_ai_server_time_per_output_token_seconds",
         "vllmgw_prompt_tokens_total": "gen_ai_client_token_usage", "vllmgw_completion_tokens_total": "gen_ai_client_token_usage"}
SMALL = 'gen_ai_operation_name="chat",gen_ai_provider_name="openai",gen_ai_request_model="small"'


@pytest.fixture(scope="module")
def engine():
    with Engine(served_model_name="small", tokens=5) as engine:
        yield engine


def process(name, *args, **keys):
    command = [binary("vllmgw-engine"), "--port", "${PORT}", "--model", name, *args]
    return {"backend": {"kind": "process", "command": command, "stop_timeout": "10s"}, **keys}


def families(gateway):
    """The names that have a TYPE line."""
    return set(re.findall(r"^# TYPE (\S+) ", gateway.request("GET", "/metrics").body.decode(), re.M))


def talk(gateway):
    """Three streams, two whole answers, one refusal of the engine."""
    for _ in range(3):
        assert gateway.chat("small", stream=True, stream_options={"include_usage": True}).is_clean
    for _ in range(2):
        assert gateway.chat("small").status == 200
    assert gateway.chat("small", x_fault="status-500-html").status == 502


def bounds_of(gateway, name):
    """The upper ends of a histogram's buckets, as written."""
    text = gateway.request("GET", "/metrics").body.decode()
    found = re.findall(rf'^{name}_bucket{{.*le="([^"]*)"}} ', text, re.M)
    return found[:found.index("+Inf") + 1]


def wait_for(gateway, name):
    """The metrics, once this one is 1: what models do is counted behind their backs."""
    return wait_until(lambda: (found := gateway.metrics()).get(name) == 1 and found, 10, name)


def test_the_first_token_and_those_after_it_are_timed_of_streams_alone():
    with Engine(served_model_name="small", tokens=9, ttft="60ms", itl="20ms") as slow, Gateway({"small": slow}) as gateway:
        gateway.chat("small")
        assert gateway.metrics()['vllmgw_time_to_first_token_seconds_count{model="small"}'] == 0
        answer = gateway.chat("small", stream=True)
        metrics = gateway.metrics()
    name = '{model="small"}'
    assert metrics["vllmgw_time_to_first_token_seconds_count" + name] == 1
    assert 0.06 <= metrics["vllmgw_time_to_first_token_seconds_sum" + name] < 5
    gaps = len(answer.events()) - 2  # no gap before the first, none before the end's mark
    assert gaps - 1 <= metrics["vllmgw_inter_token_seconds_count" + name] <= gaps
    assert 0.02 * 7 <= metrics["vllmgw_inter_token_seconds_sum" + name] < 5
    assert metrics["vllmgw_first_byte_seconds_count" + name] == 2


def test_ours_are_the_names_unless_others_are_asked_for(engine):
    with Gateway({"small": engine}) as gateway:
        talk(gateway)
        found = families(gateway)
    assert set(TWINS) <= found and not any(name.startswith("gen_ai") for name in found)


@pytest.mark.parametrize("naming", ["otel", "both"])
def test_opentelemetrys_names_say_the_same(engine, naming):
    with Gateway({"small": engine, "quiet": engine}, metrics={"naming": naming}) as gateway:
        talk(gateway)
        found, metrics = families(gateway), gateway.metrics()
        first = bounds_of(gateway, TWINS["vllmgw_time_to_first_token_seconds"])
        tokens = bounds_of(gateway, "gen_ai_client_token_usage")

    assert set(TWINS.values()) <= found
    assert (set(TWINS) <= found) if naming == "both" else not (set(TWINS) & found)
    assert "vllmgw_requests_total" in found and "vllmgw_overhead_seconds" in found, "what has no other name keeps ours"
    assert metrics[f"gen_ai_server_request_duration_seconds_count{{{SMALL}}}"] == 5
    assert metrics[f'gen_ai_server_request_duration_seconds_count{{{SMALL},error_type="5xx"}}'] == 1
    assert metrics[f"gen_ai_server_time_to_first_token_seconds_count{{{SMALL}}}"] == 3
    assert metrics[f"gen_ai_server_time_per_output_token_seconds_count{{{SMALL}}}"] == 3
    assert metrics[f'gen_ai_client_token_usage_count{{{SMALL},gen_ai_token_type="output"}}'] == 5
    assert metrics[f'gen_ai_client_token_usage_sum{{{SMALL},gen_ai_token_type="output"}}'] == 25
    assert metrics[f'gen_ai_client_token_usage_bucket{{{SMALL},gen_ai_token_type="output",le="4"}}'] == 0
    assert not [name for name in metrics if name.startswith("gen_ai") and "quiet" in name]
    assert first == "0.001 0.005 0.01 0.02 0.04 0.06 0.08 0.1 0.25 0.5 0.75 1 2.5 5 7.5 10 +Inf".split()
    assert tokens == [*(str(4 ** i) for i in range(14)), "+Inf"]


def test_embeddings_and_completions_are_operations_of_their_own(engine):
    with Gateway({"small": engine}, metrics={"naming": "otel"}) as gateway:
        assert gateway.request("POST", "/v1/embeddings", {"model": "small", "input": "x"}).status == 200
        assert gateway.request("POST", "/v1/completions", {"model": "small", "prompt": "x"}).status == 200
        metrics = gateway.metrics()
    for operation in ("embeddings", "text_completion"):
        name = SMALL.replace("chat", operation)
        assert metrics[f"gen_ai_server_request_duration_seconds_count{{{name}}}"] == 1


def test_models_that_come_and_go_are_counted_and_timed():
    models = {"a": process("a", "--load-time", "150ms", "--itl", "20ms"), "b": process("b")}
    with Gateway(models, residency={"min_resident": "0s", "max_resident": 1}) as gateway:
        before = gateway.metrics()
        assert gateway.chat("a", max_tokens=1).status == 200
        during = wait_for(gateway, 'vllmgw_model_start_seconds_count{model="a"}')
        assert gateway.chat("b").status == 200
        after = wait_for(gateway, 'vllmgw_model_transitions_total{model="a",to="absent"}')

    assert before['vllmgw_model_state{model="a",state="unloaded"}'] == 1
    assert not [name for name in before if name.startswith("vllmgw_replica_")], "nothing is there yet"
    assert during['vllmgw_model_state{model="a",state="loaded"}'] == 1
    assert during['vllmgw_replica_requests_total{model="a",replica="a/0"}'] == 1
    assert 0.15 <= during['vllmgw_model_start_seconds_sum{model="a"}'] < 20
    assert during['vllmgw_queue_seconds_sum{model="a"}'] >= 0.15
    assert after['vllmgw_model_swapped_out_total{model="a"}'] == 1 and after['vllmgw_model_swapped_out_total{model="b"}'] == 0
    assert after['vllmgw_model_transitions_total{model="a",to="ready"}'] == 1
    assert {name for name in after if name.startswith("vllmgw_replica_up")} == {'vllmgw_replica_up{model="b",replica="b/0"}'}
    assert after["vllmgw_events_lost_total"] == 0


def test_a_start_that_fails_is_a_failure_and_who_waits_is_counted():
    with Gateway({"a": process("a", "--load-time", "60s")}, residency={"max_wait": "1m"}) as gateway:
        with gateway.connect() as connection:
            connection.send(http("POST", "/v1/chat/completions", chat_body("a", stream=True)))
            wait_until(lambda: gateway.metrics()['vllmgw_requests_waiting{model="a"}'] == 1, 10, "one that waits")
            assert gateway.metrics()['vllmgw_model_state{model="a",state="loading"}'] == 1
        wait_until(lambda: gateway.metrics()['vllmgw_requests_waiting{model="a"}'] == 0, 10, "none that waits")
    with Gateway({"a": process("a", "--fault", "start-exit")}) as gateway:
        assert gateway.chat("a").status == 503
        metrics = wait_for(gateway, 'vllmgw_model_state{model="a",state="failed"}')
        assert wait_for(gateway, 'vllmgw_model_failures_total{model="a"}')
    assert metrics['vllmgw_requests_waiting{model="a"}'] == 0


def test_a_circuit_that_opens_is_an_event(engine):
    urls = {"backend": {"kind": "static", "urls": [engine.url, "http://127.0.0.1:9"]}, "balance": "round_robin"}
    with Gateway({"small": urls}, timeouts={"health": None}) as gateway, gateway.connect() as client:
        client.send(http("GET", "/admin/events", host="localhost"))
        client.read_until(b": listening")
        for _ in range(12):
            assert gateway.chat("small").status == 200
        client.read_until(b'"circuit"')
        client.read_until(b"\n\n")
        event = json.loads(re.search(rb'^data: (.*"circuit".*)$', client.data, re.M)[1])
    assert (event["kind"], event["model"], event["replica"]) == ("circuit", "small", "small/1")
    assert (event["from"], event["to"]) == ("closed", "open") and "5 failures in a row" in event["text"]


def test_a_long_name_is_cut_between_two_characters_in_the_log(engine):
    """A line that ends in half a character is no JSON to those who read it."""
    name = "a" + 30 * "\u6a21"
    model = {"backend": {"kind": "static", "urls": [engine.url]}, "served_name": "small"}
    with Gateway({name: model}) as gateway:
        line = gateway.access_of(gateway.chat(name))
        assert line["model"] and name.startswith(line["model"])
