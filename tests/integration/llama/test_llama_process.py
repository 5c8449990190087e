# SPDX-License-Identifier: Apache-2.0
"""Kind `process` with a real llama-server: two models of which one may be up."""

import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time

import pytest

HERE = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(HERE / "support"), str(HERE / "e2e")]
import gguf  # noqa: E402
import llama  # noqa: E402
from engine import wait_until  # noqa: E402
from gateway import Gateway, chat_body, http  # noqa: E402
from test_libraries import install_packages, read_tap  # noqa: E402

KEY = "sk-alice-0123456789"
ALICE = [f"Authorization: Bearer {KEY}"]
CHAT = "/v1/chat/completions"
CHOSEN = {"max_tokens": 32, "temperature": 0}


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    return {name: gguf.write(folder / f"{name}.gguf", seed=seed) for seed, name in enumerate(("one", "two"), 1)}


@pytest.fixture
def gateway(files):
    models = {name: llama.process(path, name, "--slots", "--metrics") for name, path in files.items()}
    keys = {"keys": [{"name": "alice", "key": KEY, "tpm": 1000000}, {"name": "root", "key": "sk-root-0123456789", "admin": True}]}
    with Gateway(models, residency={"max_resident": 1, "min_resident": "0s"}, auth=keys) as one:
        yield one


def replica(gateway, model):
    return llama.resident(gateway, model, ["Authorization: Bearer sk-root-0123456789"])["replicas"][0]


def say(gateway, model, **more):
    answer = gateway.chat(model, ALICE, **{**CHOSEN, **more})
    assert answer.status == 200 and answer.is_clean, answer
    return answer


def text_of(answer):
    return answer.json()["choices"][0]["message"]["content"]


def text_of_stream(answer):
    *events, last = answer.events()
    assert last == "[DONE]"
    chunks = [json.loads(event) for event in events]
    assert not any(chunk.get("usage") for chunk in chunks), "nobody asked for it"
    return "".join(chunk["choices"][0]["delta"].get("content") or "" for chunk in chunks)


def test_two_models_are_swapped_back_and_forth_and_their_tokens_counted(gateway):
    began = time.monotonic()
    texts = {"one": text_of(say(gateway, "one"))}
    print(f"load through the gateway: {time.monotonic() - began:.3f} s")
    began = time.monotonic()
    texts["two"] = text_of(say(gateway, "two"))
    print(f"swap through the gateway: {time.monotonic() - began:.3f} s")
    assert texts["one"] != texts["two"] and all(texts.values())
    for model in ("one", "two", "one"):
        answer = say(gateway, model, stream=True)
        assert text_of_stream(answer) == texts[model]
        line = gateway.access_of(answer)
        assert line["completion_tokens"] == 32 and line["prompt_tokens"] > 0 and "tokens_estimated" not in line
        assert replica(gateway, "two" if model == "one" else "one")["pid"] is None
    counted = gateway.metrics()
    assert counted['vllmgw_key_completion_tokens_total{key="alice",model="one"}'] == 3 * 32
    assert counted['vllmgw_key_completion_tokens_total{key="alice",model="two"}'] == 2 * 32


def test_an_engine_that_is_killed_is_noticed_and_started_again(gateway):
    text = text_of(say(gateway, "one"))
    pid = replica(gateway, "one")["pid"]
    with gateway.connect() as stream:
        stream.send(http("POST", CHAT, chat_body("one", stream=True, **{**CHOSEN, "max_tokens": 8000}), ALICE))
        stream.read_until(b'"content"')
        os.kill(pid, signal.SIGKILL)
        assert b"upstream_aborted" in stream.read_answer("POST").body
    wait_until(lambda: replica(gateway, "one")["pid"] != pid, 10, "its death being noticed")
    wait_until(lambda: gateway.chat("one", ALICE, **CHOSEN).status == 200, 20, "the next one")
    assert text_of(say(gateway, "one")) == text and replica(gateway, "one")["pid"] not in (pid, None)


def test_a_client_that_goes_frees_the_engines_slot(gateway):
    def busy():
        status, slots = llama.ask(replica(gateway, "one")["endpoint"] + "/slots")
        assert status == 200 and len(slots) == 2, slots
        return sum(slot["is_processing"] for slot in slots)

    say(gateway, "one")
    with gateway.connect() as stream:
        stream.send(http("POST", CHAT, chat_body("one", stream=True, **{**CHOSEN, "max_tokens": 16000}), ALICE))
        stream.read_until(b'"content"')
        assert busy() == 1
    began = time.monotonic()
    wait_until(lambda: busy() == 0, 5, "the slot")
    assert time.monotonic() - began < 2, "and not because it had come to its end"
    wait_until(lambda: "client_closed" in {line["outcome"] for line in gateway.access()}, 5, "the access line")


def test_more_requests_than_the_engine_takes_on_one_connection(gateway):
    """It closes each connection after a hundred, and any that is idle for five seconds."""
    for _ in range(230):
        assert gateway.chat("one", ALICE, max_tokens=1).status == 200


@pytest.mark.parametrize("arguments, says", [
    (["--no-such-option"], "invalid argument: --no-such-option"),
    (["--model", "/nowhere/absent.gguf"], "/nowhere/absent.gguf"),
])
def test_what_keeps_it_from_starting_is_told(files, arguments, says):
    with Gateway({"one": llama.process(files["one"], "one", *arguments)}) as gateway:
        answer = gateway.chat("one")
        assert answer.status == 503 and says in answer.error["message"], answer


def test_the_official_client(gateway):
    assert shutil.which("node"), "node is not installed"
    install_packages()
    file = HERE / "e2e" / "node" / "llama.test.mjs"
    environment = {**os.environ, "GATEWAY_URL": gateway.url, "API_KEY": KEY, "MODELS": "one,two", "OPENAI_LOG": "off"}
    done = subprocess.run(["node", "--test", "--test-reporter=tap", file], cwd=file.parent, env=environment,
                          capture_output=True, text=True, timeout=120)
    outcomes = read_tap(done.stdout, done.stderr)
    assert len(outcomes) >= 5
    assert not [f"{name}: {said}" for name, (passed, said) in outcomes.items() if not passed]
    assert done.returncode == 0
