# SPDX-License-Identifier: Apache-2.0
"""What the server says of itself: counts that are exact, logs that hold one line per request, and no secret anywhere."""

import json
import os
import pathlib
import re
import shutil
import subprocess
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from engine import Engine, binary, wait_until  # noqa: E402
from gateway import Gateway, chat_body, http  # noqa: E402

PATH = "/v1/chat/completions"


def size(body):
    return len(json.dumps(body).encode())


class Conversation:
    """Requests of every outcome, and what must have been counted for them."""

    def __init__(self, gateway):
        self.gateway, self.bytes_in, self.bytes_out, self.events, self.statuses = gateway, 0, 0, 0, []

    def chat(self, expected, model="small", **more):
        answer = self.gateway.chat(model, **more)
        assert answer.status == expected, answer
        self.statuses.append(answer.status)
        if expected != 404:
            self.bytes_in += size(chat_body(model, **more))
        if expected == 200:
            self.bytes_out += len(answer.body)
            self.events += len(answer.events())
        return answer

    def leave_a_stream(self):
        body = chat_body("small", stream=True, x_fault="stall-mid-stream:2")
        with self.gateway.connect() as connection:
            connection.send(http("POST", PATH, body))
            connection.read_until(b"data: ")
        self.bytes_in += size(body)


def value(metrics, name, **labels):
    text = ",".join(f'{key}="{item}"' for key, item in labels.items())
    return metrics.get(f"{name}{{{text}}}", 0)


def test_counts_are_exact_after_a_known_conversation():
    with Engine(model="small", tokens=5) as engine, Gateway({"small": engine, "quiet": engine}) as gateway:
        talk = Conversation(gateway)
        whole = [talk.chat(200) for _ in range(3)]
        asked = [talk.chat(200, stream=True, stream_options={"include_usage": True}) for _ in range(2)]
        talk.chat(502, x_fault="reset-before-headers")
        talk.chat(422, x_fault="status-422-json")
        for _ in range(4):
            talk.chat(404, model="nobody")
        before = talk.gateway.metrics()
        talk.leave_a_stream()
        name = {"model": "small"}
        wait_until(lambda: value(gateway.metrics(), "vllmgw_requests_total", **name, code="200") == 6
                   or value(gateway.metrics(), "vllmgw_requests_total", **name, code="499") == 1, 10, "the count")
        after = gateway.metrics()

    usages = [answer.json()["usage"] for answer in whole] + [json.loads(answer.events()[-2])["usage"] for answer in asked]
    counted = {code: value(before, "vllmgw_requests_total", **name, code=code) for code in ("200", "422", "502")}
    assert counted == {"200": 5, "422": 1, "502": 1}
    assert sum(value(before, "vllmgw_requests_total", model=label, code="404") for label in labels(before)) == 4
    assert value(before, "vllmgw_streams_total", **name) == 2
    assert value(before, "vllmgw_stream_events_total", **name) == talk.events
    assert value(before, "vllmgw_request_bytes_total", **name) == talk.bytes_in - size(
        chat_body("small", stream=True, x_fault="stall-mid-stream:2"))
    assert value(before, "vllmgw_upstream_attempts_total", **name) == 7
    for kind in ("prompt", "completion"):
        assert value(before, f"vllmgw_{kind}_tokens_total", **name) == sum(u[f"{kind}_tokens"] for u in usages)
    assert value(before, "vllmgw_request_duration_seconds_count", **name) == 7
    assert value(before, "vllmgw_first_byte_seconds_count", **name) >= 5
    assert all(number == 0 for key, number in before.items()
               if 'model="quiet"' in key and not key.startswith(("vllmgw_replica_", "vllmgw_model_state")))
    assert value(after, "vllmgw_requests_in_flight", **name) == value(after, "vllmgw_streams_open", **name) == 0
    assert value(after, "vllmgw_streams_total", **name) == 3


def labels(metrics):
    return {match[1] for name in metrics if (match := re.search(r'model="((?:\\.|[^"\\])*)"', name))}


def test_bytes_delivered_are_counted_as_they_were():
    with Engine(model="small", tokens=5) as engine, Gateway({"small": engine}) as gateway:
        talk = Conversation(gateway)
        for stream in (False, True, False, True):
            talk.chat(200, stream=stream)
        metrics = gateway.metrics()
        assert value(metrics, "vllmgw_response_bytes_total", model="small") == talk.bytes_out
        assert [line["bytes_out"] for line in gateway.access(4) if "bytes_out" in line] == \
            [line for line in (len(gateway.chat("small", stream=s).body) for s in (False, True, False, True))]


def test_prometheus_accepts_the_metrics():
    promtool = shutil.which("promtool")
    if not promtool:
        pytest.skip("promtool is not installed (Debian: prometheus): the metrics were NOT checked by it")
    with Engine(model="small", tokens=5) as engine, Gateway({"small": engine, "org/b.i-g": engine}) as gateway:
        gateway.chat("small", stream=True)
        gateway.chat("nobody")
        answer = gateway.request("GET", "/metrics")
    done = subprocess.run([promtool, "check", "metrics"], input=answer.body, capture_output=True, timeout=20)
    assert done.returncode == 0, done.stderr + done.stdout
    assert answer.get("content-type").startswith("text/plain; version=0.0.4")


