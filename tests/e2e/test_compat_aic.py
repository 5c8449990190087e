# SPDX-License-Identifier: Apache-2.0
"""In place of AIC vLLM Proxy: its command line, its endpoints, and every other path passed on byte for byte."""

import contextlib
import json
import os
import pathlib
import subprocess
import sys
import threading

import pytest

SUPPORT = pathlib.Path(__file__).resolve().parents[1] / "support"
sys.path.insert(0, str(SUPPORT))
from compat import curl  # noqa: E402
from engine import binary, wait_until  # noqa: E402
from fake_vllm import EVENTS  # noqa: E402
from gateway import Gateway, chat_body, http  # noqa: E402

LLAMA = "meta-llama/Llama-2-7b-hf"
SPEC = LLAMA + " --tensor-parallel-size 1 --gpu-memory-utilization 0.9"


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    """A PATH whose `vllm` is the fake one, and one whose `vllm` is the engine simulator."""
    folder = tmp_path_factory.mktemp("bin")
    for name, target in [("fake", SUPPORT / "fake_vllm.py"), ("real", binary("vllmgw-engine"))]:
        (folder / name).mkdir()
        (folder / name / "vllm").symlink_to(target)
    return lambda name: {"PATH": f"{folder / name}:{os.environ['PATH']}"}


@contextlib.contextmanager
def proxy(env, *args, state_dir=None, **keys):
    with Gateway({}, "--aic-vllm-proxy", *args, env=env, **keys, **({"state_dir": str(state_dir)} if state_dir else {})) as one:
        yield one


@pytest.fixture(scope="module")
def fake(path):
    with proxy(path("fake")) as one:
        assert switch(one, SPEC).status == 200
        yield one


def ask(gateway, method, target, body=None, headers=(), timeout=30):
    with gateway.connect(timeout) as connection:
        connection.send(http(method, target, body, [*headers, "Connection: close"], host="localhost"))
        return connection.read_answer(method)


def switch(gateway, spec, **more):
    return ask(gateway, "POST", "/switch", {"model_spec": spec}, **more)


def status(gateway):
    return ask(gateway, "GET", "/status").json()


# --- its README ---

def test_its_readme_from_the_command_line_to_the_first_answer(path, tmp_path):
    """Without any file, called by its own name."""
    program = tmp_path / "aic-vllm-proxy"
    program.symlink_to(binary("vllmgw-server"))
    env = {**os.environ, **path("real"), "STATE_DIRECTORY": str(tmp_path), "VLLMGW_WORKERS": "1"}
    with subprocess.Popen([program, "--host", "127.0.0.1", "--port", "0"], cwd=tmp_path, env=env, stderr=subprocess.PIPE) as process:
        try:
            port = next(line.rsplit(b":", 1)[1] for line in process.stderr if b"listening on" in line).split(b",")[0]
            url = f"http://127.0.0.1:{int(port)}"
            said = {}

            def drain():
                said["rest"] = process.stderr.read()
            reader = threading.Thread(target=drain)
            reader.start()

            def run(target, *args):
                done = subprocess.run(["curl", "-sS", url + target, *args], capture_output=True, timeout=30, check=True)
                return json.loads(done.stdout)
            assert run("/status") == {"running": False, "pid": None, "model_spec": None, "vllm_base": None, "log_path": None}
            payload = json.dumps({"model_spec": SPEC})
            switched = run("/switch", "-H", "Content-Type: application/json", "-d", payload)
            assert switched["status"] == "ready" and switched["model_spec"] == SPEC
            now = run("/status")
            assert now["running"] is True and now["pid"] == switched["pid"] and now["model_spec"] == SPEC
            assert now["vllm_base"].startswith("http://127.0.0.1:") and os.path.exists(now["log_path"])
            answer = run("/v1/chat/completions", "-H", "Content-Type: application/json", "-d", json.dumps(chat_body(LLAMA)))
            assert answer["model"] == LLAMA
            assert run("/v1/models")["data"][0]["id"] == LLAMA
        finally:
            process.terminate()
            process.wait(20)
            reader.join()
    assert process.returncode == 0 and b"Sanitizer" not in said["rest"], said["rest"]


def test_before_the_first_switch_there_is_no_model(path):
    with proxy(path("fake")) as gateway:
        for method, target, body in [("GET", "/v1/models", None), ("POST", "/v1/chat/completions", chat_body("any")),
                                     ("POST", "/v1/completions", {"prompt": "x"}), ("GET", "/docs", None)]:
            answer = ask(gateway, method, target, body)
            assert answer.status == 503 and answer.error["message"] == "No model loaded", target
        assert ask(gateway, "GET", "/logs/current").status == 404
        assert ask(gateway, "GET", "/health").status == 200


