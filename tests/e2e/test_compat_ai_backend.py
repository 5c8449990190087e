# SPDX-License-Identifier: Apache-2.0
"""In place of AI Backend Gateway: its environment, its routes, its codes, its curl."""

import pathlib
import socket
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from compat import curl, from_environment, print_config  # noqa: E402
from engine import Engine, wait_until  # noqa: E402

KEY = "sk-backend-0123456789"
TINY, BIG, BOTH, HIDDEN = "TinyLlama/TinyLlama-1.1B-Chat-v1.0", "org/big", "org/both", "org/hidden"
JSON = ["-H", "Content-Type: application/json"]
WITH_KEY = ["-H", f"X-API-Key: {KEY}", *JSON]


@pytest.fixture(scope="module")
def tiny():
    with Engine("--served-model-name", TINY, BOTH, HIDDEN, "--tokens", "4") as one:
        yield one


@pytest.fixture(scope="module")
def big():
    with Engine("--served-model-name", BIG, BOTH, "--tokens", "4") as one:
        yield one


@pytest.fixture(scope="module")
def gateway(tiny, big):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        gone = f"http://127.0.0.1:{closed.getsockname()[1]}/v1"
        variables = {"MODEL_ROUTE_tiny": tiny.url + "/v1", "MODEL_ROUTE_big": big.url + "/v1/",
                     "MODEL_ROUTE_gone": gone, "DEFAULT_MODEL_KEY": "tiny", "DEFAULT_MODEL_NAME": TINY,
                     "ALLOWED_MODELS": f"{TINY}, {BIG}, {BOTH}", "API_KEY": KEY, "LOG_LEVEL": "INFO",
                     "READ_TIMEOUT_SECONDS": "1.5"}
        with from_environment(**variables) as one:
            yield one


def ask(gateway, path, body, *args):
    return curl(gateway, "http://localhost:5050" + path, *(args or WITH_KEY), "-d", body)


def sent(engine):
    return engine.requests()[-1]


def test_its_curl_streams(gateway):
    answer = curl(gateway, "http://localhost:5050/api/chat/stream", "-N", "-H", f"X-API-Key: {KEY}", *JSON, "-d",
                  '{"message":"Hello","model":"TinyLlama/TinyLlama-1.1B-Chat-v1.0","modelKey":"tiny"}')
    assert answer.status == 200 and answer.get("content-type").startswith("text/event-stream")
    assert answer.body.endswith(b"data: [DONE]\n\n") and TINY.encode() in answer.body


def test_its_health_tells_whether_the_default_route_answers(gateway):
    health = curl(gateway, "http://localhost:5050/health").json()
    assert health["ok"] is True and health["vllm"] == "ok"


def test_its_chat_becomes_a_conversation(gateway, tiny):
    answer = ask(gateway, "/api/chat", """{
      "message": "Hello",
      "model": "TinyLlama/TinyLlama-1.1B-Chat-v1.0",
      "modelKey": "tiny",
      "system": "You are helpful.",
      "temperature": 0.2,
      "max_tokens": 3
    }""")
    assert answer.status == 200, answer
    assert answer.json()["model"] == TINY and answer.json()["choices"][0]["message"]["content"]
    assert answer.json()["usage"]["completion_tokens"] == 3
    assert answer.json()["usage"]["prompt_tokens"] > 1


def test_its_embeddings_are_those_of_the_engine(gateway):
    answer = ask(gateway, "/api/embeddings", '{ "input": "some text", "model": "%s", "modelKey": "tiny" }' % TINY)
    assert answer.status == 200 and answer.json()["data"][0]["embedding"]


def test_models_of_all_routes_are_merged(gateway):
    answer = curl(gateway, "http://localhost:5050/api/models", *WITH_KEY)
    assert answer.status == 200 and answer.json()["object"] == "list"
    models = {model["id"]: model for model in answer.json()["data"]}
    assert set(models) == {TINY, BIG, BOTH} and len(answer.json()["data"]) == 3
    assert {source["source"] for source in models[BOTH]["sources"]} == {"tiny", "big"}
    assert [source["source"] for source in models[BIG]["sources"]] == ["big"]
    for source in models[BOTH]["sources"]:
        assert isinstance(source["latency_ms"], int) and 0 <= source["latency_ms"] < 2000


@pytest.mark.parametrize("body, status, code", [
    ('{"message": "hi"}', 200, None),
    ('{"message": "hi", "model": "org/big"}', 200, None),
    ('{"message": "hi", "model": "org/both", "modelKey": "big"}', 200, None),
    ('{"message": "hi", "model": "org/hidden"}', 403, "model_not_allowed"),
    ('{"message": "hi", "model": "org/both"}', 409, "model_conflict"),
    ('{"message": "hi", "model": "org/big", "modelKey": "tiny"}', 409, "model_conflict"),
    ('{"message": "hi", "modelKey": "huge"}', 409, "model_conflict"),
    ('{"message": "hi", "modelKey": "gone"}', 502, "upstream_unavailable"),
    ('{"message": ""}', 400, "bad_request"), ("{}", 400, "bad_request"), ("[]", 400, "invalid_json"),
    ('{"message": "hi"', 400, "invalid_json"), ('{"message": 7}', 400, "bad_request"),
    ('{"message": "hi", "modelKey": 7}', 400, "bad_request"),
])
def test_the_route_is_chosen_by_key_or_by_model(gateway, body, status, code):
    for path in ["/api/chat", "/api/chat/stream"]:
        answer = ask(gateway, path, body)
        assert answer.status == status, answer
        assert status == 200 or answer.error["code"] == code


