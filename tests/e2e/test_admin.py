# SPDX-License-Identifier: Apache-2.0
"""Routes for administrators, against a server whose engines are processes: who may use them, what they do."""
import json
import pathlib
import re
import shutil
import socket
import subprocess
import sys
import tempfile

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))

from engine import wait_until  # noqa: E402
from gateway import Answer, Gateway, binary, chat_body, http  # noqa: E402


def model(name, *args, **keys):
    """A model whose engine the gateway starts."""
    command = [binary("vllmgw-engine"), "--port", "${PORT}", "--model", name, "--load-time", "100ms", *args]
    return {"backend": {"kind": "process", "command": command, "stop_timeout": "10s"}, **keys}


class Admin(Gateway):
    """A gateway whose administrator sits on its machine."""

    def __init__(self, models, **keys):
        self.state_dir = tempfile.mkdtemp(prefix="vgw-state-")
        super().__init__(models, state_dir=self.state_dir, residency={"min_resident": "0s", **keys.pop("residency", {})}, **keys)

    def close(self):
        super().close()
        shutil.rmtree(self.state_dir, ignore_errors=True)

    def ask(self, method, path, body=None, headers=(), host="localhost", timeout=30.0):
        with self.connect(timeout) as connection:
            connection.send(http(method, path, body, [*headers, "Connection: close"], host=host))
            return connection.read_answer(method)

    def json(self, method, path, body=None, status=200):
        answer = self.ask(method, path, body)
        assert answer.status == status, answer
        return json.loads(answer.body)

    def model(self, name):
        return next(m for m in self.json("GET", "/admin/state")["models"] if m["name"] == name)


def code(answer):
    return json.loads(answer.body)["error"]["code"]


def routes():
    """Every route there is: (method, path, who)."""
    text = subprocess.run([binary("vllmgw-server"), "--routes"], capture_output=True, check=True, text=True).stdout
    return [tuple(line.split()) for line in text.splitlines()]


def admin_routes():
    return [(method, path.replace("{}", "a")) for method, path, who in routes() if who == "admin"]


# --- who may ---

def test_every_route_says_who_may_use_it():
    found = routes()
    assert len(found) > 40
    assert {who for _, _, who in found} == {"user", "everybody", "operator", "admin"}
    for method, path, who in found:
        assert who == "admin" or not path.startswith("/admin/"), (method, path, who)
        assert who == "admin" or "load" not in path, (method, path, who)


def test_without_a_key_a_strange_host_or_page_is_refused_on_every_route():
    with Admin({"a": model("a")}) as gateway:
        for method, path in admin_routes():
            assert code(gateway.ask(method, path, host="evil.example")) == "host_not_allowed", path
            assert code(gateway.ask(method, path, host="localhost.evil.example:80")) == "host_not_allowed", path
            for line in ("Origin: https://evil", "Origin: null", "Sec-Fetch-Site: cross-site"):
                answer = gateway.ask(method, path, headers=[line])
                assert (answer.status, code(answer)) == (403, "origin_not_allowed"), (path, line)
                assert not [name for name, _ in answer.headers if name.startswith("access-control")]
        assert gateway.model("a")["state"] == "absent"


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.0.0.1:8080", "[::1]:1", "LOCALHOST"])
def test_names_of_this_machine_are_allowed(host):
    with Admin({"a": model("a")}) as gateway:
        assert gateway.ask("GET", "/admin/state", host=host).status == 200
        assert gateway.ask("GET", "/admin/state", host=host, headers=[f"Origin: http://{host}"]).status == 200


def test_with_a_key_only_the_key_opens_every_route():
    with Admin({"a": model("a")}, admin={"key": "the-admin-key"}) as gateway:
        for method, path in admin_routes():
            assert code(gateway.ask(method, path)) == "invalid_api_key", path
            for line in ("Authorization: Bearer the-admin-ke", "Authorization: Bearer the-admin-keyy", "X-API-Key: x",
                         "Authorization: Basic the-admin-key"):
                answer = gateway.ask(method, path, headers=[line])
                assert (answer.status, code(answer)) == (401, "invalid_api_key"), (path, line)
        for line in ("Authorization: Bearer the-admin-key", "X-API-Key: the-admin-key"):
            assert gateway.ask("GET", "/admin/state", headers=[line], host="any.example").status == 200
            assert code(gateway.ask("GET", "/admin/state", headers=[line, "Origin: http://evil"])) == "origin_not_allowed"


