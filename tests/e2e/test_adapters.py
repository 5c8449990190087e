# SPDX-License-Identifier: Apache-2.0
"""LoRA adapters as models: loaded where they are asked for, evicted, kept while in use, loaded again after a loss."""

import concurrent.futures
import http.client as http_client
import json
import os
import pathlib
import signal
import subprocess
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from engine import Engine, binary, wait_until  # noqa: E402
from gateway import Gateway, chat_body, http  # noqa: E402

CHAT = "/v1/chat/completions"
LORA_ENV = {"VLLM_ALLOW_RUNTIME_LORA_UPDATING": "True"}
THREE = {name: {"path": f"/adapters/{name}"} for name in ("sql", "chat", "code")}


def lora_engine(**options):
    return Engine(served_model_name="big", enable_lora=True, env=LORA_ENV, **{"tokens": 4, **options})


def base(engines, adapters=None, max_loras=2, **more):
    lora = {"max_loras": max_loras, **more.pop("lora", {})}
    return {"backend": {"kind": "static", "urls": [engine.url for engine in engines]}, "lora": lora,
            "adapters": THREE if adapters is None else adapters, **more}


@pytest.fixture
def engine():
    with lora_engine() as engine:
        yield engine


def orders(engine):
    """What the engine was told about adapters: [("load", "sql"), ...]; names without their digits."""
    told = []
    for one in engine.requests():
        path = one["head"].split(" ")[1]
        if path in ("/v1/load_lora_adapter", "/v1/unload_lora_adapter"):
            told.append((path[4:].split("_")[0], json.loads(one["body"])["lora_name"].rsplit(".", 1)[0]))
    return told


def loads(engine, name=None):
    return sum(what == "load" and name in (None, who) for what, who in orders(engine))


def listed(engine):
    """Adapters on the engine itself."""
    return sorted(one["id"].rsplit(".", 1)[0] for one in engine_models(engine) if one.get("parent"))


def engine_models(engine):
    connection = http_client.HTTPConnection(engine.host, engine.port, timeout=10)
    connection.request("GET", "/v1/models")
    data = json.loads(connection.getresponse().read())["data"]
    connection.close()
    return data


def order(gateway, path, method="POST"):
    """Request of an administrator on this machine."""
    with gateway.connect() as connection:
        connection.send(http(method, path, b"" if method == "POST" else None, ["Connection: close"], host="localhost"))
        return connection.read_answer(method)


def begin_stream(gateway, model, **more):
    connection = gateway.connect()
    connection.send(http("POST", CHAT, chat_body(model, stream=True, **more), ["Connection: close"]))
    connection.read_until(b"data: ")
    return connection


# --- as a model ---

def test_an_adapter_is_loaded_once_and_its_requests_go_there(engine):
    with Gateway({"big": base([engine])}) as gateway:
        answers = [gateway.chat("sql") for _ in range(3)]
        plain = gateway.chat("big")
    assert [answer.status for answer in answers] == [200] * 3 and plain.status == 200
    assert orders(engine) == [("load", "sql")]
    assert answers[0].json()["model"].startswith("sql.") and plain.json()["model"] == "big"


def test_adapters_are_listed_with_their_parent_and_where_they_stand(engine):
    adapters = {"sql": {"path": "/a", "aliases": ["text2sql"]}, "hidden": {"path": "/b", "unlisted": True}}
    with Gateway({"big": base([engine], adapters)}) as gateway:
        before = gateway.request("GET", "/v1/models").json()["data"]
        assert gateway.chat("text2sql").status == 200 and gateway.chat("hidden").status == 200
        after = gateway.request("GET", "/v1/models/text2sql").json()
        state = order(gateway, "/admin/state", "GET").json()["models"]
        metrics = gateway.metrics()
    assert [(one["id"], one.get("parent"), one["status"]["value"]) for one in before] == [
        ("big", None, "loaded"), ("sql", "big", "unloaded")]
    assert (after["id"], after["status"]["value"], after["aliases"]) == ("sql", "loaded", ["text2sql"])
    assert [one["name"] for one in state] == ["big"]
    assert sorted((one["name"], one["state"], one["in_use"]) for one in state[0]["replicas"][0]["adapters"]) == [
        ("hidden", "loaded", 0), ("sql", "loaded", 0)]
    assert metrics['vllmgw_requests_total{model="sql",code="200"}'] == 1


