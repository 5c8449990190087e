# SPDX-License-Identifier: Apache-2.0
"""Who may do what: keys in the configuration and in a file, their models, their rotation."""

import hashlib
import os
import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from engine import Engine, wait_until  # noqa: E402
from gateway import Gateway, chat_body, http  # noqa: E402

ALICE, BOB, ADMIN = "sk-alice-0123456789", "sk-bob-0123456789", "sk-root-0123456789"

# A sanitizer holds freed memory back; little of it, so that what stays in use can be seen.
SMALL_QUARANTINE = {"ASAN_OPTIONS": "quarantine_size_mb=2:thread_local_quarantine_size_kb=64"}


def bearer(key):
    return [f"Authorization: Bearer {key}"]


def line(name, key, *options):
    return ":".join([name, hashlib.sha256(key.encode()).hexdigest(), *options]) + "\n"


@pytest.fixture(scope="module")
def engine():
    with Engine("--served-model-name", "small", "big-1", "other", "secret", "--tokens", "4") as one:
        yield one


@pytest.fixture(scope="module")
def gateway(engine):
    keys = [{"name": "alice", "key": ALICE, "models": ["small", "big-*"]},
            {"name": "bob", "sha256": hashlib.sha256(BOB.encode()).hexdigest()}]
    models = {"small": engine, "big-1": engine, "other": engine}
    with Gateway(models, auth={"keys": keys}, admin={"key": ADMIN}, env=SMALL_QUARANTINE) as one:
        yield one


@pytest.mark.parametrize("headers", [
    [], ["Authorization: Bearer"], ["Authorization: Bearer "], [f"Authorization: Bearer  {ALICE}"],
    ["Authorization: Basic YTpi"], ["Authorization: Bearer " + "k" * 6000], [f"Authorization: {ALICE}"],
    [f"Authorization: Bearer {ALICE}x"], [f"Authorization: Bearer {ALICE[:-1]}"], ["X-API-Key: nonsense"],
    [f"Authorization: Bearer {ALICE}", f"X-API-Key: {BOB}"], [f"Authorization: Bearer {ALICE} {ALICE}"],
])
def test_every_wrong_way_to_show_a_key_gets_the_same_answer(gateway, headers):
    """401, the same body to the byte, and the way to do it right."""
    plain = gateway.chat("small")
    answer = gateway.chat("small", headers=headers)
    assert answer.status == plain.status == 401
    assert answer.body == plain.body
    assert answer.error["code"] == "invalid_api_key" and answer.error["type"] == "authentication_error"
    assert answer.get("www-authenticate") == "Bearer"
    assert gateway.request("GET", "/v1/models", headers=headers).status == 401


@pytest.mark.parametrize("headers", [
    bearer(ALICE), [f"authorization: bearer {ALICE}"], [f"X-API-Key: {ALICE}"], [f"x-api-key: {BOB}"],
    [f"Authorization: Bearer {ALICE}", f"X-API-Key: {ALICE}"], bearer(ADMIN),
])
def test_every_right_way_to_show_a_key_is_taken(gateway, headers):
    assert gateway.chat("small", headers=headers).status == 200


def test_two_headers_that_show_a_key_are_refused(gateway):
    assert gateway.chat("small", headers=bearer(ALICE) + bearer(ALICE)).status == 400
    assert gateway.chat("small", headers=[f"X-API-Key: {ALICE}"] * 2).status == 400


def test_a_request_without_a_key_is_refused_before_its_body(gateway):
    """The body never comes, and the answer is there all the same."""
    with gateway.connect() as connection:
        connection.send(b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
                        b"Content-Length: 1000000\r\n\r\n")
        answer = connection.read_answer()
        assert answer.status == 401 and answer.get("www-authenticate") == "Bearer"


def test_health_and_preflight_need_no_key(gateway):
    assert gateway.request("GET", "/health").status == 200
    assert gateway.request("GET", "/ready").status == 200
    assert gateway.request("OPTIONS", "/v1/chat/completions").status == 204


def test_a_key_uses_its_models_and_sees_no_others(gateway):
    for model, status in [("small", 200), ("big-1", 200), ("other", 403), ("absent", 404)]:
        answer = gateway.chat(model, headers=bearer(ALICE))
        assert answer.status == status, answer
    assert answer.error["code"] == "model_not_found"
    refused = gateway.chat("other", headers=bearer(ALICE))
    assert refused.error["code"] == "model_not_allowed" and refused.error["param"] == "model"
    listed = gateway.request("GET", "/v1/models", headers=bearer(ALICE)).json()["data"]
    assert {model["id"] for model in listed} == {"small", "big-1"}
    assert gateway.request("GET", "/v1/models/other", headers=bearer(ALICE)).status == 404
    listed = gateway.request("GET", "/v1/models", headers=bearer(BOB)).json()["data"]
    assert {model["id"] for model in listed} == {"small", "big-1", "other"}


def test_an_alias_gives_no_model_that_the_key_may_not_use(engine):
    """What is compared is the model that would run, whatever it was called."""
    models = {"secret": {"aliases": ["big-*"], "backend": {"kind": "static", "urls": [engine.url]}}}
    with Gateway(models, auth={"keys": [{"name": "a", "key": ALICE, "models": ["big-*"]}]}) as gateway:
        assert gateway.chat("big-7", headers=bearer(ALICE)).status == 403


def test_without_keys_everything_is_open_and_any_key_is_ignored(engine):
    with Gateway({"small": engine}) as gateway:
        assert gateway.chat("small").status == 200
        assert gateway.chat("small", headers=bearer("EMPTY")).status == 200


