# SPDX-License-Identifier: Apache-2.0
"""Limits in a real Redis: shared by gateways, and what happens while Redis is away."""

import concurrent.futures
import contextlib
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from engine import Engine, wait_until  # noqa: E402
from gateway import Gateway, chat_body, http  # noqa: E402

pytestmark = pytest.mark.skipif(not shutil.which("redis-server"), reason="no redis-server")
KEY = "sk-alice-0123456789"
ALICE = [f"Authorization: Bearer {KEY}"]


class Redis:
    """One redis-server on a unix socket. command("PING") sends inline commands."""

    def __init__(self):
        self.folder = tempfile.mkdtemp(prefix="vgw-redis-")
        self.path = self.folder + "/sock"
        self.process = None
        self.start()

    def start(self):
        self.process = subprocess.Popen(
            ["redis-server", "--port", "0", "--unixsocket", self.path, "--save", "", "--appendonly", "no", "--dir",
             self.folder, "--logfile", self.folder + "/log"], stdin=subprocess.DEVNULL)
        wait_until(self._answers, 10, "redis-server")

    def _answers(self):
        try:
            return self.command("PING") == b"+PONG\r\n"
        except OSError:
            return False

    def command(self, text):
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(10)
            sock.connect(self.path)
            sock.sendall(text.encode() + b"\r\n")
            return sock.recv(65536)

    def kill(self):
        self.process.kill()
        self.process.wait(10)

    def close(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


@pytest.fixture
def redis():
    with Redis() as one:
        yield one


@pytest.fixture(scope="module")
def engine():
    with Engine("--served-model-name", "small", "--tokens", "4") as one:
        yield one


def gateway_of(engine, redis, down="open", **limits):
    auth = {"keys": [{"name": "alice", "key": KEY, **limits}], "store": "unix:" + redis.path, "store_down": down}
    gateway = Gateway({"small": engine}, auth=auth)
    wait_until(lambda: is_shared(gateway), 10, "the first answer of Redis")
    redis.command("FLUSHALL")
    return gateway


def is_shared(gateway):
    """Redis' numbers come with the answer; without Redis there are none."""
    return any(name.startswith("x-ratelimit-remaining") for name, _ in gateway.chat("small", ALICE, max_tokens=1).headers)


def test_two_gateways_share_one_limit(engine, redis):
    with gateway_of(engine, redis, rpm=10) as first, gateway_of(engine, redis, rpm=10) as second:
        with concurrent.futures.ThreadPoolExecutor(16) as pool:
            answers = list(pool.map(lambda i: (first, second)[i % 2].chat("small", ALICE), range(32)))
        statuses = [answer.status for answer in answers]
        assert statuses.count(200) == 10 and statuses.count(429) == 22
        refused = [answer for answer in answers if answer.status == 429]
        assert all(4000 < int(answer.get("retry-after-ms")) <= 6000 for answer in refused)
        assert sorted(int(a.get("x-ratelimit-remaining-requests")) for a in answers if a.status == 200) == list(range(10))


def test_tokens_are_settled_in_redis_too(engine, redis):
    with gateway_of(engine, redis, tpm=6000) as first, gateway_of(engine, redis, tpm=6000) as second:
        answer = first.chat("small", ALICE, max_tokens=5000)
        assert answer.status == 200 and int(answer.get("x-ratelimit-remaining-tokens")) < 1000
        used = answer.json()["usage"]["total_tokens"]

        def left():
            return int(second.chat("small", ALICE, max_tokens=1).get("x-ratelimit-remaining-tokens"))
        wait_until(lambda: left() > 5500, 5, "the settlement")
        assert left() <= 6000 - used


def test_a_place_is_held_over_both_gateways_until_the_body_ends(redis):
    with Engine("--served-model-name", "small", "--itl", "50ms", "--tokens", "200") as slow, \
            gateway_of(slow, redis, concurrency=1, rpm=1000) as first, \
            gateway_of(slow, redis, concurrency=1, rpm=1000) as second:
        wait_until(lambda: redis.command("ZCARD vllmgw:{alice}:places") == b":0\r\n", 5, "no place taken")
        with first.connect() as connection:
            connection.send(http("POST", "/v1/chat/completions", chat_body("small", stream=True), ALICE))
            connection.read_until(b"data: ")
            assert second.chat("small", ALICE, max_tokens=1).status == 429
        wait_until(lambda: second.chat("small", ALICE, max_tokens=1).status == 200, 5, "the place")


@pytest.mark.parametrize("down,status", [("open", 200), ("closed", 503)])
def test_killed_redis_opens_or_closes_as_configured_and_its_return_is_noticed(engine, redis, down, status):
    with gateway_of(engine, redis, down, rpm=5) as gateway:
        assert gateway.chat("small", ALICE).get("x-ratelimit-remaining-requests") == "4"
        redis.kill()
        begun = time.monotonic()
        answers = [gateway.chat("small", ALICE) for _ in range(8)]
        assert {answer.status for answer in answers} == {status}
        assert time.monotonic() - begun < 2
        if status == 503:
            assert answers[0].error["code"] == "server_overloaded" and answers[0].get("retry-after")
        assert gateway.metrics()['vllmgw_limited_total{key="alice",reason="store"}'] >= 8
        assert "Redis cannot be used" in gateway.text
        redis.start()
        wait_until(lambda: is_shared(gateway), 10, "Redis to be noticed")
        assert "Redis answers again" in gateway.text


def test_a_redis_that_pauses_keeps_nobody_waiting_for_long(engine, redis):
    with gateway_of(engine, redis, rpm=1000, concurrency=50) as gateway:
        redis.command("CLIENT PAUSE 1200 ALL")
        begun = time.monotonic()
        assert gateway.chat("small", ALICE).status == 200
        assert time.monotonic() - begun < 0.6
        begun = time.monotonic()
        assert all(gateway.chat("small", ALICE).status == 200 for _ in range(10))
        assert time.monotonic() - begun < 0.6
        wait_until(lambda: is_shared(gateway), 10, "the end of the pause")
        wait_until(lambda: redis.command("ZCARD vllmgw:{alice}:places") == b":0\r\n", 5, "late grants to be given back")


def test_a_redis_that_hangs_is_connected_to_again(engine, redis):
    with gateway_of(engine, redis, rpm=1000) as gateway:
        redis.process.send_signal(signal.SIGSTOP)
        assert gateway.chat("small", ALICE).status == 200
        wait_until(lambda: "no answer" in gateway.text, 10, "the connection to be given up")
        redis.process.send_signal(signal.SIGCONT)
        wait_until(lambda: is_shared(gateway), 10, "the end of the hang")


def test_other_requests_do_not_wait_for_redis(engine, redis):
    """The one worker serves those without limits while Redis is silent."""
    with gateway_of(engine, redis, rpm=1000) as gateway:
        redis.process.send_signal(signal.SIGSTOP)
        with gateway.connect() as connection:
            connection.send(http("POST", "/v1/chat/completions", chat_body("small"), ALICE))
            begun = time.monotonic()
            assert gateway.request("GET", "/health").status == 200
            assert time.monotonic() - begun < 0.2
            assert connection.read_answer().status == 200
        redis.process.send_signal(signal.SIGCONT)


def test_a_gateway_begins_without_redis(engine):
    auth = {"keys": [{"name": "alice", "key": KEY, "rpm": 1}], "store": "redis://127.0.0.1:1/0"}
    with Gateway({"small": engine}, auth=auth) as gateway:
        assert gateway.chat("small", ALICE).status == 200
        assert "Redis cannot be used" in gateway.text


class FalseRedis:
    """Speaks the protocol well enough to be believed; `answers` says what, by a command's name."""

    def __init__(self, **answers):
        self.answers = {"PING": b"+PONG\r\n", "EVAL": b"$-1\r\n", **answers}
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                connection = self.listener.accept()[0]
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection):
        with contextlib.suppress(OSError), connection, connection.makefile("rb") as stream:
            while (count := stream.readline()):
                words = [stream.read(int(stream.readline()[1:]) + 2)[:-2] for _ in range(int(count[1:]))]
                connection.sendall(self.answers.get(words[0].decode(), b"+OK\r\n"))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.listener.close()


