# SPDX-License-Identifier: Apache-2.0
"""Pages of other origins: what their browsers are told, by answers, errors and streams, and what never."""

import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from engine import Engine  # noqa: E402
from gateway import Answer, Gateway, chat_body, http  # noqa: E402

KEY, ADMIN = "sk-page-0123456789", "sk-root-0123456789"
APP, EVIL = "https://app.example", "https://evil.example"
CHAT = "/v1/chat/completions"


@pytest.fixture(scope="module")
def engine():
    with Engine(served_model_name="small", tokens=4) as one:
        yield one


@pytest.fixture(scope="module")
def gateway(engine):
    auth = {"keys": [{"name": "page", "key": KEY, "rpm": 100000}]}
    with Gateway({"small": engine}, cors={"origins": [APP, "http://localhost:3000"]}, auth=auth,
                 admin={"key": ADMIN}) as one:
        yield one


def ask(gateway, method, path, *headers, origin=APP, body=None, key=KEY):
    lines = [f"Origin: {origin}"] if origin else []
    return gateway.request(method, path, body, [*lines, *([f"Authorization: Bearer {key}"] if key else []), *headers])


def preflight(gateway, path, method="POST", origin=APP):
    return ask(gateway, "OPTIONS", path, f"Access-Control-Request-Method: {method}",
               "Access-Control-Request-Headers: authorization,content-type,x-stainless-lang", origin=origin, key=None)


def allowed(answer):
    return answer.get("access-control-allow-origin")


def test_a_preflight_needs_no_key_and_reaches_no_engine(gateway, engine):
    before = engine.counters()["requests"]
    answer = preflight(gateway, CHAT)
    assert answer.status == 204 and allowed(answer) == APP
    assert answer.get("access-control-allow-methods") == "POST, OPTIONS"
    assert answer.get("access-control-allow-headers") == "authorization,content-type,x-stainless-lang"
    assert int(answer.get("access-control-max-age")) > 0 and answer.get("vary") == "origin"
    assert answer.get("access-control-allow-credentials") is None
    assert engine.counters()["requests"] == before


def test_a_preflight_starts_no_model(tmp_path):
    command = ["/bin/sh", "-c", f"touch {tmp_path}/started; exec sleep 9", "--port", "${PORT}"]
    cold = {"backend": {"kind": "process", "command": command}}
    with Gateway({"small": cold}, cors={"origins": ["*"]}) as gateway:
        assert preflight(gateway, CHAT).status == 204
        assert gateway.request("GET", "/v1/models/small").json()["status"]["value"] == "unloaded"
        assert not (tmp_path / "started").exists()


def test_answers_streams_and_errors_name_the_origin(gateway):
    for answer in [ask(gateway, "GET", "/v1/models"), ask(gateway, "POST", CHAT, body=chat_body("small")),
                   ask(gateway, "POST", CHAT, body=chat_body("small", stream=True)), ask(gateway, "GET", "/health")]:
        assert answer.status == 200 and allowed(answer) == APP and answer.get("vary") == "origin"
        exposed = answer.get("access-control-expose-headers").split(", ")
        assert {"x-request-id", "retry-after", "x-ratelimit-remaining-requests"} <= set(exposed)
    for answer, status in [(ask(gateway, "POST", CHAT, body=chat_body("absent")), 404),
                           (ask(gateway, "POST", CHAT, body=b"{"), 400),
                           (ask(gateway, "POST", CHAT, body=chat_body("small"), key=None), 401),
                           (ask(gateway, "GET", CHAT), 405), (ask(gateway, "GET", "/nowhere"), 404),
                           (ask(gateway, "POST", CHAT, "Content-Type: text/plain", body=b"x"), 415)]:
        assert answer.status == status and allowed(answer) == APP


def test_what_a_limited_answer_says_of_its_limits_may_be_read(gateway):
    answer = ask(gateway, "POST", CHAT, body=chat_body("small"))
    told = {name for name, _ in answer.headers if name.startswith("x-")} - {"x-accel-buffering"}
    assert "x-ratelimit-remaining-requests" in told
    assert told <= set(answer.get("access-control-expose-headers").split(", "))


@pytest.mark.parametrize("origin", [EVIL, "null", "https://app.example.evil", "https://app.example:444", "http://app.example"])
def test_other_origins_are_told_nothing(gateway, origin):
    for answer in [ask(gateway, "GET", "/v1/models", origin=origin), preflight(gateway, CHAT, origin=origin)]:
        assert answer.status in (200, 204) and answer.get("vary") == "origin"
        assert not [name for name, _ in answer.headers if name.startswith("access-control-")]


def test_without_an_origin_nothing_is_said_but_that_it_matters(gateway):
    answer = ask(gateway, "GET", "/v1/models", origin=None)
    assert allowed(answer) is None and answer.get("vary") == "origin"


@pytest.mark.parametrize("path", ["/admin/state", "/unload", "/running", "/admin/reload"])
def test_administrators_routes_never_let_pages_in(gateway, path):
    assert allowed(preflight(gateway, path)) is None
    for method in ("GET", "POST"):
        answer = ask(gateway, method, path, key=ADMIN)
        assert answer.status in (403, 405) and allowed(answer) is None
        assert answer.status == 405 or answer.error["code"] == "origin_not_allowed"


def test_a_star_lets_every_page_in_and_off_lets_none(engine):
    with Gateway({"small": engine}, cors={"origins": ["*"]}) as gateway:
        assert allowed(ask(gateway, "GET", "/v1/models", origin=EVIL)) == "*"
        assert allowed(preflight(gateway, CHAT, origin="null")) == "*"
    with Gateway({"small": engine}) as gateway:
        for answer in [ask(gateway, "GET", "/v1/models"), preflight(gateway, CHAT)]:
            assert not [name for name, _ in answer.headers if name.startswith("access-control-") or name == "vary"]


def test_the_other_system_s_variable_means_the_same(engine):
    env = {"MODEL_ROUTE_small": engine.url, "ALLOW_ORIGINS": f"{APP}, http://b.example", "API_KEY": KEY}
    with Gateway(None, env=env, text="{listen: 127.0.0.1:0}\n") as gateway:
        assert allowed(ask(gateway, "POST", CHAT, body=chat_body("small"))) == APP
        assert allowed(ask(gateway, "GET", "/v1/models", origin=EVIL)) is None


def test_an_answer_cut_by_the_upload_s_refusal_names_the_origin_too(gateway):
    """This one is written past libmicrohttpd."""
    with gateway.connect() as connection:
        connection.send(http("POST", CHAT, None, [f"Origin: {APP}", "Content-Type: application/json",
                                                  "Content-Length: 5"]) + b"{")
        answer = Answer(connection.data) if connection.data else connection.read_answer()
    assert answer.status == 401 and allowed(answer) == APP
