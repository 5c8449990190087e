# SPDX-License-Identifier: Apache-2.0
"""A real llama-server: the command of one model, and a router over several, with models made by gguf.py.

    with Router({"one": 1, "two": 2}, "--models-max", "1") as router:
        assert router.states() == {"one": "unloaded", "two": "unloaded"}

The program is $VGW_LLAMA_SERVER, which the stage `llama` of tests/run builds. Standard library and pytest only.
"""

import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import tempfile
import urllib.error
import urllib.request

import gguf
import pytest
from engine import wait_until
from gateway import http

# Small and alone: no model is looked for in the user's cache, and two processors suffice.
COMMON = ["--offline", "--threads", "1", "--threads-batch", "1", "--parallel", "2", "--ctx-size", "32768"]


def program():
    """The program's path. Without the variable its tests are skipped; with it there is no excuse."""
    path = os.environ.get("VGW_LLAMA_SERVER")
    if not path:
        pytest.skip("VGW_LLAMA_SERVER names no llama-server (tests/run --stage llama builds one): it was NOT tried")
    assert os.access(path, os.X_OK), f"{path}: no such program"
    return path


def process(path, name, *args, **keys):
    """A model of kind process: llama-server with the model of that path."""
    command = [program(), "--model", str(path), "--alias", name, "--port", "${PORT}", *COMMON, *args]
    return {"backend": {"kind": "process", "command": command, "stop_timeout": "10s"}, **keys}


def ask(url, body=None, timeout=20):
    """(status, JSON) of a GET, or of a POST of the body."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"} if data else {})
    try:
        with urllib.request.urlopen(request, timeout=timeout) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def resident(gateway, model, headers=()):
    """What the gateway believes of the model: {"state": ..., "replicas": [...], ...}."""
    with gateway.connect() as connection:
        connection.send(http("GET", "/admin/state", None, [*headers, "Connection: close"], host="localhost"))
        answer = connection.read_answer()
    assert answer.status == 200, answer
    return next(one for one in answer.json()["models"] if one["name"] == model)


class Router:
    """llama-server without a model of its own: it starts one of itself for each model it loads. models: name -> seed,
    or the bytes of the file."""

    def __init__(self, models, *args, port=0):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="vgw-llama-"))
        self.port, self.args = port, args
        (self.folder / "models").mkdir()
        for name, what in models.items():
            path = self.folder / "models" / f"{name}.gguf"
            path.write_bytes(what) if isinstance(what, bytes) else gguf.write(path, seed=what)
        self.start()

    def start(self):
        """On the port it had before, if it had one."""
        self.log_path = self.folder / "log"
        command = [program(), "--models-dir", str(self.folder / "models"), "--host", "127.0.0.1", "--port", str(self.port),
                   *COMMON, *self.args]
        with open(self.log_path, "wb") as log:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env={
                **os.environ, "HF_HOME": str(self.folder), "LLAMA_CACHE": str(self.folder)})
        try:
            self.port = wait_until(self._find_port, 20, "the router")
        except BaseException:
            self.close()
            raise

    def _find_port(self):
        assert self.process.poll() is None, self.log
        found = re.search(r"listening on http://127\.0\.0\.1:(\d+)", self.log)
        return found and int(found[1])

    @property
    def log(self):
        return self.log_path.read_text(errors="replace")

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    # --- what it knows, and orders ---

    def models(self):
        status, said = ask(self.url + "/models")
        assert status == 200, said
        return {model["id"]: model for model in said["data"]}

    def states(self):
        return {name: model["status"]["value"] for name, model in self.models().items()}

    def loaded(self):
        return {name for name, state in self.states().items() if state == "loaded"}

    def load(self, name):
        return ask(self.url + "/models/load", {"model": name})

    def unload(self, name):
        return ask(self.url + "/models/unload", {"model": name})

    def child_of(self, name):
        """The pid of the process that has the model."""
        for line in subprocess.run(["ps", "--ppid", str(self.process.pid), "-o", "pid=,args="], capture_output=True,
                                   text=True, check=True).stdout.splitlines():
            pid, command = line.split(None, 1)
            if f"{name}.gguf" in command:
                return int(pid)
        raise AssertionError(f"{name} has no process")

    # --- the end ---

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(20) == 0, self.log[-2000:]

    def close(self):
        """Its children end when they see it go."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(20)
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
