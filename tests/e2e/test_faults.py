# SPDX-License-Identifier: Apache-2.0
"""Rows of the table of faults that no other file answers: keys, addresses, queues and waits. By the row's number."""

import os
import pathlib
import subprocess
import sys
import time

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from engine import Engine, binary, wait_until  # noqa: E402
from gateway import Answer, Gateway, chat_body, http  # noqa: E402

CHAT = "/v1/chat/completions"
GOOD = ["Authorization: Bearer sk-alice-0123456789"]
AUTH = {"keys": [{"name": "alice", "key": GOOD[0].split()[-1]}]}
SHORT = {"connect": "100ms", "first_byte": "300ms", "idle": "300ms", "total": "400ms"}


@pytest.fixture(scope="module")
def engine():
    with Engine(served_model_name="small", tokens=2) as engine:
        yield engine


@pytest.fixture(autouse=True)
def fresh(engine):
    engine.reset()


def process(name, *args):
    command = [binary("vllmgw-engine"), "--port", "${PORT}", "--model", name, *args]
    return {"backend": {"kind": "process", "command": command, "stop_timeout": "10s"}}


def ask(gateway, model, **more):
    connection = gateway.connect()
    connection.send(http("POST", CHAT, chat_body(model, **more)))
    return connection


def test_row_50_a_stream_of_null_goes_on_as_it_came(engine):
    with Gateway({"small": engine}) as gateway:
        answer = gateway.request("POST", CHAT, b'{"model": "small", "stream": null, "messages": []}')
        assert answer.status == 200 and answer.get("content-type") == "application/json"
    assert engine.requests()[0]["body"] == '{"model": "small", "stream": null, "messages": []}'


def test_row_53_nobody_reads_the_answers_of_another(engine):
    with Gateway({"small": engine}, auth=AUTH) as gateway:
        for method in ("GET", "DELETE"):
            answer = gateway.request(method, "/v1/responses/resp_0123", headers=GOOD)
            assert (answer.status, answer.error["code"]) == (404, "not_found")
    assert engine.counters()["requests"] == 0


def test_row_56_another_user_of_the_machine_may_not_administer(tmp_path):
    if os.geteuid() != 0:
        pytest.skip("only root can be somebody else: the peer's user was NOT tested")
    path = tmp_path / "admin.sock"
    ask_as = (f"import socket; s = socket.socket(socket.AF_UNIX); s.connect({str(path)!r}); "
              "s.sendall(b'GET /admin/state HTTP/1.1\\r\\nHost: a\\r\\nConnection: close\\r\\n\\r\\n'); "
              "import sys; sys.stdout.buffer.write(b''.join(iter(lambda: s.recv(65536), b'')))")
    with Gateway({"a": process("a")}, admin={"listen": f"unix:{path}"}):
        for folder in (tmp_path, tmp_path.parent, tmp_path.parent.parent):
            folder.chmod(folder.stat().st_mode | 0o011)
        path.chmod(0o666)
        for user, status in ((0, 200), (65534, 403)):
            done = subprocess.run([sys.executable, "-c", ask_as], user=user, capture_output=True, timeout=20, cwd="/")
            answer = Answer(done.stdout)
            assert answer.status == status, done.stderr
            assert status == 200 or answer.error["code"] == "permission_denied"


def test_row_57_who_tries_keys_is_slowed_down_and_nobody_else(engine):
    with Gateway({"small": engine}, auth={**AUTH, "per_ip_rpm": 10}) as gateway:
        answers = [gateway.chat("small", [f"Authorization: Bearer sk-guess-{number:04d}"]) for number in range(40)]
        statuses = [answer.status for answer in answers]
        assert statuses[:10] == [401] * 10 and 429 in statuses[10:] and set(statuses) == {401, 429}
        for answer in answers:
            if answer.status == 429:
                assert answer.error["code"] == "rate_limit_exceeded"
                assert 0 < int(answer.get("retry-after-ms")) <= 6000 and 1 <= int(answer.get("retry-after")) <= 6
        statuses.append(gateway.request("GET", "/v1/models").status)  # no key is no valid key
        assert all(gateway.chat("small", GOOD).status == 200 for _ in range(20)), "a good key is not slowed down"
        assert gateway.metrics()['vllmgw_limited_total{key="",reason="address"}'] == statuses.count(429)


def test_row_60_a_full_queue_refuses_at_once_and_says_when_to_come_back():
    with Gateway({"a": process("a", "--load-time", "60s")}, limits={"queue": {"requests": 2}}) as gateway:
        waiting = [ask(gateway, "a", stream=stream) for stream in (False, True)]
        wait_until(lambda: gateway.metrics()['vllmgw_requests_waiting{model="a"}'] == 2, 20, "two that wait")
        for stream in (False, True):
            began = time.monotonic()
            answer = gateway.chat("a", stream=stream)
            assert time.monotonic() - began < 5, "not after a while"
            assert (answer.status, answer.error["code"], answer.error["type"]) == (503, "server_overloaded", "overloaded_error")
            assert int(answer.get("retry-after")) >= 1
        for connection in waiting:
            connection.close()


def test_row_60_bodies_beyond_the_common_room_are_told_when_to_come_back(engine):
    with Gateway({"small": engine}, limits={"body": "1MiB", "queue": {"bytes": "1MiB"}}) as gateway:
        with gateway.connect() as first, gateway.connect() as second:
            first.send(http("POST", CHAT, b"x" * (1 << 20))[:-10])
            wait_until(lambda: gateway.metrics()["vllmgw_client_connections"] >= 2, 10, "the first")
            second.send(http("POST", CHAT, b"x" * (1 << 20))[:-10])
            answer = second.read_answer()
            assert (answer.status, answer.error["code"]) == (503, "server_overloaded")
            assert int(answer.get("retry-after")) >= 1


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_rows_61_and_62_who_waits_too_long_is_told_what_for(stream):
    """For a place, whose holder is slow to go: 504. For a model that loads: 503, and when it will be there."""
    models = {"a": process("a", "--stop-time", "2s"), "b": process("b", "--load-time", "60s")}
    with Gateway(models, timeouts=SHORT, residency={"min_resident": "0s"}) as gateway:
        assert gateway.chat("a").status == 200
        answer = gateway.chat("b", stream=stream)
        assert (answer.status, answer.error["code"]) == (504, "queue_timeout"), answer
    with Gateway({"b": models["b"]}, timeouts=SHORT) as gateway:
        answer = gateway.chat("b", stream=stream)
        assert (answer.status, answer.error["code"]) == (503, "model_loading"), answer
        assert int(answer.get("retry-after")) >= 1