def test_clients_cannot_make_labels():
    with Engine(model="small", tokens=1) as engine, \
            Gateway({"small": {"aliases": ["tiny", "pre-*"], "backend": {"kind": "static", "urls": [engine.url]}}}) as gateway:
        gateway.chat("nobody")
        before = labels(gateway.metrics())
        with gateway.connect() as connection:
            for i in range(1000):
                name = [f"bogus-{i}", f"pre-{i}", f'q"uote-{i}', f"new\nline-{i}", "x" * 300 + str(i)][i % 5]
                connection.send(http("POST", PATH, chat_body(name)))
                assert connection.read_answer().status in (200, 404, 400)
        metrics = gateway.metrics()
        counted = sum(number for key, number in metrics.items() if key.startswith("vllmgw_requests_total"))

    assert labels(metrics) == before and "small" in before and len(before) == 2
    assert counted == 1001


def test_each_request_has_one_line_and_every_line_is_json():
    with Engine(model="small", tokens=2) as engine, Gateway({"small": engine}, workers=2) as gateway:
        requests = [("GET", "/health", None), ("GET", "/v1/models", None), ("GET", '/no"where\\%0a', None),
                    ("POST", PATH, chat_body("small")), ("POST", PATH, chat_body("small", stream=True)),
                    ("POST", PATH, chat_body("nobody")), ("POST", PATH, b"{"), ("DELETE", PATH, None),
                    ("POST", "/nowhere", b"x"), ("PROPFIND", "/health", None)]
        answers = [gateway.request(*request) for request in requests]
        lines = gateway.access(len(requests))
        text = gateway.text

    assert len(lines) == len(requests)
    assert {line["id"]: line["status"] for line in lines} == {a.get("x-request-id"): a.status for a in answers}
    assert len({line["id"] for line in lines}) == len(lines)
    assert {line["model"] for line in lines if line["status"] == 200 and line["path"] == PATH} == {"small"}
    for line in text.splitlines():
        assert {"time", "level", "area"} <= set(json.loads(line)), line


def test_a_client_that_leaves_and_an_engine_that_dies_are_told_apart_in_the_log():
    with Engine(model="small", tokens=9) as engine, Gateway({"small": engine}) as gateway:
        with gateway.connect() as connection:
            connection.send(http("POST", PATH, chat_body("small", stream=True, x_fault="stall-mid-stream:2")))
            connection.read_until(b"data: ")
        left = gateway.access(1)[-1]
        gateway.chat("small", stream=True, x_fault="die-mid-stream:2")
        died = gateway.access(2)[-1]

    assert left["outcome"] == "client_closed" and died["outcome"] == "upstream_aborted"
    assert left["status"] == died["status"] == 200 and left["events"] >= 2


def test_text_is_written_for_people_when_asked():
    with Engine(model="small", tokens=2) as engine, Gateway({"small": engine}, log={"format": "text"}) as gateway:
        gateway.chat("small")
        wait_until(lambda: re.search(rf"access: 127\.0\.0\.1 POST {PATH} 200 ok small \d+\.\d+ ms", gateway.text), 10, "it")
        assert "{" not in gateway.text


CANARIES = {"prompt": "canary-prompt-5e1f", "engine's key": "canary-engine-key-77a1", "client's key": "canary-client-key-0b2c",
            "admin's key": "canary-admin-key-93d4", "environment": "canary-environment-c0de", "query": "canary-query-1d1d"}


def check_no_canary(text, where):
    for name, canary in CANARIES.items():
        assert canary not in text, f"the {name} is in {where}"


def test_no_secret_and_no_prompt_is_in_anything_that_is_written():
    env = {"ENGINE_KEY": CANARIES["engine's key"], "SOMETHING_ELSE": CANARIES["environment"]}
    with Engine("--api-key", CANARIES["engine's key"], model="small", tokens=5) as engine:
        static = {"kind": "static", "api_key": "${ENGINE_KEY}"}
        models = {"small": {"backend": {**static, "urls": [engine.url]}},
                  "down": {"backend": {**static, "urls": ["http://127.0.0.1:9"]}}}
        with Gateway(models, env=env, log={"level": "debug"}, admin={"key": CANARIES["admin's key"]}) as gateway:
            messages = [{"role": "user", "content": CANARIES["prompt"]}]
            headers = [name + CANARIES["client's key"] for name in ("Authorization: Bearer ", "Cookie: a=")]
            said = []
            for model, more in [("small", {}), ("small", {"stream": True}), ("small", {"stream": "wrong"}), ("down", {}),
                                ("nobody", {}), ("small", {"x_fault": "reset-before-headers"}), (7, {}),
                                ("small", {"stream": True, "x_fault": "die-mid-stream:2"})]:
                answer = gateway.request("POST", PATH, {"model": model, "messages": messages, **more}, headers)
                said.append(answer.raw.decode())
            for body in (b"{" + CANARIES["prompt"].encode(), b'{"model": "small", "model": "' + CANARIES["prompt"].encode() + b'"}'):
                said.append(gateway.request("POST", PATH, body, headers).raw.decode())
            for path in ("/v1/models", "/metrics", "/health", "/version", "/v1/models/nobody"):
                said.append(gateway.request("GET", path + "?key=" + CANARIES["query"], headers=headers).raw.decode())
            assert gateway.reload()
            printed = subprocess.run([binary("vllmgw-server"), "-c", gateway.config_path, "--print-config"],
                                     env={**os.environ, **env}, capture_output=True, text=True, timeout=20)
            gateway.access(15)
            log, heads = gateway.text, [request["head"] for request in engine.requests()]
        texts = [line for line in heads if CANARIES["engine's key"] in line]

    assert texts and not [head for head in heads if CANARIES["client's key"] in head], "the engine saw the client's key"
    assert printed.returncode == 0 and "***" in printed.stdout
    check_no_canary(log, "the log")
    check_no_canary(printed.stdout + printed.stderr, "--print-config")
    for text in said:
        check_no_canary(text, "an answer: " + text)
