# SPDX-License-Identifier: Apache-2.0
"""How much a key may have, what it is told about it, and what it is charged."""

import concurrent.futures
import json
import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from engine import Engine, wait_until  # noqa: E402
from gateway import Gateway, chat_body, http  # noqa: E402

KEY, OTHER = "sk-alice-0123456789", "sk-bob-0123456789"
ALICE, BOB = [f"Authorization: Bearer {KEY}"], [f"Authorization: Bearer {OTHER}"]


def keys(**limits):
    return {"keys": [{"name": "alice", "key": KEY, **limits}, {"name": "bob", "key": OTHER}]}


@pytest.fixture(scope="module")
def engine():
    with Engine("--served-model-name", "small", "--tokens", "8") as one:
        yield one


@pytest.fixture(autouse=True)
def forget(engine):
    engine.reset()


def seconds(text):
    """What x-ratelimit-reset-* means: "120ms", "1.5s", "1m30s"."""
    if text.endswith("ms"):
        return float(text[:-2]) / 1000
    minutes, _, rest = text[:-1].rpartition("m")
    return 60 * float(minutes or 0) + float(rest)


def test_requests_per_minute_are_counted_told_and_refused(engine):
    with Gateway({"small": engine}, auth=keys(rpm=3)) as gateway:
        for left in (2, 1, 0):
            answer = gateway.chat("small", ALICE)
            assert answer.status == 200
            assert answer.get("x-ratelimit-limit-requests") == "3"
            assert answer.get("x-ratelimit-remaining-requests") == str(left)
            assert 0 < seconds(answer.get("x-ratelimit-reset-requests")) <= 20 * (3 - left)
            assert answer.get("x-ratelimit-limit-tokens") is None
        refused = gateway.chat("small", ALICE)
        assert refused.status == 429 and refused.error["code"] == "rate_limit_exceeded"
        assert refused.error["type"] == "rate_limit_error" and "requests per minute" in refused.error["message"]
        assert 15 <= int(refused.get("retry-after")) <= 20
        assert 15000 < int(refused.get("retry-after-ms")) <= 20000
        assert gateway.chat("small", BOB).status == 200
        assert engine.counters()["requests"] == 4
        assert gateway.metrics()['vllmgw_limited_total{key="alice",reason="requests"}'] == 1
        line = [line for line in gateway.access(5) if line["status"] == 429][0]
        assert line["key"] == "alice" and line["limited"] == "requests"


def test_refused_requests_take_nothing(engine):
    """However often it is refused, the place comes when it was said to come."""
    with Gateway({"small": engine}, auth=keys(rpm=60)) as gateway:
        for _ in range(60):
            assert gateway.chat("small", ALICE).status == 200
        statuses = [gateway.chat("small", ALICE) for _ in range(40)]
        refused = [answer for answer in statuses if answer.status == 429]
        assert len(refused) >= 35
        assert all(0 < int(answer.get("retry-after-ms")) <= 1000 for answer in refused)
        wait_until(lambda: gateway.chat("small", ALICE).status == 200, 2, "the next place")


def test_a_reload_does_not_forget_what_was_used(engine):
    with Gateway({"small": engine}, auth=keys(rpm=2)) as gateway:
        assert [gateway.chat("small", ALICE).status for _ in range(3)] == [200, 200, 429]
        assert gateway.reload(auth=keys(rpm=2))
        assert gateway.chat("small", ALICE).status == 429


def test_tokens_are_reserved_and_settled_with_what_was_used(engine):
    with Gateway({"small": engine}, auth=keys(tpm=6000)) as gateway:
        answer = gateway.chat("small", ALICE, max_tokens=5000)
        used = answer.json()["usage"]["total_tokens"]
        assert answer.get("x-ratelimit-limit-tokens") == "6000"
        assert int(answer.get("x-ratelimit-remaining-tokens")) < 1000  # reserved while it ran
        after = gateway.chat("small", ALICE, max_tokens=10)
        assert after.status == 200
        reserved = 10 + len(json.dumps(chat_body("small", max_tokens=10))) // 4
        left = int(after.get("x-ratelimit-remaining-tokens"))
        assert 6000 - used - reserved <= left <= 6000 - used - reserved + 100  # a second gives 100 back


def test_a_request_that_would_reserve_too_much_waits_its_turn(engine):
    with Gateway({"small": engine}, auth=keys(tpm=1000)) as gateway:
        assert gateway.chat("small", ALICE, max_tokens=900000).status == 200  # nothing is owed: it passes
        with Engine("--served-model-name", "small", "--itl", "1s") as slow:
            assert gateway.reload({"small": slow})
            with gateway.connect() as connection:
                connection.send(http("POST", "/v1/chat/completions", chat_body("small", stream=True, max_tokens=900), ALICE))
                connection.read_until(b"data: ")
                refused = gateway.chat("small", ALICE, max_tokens=900)
                assert refused.status == 429 and "tokens per minute" in refused.error["message"]
                assert int(refused.get("retry-after")) <= 60


