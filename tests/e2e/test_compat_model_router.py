# SPDX-License-Identifier: Apache-2.0
"""In place of vLLM Model Router: its environment and its commands, before a server that loads models when told."""

import json
import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from compat import curl, from_environment, print_config  # noqa: E402
from engine import Engine, binary  # noqa: E402
from gateway import Gateway  # noqa: E402

HERMES = "hermes-2-pro-mistral-7b"
NAMES = [HERMES, "beta", "gamma"]


@pytest.fixture
def gateway():
    with Engine("--router", ",".join(NAMES), "--tokens", "10", "--load-time", "100ms") as engine:
        models = {name: {"backend": {"kind": "http", "url": engine.url, "preset": "llama-server"}} for name in NAMES}
        with from_environment(VLLM_BASE_URL=engine.url, PORT="8010", VLLMGW_MODELS=json.dumps(models),
                              VLLMGW_RESIDENCY_MIN_RESIDENT="0s") as one:
            yield one


def loaded(gateway):
    """curl http://vllm-router:8010/v1/models | jq '.data[].id'"""
    return {model["id"] for model in curl(gateway, "http://vllm-router:8010/v1/models").json()["data"]}


def complete(gateway, model):
    return curl(gateway, "http://vllm-router:8010/v1/completions", "-H", "Content-Type: application/json", "-d", """{
    "model": "%s",
    "prompt": "Hello world",
    "max_tokens": 10
  }""" % model)


def test_its_health_check_says_ok(gateway):
    answer = curl(gateway, "http://vllm-router:8010/health")
    assert answer.status == 200 and answer.body == b"OK"
    assert curl(gateway, "http://vllm-router:8010/health", "-H", "Accept: application/json").json()["ok"] is True


def test_its_container_is_healthy(gateway):
    """wget --spider -q http://localhost:8010/health, which asks with HEAD"""
    answer = gateway.request("HEAD", "/health")
    assert answer.status == 200 and not answer.after


def test_its_commands_work_before_a_server_whose_list_of_models_is_what_it_has_loaded():
    """The words of its preset, POST and DELETE of /v1/models, against a server that understands them: one of ours."""
    def process(name):
        command = [binary("vllmgw-engine"), "--port", "${PORT}", "--model", name, "--tokens", "10", "--load-time", "50ms"]
        return {"backend": {"kind": "process", "command": command, "stop_timeout": "5s"}}
    served = {name: f"org/{name}" for name in NAMES}
    residency = {"max_resident": 3, "min_resident": "0s"}
    with Gateway({name: process(name) for name in served.values()}, compat={"model_router": True}, residency=residency) as server, \
            from_environment(VLLM_BASE_URL=server.url + "/v1", VLLMGW_MODELS=json.dumps(served),
                             VLLMGW_RESIDENCY_MIN_RESIDENT="0s") as gateway:
        assert loaded(gateway) == loaded(server) == set()
        for model, now in [(HERMES, {HERMES}), ("beta", {HERMES, "beta"}), (HERMES, {HERMES, "beta"}),
                           ("gamma", {HERMES, "gamma"})]:
            answer = complete(gateway, model)
            assert answer.status == 200 and answer.json()["model"] == served[model], answer
            assert loaded(gateway) == now and loaded(server) == {served[name] for name in now}
        assert [line["path"] for line in server.access() if line["method"] == "DELETE"] == ["/v1/models/org%2Fbeta"]


def test_its_commands_load_two_models_and_put_out_the_one_used_least_recently(gateway):
    assert loaded(gateway) == set()
    for model, now in [(HERMES, {HERMES}), ("beta", {HERMES, "beta"}), (HERMES, {HERMES, "beta"}),
                       ("gamma", {HERMES, "gamma"})]:
        answer = complete(gateway, model)
        assert answer.status == 200 and answer.json()["model"] == model, answer
        assert loaded(gateway) == now


def test_its_variables_name_the_server_and_ours_the_models():
    text = print_config(VLLM_BASE_URL="http://vllm:8000", ROUTER_PORT="8011", MAX_RESIDENT="3",
                        VLLMGW_MODELS=json.dumps({HERMES: "NousResearch/Hermes-2-Pro-Mistral-7B"})).replace('"', "")
    for line in ["listen: 0.0.0.0:8011", "max_resident: 3 ", "kind: http", "url: http://vllm:8000", "preset: vllm-router",
                 "served_name: NousResearch/Hermes-2-Pro-Mistral-7B", "model_router: true"]:
        assert line in text, (line, text)
    text = print_config({"models": {"a": {"backend": {"kind": "static", "urls": ["http://127.0.0.1:1"]}}}},
                        VLLM_BASE_URL="http://vllm:8000").replace('"', "")
    assert "listen: 0.0.0.0:8010" in text and "max_resident: 2 " in text


@pytest.mark.parametrize("variables", [
    {}, {"VLLMGW_MODELS": '{"a": "b"}', "PORT": "http"}, {"VLLMGW_MODELS": '{"a": "b"}', "MAX_RESIDENT": "none"},
])
def test_a_mistake_names_its_variable(variables):
    code, text = print_config(fails=True, **{"VLLM_BASE_URL": "http://vllm:8000", **variables})
    assert code == 78 and (list(variables) or ["VLLM_BASE_URL"])[-1] in text, text