@pytest.mark.parametrize("numbers", [(1 << 40, 0, 0, 0, 0, 0), (-1, 1, 1, 1, 1, 1), (99, -1, -1, -1, -1, -1)])
def test_an_answer_that_makes_no_sense_is_no_answer(engine, numbers):
    reply = b"*6\r\n" + b"".join(b":%d\r\n" % number for number in numbers)
    with FalseRedis(EVAL=reply) as false:
        auth = {"keys": [{"name": "alice", "key": KEY, "rpm": 1}], "store": f"redis://127.0.0.1:{false.port}/0",
                "store_down": "closed"}
        with Gateway({"small": engine}, auth=auth) as gateway:
            for _ in range(3):
                answer = gateway.chat("small", ALICE)
                assert answer.status == 503 and answer.error["code"] == "server_overloaded", answer
            assert gateway.access(3)[-1]["limited"] == "store"


def test_a_database_that_redis_does_not_have_is_said_and_no_other_is_used(engine):
    with FalseRedis(SELECT=b"-ERR DB index is out of range\r\n") as false:
        auth = {"keys": [{"name": "alice", "key": KEY, "rpm": 1}], "store": f"redis://127.0.0.1:{false.port}/99"}
        with Gateway({"small": engine}, auth=auth) as gateway:
            wait_until(lambda: "DB index is out of range" in gateway.text, 5, "the complaint")


def test_a_client_that_leaves_while_redis_is_asked_takes_nothing(engine, redis):
    with gateway_of(engine, redis, rpm=1000, concurrency=5) as gateway:
        wait_until(lambda: redis.command("ZCARD vllmgw:{alice}:places") == b":0\r\n", 5, "no place taken")
        redis.command("CLIENT PAUSE 150 ALL")
        with gateway.connect() as connection:
            connection.send(http("POST", "/v1/chat/completions", chat_body("small"), ALICE))
        gateway.chat("small", ALICE)
        wait_until(lambda: redis.command("ZCARD vllmgw:{alice}:places") == b":0\r\n", 5, "its place to be given back")