def test_a_users_key_is_not_enough():
    keys = [{"name": "alice", "key": "alices-key-0123"}, {"name": "root", "key": "roots-key-01234", "admin": True}]
    with Admin({"a": model("a")}, auth={"keys": keys}) as gateway:
        for method, path in admin_routes():
            answer = gateway.ask(method, path, headers=["Authorization: Bearer alices-key-0123"])
            assert (answer.status, code(answer)) == (403, "permission_denied"), path
        assert gateway.ask("GET", "/admin/state", headers=["X-API-Key: roots-key-01234"]).status == 200


def test_a_listener_of_its_own_takes_the_routes_away_from_the_others(tmp_path):
    path = str(tmp_path / "admin.sock")
    with Admin({"a": model("a")}, admin={"listen": f"unix:{path}"}) as gateway:
        for method, route in admin_routes():
            assert gateway.ask(method, route).status == 404, route
        with socket.socket(socket.AF_UNIX) as sock:
            sock.connect(path)
            sock.sendall(http("GET", "/admin/state", None, ["Connection: close"], host="anything"))
            data = b""
            while piece := sock.recv(65536):
                data += piece
        assert Answer(data, "GET").status == 200
        assert gateway.ask("GET", "/v1/models").status == 200


# --- what they do ---

def test_load_answers_at_once_or_when_it_is_done():
    with Admin({"a": model("a", aliases=["org/a", "x"]), "b": model("b")}) as gateway:
        answer = gateway.json("POST", "/admin/models/a/load", status=202)
        assert (answer["name"], answer["state"]) == ("a", "starting")
        answer = gateway.json("POST", "/admin/models/org%2Fa/load?wait=1")
        assert (answer["name"], answer["state"]) == ("a", "ready")
        assert gateway.json("POST", "/admin/models/org/a/load")["state"] == "ready"
        assert gateway.json("POST", "/admin/models/b/load?wait=1")["state"] == "ready"
        assert gateway.model("a")["state"] == "absent"
        assert gateway.json("POST", "/admin/models/b/unload?wait=1")["state"] == "absent"
        assert "evict" in [decision["kind"] for decision in gateway.json("GET", "/admin/decisions")]


def test_a_load_that_fails_is_told_with_the_engines_last_word():
    script = "echo 'ValueError: there are no weights' >&2; exit 3"
    failing = {"backend": {"kind": "process", "command": ["/bin/sh", "-c", script, "engine", "${PORT}"]}}
    with Admin({"a": failing}) as gateway:
        answer = gateway.ask("POST", "/admin/models/a/load?wait=1")
        assert (answer.status, code(answer)) == (503, "model_start_failed"), answer
        assert b"no weights" in answer.body
        assert gateway.model("a")["state"] == "backoff"
        assert gateway.json("POST", "/admin/models/a/reset")["name"] == "a"


def test_unknown_models_are_not_found_even_with_a_default_model():
    with Admin({"a": model("a")}, default_model="a") as gateway:
        for action in ("load", "unload", "sleep", "wake", "pin", "unpin", "reset"):
            answer = gateway.ask("POST", f"/admin/models/nobody/{action}")
            assert (answer.status, code(answer)) == (404, "model_not_found"), action
        assert gateway.ask("GET", "/admin/models/nobody/logs").status == 404
        assert gateway.ask("POST", "/admin/explain", {"model": "nobody"}).status == 404
        assert gateway.model("a")["state"] == "absent"


def test_orders_that_cannot_be_obeyed_say_why():
    with Admin({"a": model("a"), "s": "http://127.0.0.1:1"}) as gateway:
        assert code(gateway.ask("POST", "/admin/models/a/wake")) == "model_busy"
        assert gateway.ask("POST", "/admin/models/s/unload").status == 400
        assert code(gateway.ask("POST", "/admin/explain")) == "missing_model"
        assert code(gateway.ask("POST", "/admin/explain", b"{")) == "invalid_json"
        assert gateway.ask("GET", "/admin/models/a/load").status == 405
        assert gateway.ask("HEAD", "/unload").status == 405
        assert gateway.ask("POST", "/admin/models//load").status == 404
        assert gateway.ask("POST", "/admin/models/../load").status == 404
        assert gateway.ask("POST", "/admin/models/a%00/load").status == 404


