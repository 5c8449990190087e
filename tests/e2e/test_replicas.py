# SPDX-License-Identifier: Apache-2.0
"""Models with several replicas: who gets a request, what happens when one goes, and names of several addresses."""

import os
import pathlib
import random
import shutil
import signal
import socket
import subprocess
import sys
import threading

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from engine import Engine, wait_until  # noqa: E402
from gateway import Gateway, chat_body, http  # noqa: E402

CHAT = "/v1/chat/completions"
CLIENTS, ROUNDS = 24, 8


def model_of(engines, **more):
    return {"backend": {"kind": "static", "urls": [engine.url for engine in engines]}, **more}


def four(**options):
    return [Engine(served_model_name="small", **options) for _ in range(4)]


@pytest.fixture
def engines():
    engines = four(tokens=6)
    yield engines
    for engine in engines:
        engine.close()


def replica_of(answer):
    return int(answer.get("x-vllmgw-replica").split("/")[1])


def counts(engines):
    """POSTs each has seen: checks of its health apart."""
    return [sum(one["head"].startswith("POST ") for one in engine.requests()) for engine in engines]


def order(gateway, path):
    """POST of an administrator on this machine."""
    with gateway.connect() as connection:
        connection.send(http("POST", path, b"", ["Connection: close"], host="localhost"))
        return connection.read_answer("POST")


# --- who gets a request ---

def test_round_robin_gives_each_the_same(engines):
    with Gateway({"small": model_of(engines, balance="round_robin")}) as gateway:
        seen = [replica_of(gateway.chat("small")) for _ in range(20)]
    assert [seen.count(i) for i in range(4)] == [5, 5, 5, 5]


@pytest.mark.parametrize("headers,more", [
    (["X-Session-ID: {}"], {}), (["X-User-ID: {}"], {}), ([], {"user": "{}"}), ([], {"prompt_cache_key": "{}"}),
    (["X-User-ID: same", "X-Session-ID: {}"], {"user": "same"})])
def test_a_session_stays_on_its_replica_and_sessions_spread(engines, headers, more):
    with Gateway({"small": model_of(engines, balance="sticky")}) as gateway:
        homes = set()
        for number in range(16):
            seen = {replica_of(gateway.chat("small", [line.format(f"s{number}") for line in headers],
                                            **{key: value.format(f"s{number}") for key, value in more.items()}))
                    for _ in range(3)}
            assert len(seen) == 1
            homes |= seen
        assert len(homes) >= 3


def test_a_conversation_returns_to_who_has_its_beginning(engines):
    def say(gateway, messages):
        return gateway.request("POST", CHAT, {"model": "small", "messages": messages})

    with Gateway({"small": model_of(engines, balance="prefix")}) as gateway:
        homes = set()
        for number in range(8):
            messages = [{"role": "user", "content": f"conversation {number}: " + "tell me more. " * 40}]
            home = replica_of(say(gateway, messages))
            for turn in range(4):
                messages += [{"role": "assistant", "content": "well, " * 20}, {"role": "user", "content": f"and {turn}?"}]
                assert replica_of(say(gateway, messages)) == home
            homes.add(home)
        assert len(homes) >= 3


# --- one goes ---

class Client(threading.Thread):
    """Opens a stream, waits with everybody for the barrier, finishes it, then goes on asking."""

    def __init__(self, gateway, streaming, killed):
        super().__init__()
        self.gateway, self.streaming, self.killed, self.faults, self.broken = gateway, streaming, killed, [], 0

    def run(self):
        try:
            with self.gateway.connect() as connection:
                connection.send(http("POST", CHAT, chat_body("small", stream=True), ["Connection: close"]))
                while b"data:" not in connection.data:
                    assert connection.receive(), connection.data
                self.streaming.wait(60)
                self.killed.wait(60)
                connection.read_all()
                self.broken = b"[DONE]" not in connection.data
            for _ in range(ROUNDS):
                answer = self.gateway.chat("small", timeout=60)
                if answer.status != 200:
                    self.faults.append((answer.status, answer.body[:200]))
        except BaseException as error:  # pylint: disable=broad-except
            self.faults.append(repr(error))
            self.streaming.abort()


def test_killing_one_of_four_under_load_fails_no_request_before_its_first_byte():
    engines = four(tokens=40, itl="20ms")
    try:
        with Gateway({"small": model_of(engines)}, workers=2, timeouts={"health": "300ms"}) as gateway:
            streaming, killed = threading.Barrier(CLIENTS + 1), threading.Event()
            clients = [Client(gateway, streaming, killed) for _ in range(CLIENTS)]
            for client in clients:
                client.start()
            streaming.wait(60)
            engines[2].kill()
            killed.set()
            for client in clients:
                client.join(120)
            assert [client.faults for client in clients] == [[]] * CLIENTS
            assert 1 <= sum(client.broken for client in clients) <= CLIENTS // 2  # those it was speaking to
            metrics = gateway.metrics()
            wait_until(lambda: gateway.metrics()['vllmgw_replica_up{model="small",replica="small/2"}'] == 0)
            assert metrics['vllmgw_replica_failures_total{model="small",replica="small/2"}'] > 0
            assert metrics['vllmgw_replica_in_flight{model="small",replica="small/0"}'] == 0
    finally:
        for engine in engines:
            engine.close()


