# SPDX-License-Identifier: Apache-2.0
"""examples/python: the notebook example of AIC vLLM Proxy's README, and what the client does beyond it."""

import os
import pathlib
import subprocess
import sys
import textwrap

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests" / "support"), str(ROOT / "examples" / "python")]
from engine import binary  # noqa: E402
from gateway import Gateway  # noqa: E402
from vllmgw_client import SmallClient, VLLMProxyClient, VLLMProxyError  # noqa: E402

LLAMA, MISTRAL = "meta-llama/Llama-2-7b-hf", "mistralai/Mistral-7B-Instruct-v0.2"

NOTEBOOK = textwrap.dedent('''
    from aic_vllm_proxy.client import VLLMProxyClient

    model2spec = {
        "meta-llama/Llama-2-7b-hf": "--tensor-parallel-size 1 --gpu-memory-utilization 0.9",
        "mistralai/Mistral-7B-Instruct-v0.2": "--tensor-parallel-size 1",
    }

    proxy = VLLMProxyClient(
        proxy_url="http://gpu-node:8224",
        model2spec=model2spec,
    )

    print(proxy.status())
    proxy.switch("meta-llama/Llama-2-7b-hf")
''')

CALL = textwrap.dedent('''
    client = proxy.get_openai_client()

    resp = client.chat.completions.create(
        model="meta-llama/Llama-2-7b-hf",
        messages=[{"role": "user", "content": "Explain vLLM in one sentence"}],
    )

    print(resp.choices[0].message.content)
''')


@pytest.fixture(scope="module")
def gateway(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bin")
    (folder / "vllm").symlink_to(binary("vllmgw-engine"))
    with Gateway({}, "--aic-vllm-proxy", env={"PATH": f"{folder}:{os.environ['PATH']}"}) as one:
        yield one


@pytest.fixture
def proxy(gateway):
    return VLLMProxyClient(gateway.url, {LLAMA: "--tensor-parallel-size 1", MISTRAL: "--tokens 3", "org/bad": "--fault start-exit:3"})


def run(gateway, text, path, *flags):
    text = text.replace("http://gpu-node:8224", gateway.url)
    return subprocess.run([sys.executable, *flags, "-c", text], env={**os.environ, "PYTHONPATH": str(path)},
                          capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize("flags", [[], ["-S"]], ids=["as installed", "standard library only"])
def test_the_notebook_example_runs_as_it_is(gateway, flags):
    done = run(gateway, NOTEBOOK + CALL, ROOT / "examples" / "python", *flags)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.strip().split("\n")
    assert "'running'" in lines[0] and len(lines[1]) > 5


def test_a_stand_in_for_openai_gets_the_address_and_the_key(gateway, proxy, monkeypatch, tmp_path):
    (tmp_path / "openai.py").write_text("class OpenAI:\n    def __init__(self, **options):\n        self.options = options\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "openai", raising=False)
    client = VLLMProxyClient(gateway.url + "/", api_key="k").get_openai_client(max_retries=0)
    assert client.options == {"base_url": gateway.url + "/v1", "api_key": "k", "max_retries": 0}


def test_switching_tells_what_runs(proxy):
    answer = proxy.switch(LLAMA)
    assert answer["status"] in ("ready", "already running")
    assert answer["model_spec"] == LLAMA + "\n--tensor-parallel-size 1"
    assert proxy.switch(LLAMA)["status"] == "already running" and proxy.get_model_name() == LLAMA
    assert proxy.status()["pid"] == answer["pid"]
    proxy.switch(MISTRAL, "--tokens 5")
    assert proxy.get_model_name() == MISTRAL and "listening" in proxy.get_log() and proxy.get_log(lines=1).count("\n") == 1


def test_a_failed_switch_raises_with_the_reason(proxy):
    with pytest.raises(VLLMProxyError, match="exit code 3") as error:
        proxy.switch("org/bad")
    assert error.value.status == 500 and os.path.exists(error.value.body["log_path"])
    assert proxy.get_model_name() is None and proxy.status()["running"] is False
    with pytest.raises(KeyError, match="org/unknown"):
        proxy.switch("org/unknown")


def test_the_small_client_streams_and_embeds(gateway, proxy):
    proxy.switch(MISTRAL)
    client = SmallClient(gateway.url + "/v1")
    messages = [{"role": "user", "content": "hi"}]
    pieces = [event.choices[0].delta for event in client.chat.completions.create(model=MISTRAL, messages=messages, stream=True)]
    whole = client.chat.completions.create(model=MISTRAL, messages=messages).choices[0].message.content
    assert "".join(getattr(piece, "content", None) or "" for piece in pieces) == whole
    assert client.completions.create(model=MISTRAL, prompt="x").choices[0].text
    assert len(client.embeddings.create(model=MISTRAL, input="x").data) == 1
    assert client.models.list().data[0].id == MISTRAL
    with pytest.raises(VLLMProxyError):
        client.chat.completions.create(model=MISTRAL)


def test_a_gateway_that_is_not_there_is_an_error_of_the_clients():
    with pytest.raises(VLLMProxyError, match="refused"):
        VLLMProxyClient("http://127.0.0.1:1").status()
