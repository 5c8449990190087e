# SPDX-License-Identifier: Apache-2.0
"""In place of vLLM Dynamic Gateway: the environment of its composition, its own call, a real Docker Engine that
believes in GPUs. Run through tests/support/docker_engine, which sets VGW_DOCKER_*.
"""
import http.client
import json
import os
import pathlib
import socket
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "support"))

from compat import curl, print_config  # noqa: E402
from gateway import Gateway  # noqa: E402

TOKEN = "hf_canary0123456789"
ALLOWED = '{"gemma3-4B":"google/gemma-3-4b-it", "qwen2.5":"Qwen/Qwen2.5-Coder-7B-Instruct"}'
ENVIRONMENT = {"HUGGING_FACE_HUB_TOKEN": TOKEN, "DOCKER_NETWORK_NAME": "vllm_network", "VLLM_HOST": "vllm_server",
               "ALLOWED_MODELS_JSON": ALLOWED, "VLLM_GPU_MEMORY_UTILIZATION": "0.85"}
BODY = """
  {
    "model": "%s",
    "messages": [
      {
        "role": "user",
        "content": "What are the top 3 benefits of using Docker?"
      }
    ]
  }"""


def docker(method, path, body=None):
    class Docker(http.client.HTTPConnection):
        def connect(self):
            self.sock = socket.socket(socket.AF_UNIX)
            self.sock.connect(os.environ["VGW_DOCKER_SOCKET"])

    connection = Docker("localhost")
    connection.request(method, path, json.dumps(body) if body else None, {"Content-Type": "application/json"})
    text = connection.getresponse().read()
    connection.close()
    return json.loads(text) if text.strip() else None


@pytest.fixture(scope="module")
def gateway():
    """The simulator stands in for vLLM's image, which is all that a file has to say."""
    stand_in = {"backend": {"image": os.environ["VGW_DOCKER_IMAGE"], "mounts": [], "stop_timeout": "2s",
                            "entrypoint": ["/bin/vllmgw-engine", "--host", "0.0.0.0", "--port", "8000"]}}
    docker("POST", "/networks/create", {"Name": "vllm_network"})
    env = {**ENVIRONMENT, "DOCKER_HOST": "unix://" + os.environ["VGW_DOCKER_SOCKET"],
           "VLLMGW_LISTEN": "127.0.0.1:0", "VLLMGW_RESIDENCY_MIN_RESIDENT": "0s"}
    with Gateway({"gemma3-4B": stand_in, "qwen2.5": stand_in}, env=env) as one:
        yield one


@pytest.mark.parametrize("model, repository", json.loads(ALLOWED).items())
def test_its_call_swaps_the_one_container(gateway, model, repository):
    answer = curl(gateway, "http://your-server-ip:9000/v1/chat/completions", "-H", "Content-Type: application/json",
                  "-d", BODY % model, timeout=60)
    assert answer.status == 200, answer
    assert answer.json()["choices"][0]["message"]["content"] and answer.json()["model"] == repository
    containers = docker("GET", "/containers/json")
    assert [container["Names"] for container in containers] == [["/vllm_server"]]
    inspected = docker("GET", "/containers/vllm_server/json")
    assert inspected["Args"][-4:] == ["--model", repository, "--gpu-memory-utilization", "0.85"]
    assert f"HUGGING_FACE_HUB_TOKEN={TOKEN}" in inspected["Config"]["Env"]
    assert "vllm_network" in inspected["NetworkSettings"]["Networks"]
    assert inspected["HostConfig"]["DeviceRequests"][0]["Capabilities"] == [["gpu"]]
    assert TOKEN not in gateway.text


def test_a_model_that_is_not_allowed_is_not_found(gateway):
    answer = curl(gateway, "http://your-server-ip:9000/v1/chat/completions", "-H", "Content-Type: application/json",
                  "-d", BODY % "google/gemma-3-4b-it")
    assert answer.status == 404 and answer.error["code"] == "model_not_found"


def test_its_variables_alone_are_a_whole_configuration():
    text = print_config(**ENVIRONMENT).replace(chr(34), "")
    for line in ["listen: 0.0.0.0:9000", "max_resident: 1 ", "vllm/vllm-openai:latest", "gpus: all", "ipc: host",
                 "[/root/.cache/huggingface:/root/.cache/huggingface]", "gemma3-4B:", "qwen2.5:"]:
        assert line in text, line
    assert TOKEN not in text


@pytest.mark.parametrize("variable, value", [
    ("ALLOWED_MODELS_JSON", "{"), ("ALLOWED_MODELS_JSON", '["a"]'), ("ALLOWED_MODELS_JSON", '{"a": 1, "b": {}}'),
    ("VLLM_GPU_MEMORY_UTILIZATION", "85"), ("VLLM_GPU_MEMORY_UTILIZATION", "most"),
])
def test_a_mistake_names_its_variable(variable, value):
    code, text = print_config(fails=True, **{**ENVIRONMENT, variable: value})
    assert code == 78 and variable in text, text