def test_its_command_is_vllm_serve_with_the_words_of_the_spec(fake):
    pid = status(fake)["pid"]
    assert switch(fake, SPEC.replace(" ", "\n", 1)).json()["status"] == "already running"
    assert switch(fake, f"'{LLAMA}'   --tensor-parallel-size \"1\"\t--gpu-memory-utilization 0.9").json()["pid"] == pid
    words = json.loads(ask(fake, "GET", "/logs/current").body.decode().split("\n")[0][5:])
    assert words[:-1] == ["serve", *SPEC.split(), "--host", "127.0.0.1", "--port"]
    assert status(fake)["vllm_base"].endswith(":" + words[-1])


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'"x"', b"{}", b'{"model_spec": 7}', b'{"model_spec": ""}',
                                  b'{"model_spec": "  \\n "}', b'{"model_spec": "a \'b"}', b'{"model_spec": "a \\\\"}',
                                  b'{"model_spec": "a", "model_spec": "b"}', b'{"model_spec": "a\\u0000b"}',
                                  json.dumps({"model_spec": "x" * 17000}).encode(),
                                  json.dumps({"model_spec": "x " * 257}).encode()])
def test_a_bad_payload_is_400_and_changes_nothing(fake, body):
    before = status(fake)
    answer = ask(fake, "POST", "/switch", body)
    assert answer.status == 400, answer
    assert status(fake) == before


def test_words_are_text_whatever_they_look_like(path):
    with proxy(path("fake")) as gateway:
        odd = "org/m --a '${PORT} $(id)' --b \"x \\\"y\\\" \\z\" --c a\\ b\\\nc *"
        assert switch(gateway, odd).status == 200
        words = json.loads(ask(gateway, "GET", "/logs/current").body.decode().split("\n")[0][5:])
        assert words[:8] == ["serve", "org/m", "--a", "${PORT} $(id)", "--b", 'x "y" \\z', "--c", "a bc"] and words[8] == "*"


# --- switching ---

def test_another_spec_is_another_engine_and_streams_of_the_old_one_end_whole(path):
    with proxy(path("real")) as gateway:
        first = switch(gateway, "org/m --itl 20ms --tokens 20").json()
        with gateway.connect() as client:
            client.send(http("POST", "/v1/chat/completions", chat_body("org/m", stream=True)))
            client.read_until(b"data: ")
            second = switch(gateway, "org/m --tokens 3").json()
            assert second["pid"] != first["pid"] and second["status"] == "ready"
            assert client.read_answer().events()[-1] == "[DONE]"
        assert not os.path.exists(f"/proc/{first['pid']}")
        third = switch(gateway, "org/n --tokens 3").json()
        assert ask(gateway, "GET", "/v1/models").json()["data"][0]["id"] == "org/n"
        assert not os.path.exists(f"/proc/{second['pid']}") and os.path.exists(f"/proc/{third['pid']}")


def test_an_engine_that_dies_is_500_with_its_exit_code_and_its_log(path):
    with proxy(path("fake")) as gateway:
        assert switch(gateway, "org/good").status == 200
        answer = switch(gateway, "org/bad --die 3")
        assert answer.status == 500 and "exit code 3" in answer.json()["error"]["message"], answer
        assert answer.json()["exit_code"] == 3 and "no such weights" in pathlib.Path(answer.json()["log_path"]).read_text()
        now = status(gateway)
        assert now["running"] is False and now["pid"] is None and now["log_path"] == answer.json()["log_path"]
        assert ask(gateway, "GET", "/logs/tail?lines=1").body == b"ValueError: no such weights\n"
        assert ask(gateway, "GET", "/v1/models").status == 503
        assert switch(gateway, "org/good").status == 200


def test_an_engine_that_never_comes_is_504(path):
    with proxy(path("fake"), adhoc={"start_timeout": "300ms"}) as gateway:
        with gateway.connect() as other:
            other.send(http("POST", "/switch", {"model_spec": "org/slow --never"}, host="localhost"))
            answer = switch(gateway, "org/slow --never")
            assert other.read_answer("POST").status == 504
        assert answer.status == 504 and answer.json()["error"]["code"] == "model_start_timeout", answer
        assert status(gateway)["running"] is False
        assert switch(gateway, "org/good", timeout=30).status in (200, 504)


def test_the_newest_of_two_switches_wins_and_the_other_is_told(path):
    with proxy(path("fake")) as gateway, gateway.connect() as first:
        first.send(http("POST", "/switch", {"model_spec": "org/slow --never"}, host="localhost"))
        wait_until(lambda: status(gateway)["pid"], 10, "the first engine")
        assert switch(gateway, "org/good").status == 200
        assert first.read_answer("POST").status == 409
        assert status(gateway)["model_spec"] == "org/good"


def test_a_missing_vllm_is_told(path):
    with proxy({"PATH": "/nowhere"}) as gateway:
        answer = switch(gateway, "org/m")
        assert answer.status == 500 and "vllm" in answer.json()["error"]["message"], answer


