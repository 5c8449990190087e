# SPDX-License-Identifier: Apache-2.0
"""Many requests and many streams: every byte is the direct answer's, and nothing is left behind."""

import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from engine import Engine, wait_until  # noqa: E402
from gateway import Answer, Gateway, http  # noqa: E402
from swarm import raise_descriptors, swarm  # noqa: E402

PATH = "/v1/chat/completions"
MIB = 1 << 20
# A sanitizer holds freed memory back; little of it, so that what stays in use can be seen.
SMALL_QUARANTINE = {"ASAN_OPTIONS": "quarantine_size_mb=2:thread_local_quarantine_size_kb=64"}


def posts(count, keep_alive=True, **more):
    """Requests that all ask something else."""
    headers = [] if keep_alive else ["Connection: close"]
    return [http("POST", PATH, {"model": "small", "messages": [{"role": "user", "content": f"tell {i}"}], **more}, headers)
            for i in range(count)]


def direct(engine, requests):
    """What the engine itself answers to each."""
    return [Answer(raw).body for raw in swarm(engine.port, requests, 16)]


def compare(raw_answers, expected):
    """All are 200, complete, and the expected ones, which repeat."""
    for i, raw in enumerate(raw_answers):
        answer = Answer(raw)
        assert answer.status == 200 and answer.is_clean, answer
        assert answer.body == expected[i % len(expected)], f"answer {i} is another one's"


@pytest.fixture(params=[1, 2], ids=["one worker", "two workers"])
def pair(request):
    raise_descriptors()
    with Engine(model="small", tokens=20, keep_bytes="1MiB") as engine:
        with Gateway({"small": engine}, workers=request.param, log={"access": False}, env=SMALL_QUARANTINE) as gateway:
            yield engine, gateway


def run(gateway, requests, times, expected):
    compare(swarm(gateway.port, requests * times, 64), expected)


def check_nothing_stays(gateway, base):
    wait_until(lambda: gateway.descriptors() <= base, 15, f"{gateway.descriptors()} descriptors going back to {base}")
    metrics = gateway.metrics()
    assert metrics['vllmgw_requests_in_flight{model="small"}'] == 0
    assert metrics["vllmgw_client_connections"] == 1  # this one


def test_ten_thousand_requests_on_64_kept_connections_are_answered_as_directly(pair):
    engine, gateway = pair
    base, requests = gateway.descriptors(), posts(50)
    expected = direct(engine, requests)
    opened = engine.counters()["connections"]

    run(gateway, requests, 160, expected)
    resident = gateway.resident_bytes()
    run(gateway, requests, 40, expected)

    assert gateway.resident_bytes() < resident + 2 * MIB
    assert engine.counters()["connections"] - opened <= 64 * 2, "connections to the engine are not kept"
    check_nothing_stays(gateway, base)
    name = 'vllmgw_requests_total{model="small",code="200"}'
    assert gateway.metrics()[name] == 10000


def test_two_thousand_connections_of_one_request_each_leave_nothing_behind(pair):
    engine, gateway = pair
    base, requests = gateway.descriptors(), posts(50, keep_alive=False)
    expected = direct(engine, requests)

    run(gateway, requests, 30, expected)
    resident = gateway.resident_bytes()
    run(gateway, requests, 10, expected)

    assert gateway.resident_bytes() < resident + 2 * MIB
    check_nothing_stays(gateway, base)


def test_five_hundred_streams_at_a_time_are_not_mixed(pair):
    quick, gateway = pair
    base, requests = gateway.descriptors(), posts(500, keep_alive=False, stream=True)
    expected = direct(quick, requests)

    with Engine(model="small", tokens=20, ttft="2s", itl="20ms") as slow:
        assert gateway.reload({"small": slow})
        answers = swarm(gateway.port, requests, 500, on_start=lambda: wait_until(
            lambda: gateway.metrics()['vllmgw_requests_in_flight{model="small"}'] == 500, 30, "500 requests at a time"))
        compare(answers, expected)
    assert len(set(expected)) == 500
    check_nothing_stays(gateway, base)
