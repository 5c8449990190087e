# SPDX-License-Identifier: Apache-2.0
"""The README's first command, with the programs of this build."""

import os
import pathlib
import re
import signal
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from engine import ROOT, binary  # noqa: E402


def start(*args):
    environment = {**os.environ, "VGW_BIN": os.path.dirname(binary("vllmgw-server"))}
    return subprocess.Popen([ROOT / "examples" / "quickstart", *args], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                            env=environment)


def read(process, end=None):
    """What it prints until `end` or its end, and when each piece came."""
    text, times = "", []
    while piece := os.read(process.stdout.fileno(), 65536):
        text += piece.decode()
        times.append((time.monotonic(), text.count("\n"), len(text)))
        if end and re.search(end, text, re.M):
            break
    return text, times


def check_tokens_come_one_by_one(text, times, model):
    """The pieces in which the line of the model's answer grew."""
    line = next(i for i, one in enumerate(text.split("\n")) if one.startswith(f"{model}: "))
    grew = [when for when, newlines, _ in times if newlines == line]
    assert len(grew) >= 10, f"the answer of {model} came in {len(grew)} pieces"
    assert grew[-1] - grew[0] > 0.4


def test_it_streams_from_two_models_and_ends_with_one_clear_line_twice_and_quickly():
    for _ in range(2):
        began = time.monotonic()
        process = start()
        text, times = read(process)
        assert process.wait(20) == 0, text
        assert time.monotonic() - began < 20
        for model in ("small", "big"):
            check_tokens_come_one_by_one(text, times, model)
        assert text.rstrip("\n").split("\n")[-1].startswith("It works: two models streamed through vllmgw-server.")
        assert "vllm serve" in text and "building" not in text


def test_kept_running_it_ends_by_ctrl_c_and_leaves_nothing_behind():
    process = start("--keep")
    text, _ = read(process, r"^Running on (http://\S+) with (\S+)\.")
    folder = re.search(r" with (\S+)/vllmgw\.yaml\.", text)[1]
    assert os.path.isdir(folder)
    process.send_signal(signal.SIGINT)
    rest, _ = read(process)

    assert process.wait(20) == 130, rest
    assert not os.path.exists(folder)


def test_an_unknown_option_is_refused():
    process = start("--nonsense")
    text, _ = read(process)
    assert process.wait(20) == 1 and "--nonsense" in text and "examples/quickstart" in text