@pytest.mark.parametrize("path,body", [
    ("/v1/chat/completions", {"messages": [{"role": "user", "content": "hello"}]}), ("/v1/completions", {"prompt": "hello"}),
])
def test_usage_is_asked_for_and_hidden_again_byte_for_byte(engine, path, body):
    """What the client of a key sees is what it would have seen of the engine itself."""
    def shape(answer):
        events = [json.loads(event) for event in answer.events() if event != "[DONE]"]
        return [{name: value for name, value in event.items() if name not in ("id", "created")} for event in events]

    body = {"model": "small", "stream": True, "max_tokens": 5, **body}
    with Gateway({"small": engine}, auth=keys(tpm=100000)) as gateway, Gateway({"small": engine}) as open_gateway:
        plain = open_gateway.request("POST", path, body)
        hidden = gateway.request("POST", path, body, ALICE)
        assert hidden.status == 200 and hidden.is_clean
        assert shape(hidden) == shape(plain)
        assert not any(event.get("usage") for event in shape(hidden))
        wanted = gateway.request("POST", path, {**body, "stream_options": {"include_usage": True}}, ALICE)
        assert [event for event in shape(wanted) if event.get("usage")]

        both = {"include_usage": True, "continuous_usage_stats": True}
        sent = [json.loads(request["body"]) for request in engine.requests()]
        assert [request.get("stream_options") for request in sent] == [None, both, both]
        line = [line for line in gateway.access(2)][0]
        assert line["completion_tokens"] == 5 and line["prompt_tokens"] > 0
        metrics = gateway.metrics()
        assert metrics['vllmgw_key_completion_tokens_total{key="alice",model="small"}'] == 10
        assert metrics['vllmgw_key_requests_total{key="alice",model="small"}'] == 2


def test_an_aborted_stream_is_charged_for_what_was_sent():
    with Engine("--served-model-name", "small", "--itl", "20ms", "--tokens", "1000") as slow, \
            Gateway({"small": slow}, auth=keys(tpm=100000)) as gateway:
        with gateway.connect() as connection:
            connection.send(http("POST", "/v1/chat/completions", chat_body("small", stream=True, max_tokens=1000), ALICE))
            wait_until(lambda: connection.receive() and connection.data.count(b"data: ") > 5, 20, "some tokens")
        line = gateway.access(1)[0]
        sent = slow.wait_for(lambda counters: counters["active"] == 0 if "active" in counters else True)
        assert line["outcome"] == "client_closed", (line, sent)
        counted = gateway.metrics()['vllmgw_key_completion_tokens_total{key="alice",model="small"}']
        events = slow.requests()[0]["events"]
        assert events - 2 <= counted <= events
        after = gateway.chat("small", ALICE, max_tokens=1)
        assert int(after.get("x-ratelimit-remaining-tokens")) >= 100000 - 100  # the rest of the reserve came back


def test_concurrency_is_held_until_the_end_of_the_body():
    with Engine("--served-model-name", "small", "--itl", "50ms", "--tokens", "100") as slow, \
            Gateway({"small": slow}, auth=keys(concurrency=2)) as gateway:
        request = http("POST", "/v1/chat/completions", chat_body("small", stream=True), ALICE)
        with gateway.connect() as first, gateway.connect() as second:
            for connection in (first, second):
                connection.send(request)
                connection.read_until(b"data: ")
            refused = gateway.chat("small", ALICE)
            assert refused.status == 429 and refused.get("retry-after") == "1"
            assert gateway.chat("small", BOB, max_tokens=1).status == 200
            first.close()
            wait_until(lambda: gateway.chat("small", ALICE, max_tokens=1).status == 200, 5, "the place of the first")


def test_an_address_without_a_key_has_its_own_limit(engine):
    with Gateway({"small": engine}, auth={"per_ip_rpm": 2}) as gateway:
        assert [gateway.chat("small").status for _ in range(3)] == [200, 200, 429]
        assert gateway.metrics()['vllmgw_limited_total{key="",reason="address"}'] == 1


def test_many_workers_keep_one_limit(engine):
    """Forty requests at once over two workers, ten may pass."""
    with Gateway({"small": engine}, workers=2, auth=keys(rpm=10)) as gateway:
        with concurrent.futures.ThreadPoolExecutor(20) as pool:
            statuses = list(pool.map(lambda _: gateway.chat("small", ALICE).status, range(40)))
        assert statuses.count(200) in (10, 11) and statuses.count(429) == 40 - statuses.count(200)
        assert engine.counters()["requests"] == statuses.count(200)


def test_a_failed_request_gives_its_tokens_back(engine):
    with Gateway({"small": engine}, auth=keys(tpm=1000)) as gateway:
        engine.fault("status-500-html", times=1)
        assert gateway.chat("small", ALICE, max_tokens=900).status == 502
        assert gateway.chat("small", ALICE, max_tokens=900).status == 200


def test_a_key_that_may_not_swap_uses_only_what_is_there(engine):
    command = {"kind": "process", "command": ["/bin/false", "${PORT}"]}
    with Gateway({"small": engine, "big": {"backend": command}}, auth=keys(may_swap=False)) as gateway:
        assert gateway.chat("small", ALICE).status == 200
        answer = gateway.chat("big", ALICE)
        assert answer.status == 403 and "may not load it" in answer.error["message"], answer
        assert gateway.chat("big", BOB).error["code"] == "model_start_failed"
