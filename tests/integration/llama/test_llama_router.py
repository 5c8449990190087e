# SPDX-License-Identifier: Apache-2.0
"""Kind `http`, preset llama-server, before the real one in router mode: three models, of which the gateway keeps one."""

import os
import pathlib
import signal
import sys
import threading
import time

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "support"))
import llama  # noqa: E402
from engine import wait_until  # noqa: E402
from gateway import Gateway, chat_body, http  # noqa: E402

MODELS = {"one": 1, "two": 2, "broken": b"GGUF, or so it says"}
CHOSEN = {"max_tokens": 32, "temperature": 0}


@pytest.fixture(scope="module")
def shared():
    with llama.Router(MODELS) as router:
        yield router


@pytest.fixture
def router(shared):
    """With nothing loaded."""
    for name in shared.loaded():
        assert shared.unload(name)[0] == 200
    wait_until(lambda: set(shared.states().values()) == {"unloaded"}, 20, "an empty router")
    return shared


def gateway_of(router, max_resident=1, **served):
    """A gateway of its models. served: another name for one of them -> the router's."""
    names = {**{name: name for name in MODELS}, **served}
    backend = {"kind": "http", "url": router.url, "preset": "llama-server"}
    models = {name: {"served_name": known, "backend": backend} for name, known in names.items()}
    return Gateway(models, residency={"max_resident": max_resident, "min_resident": "0s"})


def say(gateway, model, **more):
    answer = gateway.chat(model, **{**CHOSEN, **more})
    assert answer.status == 200 and answer.is_clean, answer
    return answer


def state(gateway, model):
    return llama.resident(gateway, model)["state"]


# --- the server's own words, which the preset relies on ---

def test_the_server_speaks_as_the_simulator_does(router):
    assert router.load("nobody")[0] == 404 and router.unload("nobody")[0] == 400
    assert router.unload("one")[0] == 400, "it is not running"
    assert router.load("one") == (200, {"success": True})
    assert router.states()["one"] in ("loading", "loaded") and router.load("one")[0] == 400
    wait_until(lambda: router.loaded() == {"one"}, 20, "the load")
    model = router.models()["one"]
    assert model["aliases"] == [] and model["object"] == "model" and "failed" not in model["status"]
    assert router.unload("one") == (200, {"success": True})
    wait_until(lambda: router.states()["one"] == "unloaded", 20, "the unload")
    assert "failed" not in router.models()["one"]["status"]

    assert router.load("broken") == (200, {"success": True})
    failed = wait_until(lambda: router.states()["broken"] == "unloaded" and router.models()["broken"]["status"], 20, "the failure")
    assert failed["failed"] is True and failed["exit_code"] != 0
    assert llama.ask(router.url + "/v1/chat/completions", chat_body("nobody"))[0] == 400


def test_a_model_unloaded_while_it_loads_looks_like_one_that_failed(router):
    assert router.load("one")[0] == 200
    if router.unload("one")[0] == 200:
        wait_until(lambda: router.states()["one"] == "unloaded", 20, "the end")
    assert router.load("one")[0] in (200, 400)
    wait_until(lambda: router.loaded() == {"one"}, 20, "the load")


# --- loads and unloads ---

def test_models_are_loaded_on_demand_and_make_room_for_one_another(router):
    with gateway_of(router) as gateway:
        assert {model["id"] for model in gateway.request("GET", "/v1/models").json()["data"]} == set(MODELS)
        assert router.loaded() == set()
        texts = {}
        for model in ("one", "two", "one", "two"):
            began = time.monotonic()
            answer = say(gateway, model)
            print(f"{'swap' if texts else 'load'} through the gateway: {time.monotonic() - began:.3f} s")
            text = answer.json()["choices"][0]["message"]["content"]
            assert texts.setdefault(model, text) == text and router.loaded() == {model}
            assert say(gateway, model, stream=True).events()[-1] == "[DONE]"
            assert gateway.access_of(answer)["completion_tokens"] == 32
        assert texts["one"] != texts["two"]


def test_a_model_that_cannot_be_loaded_is_told_and_harms_no_other(router):
    with gateway_of(router) as gateway:
        answer = gateway.chat("broken")
        assert answer.status == 503 and "failed to load" in answer.error["message"], answer
        say(gateway, "one")


def test_what_the_router_has_loaded_is_taken_over(router):
    assert router.load("two")[0] == 200
    wait_until(lambda: router.loaded() == {"two"}, 20, "the load")
    pid = router.child_of("two")
    with gateway_of(router) as gateway:
        say(gateway, "two")
        assert router.child_of("two") == pid


