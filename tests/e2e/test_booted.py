# SPDX-License-Identifier: Apache-2.0
"""The unit files of examples/systemd under a systemd that really runs, in namespaces of its own."""

import os
import pathlib
import re
import shutil
import subprocess
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from engine import ROOT, binary, wait_until  # noqa: E402

BOOTED = ROOT / "tests" / "support" / "booted"
CONFIG = """listen: systemd
workers: 2
timeouts: {drain: 5s}
models:
  small: {backend: {kind: static, urls: [http://127.0.0.1:8001]}}
"""
# A sanitizer looks for leaks with system calls that the unit refuses.
ENVIRONMENT = "ASAN_OPTIONS=detect_leaks=0\n"
PREPARE = """#!/bin/bash
set -e
rm -rf "$1/var/lib/vllmgw" "$1/var/lib/private/vllmgw" # of servers that ran outside
mkdir -p "$1/etc/vllmgw" "$1/etc/systemd/system/vllmgw.service.d"
cp {units}/vllmgw.service {units}/vllmgw.socket "$1/etc/systemd/system/"
printf '[Service]\\nWatchdogSec=2s\\n' >"$1/etc/systemd/system/vllmgw.service.d/watchdog.conf"
cp {folder}/vllmgw.yaml {folder}/environment {units}/engines.conf "$1/etc/vllmgw/"
cp {server} {engine} "$1/usr/local/bin/"
cp -P {library}* "$1/usr/local/lib/"
ldconfig -r "$1"
chmod 755 "$1"/usr/local/bin/vllmgw-*
"""
ASK = ["curl", "-sS", "--max-time", "20", "-H", "Content-Type: application/json", "-d",
       '{"model": "small", "messages": []}', "http://127.0.0.1:8080/v1/chat/completions"]


class Machine:
    def __init__(self, folder):
        self.folder = str(folder / "machine")

    def start(self, prepare):
        done = subprocess.run([BOOTED, "start", self.folder, prepare], capture_output=True, text=True, timeout=60)
        return done.stderr if done.returncode else ""

    def run(self, *command, check=True):
        done = subprocess.run([BOOTED, "run", self.folder, *command], capture_output=True, text=True, timeout=60)
        assert not check or done.returncode == 0, f"{done.stdout}{done.stderr}\n{self.journal() if check else str()}"
        return done.stdout.strip()

    def journal(self):
        return self.run("journalctl", "--no-pager", "-u", "vllmgw.service", "-n", "60", check=False)

    def show(self, name):
        return self.run("systemctl", "show", "vllmgw.service", "--property", name, "--value")

    def stop(self):
        subprocess.run([BOOTED, "stop", self.folder], capture_output=True, timeout=60)


def why_not():
    if os.geteuid() != 0:
        return "not root"
    missing = [name for name in ("unshare", "nsenter", "ip", "curl") if not shutil.which(name)]
    if missing or not os.path.exists("/lib/systemd/systemd"):
        return f"missing: {' '.join(missing) or 'systemd'}"
    return "" if re.search(r" cgroup2 ", pathlib.Path("/proc/mounts").read_text()) else "no cgroup2"


@pytest.fixture(scope="module")
def machine(tmp_path_factory):
    folder = tmp_path_factory.mktemp("booted")
    reason = why_not()
    if reason:
        pytest.skip(f"no systemd can be booted here ({reason}): the unit files were NOT run")
    (folder / "vllmgw.yaml").write_text(CONFIG)
    (folder / "environment").write_text(ENVIRONMENT)
    prepare = folder / "prepare"
    prepare.write_text(PREPARE.format(units=ROOT / "examples" / "systemd", folder=folder, server=binary("vllmgw-server"),
                                      engine=binary("vllmgw-engine"),
                                      library=pathlib.Path(binary("")).parent / "lib" / "libvllmgw.so"))
    prepare.chmod(0o755)
    machine = Machine(folder)
    try:
        trouble = machine.start(prepare)
        if trouble and "permitted" in trouble:
            pytest.skip(f"no systemd can be booted here ({trouble.strip()[-200:]}): the unit files were NOT run")
        assert not trouble, trouble
        machine.run("systemd-run", "--unit=engine", "/usr/local/bin/vllmgw-engine", "--port", "8001", "--model", "small",
                    "--tokens", "3")
        machine.run("systemctl", "start", "vllmgw.socket", "vllmgw.service")
        yield machine
    finally:
        machine.stop()


