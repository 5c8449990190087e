# SPDX-License-Identifier: Apache-2.0
"""Secrets go to the one place they are for, and into nothing that is written: each is a canary, everything is driven,
and all that came of it is searched. And: every route is open to its own class of callers only."""

import os
import pathlib
import subprocess
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from engine import Engine, binary  # noqa: E402
from gateway import Gateway, chat_body  # noqa: E402

CHAT = "/v1/chat/completions"
CANARIES = {name: f"canary-{name.replace(' ', '-')}-5e1f77a10b2c" for name in [
    "client key", "admin key", "wrong key", "engine key", "engine variable", "started engine key", "redis password",
    "environment", "prompt", "query", "header"]}


def routes():
    text = subprocess.run([binary("vllmgw-server"), "--routes"], capture_output=True, check=True, text=True).stdout
    return [tuple(line.split()) for line in text.splitlines()]


def search(text, where, allowed=()):
    for name, canary in CANARIES.items():
        assert name in allowed or canary not in text, f"the {name} is in {where}: {text[:2000]}"


def bearer(name):
    return [f"Authorization: Bearer {CANARIES[name]}"]


@pytest.fixture(scope="module")
def engine():
    with Engine("--api-key", CANARIES["engine key"], served_model_name="small", tokens=4) as one:
        yield one


def drive(gateway):
    """Everything there is, rightly and wrongly; all that was answered."""
    said = []

    def ask(method, path, body=None, headers=()):
        said.append(gateway.request(method, path, body, [*headers, f"X-Canary: {CANARIES['header']}"]).raw.decode())
    for who in ("client key", "wrong key", "admin key"):
        for method, path, _ in routes():
            if "events" in path or (method, path) == ("POST", "/admin/reload"):
                continue
            path = path.replace("{}", "started") + "?status=" + CANARIES["query"]
            ask(method, path, {"model": "started", "prompt": CANARIES["prompt"]} if method == "POST" else None, bearer(who))
        crashing = ["crashing"] if who == "client key" else []
        for model, more in [*((model, {}) for model in crashing), ("small", {}), ("small", {"stream": True}), ("down", {}),
                            ("nobody", {}),
                            ("small", {"x_fault": "reset-before-headers"}), ("small", {"x_fault": "html-500"}),
                            ("small", {"stream": True, "x_fault": "die-mid-stream:2"})]:
            body = {**chat_body(model, **more), "messages": [{"role": "user", "content": CANARIES["prompt"]}]}
            ask("POST", CHAT, body, bearer(who))
        ask("POST", CHAT, b"{" + CANARIES["prompt"].encode(), bearer(who))
    ask("POST", "/admin/reload", headers=bearer("admin key"))
    return said


