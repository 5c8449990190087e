# SPDX-License-Identifier: Apache-2.0
"""Under a service manager: notifications, the watchdog, sockets that outlive the server, the unit files."""

import ctypes
import json
import os
import pathlib
import re
import select
import shutil
import signal
import socket
import subprocess
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from engine import ROOT, Engine, binary, wait_until  # noqa: E402
from gateway import SANITIZER, Answer, Gateway, chat_body, http  # noqa: E402

UNITS = ROOT / "examples" / "systemd"
INSTALLED = "/usr/local/bin/vllmgw-server"


class Manager:
    """The socket that a service manager would read."""

    def __init__(self, folder):
        self.path = str(folder / "notify")
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.sock.bind(self.path)
        self.sock.settimeout(20)
        self.seen = []

    def wait_for(self, key):
        """The next message with that key, as a dictionary; all are kept in .seen."""
        while True:
            message = dict(line.split("=", 1) for line in self.sock.recv(4096).decode().splitlines())
            self.seen.append(message)
            if key in message:
                return message


@pytest.fixture
def manager(tmp_path):
    return Manager(tmp_path)


def test_a_service_manager_is_told_of_every_change(manager):
    with Engine(model="small", itl="20ms", tokens=20) as engine:
        with Gateway({"small": engine}, env={"NOTIFY_SOCKET": manager.path}) as gateway:
            assert manager.wait_for("READY")["READY"] == "1"
            assert gateway.request("GET", "/ready").status == 200
            for text in (None, "nonsense: [\n"):
                gateway.reload(text=text)
                reloading = manager.wait_for("RELOADING")
                assert int(reloading["MONOTONIC_USEC"]) > 0
                assert manager.wait_for("READY")["STATUS"]
            with gateway.connect() as stream:
                stream.send(http("POST", "/v1/chat/completions", chat_body("small", stream=True)))
                stream.read_until(b"data: ")
                gateway.term()
                assert manager.wait_for("STOPPING")["STATUS"]
                assert Answer(stream.read_all()).is_clean


def test_ready_is_not_said_before_it_is_true_nor_when_it_cannot_start(manager, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as other:
        listen = f"127.0.0.1:{other.getsockname()[1]}"
        gateway = Gateway({"small": "http://127.0.0.1:9"}, listen=listen, env={"NOTIFY_SOCKET": manager.path}, wait=False)
        try:
            assert gateway.process.wait(20) == 1
        finally:
            gateway.close()
    manager.sock.setblocking(False)
    with pytest.raises(BlockingIOError):
        manager.sock.recv(4096)


def test_the_watchdog_is_fed_while_serving(manager):
    env = {"NOTIFY_SOCKET": manager.path, "WATCHDOG_USEC": "100000"}
    with Gateway({"small": "http://127.0.0.1:9"}, env=env):
        for _ in range(5):
            manager.wait_for("WATCHDOG")
    assert manager.seen[0].get("READY") == "1"


def find_thread(gateway, name):
    tasks = pathlib.Path(f"/proc/{gateway.pid}/task")
    return next(int(task.name) for task in tasks.iterdir() if (task / "comm").read_text().strip() == name)


class Held:
    """One thread of a process stands still, as if it hung; the others go on."""

    ATTACH, DETACH = 16, 17

    def __init__(self, thread):
        self.thread = thread

    def _trace(self, request):
        libc = ctypes.CDLL(None, use_errno=True)
        libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
        libc.ptrace.restype = ctypes.c_long
        if libc.ptrace(request, self.thread, None, None) != 0:
            pytest.skip(f"ptrace is not allowed here ({os.strerror(ctypes.get_errno())}): a hanging thread was NOT tried")

    def __enter__(self):
        self._trace(self.ATTACH)
        os.waitpid(self.thread, 0x40000000)  # __WALL

    def __exit__(self, *_):
        self._trace(self.DETACH)


@pytest.mark.parametrize("name, said", [("vgw-worker-1", "a worker has been silent"),
                                        ("vgw-residency", "the residency's thread has been silent")])
def test_the_watchdog_starves_while_a_thread_hangs_and_is_fed_when_it_goes_on(manager, name, said):
    env = {"NOTIFY_SOCKET": manager.path, "WATCHDOG_USEC": "400000"}
    with Gateway({"small": "http://127.0.0.1:9"}, env=env, workers=2) as gateway:
        manager.wait_for("WATCHDOG")
        with Held(find_thread(gateway, name)):
            wait_until(lambda: said in gateway.text, 10, "the complaint")
            while manager.sock in select.select([manager.sock], [], [], 0)[0]:
                manager.sock.recv(4096)
            assert not select.select([manager.sock], [], [], 1)[0], "fed although a thread hangs"
        manager.wait_for("WATCHDOG")
        assert gateway.request("GET", "/health").status == 200


def test_health_says_when_the_scheduler_hangs():
    with Gateway({"small": "http://127.0.0.1:9"}) as gateway:
        with Held(find_thread(gateway, "vgw-residency")):
            answer = wait_until(lambda: (lambda seen: seen.status == 503 and seen)(gateway.request("GET", "/health")), 20,
                                "503 of /health")
            assert answer.json()["status"] == "stalled"
        wait_until(lambda: gateway.request("GET", "/health").status == 200, 10, "200 of /health")


# --- sockets that the manager holds ---

def start_with_sockets(sockets, config):
    """vllmgw-server as a service manager starts it, with these listening sockets from descriptor 3 on."""
    moves = " ".join(f"{3 + i}<&{sock.fileno()}" for i, sock in enumerate(sockets))
    script = f'exec {moves}; LISTEN_PID=$$ LISTEN_FDS={len(sockets)} exec "$@"'
    return subprocess.Popen(["bash", "-c", script, "bash", binary("vllmgw-server"), "-c", str(config)],
                            pass_fds=[sock.fileno() for sock in sockets], stderr=subprocess.PIPE, text=True)


def end(process):
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=20)
    assert process.returncode == 0 and not SANITIZER.search(said), said
    return said