# --- how long it lasts ---

def test_it_survives_sighup_and_a_crash_but_not_a_stop(path, tmp_path):
    gateway = Gateway({}, "--aic-vllm-proxy", env=path("fake"), state_dir=str(tmp_path))
    try:
        pid = switch(gateway, SPEC).json()["pid"]
        assert gateway.reload(heartbeat={"idle": "9s"}) and status(gateway)["pid"] == pid
    finally:
        gateway.close()  # by SIGKILL
    with proxy(path("fake"), state_dir=tmp_path, residency={"on_exit": "leave"}) as gateway:
        assert status(gateway)["pid"] == pid and status(gateway)["model_spec"] == SPEC
        assert ask(gateway, "GET", "/v1/models").json()["data"][0]["id"] == LLAMA
        assert switch(gateway, SPEC).json()["status"] == "already running"
    os.kill(pid, 9)
    with proxy(path("fake"), state_dir=tmp_path) as gateway:
        assert status(gateway)["model_spec"] is None, "an engine that is gone does not come back by itself"
        assert switch(gateway, SPEC).status == 200
    with proxy(path("fake"), state_dir=tmp_path) as gateway:
        assert status(gateway)["running"] is False


# --- its logs ---

def test_logs_come_whole_and_by_their_end(path):
    with proxy(path("fake")) as gateway:
        log = switch(gateway, "org/m --noise 8000").json()["log_path"]
        whole = ask(gateway, "GET", "/logs/current")
        assert whole.is_clean and whole.body == pathlib.Path(log).read_bytes() and len(whole.body) > 800000
        assert ask(gateway, "GET", "/logs/tail?lines=3").body == b"\n".join(whole.body.split(b"\n")[-4:])
        assert ask(gateway, "GET", "/logs/tail").body.count(b"\n") == 200


# --- everything else ---

@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE"])
def test_method_path_query_and_body_arrive_byte_for_byte(fake, method):
    target = "/echo/a%20b/%C3%BC;x=1/?q=a+b&&empty=&flag&enc=%2F%2e&plus=%2B"
    body = bytes(range(256)) * 300 if method in ("POST", "PUT", "PATCH") else None
    answer = ask(fake, method, target, body, ["Content-Type: multipart/form-data; boundary=x", "Cookie: secret=1",
                                              "Authorization: Bearer sk-client"] if body else ["Accept: text/x"])
    assert answer.status == 207 and answer.get("content-type") == "text/x-echo; charset=latin-1"
    assert answer.get("etag") == '"7"' and answer.get("server") is None
    head, _, echoed = answer.body.partition(b"\r\n\r\n")
    assert head.split(b"\r\n")[0] == f"{method} {target} HTTP/1.1".encode()
    assert echoed == (body or b"")
    assert b"secret" not in head and b"sk-client" not in head
    assert (b"multipart/form-data; boundary=x" if body else b"text/x") in head


def test_head_is_passed_on_and_has_no_body(fake):
    answer = ask(fake, "HEAD", "/echo")
    assert answer.status == 207 and answer.after == b"" and answer.get("etag") == '"7"'


def test_errors_and_pages_of_the_engine_are_its_own(fake):
    assert (ask(fake, "GET", "/page").status, ask(fake, "GET", "/page").body) == (418, b"<html>docs</html>")
    assert ask(fake, "GET", "/nothing").body == b'{"detail":"Not Found"}'
    assert ask(fake, "POST", "/v1/models").status == 200, "POST /v1/models is no command of the gateway's here"


def test_a_stream_arrives_piece_by_piece_and_ends_as_it_ended(fake):
    for method in ("GET", "POST"):
        answer = ask(fake, method, "/stream?x=1", b"{}" if method == "POST" else None)
        assert answer.body == b"".join(EVENTS) and answer.is_clean and answer.get("content-type") == "text/event-stream"
    assert ask(fake, "GET", "/cut").is_clean is False


def test_a_client_that_leaves_is_noticed_by_the_engine(fake):
    left = int(ask(fake, "GET", "/left").body)
    with fake.connect() as client:
        client.send(http("GET", "/hang"))
        client.read_until(EVENTS[0])
    wait_until(lambda: int(ask(fake, "GET", "/left").body) == left + 1, 5, "the engine")


def test_a_slow_reader_slows_the_engine_down(fake):
    before = fake.resident_bytes()
    with fake.connect(receive_buffer=4096) as client:
        client.send(http("GET", "/flood"))
        client.read_until(b"xxx")
        seen = []

        def is_still():
            seen.append(int(ask(fake, "GET", "/sent").body))
            return len(seen) > 40 and seen[-1] == seen[-40]
        wait_until(is_still, 20, "the engine to be held up")
        assert seen[-1] < 32 << 20
        assert fake.resident_bytes() - before < 8 << 20