def test_a_pinned_model_is_not_evicted():
    with Admin({"a": model("a"), "b": model("b")}) as gateway:
        gateway.json("POST", "/admin/models/a/load?wait=1")
        assert gateway.json("POST", "/admin/models/a/pin")["pinned"] is True
        answer = gateway.ask("POST", "/admin/models/b/load?wait=2")
        assert answer.status in (409, 504), answer
        assert gateway.model("a")["state"] == "ready"
        assert gateway.json("POST", "/admin/models/a/unpin")["pinned"] is False
        assert gateway.json("POST", "/admin/models/b/load?wait=1")["state"] == "ready"


def test_a_stream_ends_whole_while_its_model_is_unloaded():
    with Admin({"a": model("a", "--itl", "20ms", "--tokens", "40")}) as gateway:
        gateway.json("POST", "/admin/models/a/load?wait=1")
        with gateway.connect() as client:
            client.send(http("POST", "/v1/chat/completions", chat_body("a", stream=True)))
            client.receive()
            assert gateway.json("POST", "/admin/models/a/unload", status=202)["state"] == "draining"
            answer = client.read_answer("POST")
        assert answer.is_clean and b"[DONE]" in answer.body
        wait_until(lambda: gateway.model("a")["state"] == "absent", 10, "the end of it")


def test_requests_are_listed_and_one_can_be_cancelled():
    with Admin({"a": model("a", "--ttft", "30s")}, workers=2) as gateway:
        gateway.json("POST", "/admin/models/a/load?wait=1")
        with gateway.connect() as client:
            client.send(http("POST", "/v1/chat/completions", chat_body("a")))
            def found():
                return [r for r in gateway.json("GET", "/admin/requests") if r["model"] == "a"]
            request = wait_until(found, 10, "the request")[0]
            assert (request["method"], request["path"]) == ("POST", "/v1/chat/completions")
            assert gateway.json("DELETE", f"/admin/requests/{request['id']}") == {"cancelled": True}
            answer = client.read_answer("POST")
        assert answer.status == 502 and b"administrator" in answer.body
        assert gateway.ask("DELETE", "/admin/requests/req-0").status == 404


def test_requests_are_listed_where_none_are_logged():
    with Admin({"a": model("a")}, log={"access": False}) as gateway:
        assert [r["path"] for r in gateway.json("GET", "/admin/requests")] == ["/admin/requests"]


def events_of(client, wanted):
    """Receive until an event satisfies `wanted`; all events so far."""
    while True:
        found = [json.loads(line) for line in re.findall(rb"^data: (.*)$", client.data, re.M) if line.endswith(b"}")]
        if any(wanted(event) for event in found):
            return found
        assert client.receive(), client.data


def test_events_come_as_they_happen():
    with Admin({"a": model("a")}) as gateway, gateway.connect() as client:
        client.send(http("GET", "/admin/events", host="localhost"))
        while b": listening" not in client.data:
            assert client.receive()
        gateway.json("POST", "/admin/models/a/load?wait=1")
        events = events_of(client, lambda e: e.get("to") == "ready")
        steps = [(e["from"], e["to"]) for e in events if e["kind"] == "transition"]
        assert steps == [("absent", "starting"), ("starting", "ready")]
        assert {e["model"] for e in events} == {"a"}
        gateway.term()
        assert client.read_all().endswith(b"0\r\n\r\n"), "the stream ends whole at a stop, not at the drain's end"


def test_the_end_of_a_log_is_shown_and_followed():
    with Admin({"a": model("a")}) as gateway:
        gateway.json("POST", "/admin/models/a/load?wait=1")
        answer = gateway.ask("GET", "/admin/models/a/logs?lines=1")
        assert answer.body.count(b"\n") == 1 and b"listening" in answer.body
        path = gateway.model("a")["replicas"][0]["log_path"]
        with gateway.connect() as client:
            client.send(http("GET", "/admin/models/a/logs?lines=1&follow=1", host="localhost"))
            while b"listening" not in client.data:
                assert client.receive()
            with open(path, "ab") as log:
                log.write(b"and another line\n")
            while b"and another line" not in client.data:
                assert client.receive()