def test_no_secret_is_in_anything_that_is_written(engine):
    env = {"ENGINE_KEY": CANARIES["engine key"], "SOMETHING_ELSE": CANARIES["environment"],
           "REDIS_PASSWORD": CANARIES["redis password"], "STARTED_KEY": CANARIES["started engine key"]}
    started = {"kind": "process", "env": {"HF_TOKEN": CANARIES["engine variable"], "OTHER": "${STARTED_KEY}"},
               "start_timeout": "10s", "command": [binary("vllmgw-engine"), "--port", "${PORT}", "--model", "started",
                                                   "--tokens", "2"]}
    crashing = {**started, "command": ["/bin/sh", "-c", "echo it broke; exit 7", "--port", "${PORT}"]}
    models = {"small": {"backend": {"kind": "static", "urls": [engine.url], "api_key": "${ENGINE_KEY}"}},
              "down": {"backend": {"kind": "static", "urls": ["http://127.0.0.1:9"], "api_key": "${ENGINE_KEY}"}},
              "started": {"backend": started}, "crashing": {"backend": crashing}}
    auth = {"keys": [{"name": "client", "key": CANARIES["client key"], "rpm": 100000}],
            "store": "redis://127.0.0.1:9/0", "store_password": "${REDIS_PASSWORD}"}
    with Gateway(models, env=env, log={"level": "debug"}, auth=auth, admin={"key": CANARIES["admin key"]},
                 residency={"max_wait": "1500ms", "min_resident": "0s"},
                 compat={"ai_backend_gateway": True}) as gateway:
        said = drive(gateway)
        gateway.access(20)
        state = [(path, path.read_text(errors="replace")) for path in pathlib.Path(gateway.folder).rglob("*")
                 if path.is_file() and path.name not in ("log", "vllmgw.yaml")]
        heads = [request["head"] for request in engine.requests()]
        printed = {option: subprocess.run([binary("vllmgw-server"), "-c", gateway.config_path, option],
                                          env={**os.environ, **env}, capture_output=True, text=True, timeout=20)
                   for option in ("--print-config", "--check", "--version")}
        line = pathlib.Path(f"/proc/{gateway.pid}/cmdline").read_text()
        bad = pathlib.Path(gateway.config_path).read_text().replace('"rpm"', '"rmp"')
        assert not gateway.reload(text=bad)
        log = gateway.text

    assert any(CANARIES["engine key"] in head for head in heads), "the engine gets its key"
    assert any("unload" in answer or "state" in answer for answer in said) and len(said) > 100
    assert any(path.name == "residency.json" for path, _ in state), state
    for head in heads:
        search(head, "what an engine got", ["engine key"])
    for answer in said:
        search(answer, "an answer")
    for option, done in printed.items():
        assert done.returncode == 0, done.stderr
        search(done.stdout + done.stderr, option)
    for path, text in state:
        search(text, path)
    search(log, "the log")
    search(line, "the command line")


def test_mistakes_in_a_configuration_do_not_show_its_secrets(tmp_path):
    config = tmp_path / "vllmgw.yaml"
    canary = CANARIES["client key"]
    for text in [f"admin: {{key: {canary}\x01}}\n", f"auth: {{keys: [{{name: a, key: {canary}}}, {{name: b, key: {canary}}}]}}\n",
                 f"auth: {{store: 'redis://:{canary}@127.0.0.1:1/0'}}\n", f"auth: {{store_password: [{canary}]}}\n",
                 f"auth: {{keys: {canary}}}\n", f"admin: {{key: {{{canary}: x}}}}\n", f"admin: {{key: '{canary} é'}}\n",
                 f"auth: {{keys: [{{name: a, sha256: {canary}}}]}}\n",
                 f"models: {{m: {{backend: {{kind: static, urls: ['http://u:{canary}@h'], api_key: x}}}}}}\n"]:
        config.write_text(text + ("" if text.startswith("models") else "models: {}\n"))
        done = subprocess.run([binary("vllmgw-server"), "--check", "-c", str(config)], capture_output=True, text=True,
                              timeout=20)
        assert done.returncode == 78, (text, done.stderr)
        search(done.stdout + done.stderr, f"the complaint about {text}")


# --- routes and their classes ---

@pytest.fixture(scope="module")
def open_to(engine):
    auth = {"keys": [{"name": "client", "key": CANARIES["client key"]}]}
    models = {"small": {"backend": {"kind": "static", "urls": [engine.url], "api_key": CANARIES["engine key"]}}}
    with Gateway(models, auth=auth, admin={"key": CANARIES["admin key"]},
                 compat={"ai_backend_gateway": True, "ollama": True, "llama_swap": True},
                 passthrough=True) as one:
        yield one


@pytest.mark.parametrize("method, path, who", routes())
def test_a_route_is_open_to_its_own_class_only(open_to, method, path, who):
    """Operators' routes need no key from this machine; that others need one is test_metrics' matter."""
    expected = {"everybody": (200, 200), "operator": (200, 200), "user": (401, "ok"), "admin": (401, 403)}[who]
    path = path.replace("{}", "small")
    body = {"model": "small"} if method == "POST" else None
    for key, status in zip((None, "client key"), expected):
        answer = open_to.request(method, path, body, bearer(key) if key else [])
        if status == "ok":
            assert answer.get("x-vllmgw-replica") or answer.status not in (401, 403, 404, 405), (method, path, answer)
        else:
            assert answer.status == status, (method, path, key, answer)
    if who == "admin":
        assert open_to.request(method, path, body, bearer("wrong key")).status == 401