def test_clients_cannot_reach_the_engine_s_own_routes(engine):
    with Gateway({"big": base([engine])}) as gateway:
        for path in ("/v1/load_lora_adapter", "/v1/unload_lora_adapter"):
            assert gateway.request("POST", path, {"lora_name": "x", "lora_path": "/x"}).status == 404
    assert orders(engine) == []


def test_a_key_s_models_are_meant_by_the_adapter_s_name(engine):
    keys = [{"name": "a", "key": "key-of-a", "models": ["sql"]},
            {"name": "b", "key": "key-of-b", "models": ["big", "sq*"], "may_swap": False}]
    a, b = ["Authorization: Bearer key-of-a"], ["Authorization: Bearer key-of-b"]
    with Gateway({"big": base([engine])}, auth={"keys": keys}) as gateway:
        assert gateway.chat("sql", b).status == 503  # it may not cause a load
        assert gateway.chat("sql", a).status == 200
        assert gateway.chat("big", a).status == 403 and gateway.chat("chat", a).status == 403
        assert gateway.chat("sql", b).status == 200 and gateway.chat("code", b).status == 403
        seen = gateway.request("GET", "/v1/models", headers=a).json()["data"]
    assert [one["id"] for one in seen] == ["sql"]


# --- slots ---

def test_the_least_recently_used_adapter_leaves(engine):
    with Gateway({"big": base([engine])}) as gateway:
        for name in ("sql", "chat", "sql", "code", "sql"):
            assert gateway.chat(name).status == 200
    assert orders(engine) == [("load", "sql"), ("load", "chat"), ("unload", "chat"), ("load", "code")]
    assert listed(engine) == ["code", "sql"]


def test_clients_that_ask_at_once_cause_one_load():
    with lora_engine(lora_load_time="300ms") as engine, Gateway({"big": base([engine])}, workers=2) as gateway:
        with concurrent.futures.ThreadPoolExecutor(12) as pool:
            asked = [pool.submit(gateway.chat, name) for name in ["sql", "chat"] * 6]
            assert [one.result().status for one in asked] == [200] * 12
        assert sorted(orders(engine)) == [("load", "chat"), ("load", "sql")]


def test_an_adapter_in_use_stays_and_the_next_one_waits_for_its_place():
    with lora_engine(itl="20ms", tokens=30) as engine, Gateway({"big": base([engine], max_loras=1)}) as gateway:
        with begin_stream(gateway, "sql") as stream, gateway.connect() as waiting:
            waiting.send(http("POST", CHAT, chat_body("chat", max_tokens=1), ["Connection: close"]))
            wait_until(lambda: gateway.metrics()['vllmgw_requests_in_flight{model="chat"}'] == 1)
            assert orders(engine) == [("load", "sql")]
            assert stream.read_answer("POST").is_clean
            assert waiting.read_answer("POST").status == 200
        assert orders(engine) == [("load", "sql"), ("unload", "sql"), ("load", "chat")]


def test_who_finds_every_place_in_use_is_told_in_time():
    with lora_engine(itl="50ms", tokens=100) as engine:
        with Gateway({"big": base([engine], max_loras=1, lora={"timeout": "300ms"})}) as gateway:
            with begin_stream(gateway, "sql") as stream:
                answer = gateway.chat("chat")
                assert answer.status == 504 and "all 1 on replica big/0 are in use" in answer.error["message"]
                stream.reset()
            wait_until(lambda: gateway.chat("chat", max_tokens=1).status == 200)


def test_a_busy_adapter_gives_way_to_one_that_has_waited():
    with lora_engine(ttft="150ms") as engine, Gateway({"big": base([engine], max_loras=1)}) as gateway:
        stop = []

        def keep_busy():
            while not stop:
                assert gateway.chat("sql").status == 200

        with concurrent.futures.ThreadPoolExecutor(3) as pool:
            busy = [pool.submit(keep_busy) for _ in range(2)]
            wait_until(lambda: loads(engine, "sql") == 1)
            answer = gateway.chat("chat")
            stop.append(True)
            assert answer.status == 200 and [one.result() for one in busy]


# --- what is lost is loaded again ---