def answers(machine):
    return "chat.completion" in machine.run(*ASK, check=False)


def test_it_is_started_confined_and_answers(machine):
    assert machine.show("ActiveState") == "active" and machine.show("StatusText") == "Serving"
    assert answers(machine), machine.journal()
    status = machine.run("cat", f"/proc/{machine.show('MainPID')}/status")
    assert re.search(r"CapEff:\s+0+$", status, re.M) and re.search(r"Seccomp:\s+2$", status, re.M)
    assert not re.search(r"^Uid:\s+0", status, re.M)


def test_reload_is_seen_through_to_its_end(machine):
    pid = machine.show("MainPID")
    machine.run("systemctl", "reload", "vllmgw.service")
    wait_until(lambda: "configuration read again" in machine.journal(), 10, "the reload")
    assert machine.show("MainPID") == pid and answers(machine)


def test_a_restart_refuses_nobody(machine):
    pid = machine.show("MainPID")
    loop = "for i in $(seq 60); do curl -sS -o /dev/null --max-time 20 http://127.0.0.1:8080/health; done 2>&1"
    client = subprocess.Popen([BOOTED, "run", machine.folder, "bash", "-c", loop], stdout=subprocess.PIPE, text=True)
    for _ in range(3):
        machine.run("systemctl", "restart", "vllmgw.service")
    assert client.communicate(timeout=60)[0] == ""
    assert machine.show("MainPID") != pid and answers(machine)


def test_a_server_that_hangs_is_replaced(machine):
    pid = machine.show("MainPID")
    machine.run("kill", "-STOP", pid)
    wait_until(lambda: machine.show("MainPID") not in (pid, "0") and machine.show("ActiveState") == "active", 20, "another")
    assert answers(machine)


def test_a_wrong_configuration_is_not_tried_again_and_again(machine):
    machine.run("bash", "-c", "cp /etc/vllmgw/vllmgw.yaml /run/kept; echo 'nonsense: 1' >>/etc/vllmgw/vllmgw.yaml")
    machine.run("systemctl", "reset-failed", "vllmgw.service")  # its starts are counted
    machine.run("systemctl", "restart", "vllmgw.service", check=False)
    try:
        assert machine.show("ActiveState") == "failed" and machine.show("NRestarts") in ("0", "1")
        assert re.search(r"vllmgw\.yaml:\d+:1: .*nonsense", machine.journal())
    finally:
        machine.run("bash", "-c", "cp /run/kept /etc/vllmgw/vllmgw.yaml; systemctl reset-failed vllmgw.service vllmgw.socket; "
                    "systemctl start vllmgw.socket vllmgw.service")
    assert answers(machine)


OWN = """  own:
    backend: {kind: process, command: [/usr/local/bin/vllmgw-engine, --port, "${PORT}", --model, own, --tokens, "3"]}
"""


def pid_of_engine(machine):
    return machine.run("pgrep", "-f", "vllmgw-engine .*--model own", check=False)


def test_engines_of_its_own_need_the_drop_in_and_outlive_a_crash_with_it(machine):
    """Confined as it is it cannot know them again, and says so."""
    ask = [word.replace("small", "own") for word in ASK]
    machine.run("bash", "-c", f"cat >>/etc/vllmgw/vllmgw.yaml <<'END'\n{OWN}END\nsystemctl restart vllmgw.service")
    assert "ProcSubset" in machine.run(*ask) and not pid_of_engine(machine)

    machine.run("bash", "-c", "cp /etc/vllmgw/engines.conf /etc/systemd/system/vllmgw.service.d/ && "
                "systemctl daemon-reload && systemctl restart vllmgw.service")
    assert "chat.completion" in machine.run(*ask), machine.journal()
    engine, gateway = pid_of_engine(machine), machine.show("MainPID")
    assert engine.isdigit()
    machine.run("kill", "-KILL", gateway)
    wait_until(lambda: machine.show("MainPID") not in (gateway, "0") and machine.show("ActiveState") == "active", 20, "another")
    assert "chat.completion" in machine.run(*ask) and pid_of_engine(machine) == engine, machine.journal()
    machine.run("systemctl", "stop", "vllmgw.service")
    assert not pid_of_engine(machine)