def exchange(sock, request):
    sock.sendall(request)
    data = b""
    while piece := sock.recv(65536):
        data += piece
    return Answer(data)


@pytest.mark.parametrize("workers", [1, 2])
def test_connections_made_while_the_server_is_away_are_served_by_the_next_one(workers, tmp_path):
    config, path = tmp_path / "vllmgw.yaml", str(tmp_path / "socket")
    request = http("POST", "/v1/chat/completions", chat_body("small"), ["Connection: close"])
    with Engine(model="small", tokens=3) as engine, socket.create_server(("127.0.0.1", 0)) as inet, \
            socket.socket(socket.AF_UNIX) as unix:
        unix.bind(path)
        unix.listen(64)
        config.write_text(json.dumps({"listen": "systemd", "workers": workers, "models": {
            "small": {"backend": {"kind": "static", "urls": [engine.url]}}}}))
        for _ in range(3):
            early = [socket.create_connection(inet.getsockname(), timeout=20) for _ in range(10)]
            local = socket.socket(socket.AF_UNIX)
            local.settimeout(20)
            local.connect(path)
            process = start_with_sockets([inet, unix], config)
            assert [exchange(sock, request).status for sock in [*early, local]] == [200] * 11
            end(process)
            assert os.path.exists(path), "the manager's socket file is not ours to remove"


def test_systemd_socket_activate_starts_it_at_the_first_connection(tmp_path):
    activate = shutil.which("systemd-socket-activate")
    if not activate:
        pytest.skip("systemd-socket-activate is not installed (Debian: systemd): activation by it was NOT tried")
    config, path = tmp_path / "vllmgw.yaml", str(tmp_path / "socket")
    with Engine(model="small", tokens=3) as engine:
        config.write_text(json.dumps({"listen": "systemd", "models": {
            "small": {"backend": {"kind": "static", "urls": [engine.url]}}}}))
        # to let sanitizers find their options, those of the environment are named
        process = subprocess.Popen([activate, "-l", path, "--fdname=http", "-E", "ASAN_OPTIONS", binary("vllmgw-server"),
                                    "-c", str(config)], stderr=subprocess.PIPE, text=True,
                                   env={"ASAN_OPTIONS": "", **os.environ})
        wait_until(lambda: os.path.exists(path), 10, "the socket")
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(20)
            sock.connect(path)
            answer = exchange(sock, http("POST", "/v1/chat/completions", chat_body("small"), ["Connection: close"]))
        assert answer.status == 200
        assert "stopped" in end(process)


def test_without_a_socket_it_says_what_to_do(tmp_path):
    config = tmp_path / "vllmgw.yaml"
    config.write_text("listen: systemd\nmodels: {}\n")
    done = subprocess.run([binary("vllmgw-server"), "-c", str(config)], capture_output=True, text=True, timeout=20)
    assert done.returncode == 1 and ".socket unit" in done.stderr


def test_a_socket_on_which_nobody_can_be_served_is_refused(tmp_path):
    config = tmp_path / "vllmgw.yaml"
    config.write_text(f"listen: systemd\nstate_dir: {tmp_path}\nmodels: {{}}\n")
    datagram, bound, (accepted, peer) = socket.socket(type=socket.SOCK_DGRAM), socket.socket(), socket.socketpair()
    bound.bind(("127.0.0.1", 0))
    with datagram, bound, accepted, peer, open(config) as file:
        for wrong in (datagram, bound, accepted, file):
            process = start_with_sockets([wrong], config)
            said = process.communicate(timeout=20)[1]
            assert process.returncode == 1 and "descriptor 3" in said and "ListenStream=" in said, said


# --- the unit files ---

@pytest.fixture
def units(tmp_path):
    """The unit files, with the program where it is now."""
    if not shutil.which("systemd-analyze"):
        pytest.skip("systemd-analyze is not installed (Debian: systemd): the unit files were NOT checked")
    for unit in UNITS.iterdir():
        text = unit.read_text()
        (tmp_path / unit.name).write_text(text.replace(INSTALLED, binary("vllmgw-server")))
    return tmp_path


def analyze(folder, *args):
    return subprocess.run(["systemd-analyze", *args], cwd=folder, capture_output=True, text=True, timeout=60)


def test_the_unit_files_are_free_of_mistakes(units):
    good = analyze(units, "--man=no", "--recursive-errors=yes", "verify", "./vllmgw.service", "./vllmgw.socket")
    service = units / "vllmgw.service"
    service.write_text(service.read_text() + "\n[Service]\nNonsense=yes\n")
    bad = analyze(units, "--man=no", "--recursive-errors=yes", "verify", "./vllmgw.service", "./vllmgw.socket")
    assert good.returncode == 0, good.stderr
    assert bad.returncode != 0, "this check cannot fail"


def test_the_service_is_confined(units):
    done = analyze(units, "security", "--offline=true", "--threshold=25", "./vllmgw.service")
    assert done.returncode == 0, done.stdout


def test_the_unit_says_what_the_server_does():
    text = (UNITS / "vllmgw.service").read_text()
    assert re.search(r"^Type=notify$", text, re.M) and re.search(r"^ExecReload=/bin/kill -HUP \$MAINPID$", text, re.M)
    assert re.search(r"^RestartPreventExitStatus=2 78$", text, re.M)