def test_a_client_that_goes_ends_its_stream_in_the_child(router):
    with gateway_of(router) as gateway:
        say(gateway, "one")
        with gateway.connect() as stream:
            stream.send(http("POST", "/v1/chat/completions", chat_body("one", stream=True, max_tokens=16000, temperature=0)))
            stream.read_until(b'"content"')
        began = time.monotonic()
        wait_until(lambda: not any(slot["is_processing"] for slot in llama.ask(router.url + "/slots?model=one")[1]), 5, "the slot")
        assert time.monotonic() - began < 2


# --- a picture that follows the router's ---

def test_no_request_fails_because_somebody_unloaded_its_model(router):
    with gateway_of(router) as gateway:
        for model in ("one", "one", "two", "one"):
            say(gateway, model)
            assert router.unload(model)[0] == 200
            say(gateway, model)  # at once: the gateway cannot have heard of it


def test_a_stream_whose_model_somebody_unloads_has_broken_off(tmp_path):
    """At once, or when the router kills the model's process, which it gives ten seconds unless told otherwise. It ends
    the stream properly, with words of its own behind the last event."""
    preset = tmp_path / "models.ini"
    preset.write_text("[one]\nstop-timeout = 1\n")
    with llama.Router(MODELS, "--models-preset", str(preset)) as router, gateway_of(router) as gateway:
        say(gateway, "one")
        with gateway.connect() as stream:
            stream.send(http("POST", "/v1/chat/completions", chat_body("one", stream=True, max_tokens=16000, temperature=0)))
            stream.read_until(b'"content"')
            assert router.unload("one")[0] == 200
            answer = stream.read_answer("POST")
        assert not answer.is_clean and b"upstream_aborted" in answer.body
        assert gateway.access_of(answer)["outcome"] == "upstream_aborted"


def test_what_somebody_unloads_or_loads_is_noticed(router):
    with gateway_of(router) as gateway:
        say(gateway, "one")
        assert state(gateway, "one") == "ready" and router.unload("one")[0] == 200
        wait_until(lambda: state(gateway, "one") == "absent", 20, "the picture")
        assert router.load("two")[0] == 200
        wait_until(lambda: state(gateway, "two") == "ready", 20, "the picture")
        say(gateway, "two")


def test_a_model_whose_process_is_killed_is_loaded_again(router):
    with gateway_of(router) as gateway:
        text = say(gateway, "one").json()["choices"][0]["message"]["content"]
        os.kill(router.child_of("one"), signal.SIGKILL)
        wait_until(lambda: router.states()["one"] == "unloaded", 20, "the router's notice of it")
        assert router.models()["one"]["status"]["failed"] is True
        assert say(gateway, "one").json()["choices"][0]["message"]["content"] == text


def test_a_crowd_of_clients_of_two_models_is_served_whole():
    """Ten at a time; the router has room for one model, as the gateway has."""
    with llama.Router(MODELS, "--models-max", "1") as router, gateway_of(router) as gateway:
        failed = []

        def client(number):
            for i in range(4):
                answer = gateway.chat(("one", "two")[(number + i) // 2 % 2], max_tokens=4, timeout=60)
                if answer.status != 200:
                    failed.append(answer)

        threads = [threading.Thread(target=client, args=(number,)) for number in range(10)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not failed


def test_a_router_that_starts_anew_is_used_again():
    with llama.Router(MODELS) as router, gateway_of(router) as gateway:
        say(gateway, "one")
        router.stop()
        wait_until(lambda: state(gateway, "one") != "ready", 20, "the picture")
        assert gateway.chat("one", **CHOSEN).status in (502, 503)
        router.start()
        wait_until(lambda: gateway.chat("one", **CHOSEN).status == 200, 30, "the model")


def test_a_model_known_by_an_alias_and_a_router_with_a_key(tmp_path):
    with llama.Router(MODELS) as plain:
        preset = tmp_path / "models.ini"
        preset.write_text(f"[uno]\nmodel = {plain.folder}/models/one.gguf\nalias = primo,1\n")
        with llama.Router({}, "--models-preset", str(preset), "--api-key", "sk-router") as router:
            backend = {"kind": "http", "url": router.url, "preset": "llama-server", "api_key": "sk-router"}
            with Gateway({"first": {"served_name": "primo", "backend": backend}}) as gateway:
                say(gateway, "first")
                assert state(gateway, "first") == "ready"
