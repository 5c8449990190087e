# SPDX-License-Identifier: Apache-2.0
"""Gateways in place of other systems: configured by their environment variables, asked by their own commands."""

import json
import os
import pathlib
import re
import subprocess
import tempfile

from engine import binary
from gateway import Answer, Gateway


def from_environment(**variables):
    """A gateway without a file. It listens on a free port of this machine whatever the variables say."""
    folder = tempfile.TemporaryDirectory(prefix="vgw-compat-")
    env = {"VLLMGW_LISTEN": "127.0.0.1:0", "VLLMGW_WORKERS": "1", "VLLMGW_STATE_DIR": folder.name, **variables}
    one = Gateway({}, "--from-env", env=env)
    one.state_folder = folder  # lives as long as the gateway
    return one


def print_config(config=None, fails=False, **variables):
    """What the server makes of these variables, over a file if one is given: the text, or (exit status, what it
    says)."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("VLLMGW_")}
    with tempfile.TemporaryDirectory(prefix="vgw-compat-") as folder:
        path = pathlib.Path(folder, "vllmgw.yaml")
        path.write_text(json.dumps(config or {}))
        source = ["-c", str(path)] if config is not None else []
        done = subprocess.run([binary("vllmgw-server"), *source, "--print-config"], cwd=folder, timeout=20,
                              env={**env, **variables}, capture_output=True, text=True)
    if fails:
        return done.returncode, done.stderr
    assert done.returncode == 0, done.stderr
    return done.stdout


def curl(gateway, url, *args, timeout=30):
    """curl as a README writes it, but for the address; the answer."""
    url = re.sub(r"^http://[^/]*", gateway.url, url)
    done = subprocess.run(["curl", "-sS", "-i", "--raw", "--max-time", str(timeout), url, *args], capture_output=True,
                          timeout=timeout + 10)
    assert done.returncode == 0, done.stderr
    return Answer(re.sub(rb"(?i)^HTTP/1.1 100.*?\r\n\r\n", b"", done.stdout, flags=re.S))