def test_the_access_log_names_the_key_and_never_shows_it(gateway):
    gateway.chat("small", headers=bearer(ALICE))
    wait_until(lambda: any(line.get("key") == "alice" for line in gateway.access()), 10, "the line")
    gateway.chat("small", headers=bearer("sk-mistyped-0123456789"))
    text = gateway.text
    assert ALICE not in text and BOB not in text and "sk-mistyped" not in text


def test_a_key_taken_out_of_its_file_is_refused_within_a_second(engine, tmp_path):
    path = tmp_path / "keys"
    path.write_text("# people\n\n" + line("alice", ALICE) + line("bob", BOB, "models=small,llama3:8b", "rpm=100"))
    with Gateway({"small": engine, "other": engine}, auth={"keys_file": str(path)}) as gateway:
        with gateway.connect() as connection:
            request = http("POST", "/v1/chat/completions", chat_body("small"), bearer(ALICE))
            connection.send(request)
            assert connection.read_answer().status == 200
            assert gateway.chat("other", headers=bearer(BOB)).status == 403

            fresh = tmp_path / "keys.new"
            fresh.write_text(line("bob", BOB) + line("carol", ADMIN))
            os.replace(fresh, path)

            wait_until(lambda: gateway.chat("small", headers=bearer(ADMIN)).status == 200, 1.0, "the new key")
            connection.send(request)
            assert connection.read_answer().status == 401
        assert gateway.chat("other", headers=bearer(BOB)).status == 200


def test_a_keys_file_that_is_broken_or_gone_changes_nothing(engine, tmp_path):
    path = tmp_path / "keys"
    path.write_text(line("alice", ALICE))
    with Gateway({"small": engine}, auth={"keys_file": str(path)}) as gateway:
        path.write_text(line("alice", ALICE) + "bob:not-a-digest\n")
        wait_until(lambda: "the keys stay as they were" in gateway.text, 5, "the complaint")
        assert f"{path}:2: the digest must be 64 hexadecimal digits" in gateway.text
        assert gateway.chat("small", headers=bearer(ALICE)).status == 200
        path.unlink()
        wait_until(lambda: "cannot be read" in gateway.text, 5, "the complaint")
        assert gateway.chat("small", headers=bearer(ALICE)).status == 200
        path.write_text("")
        wait_until(lambda: gateway.chat("small", headers=bearer(ALICE)).status == 401, 5, "the empty file")
        assert gateway.chat("small").status == 401


@pytest.mark.parametrize("option", ["models=a", "rpm=1", "admin=true"])
def test_an_option_given_twice_in_a_keys_file_is_refused_with_its_line(tmp_path, option):
    path = tmp_path / "keys"
    path.write_text(line("a", ALICE, "tpm=1") + line("b", BOB, *[option] * 20))
    with pytest.raises(RuntimeError, match=f":2: {option.split('=')[0]} is given twice"):
        Gateway({}, auth={"keys_file": str(path)})


def test_a_keys_file_that_became_a_pipe_does_not_keep_the_server_waiting(engine, tmp_path):
    path = tmp_path / "keys"
    path.write_text(line("a", ALICE))
    with Gateway({"small": engine}, auth={"keys_file": str(path)}) as gateway:
        os.mkfifo(tmp_path / "pipe")
        os.replace(tmp_path / "pipe", path)
        wait_until(lambda: "it is no regular file; the keys stay as they were" in gateway.text, 5, "the complaint")
        assert gateway.chat("small", bearer(ALICE)).status == 200


def test_a_reload_changes_the_keys_of_the_configuration(engine):
    with Gateway({"small": engine}, auth={"keys": [{"name": "a", "key": ALICE}]}) as gateway:
        assert gateway.reload(auth={"keys": [{"name": "a", "key": BOB}]})
        assert gateway.chat("small", headers=bearer(ALICE)).status == 401
        assert gateway.chat("small", headers=bearer(BOB)).status == 200
        assert not gateway.reload(auth={"keys": [{"name": "a", "key": ALICE}, {"name": "b", "key": ALICE}]})
        assert gateway.chat("small", headers=bearer(BOB)).status == 200


def test_a_hundred_thousand_bad_keys_leave_no_trace_in_memory_or_labels(engine):
    """Each another one, as a stranger would try them: pipelined on a kept connection, two hundred at a time."""
    head = b"POST /v1/chat/completions HTTP/1.1\r\nHost: gateway\r\nContent-Type: application/json\r\n"
    batch = 200

    def storm(connection, first, count):
        for start in range(first, first + count, batch):
            connection.send(b"".join(b"GET /v1/models HTTP/1.1\r\nHost: gateway\r\nAuthorization: Bearer sk-bad-%08d\r\n\r\n" % number
                                     for number in range(start, start + batch)))
            connection.data = b""
            while connection.data.count(b"HTTP/1.1 401 ") < batch or not connection.data.endswith(b"}"):
                assert connection.receive(), connection.data[-300:]

    keys = {"keys": [{"name": "alice", "key": ALICE}]}
    with Gateway({"small": engine}, auth=keys, log={"access": False}, env=SMALL_QUARANTINE) as gateway:
        assert gateway.chat("small", headers=bearer(ALICE)).status == 200
        with gateway.connect(timeout=60) as connection:
            connection.send(head + b"Authorization: Bearer sk-bad\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            assert connection.read_answer().status == 401
        names = set(gateway.metrics())
        with gateway.connect(timeout=60) as connection:
            storm(connection, 0, 10000)
            before = gateway.resident_bytes()
            storm(connection, 10000, 90000)
        assert gateway.resident_bytes() - before < 1 << 20
        metrics = gateway.metrics()
        assert set(metrics) == names
        assert metrics["vllmgw_keys_refused_total"] == 100001
        assert gateway.chat("small", headers=bearer(ALICE)).status == 200
