# SPDX-License-Identifier: Apache-2.0
"""Engines for tests: start vllmgw-engine on a free port, ask it what it saw, make it misbehave.

    with Engine(tokens=5, ttft="20ms") as engine:
        post(engine.url + "/v1/chat/completions", ...)
        assert engine.counters()["requests"] == 1
        engine.fault("die-mid-stream:2", times=1)

Questions go over a control socket of their own, so they are never counted as traffic, and are answered while
the engine is loading, refuses connections or hangs. Standard library only.
"""

import http.client
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]


def binary(name):
    """The path of a program of ours: in $VGW_BIN, else in build/bin of this tree."""
    return os.path.join(os.environ.get("VGW_BIN") or str(ROOT / "build" / "bin"), name)


def wait_until(condition, timeout=10.0, what="the condition"):
    """Poll with a deadline; returns the condition's first true value."""
    deadline = time.monotonic() + timeout
    pause = threading.Event()
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what} did not come true in {timeout} s")
        pause.wait(0.002)


def memory_used(path):
    """Bytes held on the fake GPU of --memory-file."""
    run = subprocess.run([binary("vllmgw-engine"), "--memory-used", str(path)], capture_output=True, check=True)
    return int(run.stdout)


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("engine", timeout=20)
        self._path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


class Engine:
    """One vllmgw-engine. Keyword options become arguments: load_time="1s" is --load-time 1s, True is a flag,
    a list repeats the option. `env` is added to the environment; `program` is the command's beginning. wait is
    "ready" (it listens), "bound" (it has its port: for engines that load or refuse) or "no"."""

    def __init__(self, *args, env=None, wait="ready", timeout=20.0, program=None, **options):
        self.folder = tempfile.mkdtemp(prefix="vgw-engine-")
        self.control = os.path.join(self.folder, "control")
        self.log_path = os.path.join(self.folder, "log")
        port_file = os.path.join(self.folder, "port")
        command = [*(program or [binary("vllmgw-engine")]), *args, "--control", self.control]
        if "uds" not in options:
            command += ["--port", "0", "--port-file", port_file]
        for name, value in options.items():
            for item in value if isinstance(value, (list, tuple)) else [value]:
                command += ["--" + name.replace("_", "-")] + ([] if item is True else [str(item)])
        with open(self.log_path, "wb") as log:
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env={**os.environ, **(env or {})})
        self.host, self.port = "127.0.0.1", None
        try:
            if wait != "no" and "uds" not in options:
                self._wait(lambda: os.path.exists(port_file), timeout, "the port")
                self.port = int(pathlib.Path(port_file).read_text())
            if wait == "ready":
                self._wait(lambda: "listening on" in self.log, timeout, "the engine")
        except BaseException:
            self.close()
            raise

    def _wait(self, condition, timeout, what):
        wait_until(lambda: condition() or self.process.poll() is not None, timeout, what)
        if not condition():
            raise RuntimeError(f"vllmgw-engine ended with {self.process.returncode}:\n{self.log}")

    @property
    def url(self):
        return f"http://{self.host}:{self.port}"

    @property
    def pid(self):
        return self.process.pid

    @property
    def log(self):
        return pathlib.Path(self.log_path).read_text(errors="replace")

    # --- questions and orders ---

    def ask(self, method, path, body=None):
        connection = _UnixConnection(self.control)
        try:
            connection.request(method, path, json.dumps(body) if body is not None else None)
            response = connection.getresponse()
            data = response.read()
        finally:
            connection.close()
        if response.status != 200:
            raise RuntimeError(f"{path}: {response.status} {data.decode(errors='replace')}")
        return json.loads(data)

    def requests(self):
        """Every request seen, oldest first: head, body, outcome, phase, events, ..."""
        return self.ask("GET", "/_engine/requests")["requests"]

    def counters(self):
        return self.ask("GET", "/_engine/counters")

    def fault(self, spec, times=0, where="inference"):
        """Misbehave at the next `times` requests (0: until reset()) that `where` names."""
        self.ask("POST", "/_engine/fault", {"spec": spec, "times": times, "where": where})

    def reset(self):
        """Forget records, counters and injected faults."""
        self.ask("POST", "/_engine/reset")

    def wait_for(self, condition, timeout=10.0):
        """Poll the counters until condition(counters) is true; returns them."""
        def holds():
            counters = self.counters()
            return counters if condition(counters) else None
        return wait_until(holds, timeout, "a state of the engine's counters")

    # --- the end ---

    def stop(self, timeout=20.0):
        """SIGTERM; returns the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(timeout)
        return code

    def kill(self):
        """SIGKILL; returns the exit code."""
        if self.process.poll() is None:
            self.process.kill()
        return self.process.wait(20)

    def close(self):
        """Whatever it is doing, it is gone afterwards, and its folder with it."""
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