def test_reload_takes_a_good_configuration_and_names_the_place_of_a_mistake():
    with Admin({"a": model("a")}) as gateway:
        gateway.configure({"a": model("a"), "b": model("b")})
        assert gateway.json("POST", "/admin/reload") == {"reloaded": True}
        assert gateway.model("b")["state"] == "absent"
        gateway.write_config("models:\n  a: {backend: {kind: nonsense}}\n")
        answer = gateway.ask("POST", "/admin/reload")
        assert answer.status == 400 and re.search(rb":2:\d+", answer.body), answer
        assert gateway.model("b")["state"] == "absent"


# --- other words for the same ---

def test_models_are_loaded_and_unloaded_as_openai_lists_them():
    with Admin({"a": model("a"), "b": model("b")}) as gateway:
        assert gateway.json("POST", "/v1/models", {"model": "a"})["id"] == "a"
        listed = gateway.json("GET", "/v1/models?status=loaded")["data"]
        assert [entry["id"] for entry in listed] == ["a"]
        assert [entry["id"] for entry in gateway.json("GET", "/v1/models?status=unloaded")["data"]] == ["b"]
        assert gateway.json("DELETE", "/v1/models/a")["deleted"] is True
        assert gateway.json("GET", "/v1/models?status=loaded")["data"] == []


def test_llama_swap_ollama_and_llama_server_find_their_routes():
    with Admin({"a": model("a", aliases=["org/a"]), "b": model("b", unlisted=True)}) as gateway:
        def running():
            return [(entry["model"], entry["state"]) for entry in gateway.json("GET", "/running")["running"]]
        assert gateway.json("POST", "/models/load", {"model": "a"}) == {"success": True}
        wait_until(lambda: running() == [("a", "ready")], 10, "a")
        entry = gateway.json("GET", "/running")["running"][0]
        assert entry["proxy"] == gateway.model("a")["replicas"][0]["endpoint"] and entry["ttl"] == 0
        entry = gateway.json("GET", "/api/ps")["models"][0]
        assert entry["name"] == entry["model"] == "a" and len(entry["digest"]) == 64 and entry["expires_at"] > "2300"
        assert [entry["name"] for entry in gateway.json("GET", "/api/tags")["models"]] == ["a"]
        assert gateway.json("GET", "/api/version")["version"]
        assert gateway.json("POST", "/api/models/unload/a?wait=1")["msg"] == "ok"
        gateway.json("POST", "/models/load?wait=1", {"model": "a"})
        assert gateway.json("GET", "/unload")["msg"] == "ok"
        wait_until(lambda: running() == [], 10, "nothing")
        gateway.json("POST", "/models/load?wait=1", {"model": "a"})
        assert gateway.json("POST", "/models/unload?wait=1", {"model": "a"}) == {"success": True}


def test_upstream_loads_the_model_and_hands_the_rest_of_the_path_on():
    with Admin({"a": model("a", aliases=["org/a", "org"]), "b": model("b")}, default_model="b") as gateway:
        for name in ("a", "org/a", "org%2Fa", "org"):
            assert gateway.json("GET", f"/upstream/{name}/v1/models")["data"][0]["id"] == "a"
            assert gateway.model("a")["state"] == "ready"
        body = gateway.json("POST", "/upstream/b/v1/chat/completions", chat_body("b"))
        assert body["model"] == "b" and gateway.model("a")["state"] == "absent"
        for path in ("nobody/v1/models", "a2/v1/models", "", "a//v1/models"):
            assert gateway.ask("GET", "/upstream/" + path).status in (400, 404), path
        for path in ("b/sleep", "b/wake_up", "b/v1/load_lora_adapter", "b/collective%5Frpc", "org%2Fa/../sleep"):
            assert gateway.ask("POST", "/upstream/" + path).status in (400, 403, 404), path


def test_facades_can_be_switched_off():
    with Admin({"a": model("a")}, compat={"llama_swap": False, "ollama": False}) as gateway:
        for method, path in [("GET", "/running"), ("GET", "/unload"), ("POST", "/unload"), ("POST", "/api/models/unload/a"),
                             ("GET", "/upstream/a/v1/models"), ("GET", "/api/ps"), ("GET", "/api/tags"), ("GET", "/api/version")]:
            assert gateway.ask(method, path).status == 404, path
