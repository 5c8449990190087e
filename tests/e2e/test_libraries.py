# SPDX-License-Identifier: Apache-2.0
"""Client libraries that people use (openai, LangChain, the AI SDK), as they come from npm, against the gateway.

The tests themselves are node/*.test.mjs; each of theirs is one here. Their packages are put into node/node_modules by
tests/run, or here when they are missing.
"""

import os
import pathlib
import re
import shutil
import subprocess
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from engine import Engine  # noqa: E402
from gateway import Gateway  # noqa: E402

NODE = pathlib.Path(__file__).resolve().parent / "node"
FILES = ["openai.test.mjs", "frameworks.test.mjs"]


def names(file):
    found = re.findall(r"^test\((['\"])(.*)\1, ", (NODE / file).read_text(), re.M)
    return [name for _, name in found]


def is_installed():
    mark = NODE / "node_modules" / ".lockfile"
    return mark.exists() and mark.read_bytes() == (NODE / "package-lock.json").read_bytes()


def install_packages():
    """Puts the packages there, or skips the tests with a reason. Nothing but a missing registry is a reason."""
    if is_installed():
        return
    npm = shutil.which("npm")
    if not npm:
        pytest.skip("npm is not installed and node_modules is absent: the client libraries were NOT tried")
    done = subprocess.run([npm, "ci", "--no-audit", "--no-fund", "--ignore-scripts"], cwd=NODE, capture_output=True,
                          text=True, timeout=240)
    if done.returncode != 0 and re.search(r"ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ETIMEDOUT|ENETUNREACH|ECONNRESET",
                                          done.stderr):
        pytest.skip("npm's registry cannot be reached and node_modules is absent: the client libraries were NOT tried")
    assert done.returncode == 0, done.stderr
    shutil.copy(NODE / "package-lock.json", NODE / "node_modules" / ".lockfile")


@pytest.fixture(scope="module")
def outcomes():
    """{test's name: (passed, what it said)} of all files, each run once against a gateway of its own."""
    if not shutil.which("node"):
        pytest.skip("node is not installed: the client libraries were NOT tried")
    install_packages()
    found = {}
    for file in FILES:
        found.update(run(file))
    return found


def run(file):
    backend = {"kind": "static"}
    with Engine(model="small", tokens=12, itl="20ms") as small, \
            Engine(model="org/served", served_model_name="org/served", tokens=4) as big:
        models = {
            "small": {"aliases": ["tiny", "gpt-4o-*"], "backend": {**backend, "urls": [small.url]}},
            "big": {"served_name": "org/served", "backend": {**backend, "urls": [big.url]}},
            "org/with-slash": {"backend": {**backend, "urls": [big.url]}},
            "hidden": {"unlisted": True, "backend": {**backend, "urls": [big.url]}}}
        with Gateway(models) as gateway:
            environment = {**os.environ, "GATEWAY_URL": gateway.url, "ENGINE_CONTROL": small.control,
                           "OPENAI_LOG": "off", "LANGSMITH_TRACING": "false", "AI_SDK_LOG_WARNINGS": "false"}
            done = subprocess.run(["node", "--test", "--test-concurrency=1", "--test-reporter=tap", file], cwd=NODE,
                                  env=environment, capture_output=True, text=True, timeout=200)
        small.wait_for(lambda counters: counters["open"] == 0)
    return read_tap(done.stdout, done.stderr)


def read_tap(text, errors):
    """Results are `ok N - name` lines, at any depth, each with a block that says more."""
    pieces = re.split(r"^ *(ok|not ok) \d+ - (.*)$", text, flags=re.M)
    assert len(pieces) > 1, text + errors
    return {re.sub(r"\\(.)", r"\1", pieces[i + 1]): (pieces[i] == "ok", pieces[i + 2])
            for i in range(1, len(pieces), 3)}


@pytest.mark.parametrize("name", [f"{file.split('.')[0]}: {name}" for file in FILES for name in names(file)])
def test_client(outcomes, name):
    name = name.split(": ", 1)[1]
    assert name in outcomes, f"it was not run: {sorted(outcomes)}"
    passed, said = outcomes[name]
    assert passed, said
