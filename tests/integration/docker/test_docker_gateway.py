# SPDX-License-Identifier: Apache-2.0
"""The server with containers of a real Docker Engine: the setup of examples/compose, with the simulator as its image.

Run through tests/support/docker_engine, which sets VGW_DOCKER_*.
"""
import http.client
import json
import os
import pathlib
import signal
import socket
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "support"))

from engine import wait_until  # noqa: E402
from gateway import Gateway  # noqa: E402

NETWORK = "vllm_network"


class Docker(http.client.HTTPConnection):
    """The Engine API, as anybody may use it."""

    def __init__(self):
        super().__init__("localhost")

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(os.environ["VGW_DOCKER_SOCKET"])

    @classmethod
    def ask(cls, method, path, body=None):
        docker = cls()
        docker.request(method, path, json.dumps(body) if body else None, {"Content-Type": "application/json"})
        text = docker.getresponse().read()
        return json.loads(text) if text.strip() else None

    @classmethod
    def containers(cls):
        return {name[1:]: container for container in cls.ask("GET", "/containers/json") for name in container["Names"]}


def model(name, *arguments):
    return {"backend": {
        "kind": "docker", "socket": os.environ["VGW_DOCKER_SOCKET"], "image": os.environ["VGW_DOCKER_IMAGE"],
        "container_name": "vllm_server", "network": NETWORK, "init": False, "stop_timeout": "5s",
        "args": ["--host", "0.0.0.0", "--port", "${PORT}", "--model", name, "--served-model-name", "${MODEL}", *arguments],
        "env": {"HUGGING_FACE_HUB_TOKEN": "hf_verysecret"}}}


def setup_module():
    Docker.ask("POST", "/networks/create", {"Name": NETWORK})


def gateway_of(**keys):
    return Gateway({"gemma3-4B": model("google/gemma-3-4b-it"), "qwen2.5": model("Qwen/Qwen2.5-Coder-7B-Instruct")},
                   residency={"max_resident": 1, "min_resident": 0, "on_exit": "stop", **keys})


def test_two_models_take_turns_in_one_container():
    with gateway_of() as gateway:
        for name in ("gemma3-4B", "qwen2.5", "gemma3-4B"):
            answer = gateway.chat(name, timeout=60)
            assert answer.status == 200, answer
            assert answer.json()["model"] == name
            containers = Docker.containers()
            assert list(containers) == ["vllm_server"]
            assert containers["vllm_server"]["Labels"]["vllmgw.model"] == name
        assert "hf_verysecret" not in gateway.text
        gateway.stop()
        assert not Docker.containers()


def test_a_killed_container_is_restarted_for_the_next_request():
    with gateway_of() as gateway:
        assert gateway.chat("qwen2.5", timeout=60).status == 200
        killed = Docker.containers()["vllm_server"]["Id"]
        before = time.monotonic()
        Docker.ask("POST", f"/containers/{killed}/kill")
        wait_until(lambda: f"container {killed[:12]} died" in gateway.text, 10, "the death to be noticed")
        assert time.monotonic() - before < 1.5
        assert gateway.chat("qwen2.5", timeout=60).status == 200
        assert Docker.containers()["vllm_server"]["Id"] != killed


def test_after_kill_9_of_the_gateway_the_same_container_serves_at_once():
    gateway = gateway_of()
    assert gateway.chat("qwen2.5", timeout=60).status == 200
    container = Docker.containers()["vllm_server"]["Id"]
    state = pathlib.Path(gateway.folder)
    wait_until(lambda: any(container in path.read_text(errors="replace") for path in state.glob("*.json")), 10,
               "the state file")
    gateway.process.send_signal(signal.SIGKILL)
    gateway.process.wait()
    with Gateway({"gemma3-4B": model("google/gemma-3-4b-it"), "qwen2.5": model("Qwen/Qwen2.5-Coder-7B-Instruct")},
                 residency={"max_resident": 1, "min_resident": 0}, state_dir=gateway.folder) as again:
        before = time.monotonic()
        assert again.chat("qwen2.5", timeout=60).status == 200
        assert time.monotonic() - before < 1
        assert Docker.containers()["vllm_server"]["Id"] == container
    gateway.close()


def test_requests_that_come_while_a_model_loads_are_all_served():
    with gateway_of() as gateway:
        answers = []
        threads = [threading.Thread(target=lambda: answers.append(gateway.chat("gemma3-4B", timeout=60).status))
                   for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert answers == [200] * 8
        assert len(Docker.containers()) == 1


def test_what_is_wrong_with_the_engine_is_said_to_the_client():
    broken = model("x")
    broken["backend"]["network"] = "nonet"
    with Gateway({"broken": broken}) as gateway:
        answer = gateway.chat("broken", timeout=60)
        assert answer.status == 503 and answer.error["code"] == "model_start_failed", answer
        assert "docker network create" in answer.error["message"]
    nowhere = model("x")
    nowhere["backend"]["socket"] = "/nonexistent/docker.sock"
    with Gateway({"nowhere": nowhere}, residency={"max_wait": "3s", "min_resident": 0}) as gateway:
        answer = gateway.chat("nowhere", timeout=60)
        assert answer.status == 503 and answer.error["code"] == "runtime_unavailable", answer
