# SPDX-License-Identifier: Apache-2.0
"""Models on several devices: where they come up, what their engines are told of it, what people are told."""

import json
import pathlib
import re
import subprocess
import sys
import urllib.request

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from gateway import Gateway, binary  # noqa: E402

DEVICES = {f"gpu{number}": {"memory": "24GiB"} for number in range(4)}
RESIDENCY = {"max_resident": 4, "min_resident": "0s"}


def model(name, *args, memory="20GiB", backend=None, **keys):
    command = [binary("vllmgw-engine"), "--port", "${PORT}", "--model", name, "--load-time", "20ms", *args]
    return {"backend": {"kind": "process", "command": command, "stop_timeout": "10s", **(backend or {})},
            "memory": {"each": memory}, **keys}


def vllmgw(gateway, *args):
    return subprocess.run([binary("vllmgw"), "--url", gateway.url, *args], capture_output=True, text=True, timeout=60,
                          check=True).stdout


def get(gateway, path):
    with urllib.request.urlopen(gateway.url + path, timeout=20) as answer:
        return json.load(answer)


def replica(gateway, name):
    models = get(gateway, "/admin/state")["models"]
    return next(model for model in models if model["name"] == name)["replicas"][0]


def parts(gateway, name, what):
    """The arguments or the environment of a model's engine."""
    return pathlib.Path(f"/proc/{replica(gateway, name)['pid']}/{what}").read_text().split("\0")


def test_engines_see_the_devices_they_were_given():
    models = {"a": model("a", backend={"gpu_memory_utilization": "auto"}),
              "wide": model("wide", "--tensor-parallel-size", "2"),
              "b": model("b", devices=["gpu2", "gpu3"], backend={"env": {"ON": "${DEVICES}"}}),
              "other": model("other", tensor_parallel=2)}
    with Gateway(models, devices=DEVICES, residency=RESIDENCY, env={"VLLMGW_NVML": "/nonexistent"}) as gateway:
        for name in ("a", "wide", "b"):
            assert gateway.chat(name).status == 200
        assert "CUDA_VISIBLE_DEVICES=0" in parts(gateway, "a", "environ")
        assert "CUDA_VISIBLE_DEVICES=1,2" in parts(gateway, "wide", "environ")
        assert "CUDA_VISIBLE_DEVICES=3" in parts(gateway, "b", "environ") and "ON=3" in parts(gateway, "b", "environ")
        assert parts(gateway, "a", "cmdline")[-3:-1] == ["--gpu-memory-utilization", "0.833"]

        assert re.search(r"^wide +ready +- +40\.0GiB +gpu1,gpu2 +http", vllmgw(gateway, "ps"), re.M)
        assert re.search(r"^  on gpu\d,gpu\d: those who leave them cost least$", vllmgw(gateway, "explain", "other"), re.M)
        devices = {device["name"]: device for device in get(gateway, "/admin/state")["devices"]}
        assert [devices[name]["models"] for name in sorted(DEVICES)] == [["a"], ["wide"], ["wide"], ["b"]]

        assert gateway.chat("other").status == 200
        decisions = get(gateway, "/admin/decisions")
        evicted = next(one for one in decisions if one["kind"] == "evict" and one["model"] == "other")
        assert evicted["devices"] == replica(gateway, "other")["devices"] and len(evicted["devices"]) == 2


def test_a_set_larger_than_the_machine_is_refused_at_the_start(tmp_path):
    config = {"listen": "127.0.0.1:0", "state_dir": str(tmp_path), "devices": DEVICES,
              "models": {"huge": model("huge", tensor_parallel=8)}}
    path = tmp_path / "vllmgw.yaml"
    path.write_text(json.dumps(config))
    run = subprocess.run([binary("vllmgw-server"), "-c", str(path)], capture_output=True, text=True, timeout=30, check=False)
    assert run.returncode == 78
    assert "models.huge.tensor_parallel: takes 8 devices, but there are only 4 it may run on" in run.stderr