def test_a_replica_that_answers_500_is_left_alone_after_five(engines):
    with Gateway({"small": model_of(engines, balance="round_robin")}, timeouts={"health": None}) as gateway:
        engines[1].fault("status-500-html")
        statuses = [gateway.chat("small").status for _ in range(60)]
        assert statuses.count(200) == 55 and set(statuses[20:]) == {200}
        assert counts(engines)[1] == 5
        assert "replica 1" in gateway.text and "5 failures in a row" in gateway.text
        assert gateway.metrics()['vllmgw_replica_circuit_open{model="small",replica="small/1"}'] == 1


@pytest.mark.parametrize("fault, status", [("status-422-json", 422), ("status-501", 501)])
def test_clients_errors_leave_every_circuit_closed(engines, fault, status):
    with Gateway({"small": model_of(engines)}) as gateway:
        for engine in engines:
            engine.fault(fault)
        assert {gateway.chat("small").status for _ in range(40)} == {status}
        open_ones = [value for name, value in gateway.metrics().items() if name.startswith("vllmgw_replica_circuit_open{")]
        assert open_ones == [0, 0, 0, 0]


def test_no_request_reaches_two_engines_whatever_happens_to_it(engines):
    with Gateway({"small": model_of(engines)}) as gateway:
        for engine in engines:
            engine.fault("reset-before-headers")
        for number in range(6):
            assert gateway.chat("small").status == 502
            assert sum(counts(engines)) == number + 1


def test_a_drained_replica_gets_nothing_and_the_state_says_so(engines):
    with Gateway({"small": model_of(engines)}) as gateway:
        answer = order(gateway, "/admin/models/small/drain?replica=1")
        assert answer.status == 200, answer
        replicas = {one["id"]: one for one in answer.json()["replicas"]}
        assert [replicas[f"small/{n}"]["drained"] for n in range(4)] == [False, True, False, False]
        assert replicas["small/2"]["circuit"]["state"] == "closed"
        assert {replica_of(gateway.chat("small")) for _ in range(12)} == {0, 2, 3}
        assert order(gateway, "/admin/models/small/drain?replica=9").status == 404
        assert order(gateway, "/admin/models/small/drain").status == 400
        assert order(gateway, "/admin/models/small/undrain?replica=1").status == 200
        assert 1 in {replica_of(gateway.chat("small")) for _ in range(12)}


# --- names ---

@pytest.fixture
def name_server(tmp_path):
    """A dnsmasq on an address of its own, and the beginning of a command that asks it."""
    if os.geteuid() != 0 or not shutil.which("dnsmasq") or not shutil.which("unshare"):
        pytest.skip("needs root, dnsmasq and unshare: names of several addresses are NOT tested")
    address = f"127.{random.randint(60, 250)}.{random.randint(1, 250)}.53"
    hosts, resolv = tmp_path / "hosts", tmp_path / "resolv.conf"
    hosts.write_text("")
    resolv.write_text(f"nameserver {address}\noptions timeout:1 attempts:1\n")
    process = subprocess.Popen(
        ["dnsmasq", "-d", "-C", "/dev/null", "--no-resolv", "--no-hosts", "--local=/test/", "--user=root",
         f"--listen-address={address}", "--bind-interfaces", "--port=53", f"--addn-hosts={hosts}"],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=(tmp_path / "log").open("w"))

    def publish(*addresses):
        hosts.write_text("".join(f"{one} engines.test\n" for one in addresses))
        process.send_signal(signal.SIGHUP)

    command = ["unshare", "-m", "sh", "-c", f'mount --bind {resolv} /etc/resolv.conf && exec "$@"', "sh"]
    try:
        wait_until(lambda: "started" in (tmp_path / "log").read_text(), 10, "dnsmasq")
        yield publish, command
    finally:
        process.kill()
        process.wait(10)


def test_the_addresses_of_a_name_are_replicas_and_follow_the_name_server(name_server):
    publish, command = name_server
    hosts = [f"127.{random.randint(60, 250)}.7.{n}" for n in (1, 2, 3)]
    with socket.socket() as sock:
        sock.bind((hosts[0], 0))
        port = sock.getsockname()[1]
    engines = [Engine(served_model_name="small", tokens=3, host=host, port=port) for host in hosts]
    try:
        publish(*hosts[:2])
        model = {"backend": {"kind": "static", "urls": [f"http://engines.test:{port}"]}, "balance": "round_robin"}
        with Gateway({"small": model}, program=command, timeouts={"resolve": "200ms"}) as gateway:
            def spread():
                before = counts(engines)
                answers = [gateway.chat("small").status for _ in range(6)]
                assert set(answers) == {200}
                return [now - then for now, then in zip(counts(engines), before)]
            assert spread() == [3, 3, 0]
            publish(*hosts)
            wait_until(lambda: spread() == [2, 2, 2], 20, "the third replica")
            publish(*hosts[1:])
            wait_until(lambda: spread() == [0, 3, 3], 20, "the first to go")
            assert sum(name.startswith("vllmgw_replica_up{") for name in gateway.metrics()) == 2
    finally:
        for engine in engines:
            engine.close()