def test_an_engine_that_is_silent_is_504(gateway, tiny):
    tiny.fault("hang", times=1)
    answer = ask(gateway, "/api/chat", '{"message": "hi"}')
    assert answer.status == 504 and answer.error["code"] == "upstream_timeout"


def test_everything_but_health_needs_the_key(gateway):
    assert curl(gateway, "http://localhost:5050/health").status == 200
    assert ask(gateway, "/api/chat", '{"message": "hi"}', *JSON).status == 401
    assert curl(gateway, "http://localhost:5050/api/models").status == 401
    assert curl(gateway, "http://localhost:5050/api/models", "-H", "X-API-Key: sk-other-0123456789").status == 401


def test_authentication_can_be_switched_off_and_metrics_are_there():
    with Engine("--served-model-name", TINY, "--tokens", "2") as engine, \
            from_environment(MODEL_ROUTE_tiny=engine.url, API_KEY=KEY, AUTH_REQUIRED="false", METRICS_PUBLIC="true") as gateway:
        assert ask(gateway, "/api/chat", '{"message": "hi"}', *JSON).status == 200
        assert b"vllmgw_" in curl(gateway, "http://localhost:5050/metrics").body


def test_an_engine_that_comes_later_is_found(tiny):
    with Engine("--served-model-name", BIG) as engine:
        url = engine.url
    with from_environment(MODEL_ROUTE_late=url) as gateway:
        assert curl(gateway, "http://localhost:5050/health").json()["vllm"] == "unavailable"
        with Engine("--served-model-name", BIG, "--tokens", "2", port=url.rsplit(":", 1)[1]):
            wait_until(lambda: curl(gateway, "http://localhost:5050/health").json()["vllm"] == "ok", 15, "the engine")
            assert ask(gateway, "/api/chat", '{"message": "hi"}', *JSON).json()["model"] == BIG


def test_a_silent_stream_gets_heartbeats_between_its_events():
    with Engine("--served-model-name", BIG, "--tokens", "3", "--itl", "500ms") as engine, \
            from_environment(MODEL_ROUTE_slow=engine.url, SSE_HEARTBEAT_SECONDS="0.1") as gateway:
        body = ask(gateway, "/api/chat/stream", '{"message": "hi"}', *JSON, "-N").body.decode()
        pieces = body.split("\n\n")
        assert pieces.count(": keepalive") >= 4, body
        assert all(piece.startswith("data: ") for piece in pieces if piece not in ("", ": keepalive")), body
        assert pieces[-2] == "data: [DONE]"
        whole = ask(gateway, "/api/chat", '{"message": "hi"}', *JSON)
        assert whole.status == 200 and b"keepalive" not in whole.body


def test_without_its_variables_there_are_no_such_routes(tiny):
    from gateway import Gateway
    with Gateway({"small": tiny}) as gateway:
        assert ask(gateway, "/api/chat", '{"message": "hi"}', *JSON).status == 404
        assert curl(gateway, "http://localhost:5050/api/models").status == 404
        assert "vllm" not in gateway.request("GET", "/health").json()


def test_its_legacy_variable_is_one_route():
    text = print_config(VLLM_BASE_URL="http://10.0.0.1:8000", API_PORT="5051", RATE_LIMIT_PER_MIN="30", USE_REDIS="true",
                        REDIS_URL="redis://r:6379/1", METRICS_PUBLIC="true").replace('"', "")
    for line in ["listen: 0.0.0.0:5051", "per_ip_rpm: 30 ", "store: redis://r:6379/1", "public_metrics: true",
                 "urls: [http://10.0.0.1:8000]", "served_name: *"]:
        assert line in text, (line, text)


@pytest.mark.parametrize("variable, value", [
    ("API_PORT", "http"), ("LOG_LEVEL", "LOUD"), ("READ_TIMEOUT_SECONDS", "soon"), ("USE_REDIS", "maybe"),
    ("RATE_LIMIT_PER_MIN", "many"), ("MODEL_ROUTE_a", "ftp://x"), ("DEFAULT_MODEL_KEY", "other"),
])
def test_a_mistake_names_its_variable(variable, value):
    code, text = print_config(fails=True, **{"MODEL_ROUTE_tiny": "http://127.0.0.1:8000/v1", variable: value})
    assert code == 78 and variable in text, text
