# SPDX-License-Identifier: Apache-2.0
"""The programs of the benchmark: how each is found, configured, started, pinned and stopped."""

import http.client
import os
import random
import re
import resource
import shutil
import signal
import socket
import subprocess
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
BIN = os.path.abspath(os.environ.get("VGW_BIN", os.path.join(ROOT, "build", "bin")))
FILES = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
START_SECONDS = 15


class BenchError(Exception):
    """Something that a person must put right; its text says what."""


def free_port():
    """A free port below the ephemeral range, so that no connection of the load takes it in the meantime."""
    for port in random.sample(range(20000, 32000), 200):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
                return port
            except OSError:
                continue
    raise BenchError("no free port between 20000 and 32000")


def nginx_config(folder, port, engine_port):
    user = "user root;\n" if os.geteuid() == 0 else ""
    return f"""{user}daemon off;
worker_processes 1;
worker_rlimit_nofile {FILES};
pid {folder}/nginx.pid;
error_log {folder}/nginx.log;
events {{ worker_connections {FILES - 500}; }}
http {{
  access_log off;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  client_max_body_size 64m;
  client_body_buffer_size 1m;
  keepalive_timeout 1h;
  keepalive_requests 1000000000;
  upstream engine {{
    server 127.0.0.1:{engine_port};
    keepalive 256;
    keepalive_requests 1000000000;
    keepalive_timeout 1h;
  }}
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    location / {{
      proxy_pass http://engine;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_buffering off;
      proxy_read_timeout 1h;
      proxy_send_timeout 1h;
    }}
  }}
}}
"""


def haproxy_config(_folder, port, engine_port):
    return f"""global
  nbthread 1
  maxconn {(FILES - 300) // 2}
defaults
  mode http
  http-reuse always
  option http-no-delay
  timeout connect 10s
  timeout client 1h
  timeout server 1h
  timeout http-keep-alive 1h
frontend front
  bind 127.0.0.1:{port} backlog 4096
  default_backend engine
backend engine
  server engine 127.0.0.1:{engine_port}
"""


def vllmgw_config(_folder, port, engine_port):
    return f"""listen: 127.0.0.1:{port}
workers: 1
log: {{access: false}}
limits: {{connections: 20000}}
models:
  bench:
    backend: {{kind: static, urls: ["http://127.0.0.1:{engine_port}"]}}
"""


# name: (program, arguments after it, configuration, argument that prints the version)
CONTENDERS = {
    "direct": None,
    "nginx": ("nginx", ["-e", "stderr", "-c"], nginx_config, "-v"),
    "haproxy": ("haproxy", ["-db", "-f"], haproxy_config, "-v"),
    "vllmgw": ("vllmgw-server", ["-c"], vllmgw_config, "--version"),
}


def find_program(name):
    program = CONTENDERS[name][0]
    path = f"{BIN}:{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin"
    return shutil.which(program, path=path)


def version(name):
    if not CONTENDERS[name]:
        return ""
    command = [find_program(name), CONTENDERS[name][3]]
    said = subprocess.run(command, capture_output=True, text=True, timeout=10)
    return (said.stdout + said.stderr).strip().split("\n")[0]


def unfit(name):
    """Why a contender's figures would say nothing; None when it is fit."""
    if name != "vllmgw":
        return None
    with open(find_program(name), "rb") as program:
        if re.search(rb"__(asan|tsan)_init", program.read()):
            return "built with a sanitizer: its figures say nothing about a release"
    return None


def tool(name):
    path = os.path.join(BIN, name)
    if not os.access(path, os.X_OK):
        raise BenchError(f"{path} is missing: build the project, or set VGW_BIN to the folder that has it")
    return path


def spawn(command, core, **kwargs):
    """Starts a program pinned to a core, with all the files it may open, before all others if we may.

    SCHED_BATCH: on a shared core nobody interrupts the gateway because an event has just arrived, so it meets
    work in bursts, as on a core of its own, and the figures repeat.
    """
    def prepare():
        os.sched_setaffinity(0, {core})
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
        resource.setrlimit(resource.RLIMIT_NOFILE, (FILES, FILES))
        if os.geteuid() == 0:
            os.setpriority(os.PRIO_PROCESS, 0, -20)
    return subprocess.Popen(command, preexec_fn=prepare, **kwargs)


def descendants(pid):
    """The process and its children: nginx is a master and a worker."""
    parents = {}
    for entry in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{entry}/stat") as stat:
                parents[int(entry)] = int(stat.read().rsplit(")", 1)[1].split()[1])
        except (FileNotFoundError, ProcessLookupError):
            continue
    family = [pid]
    for member in family:
        family += [child for child, parent in parents.items() if parent == member]
    return family


def stop(process):
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(3)
        except subprocess.TimeoutExpired:
            for pid in reversed(descendants(process.pid)):
                os.kill(pid, signal.SIGKILL)
    process.wait()


class Rig:
    """An engine, and a gateway before it, both fresh; `port` is where the load goes."""

    def __init__(self, name, folder, gateway_core, other_core):
        self.name = name
        self.folder = folder
        self.gateway_core = gateway_core
        self.other_core = other_core
        self.processes = []
        self.gateway_pids = []
        self.log = os.path.join(folder, f"{name}.out")

    def __enter__(self):
        try:
            self._start_engine()
            if CONTENDERS[self.name]:
                self._start_gateway()
            self._wait_until_it_answers()
        except BaseException:
            self.__exit__()
            raise
        if CONTENDERS[self.name]:
            self.gateway_pids = descendants(self.processes[-1].pid)
        return self

    def __exit__(self, *_):
        for process in reversed(self.processes):
            stop(process)

    def _start_engine(self):
        engine = spawn([tool("bench-engine")], self.other_core, stdout=subprocess.PIPE, text=True)
        self.processes.append(engine)
        self.port = int(engine.stdout.readline().rsplit(":", 1)[1])
        engine.stdout.close()

    def _start_gateway(self):
        _, arguments, make_config, _ = CONTENDERS[self.name]
        engine_port, self.port = self.port, free_port()
        config = os.path.join(self.folder, f"{self.name}.conf")
        with open(config, "w") as file:
            file.write(make_config(self.folder, self.port, engine_port))
        with open(self.log, "w") as log:
            command = [find_program(self.name), *arguments, config]
            self.processes.append(spawn(command, self.gateway_core, stdout=log, stderr=log))

    def _wait_until_it_answers(self):
        deadline = time.monotonic() + START_SECONDS
        body = '{"model":"bench","messages":[{"role":"user","content":"Are you there?"}]}'
        answer = "it accepts no connection"
        while time.monotonic() < deadline and self.processes[-1].poll() is None:
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=2)
            try:
                connection.request("POST", "/v1/chat/completions", body, {"Content-Type": "application/json"})
                response = connection.getresponse()
                if response.status == 200:
                    return
                answer = f"it answers {response.status}: {response.read(300).decode(errors='replace')}"
            except (OSError, http.client.HTTPException) as error:
                answer = str(error)
            finally:
                connection.close()
            time.sleep(0.02)
        raise BenchError(f"{self.name} did not come up: {answer}\n{self._log_tail()}")

    def _log_tail(self):
        try:
            with open(self.log, errors="replace") as log:
                return "".join(log.readlines()[-10:])
        except FileNotFoundError:
            return ""
