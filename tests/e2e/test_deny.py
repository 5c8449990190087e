# SPDX-License-Identifier: Apache-2.0
"""Addresses that no engine may have: refused with a sentence, by --check and at work, and allowed by name."""

import json
import pathlib
import subprocess
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from engine import Engine, binary  # noqa: E402
from gateway import Gateway  # noqa: E402


def refusal(models, **keys):
    """What a server says that does not start."""
    gateway = Gateway(models, wait=False, **keys)
    try:
        assert gateway.process.wait(20) == 1
        return gateway.text
    finally:
        gateway.close()


@pytest.mark.parametrize("url", ["http://169.254.169.254", "http://[fe80::1]:8000", "http://[::ffff:169.254.169.254]",
                                 "http://2852039166/"])
def test_metadata_addresses_are_no_engines(url):
    assert "upstreams.allow_link_local" in refusal({"small": url})


def test_ranges_of_ones_own_are_denied_to_names_too():
    """localhost is a name, and leads to 127.0.0.1 and ::1."""
    with Engine(served_model_name="small", tokens=2) as engine:
        url = engine.url.replace("127.0.0.1", "localhost")
        with Gateway({"small": url}) as gateway:
            assert gateway.chat("small").status == 200
        said = refusal({"small": url}, upstreams={"deny": ["127.0.0.0/8", "::1"]})
        assert "leads to an address that engines may not have" in said
        assert engine.counters()["requests"] == 1


def test_a_server_that_loads_models_is_asked_at_no_denied_address():
    with Engine(served_model_name="small", tokens=2) as engine:
        model = {"backend": {"kind": "http", "url": engine.url, "preset": "llama-server"}}
        with Gateway({"small": model}, upstreams={"deny": ["127.0.0.1"]}) as gateway:
            assert gateway.chat("small").status in (502, 503)
            assert engine.counters()["requests"] == 0 and not engine.requests()


def test_what_is_no_range_is_told_by_check(tmp_path):
    config = tmp_path / "vllmgw.yaml"
    config.write_text(json.dumps({"upstreams": {"deny": ["10.0.0.0/40"]},
                                  "models": {"m": {"backend": {"kind": "static", "urls": ["http://127.0.0.1:9"]}}}}))
    done = subprocess.run([binary("vllmgw-server"), "--check", "-c", str(config)], capture_output=True, text=True,
                          timeout=20)
    assert done.returncode == 78 and "'10.0.0.0/40' is not an address or a range" in done.stderr