def test_an_engine_that_forgot_the_adapter_gets_it_again_without_the_client_noticing(engine):
    with Gateway({"big": base([engine])}) as gateway:
        assert gateway.chat("sql").status == 200
        name = next(one["id"] for one in engine_models(engine) if one.get("parent"))
        assert direct_unload(engine, name) == 200
        assert gateway.chat("sql").status == 200
    assert loads(engine) == 2


def direct_unload(engine, name):
    connection = http_client.HTTPConnection(engine.host, engine.port, timeout=10)
    connection.request("POST", "/v1/unload_lora_adapter", json.dumps({"lora_name": name}),
                       {"Content-Type": "application/json"})
    status = connection.getresponse().status
    connection.close()
    return status


def managed(*more, **keys):
    command = [binary("vllmgw-engine"), "--port", "${PORT}", "--served-model-name", "${MODEL}", "--tokens", "4",
               "--enable-lora", *more]
    return {"backend": {"kind": "process", "command": command, "env": {**LORA_ENV, "VLLM_SERVER_DEV_MODE": "1"}},
            "lora": {"max_loras": 2}, "adapters": THREE, **keys}


def replica(gateway):
    return order(gateway, "/admin/state", "GET").json()["models"][0]["replicas"][0]


def test_after_a_crash_the_adapter_is_loaded_into_the_new_engine():
    with Gateway({"big": managed()}) as gateway:
        before = gateway.chat("sql")
        pid = replica(gateway)["pid"]
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: replica(gateway)["state"] != "ready")
        after = gateway.chat("sql")
    assert (before.status, after.status) == (200, 200)
    assert before.json()["choices"] == after.json()["choices"]


@pytest.mark.parametrize("level", [1, 2])
def test_after_a_sleep_the_adapter_answers_as_before(level):
    model = managed("--enable-sleep-mode", sleep={"level": level})
    with Gateway({"big": model}, residency={"max_asleep": 1}) as gateway:
        before = gateway.chat("sql")
        assert order(gateway, "/admin/models/big/sleep?wait=1").status == 200
        after = gateway.chat("sql")
        assert order(gateway, "/admin/models/big/sleep?wait=1").status == 200
        base_first = gateway.chat("big"), gateway.chat("sql")
    assert (before.status, after.status) == (200, 200)
    assert before.json()["choices"] == after.json()["choices"] == base_first[1].json()["choices"]


def test_a_restarted_gateway_finds_what_it_has_loaded(engine):
    with Gateway({"big": base([engine])}) as gateway:
        assert gateway.chat("sql").status == 200
        folder = gateway.folder
        with Gateway({"big": base([engine])}, state_dir=folder) as second:
            assert second.chat("sql").status == 200
            assert loads(engine) == 1
        with Gateway({"big": base([engine])}) as stranger:
            assert stranger.chat("sql").status == 200
            assert loads(engine) == 2 and listed(engine) == ["sql", "sql"]


# --- failures ---

def test_a_path_that_is_not_there_is_told_and_not_asked_for_again_at_once(engine):
    with Gateway({"big": base([engine], {"sql": {"path": "/missing/sql"}})}) as gateway:
        first = gateway.chat("sql")
        again = [gateway.chat("sql") for _ in range(5)]
    assert first.status == 503 and first.error["code"] == "model_start_failed"
    assert "/missing/sql" in first.error["message"] and "No adapter found" in first.error["message"]
    assert [one.status for one in again] == [503] * 5 and again[0].get("retry-after")
    assert loads(engine) == 1


def test_an_adapter_that_loads_and_does_not_answer_is_taken_out_again(engine):
    with Gateway({"big": base([engine], {"sql": {"path": "/broken/sql"}})}) as gateway:
        assert gateway.chat("sql").status == 503
    assert orders(engine) == [("load", "sql"), ("unload", "sql")]


def test_an_engine_without_the_routes_is_told_with_the_remedy():
    with Engine(served_model_name="big") as engine, Gateway({"big": base([engine])}) as gateway:
        answer = gateway.chat("sql")
        assert answer.status == 503 and "VLLM_ALLOW_RUNTIME_LORA_UPDATING=True" in answer.error["message"]
        assert gateway.chat("big").status == 200