CONTROLS = ["sleep", "wake_up", "collective_rpc", "pause", "resume", "reset_prefix_cache", "reset_mm_cache", "reset_new",
            "update_weights", "v1/load_lora_adapter", "v1/unload_lora_adapter", "start_profile", "scale_elastic_ep"]


@pytest.mark.parametrize("control", CONTROLS)
def test_the_engines_controls_are_not_for_clients(fake, control):
    for target in [f"/{control}", f"/{control}/", f"/{control}?level=1", f"/{control.upper()}", f"/x/{control}", f"/{control};a=b",
                   "/" + control[:-1] + "%" + format(ord(control[-1]), "02X")]:
        for method in ("POST", "GET"):
            answer = ask(fake, method, target)
            assert (answer.status, answer.error["code"]) == (403, "permission_denied"), target


@pytest.mark.parametrize("target", ["//sleep", "/x//y", "/./sleep", "/x/../sleep", "/x/%2e%2e/sleep", "/x%2fsleep", "/x%5csleep",
                                    "/x\\sleep", "/%00", "/%0a", "/%", "/%4", "/%zz", "/a%25sleep", "/a|b", "/\xff"])
def test_paths_that_two_servers_may_read_differently_are_refused(fake, target):
    answer = ask(fake, "POST", target)
    assert answer.status == 400, answer


# --- who may ---

def test_control_needs_an_administrator_unless_it_is_open(path):
    keys = [{"name": "alice", "key": "alices-key-0123"}]
    alice = ["Authorization: Bearer alices-key-0123"]
    with proxy(path("fake"), admin={"key": "the-admin-key"}, auth={"keys": keys}) as gateway:
        for method, target in [("GET", "/status"), ("POST", "/switch"), ("GET", "/logs/current"), ("GET", "/logs/tail")]:
            assert ask(gateway, method, target).status == 401
            assert ask(gateway, method, target, headers=alice).status == 403
        admin = ["X-API-Key: the-admin-key"]
        assert switch(gateway, "org/m", headers=admin).status == 200
        assert ask(gateway, "GET", "/echo").status == 401
        assert ask(gateway, "GET", "/echo", headers=alice).status == 207
        assert ask(gateway, "GET", "/upstream/org/m/echo", headers=alice).status == 403
        assert ask(gateway, "GET", "/upstream/org/m/echo?a+b", headers=admin).body.startswith(b"GET /echo?a+b HTTP/1.1\r\n")
    with proxy(path("fake"), compat={"aic_open": True}, auth={"keys": keys}) as gateway:
        assert switch(gateway, "org/m").status == 401
        assert switch(gateway, "org/m", headers=alice).status == 200


def test_a_strange_page_cannot_switch(fake):
    for headers in (["Origin: https://evil"], ["Sec-Fetch-Site: cross-site"]):
        assert switch(fake, "org/evil", headers=headers).status == 403
    assert status(fake)["model_spec"] == SPEC


def test_an_ad_hoc_model_stands_beside_configured_ones(path):
    command = [binary("vllmgw-engine"), "--port", "${PORT}", "--model", "fixed", "--tokens", "2"]
    models = {"fixed": {"backend": {"kind": "process", "command": command}}}
    residency = {"max_resident": 2}
    with Gateway(models, env=path("real"), allow_adhoc_models=True, default_model="fixed", residency=residency) as gateway:
        assert switch(gateway, "org/m --served-model-name mine --tokens 2").status == 200
        assert {entry["id"] for entry in ask(gateway, "GET", "/v1/models").json()["data"]} == {"fixed", "mine"}
        for asked, answers in [("mine", "mine"), ("fixed", "fixed"), ("any", "fixed")]:
            assert gateway.chat(asked).json()["model"] == answers
        assert switch(gateway, "fixed --tokens 3").status == 200, "a configured model keeps its name"
        assert {entry["id"] for entry in ask(gateway, "GET", "/v1/models").json()["data"]} == {"fixed", "adhoc:fixed"}
        assert gateway.chat("adhoc:fixed").json()["usage"]["completion_tokens"] == 3
        assert gateway.chat("mine").json()["model"] == "fixed", "it is gone: the default answers"
        assert ask(gateway, "GET", "/other").status == 404


def test_ad_hoc_models_can_be_forbidden_and_without_the_switch_there_is_nothing(path):
    with proxy(path("fake"), allow_adhoc_models=False, passthrough=False) as gateway:
        assert switch(gateway, "org/m").status == 403
        assert ask(gateway, "GET", "/echo").status == 404
    with Gateway({}, env=path("fake")) as gateway:
        assert switch(gateway, "org/m").status == 404 and ask(gateway, "GET", "/status").status == 404
        assert ask(gateway, "GET", "/echo").status == 404
