# SPDX-License-Identifier: Apache-2.0
"""Twenty keys ask five times what they may: each gets what it may, is refused the rest at once, and told when to come
back. What takes a minute, and the times, are measured by tests/bench/overload."""

import pathlib
import sys
import time

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from engine import Engine, wait_until  # noqa: E402
from gateway import Answer, Gateway, chat_body, http  # noqa: E402
from swarm import swarm  # noqa: E402

KEYS = [f"sk-key-{number:02d}-0123456789" for number in range(20)]


def auth(**limits):
    return {"keys": [{"name": f"key-{number:02d}", "key": key, **limits} for number, key in enumerate(KEYS)]}


def bearer(key):
    return [f"Authorization: Bearer {key}"]


@pytest.fixture(scope="module")
def engine():
    with Engine(served_model_name="small", tokens=3) as engine:
        yield engine


@pytest.mark.parametrize("workers", [1, 2])
def test_each_key_gets_what_it_may_and_is_refused_the_rest(engine, workers):
    rpm, asked = 12, 60
    engine.reset()
    requests = [http("POST", "/v1/chat/completions", chat_body("small"), bearer(key)) for _ in range(asked) for key in KEYS]
    with Gateway({"small": engine}, auth=auth(rpm=rpm), workers=workers, log={"access": False}) as gateway:
        began = time.monotonic()
        answers = [Answer(raw) for raw in swarm(gateway.port, requests, connections=40)]
        refilled = int((time.monotonic() - began) * rpm / 60) + 1
        metrics = gateway.metrics()

    for number in range(len(KEYS)):
        own = answers[number::len(KEYS)]
        served = [answer for answer in own if answer.status == 200]
        refused = [answer for answer in own if answer.status == 429]
        assert len(served) + len(refused) == asked
        assert rpm <= len(served) <= rpm + refilled, "neither less than it may nor more"
        for answer in refused:
            wait_ms = int(answer.get("retry-after-ms"))
            assert 0 < wait_ms <= 60000 / rpm
            assert int(answer.get("retry-after")) == -(-wait_ms // 1000)
            assert answer.error["code"] == "rate_limit_exceeded"
        label = f'key="key-{number:02d}"'
        assert metrics[f'vllmgw_limited_total{{{label},reason="requests"}}'] == len(refused)
        assert metrics[f'vllmgw_key_requests_total{{{label},model="small"}}'] == asked
    assert engine.counters()["requests"] == sum(answer.status == 200 for answer in answers), "no refused one came through"


def test_who_waits_as_long_as_he_was_told_is_served(engine):
    """Every key is used up by one client, who then does as he is told, five times over; none is refused twice."""
    rpm = 240
    with Gateway({"small": engine}, auth=auth(rpm=rpm), log={"access": False}) as gateway:
        request = {key: http("POST", "/v1/chat/completions", chat_body("small"), bearer(key)) for key in KEYS}
        connections = {key: gateway.connect() for key in KEYS}

        def ask(key):
            connections[key].send(request[key])
            return connections[key].read_answer()

        for key in KEYS:
            swarm(gateway.port, [request[key]] * rpm, connections=8)
        refusals = 0
        for _ in range(5):
            due = {}
            for key in KEYS:
                answer = ask(key)
                while answer.status == 200:  # what came back meanwhile
                    answer = ask(key)
                due[key] = time.monotonic() + int(answer.get("retry-after-ms")) / 1000
                refusals += 1
            for key in sorted(KEYS, key=due.get):
                wait_until(lambda: time.monotonic() >= due[key], 20, "the time to come back")
                assert ask(key).status == 200, key
        for connection in connections.values():
            connection.close()
    assert refusals == 5 * len(KEYS)