def test_a_replica_that_does_not_answer_is_left_for_another(engine):
    with lora_engine() as gone:
        engines = [gone, engine]
        with Gateway({"big": base(engines, balance="round_robin")}, timeouts={"health": None}) as gateway:
            gone.process.kill()
            gone.process.wait(10)
            assert [gateway.chat("sql").status for _ in range(4)] == [200] * 4
            assert loads(engine) == 1


def test_a_client_that_leaves_does_not_take_the_load_with_it():
    with lora_engine(lora_load_time="300ms") as engine, Gateway({"big": base([engine])}) as gateway:
        with gateway.connect() as connection:
            connection.send(http("POST", CHAT, chat_body("sql")))
            wait_until(lambda: gateway.metrics()['vllmgw_requests_in_flight{model="sql"}'] == 1)
        wait_until(lambda: gateway.metrics()['vllmgw_requests_in_flight{model="sql"}'] == 0)
        assert gateway.chat("sql").status == 200
        assert loads(engine) == 1


# --- the configuration, the operator ---

def test_adapters_come_and_go_with_the_configuration(engine):
    with Gateway({"big": base([engine], {"sql": THREE["sql"]})}) as gateway:
        assert gateway.chat("sql").status == 200 and gateway.chat("chat").status == 404
        assert gateway.reload({"big": base([engine], {"chat": THREE["chat"]}, max_loras=1)})
        assert gateway.chat("sql").status == 404 and gateway.chat("chat").status == 200
        assert orders(engine) == [("load", "sql"), ("unload", "sql"), ("load", "chat")]


def test_requests_go_where_their_adapter_is_until_there_is_too_much_to_do():
    with lora_engine(ttft="200ms") as one, lora_engine(ttft="200ms") as other:
        with Gateway({"big": base([one, other])}) as gateway:
            assert [gateway.chat("sql").status for _ in range(3)] == [200] * 3
            assert loads(one) + loads(other) == 1
            with concurrent.futures.ThreadPoolExecutor(16) as pool:
                assert [answer.status for answer in pool.map(gateway.chat, ["sql"] * 16)] == [200] * 16
            assert (loads(one), loads(other)) == (1, 1)


def test_the_operator_loads_and_unloads_an_adapter_with_its_model():
    with Gateway({"big": managed()}) as gateway:
        loaded = order(gateway, "/admin/models/sql/load?wait=1")
        assert loaded.status == 200 and (loaded.json()["parent"], loaded.json()["state"]) == ("big", "ready")
        unloaded = order(gateway, "/admin/models/sql/unload?wait=1")
        assert unloaded.status == 200 and unloaded.json()["state"] == "absent"
        assert replica(gateway)["state"] == "ready"
        assert order(gateway, "/admin/models/sql/sleep").status == 400
        assert "adapter of 'big'" in order(gateway, "/admin/models/sql/pin").error["message"]


def test_the_operator_is_told_why_an_adapter_is_not_loaded_and_need_not_wait_to_try_again(engine):
    with Gateway({"big": base([engine], {"sql": {"path": "/missing"}})}) as gateway:
        for count in (1, 2):
            answer = order(gateway, "/admin/models/sql/load?wait=1")
            assert answer.status == 503 and "No adapter found" in answer.error["message"]
            assert loads(engine) == count


def test_an_adapter_in_use_is_not_unloaded_by_the_operator_either():
    with lora_engine(itl="50ms", tokens=100) as engine, Gateway({"big": base([engine])}) as gateway:
        with begin_stream(gateway, "sql") as stream:
            assert order(gateway, "/admin/models/sql/unload?wait=1").status == 409
            assert orders(engine) == [("load", "sql")]
            stream.reset()


def test_the_command_line_loads_and_shows_adapters(engine):
    with Gateway({"big": base([engine], {**THREE, "bad": {"path": "/missing"}})}) as gateway:
        def run(*words):
            return subprocess.run([binary("vllmgw"), "--url", gateway.url, *words], capture_output=True, text=True)
        assert run("load", "sql").returncode == 0
        shown = run("models").stdout
        failed = run("load", "bad")
        assert run("unload", "sql").returncode == 0 and listed(engine) == []
    assert [line.split()[1] for line in shown.splitlines() if line.startswith(("sql", "chat"))] == ["ready", "absent"]
    assert failed.returncode == 1 and "No adapter found" in failed.stdout + failed.stderr
