# SPDX-License-Identifier: Apache-2.0
"""In place of vLLM Router: one address, running engines behind it, chosen by the model's name. Its own commands."""

import json
import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from compat import curl, from_environment, print_config  # noqa: E402
from engine import Engine  # noqa: E402

QUANTIZED, CHAT = "TheBloke/Llama-2-13B-chat-GPTQ", "meta-llama/Llama-2-7B-chat-hf"


@pytest.fixture(scope="module")
def engines():
    with Engine("--served-model-name", QUANTIZED, "--tokens", "6") as one, \
            Engine("--served-model-name", CHAT, "--tokens", "6") as other:
        yield {QUANTIZED: one, CHAT: other}


@pytest.fixture(scope="module")
def gateway(engines):
    models = {name: engine.url + "/v1" for name, engine in engines.items()}
    with from_environment(VLLMGW_MODELS=json.dumps(models)) as one:
        yield one


@pytest.mark.parametrize("model", [QUANTIZED, CHAT])
def test_its_commands_are_answered_by_the_engine_of_the_model(gateway, engines, model):
    before = len(engines[model].requests())
    answer = curl(gateway, "http://localhost:8000/v1/completions", "-H", "Content-Type: application/json", "-d",
                  '{ "prompt": "San Francisco is a", \n"model": "%s", "max_tokens": 30, "temperature": 1}' % model)
    assert answer.status == 200 and answer.json()["model"] == model
    assert answer.json()["choices"][0]["text"]
    assert len(engines[model].requests()) == before + 1


def test_models_of_a_variable_stand_beside_those_of_a_file(engines):
    text = print_config({"models": {"a.b": {"backend": {"kind": "static", "urls": ["http://127.0.0.1:1"]}}}},
                        VLLMGW_MODELS='{"c.d": "http://127.0.0.1:2/v1/", "e": {"backend": {"kind": "static", '
                                      '"urls": ["http://127.0.0.1:3"]}}}')
    for url in ["http://127.0.0.1:1", "http://127.0.0.1:2", "http://127.0.0.1:3"]:
        assert f"{url}\n" in text or f"{url}]" in text or f"{url} " in text or f'{url}"' in text, text


@pytest.mark.parametrize("value", ["{", "[]", "{}", '{"m": "ftp://x"}', '{"m": {"backend": {"kind": "statc"}}}'])
def test_what_is_wrong_in_a_variable_is_told_by_its_name(value):
    code, text = print_config({}, fails=True, VLLMGW_MODELS=value)
    assert code == 78 and "VLLMGW_MODELS" in text, text
