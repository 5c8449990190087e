# SPDX-License-Identifier: Apache-2.0
"""The API: bodies that are refused and why, what reaches an engine and what comes back of it."""

import json
import pathlib
import re
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from engine import Engine  # noqa: E402
from gateway import Connection, Gateway, chat_body, http  # noqa: E402

PATHS = ["/v1/chat/completions", "/v1/completions", "/v1/embeddings"]
INPUT = {"/v1/chat/completions": b'"messages":[{"role":"user","content":"hi"}]', "/v1/completions": b'"prompt":"hi"',
         "/v1/embeddings": b'"input":"hi"'}
LIMIT = 4 << 20


@pytest.fixture(scope="module")
def engine():
    with Engine(tokens=5, served_model_name=["org/small", "big"], api_key="engine-key") as engine:
        yield engine


@pytest.fixture(scope="module")
def gateway(engine):
    backend = {"kind": "static", "urls": [engine.url], "api_key": "engine-key"}
    models = {"small": {"backend": backend, "served_name": "org/small", "aliases": ["tiny", "gpt-*"]},
              "big": {"backend": backend}}
    memory_goes_back = {"ASAN_OPTIONS": "quarantine_size_mb=1:thread_local_quarantine_size_kb=64"}
    with Gateway(models, limits={"body": "4MiB"}, env=memory_goes_back) as gateway:
        yield gateway


@pytest.fixture(autouse=True)
def fresh(engine):
    engine.reset()


# --- rows 39 to 46: bodies ---

BODIES = [
    ("39 not JSON", b"hello", "invalid_json"),
    ("39 empty", b"", "invalid_json"),
    ("39 spaces", b" \n", "invalid_json"),
    ("39 null", b"null", "invalid_json"),
    ("39 list", b"[]", "invalid_json"),
    ("39 text", b'"x"', "invalid_json"),
    ("39 empty object", b"{}", "missing_model"),
    ("39 no model", b'{"a":1}', "missing_model"),
    ("39 trailing garbage", b'{"model":"small"}x', "invalid_json"),
    ("39 second document", b'{"model":"small"}{"model":"small"}', "invalid_json"),
    ("39 NUL after the end", b'{"model":"small"}\0', "invalid_json"),
    ("39 unfinished", b'{"model":"small"', "invalid_json"),
    ("39 single quotes", b"{'model':'small'}", "invalid_json"),
    ("39 comment", b'{"model":"small"/* */}', "invalid_json"),
    ("39 comma at the end", b'{"model":"small",}', "invalid_json"),
    ("39 raw line end in a text", b'{"model":"small","a":"\n"}', "invalid_json"),
    ("40 model twice", b'{"model":"small","model":"big"}', "duplicate_key"),
    ("40 model twice, escaped", b'{"model":"small","mod\\u0065l":"big"}', "duplicate_key"),
    ("40 another key twice", b'{"model":"small","a":1,"a":2}', "duplicate_key"),
    ("40 stream twice", b'{"stream":true,"model":"small","stream":false}', "duplicate_key"),
    ("41 number", b'{"model":1}', "invalid_model"),
    ("41 null", b'{"model":null}', "invalid_model"),
    ("41 list", b'{"model":["small"]}', "invalid_model"),
    ("41 empty name", b'{"model":""}', "invalid_model"),
    ("41 a mebibyte", b'{"model":"' + b"a" * (1 << 20) + b'"}', "invalid_model"),
    ("41 NUL", b'{"model":"small\\u0000"}', "invalid_model"),
    ("41 control character", b'{"model":"sm\\u0007all"}', "invalid_model"),
    ("41 half a surrogate pair", b'{"model":"\\ud800"}', "invalid_model"),
    ("43 65 deep", b'{"model":"small","a":' + b"[" * 64 + b"]" * 64 + b"}", "json_too_deep"),
    ("43 2,049 deep", b'{"model":"small","a":' + b"[" * 2048 + b"]" * 2048 + b"}", "json_too_deep"),
    ("43 100,000 deep", b'{"model":"small","a":' + b"[" * 100000, "json_too_deep"),
    ("43 100,000 objects deep", b'{"model":"small","a":' + b'{"a":' * 100000, "json_too_deep"),
    ("44 a million lists", b'{"model":"small","a":[' + b"[]," * 1200000 + b"1]}", "json_too_complex"),
    ("45 malformed UTF-8", b'{"model":"small","a":"\xff"}', "invalid_encoding"),
    ("45 overlong UTF-8", b'{"model":"small","a":"\xc0\xaf"}', "invalid_encoding"),
    ("45 surrogate in UTF-8", b'{"model":"small","a":"\xed\xa0\x80"}', "invalid_encoding"),
    ("45 UTF-16", '{"model":"small"}'.encode("utf-16-le"), "invalid_encoding"),
    ("45 UTF-16 with a mark", '{"model":"small"}'.encode("utf-16"), "invalid_encoding"),
    ("45 UTF-32", '{"model":"small"}'.encode("utf-32-le"), "invalid_encoding"),
    ("45 UTF-8 with a mark", b'\xef\xbb\xbf{"model":"small"}', "invalid_encoding"),
    ("46 NaN", b'{"model":"small","a":NaN}', "invalid_json"),
    ("46 Infinity", b'{"model":"small","a":-Infinity}', "invalid_json"),
    ("46 leading zero", b'{"model":"small","a":01}', "invalid_json"),
    ("46 bare point", b'{"model":"small","a":1.}', "invalid_json"),
    ("46 hexadecimal", b'{"model":"small","a":0x1}', "invalid_json"),
    ("50 stream as text", b'{"model":"small","stream":"true"}', "invalid_stream"),
    ("50 stream as a number", b'{"model":"small","stream":1}', "invalid_stream"),
]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("name, body, code", BODIES, ids=[row[0] for row in BODIES])
def test_a_body_that_is_no_clear_request_is_refused_with_its_reason(gateway, engine, path, name, body, code):
    answer = gateway.request("POST", path, body)
    assert (answer.status, answer.error["code"], answer.error["type"]) == (400, code, "invalid_request_error"), answer
    assert answer.get("content-type") == "application/json"
    assert answer.error["param"] == {"missing_model": "model", "invalid_model": "model", "invalid_stream": "stream"}.get(code)
    assert answer.get("x-request-id").startswith("req-")
    assert len(answer.error["message"]) < 500 and "\n" not in answer.error["message"]
    assert engine.counters()["requests"] == 0


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("model", ["nope", "small ", "SMALL", "\u202esmall", "small\u200b", "a" * 200, "\U0001f600", "'", "<b>",
                                   "../small", "org/small"])
def test_an_unknown_model_is_404_and_its_name_comes_back_as_text(gateway, engine, path, model):
    answer = gateway.request("POST", path, {"model": model})
    assert (answer.status, answer.error["code"], answer.error["param"]) == (404, "model_not_found", "model")
    assert model[:100] in answer.error["message"]
    assert len(answer.error["message"]) < 300
    assert engine.counters()["requests"] == 0


def test_the_memory_a_million_lists_take_is_given_back(gateway):
    body = b'{"model":"small","a":[' + b"[]," * 1200000 + b"1]}"
    gateway.request("POST", PATHS[0], body)
    before = gateway.resident_bytes()
    for _ in range(5):
        assert gateway.request("POST", PATHS[0], body).error["code"] == "json_too_complex"
    assert gateway.resident_bytes() - before < 4 * len(body)


def test_numbers_out_of_any_range_go_on_as_they_were_written(gateway, engine):
    body = b'{"model":"big",' + INPUT[PATHS[0]] + b',"a":1e400,"b":12345678901234567890,"c":-0.0,"d":1E+2}'
    gateway.request("POST", PATHS[0], body)  # the engine may refuse it
    assert engine.requests()[0]["body"].encode() == body


# --- rows 47 and 48: types ---

@pytest.mark.parametrize("lines, status, code", [
    (["Content-Type: text/plain"], 415, "unsupported_media_type"),
    (["Content-Type: application/json; charset=utf-16"], 415, "unsupported_media_type"),
    (["Content-Type: application/jsonp"], 415, "unsupported_media_type"),
    (["Content-Type: application/x-www-form-urlencoded"], 415, "unsupported_media_type"),
    (["Content-Type: multipart/form-data; boundary=x"], 415, "unsupported_media_type"),
    (["Content-Type: application/json", "Content-Type: application/json"], 415, "unsupported_media_type"),
    (["Content-Type:"], 415, "unsupported_media_type"),
    (["Content-Type: application/json", "Content-Encoding: br"], 415, "unsupported_content_encoding"),
])
def test_rows_47_and_48_only_plain_json_is_read(gateway, engine, lines, status, code):
    answer = gateway.request("POST", PATHS[0], chat_body("small"), lines)
    assert (answer.status, answer.error["code"]) == (status, code)
    assert engine.counters()["requests"] == 0


def test_row_47_a_body_without_a_type_is_refused(gateway):
    data = http("POST", PATHS[0], chat_body("small")).replace(b"Content-Type: application/json\r\n", b"")
    with gateway.connect() as connection:
        connection.send(data)
        assert connection.read_answer().error["code"] == "unsupported_media_type"


@pytest.mark.parametrize("kind", ["application/json", "application/json; charset=utf-8", "Application/JSON;charset=UTF-8",
                                  'application/json; charset="utf-8"'])
def test_json_in_utf_8_is_read_however_it_is_called(gateway, kind):
    assert gateway.request("POST", PATHS[0], chat_body("small"), [f"Content-Type: {kind}"]).status == 200


# --- what the engine gets ---

@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("name", ["small", "tiny", "gpt-4o-mini"])
@pytest.mark.parametrize("before, after", [
    (b'{"model":', b","), (b'\r\n\t{ "z" : [1.50, 1e5, "\\u00e9\xc3\xa9"] ,"model" :  ', b" ,"),
    (b'{"user":"\\ud83d\\ude00","mod\\u0065l":', b',"unknown":{"model":"small","a":{"a":1,"a":2}},')])
def test_the_body_is_the_clients_but_for_the_models_name(gateway, engine, path, name, before, after):
    end = after + INPUT[path] + b', "seed":  7}\n'
    assert gateway.request("POST", path, before + b'"%s"' % name.encode() + end).status == 200
    assert engine.requests()[0]["body"].encode() == before + b'"org/small"' + end


def test_the_body_is_the_clients_altogether_when_the_name_is_the_engines(gateway, engine):
    body = b' { "model"  :"\\u0062ig", ' + INPUT[PATHS[0]] + b"} "
    assert gateway.request("POST", PATHS[0], body).status == 200
    assert engine.requests()[0]["body"].encode() == body


def test_row_51_ids_and_priorities_are_the_gateways_to_give(gateway, engine):
    body = b'{"request_id":"a","model":"big","priority":-9,' + INPUT[PATHS[0]] + b',"x":1}'
    answer = gateway.request("POST", PATHS[0], body, ["X-Request-Id: mine"])
    seen = engine.requests()[0]
    assert json.loads(seen["body"]) == {**json.loads(b"{%s}" % INPUT[PATHS[0]]), "model": "big", "x": 1}
    assert "mine" not in seen["head"] and answer.get("x-request-id") != "mine"
    assert f"x-request-id: {answer.get('x-request-id')}\r\n" in seen["head"].lower()


def test_request_headers_go_on_by_allow_list_only(gateway, engine):
    lines = ["Authorization: Bearer client-key", "Cookie: a=b", "Connection: X-Secret, keep-alive", "X-Secret: 1",
             "Keep-Alive: 5", "TE: trailers", "Trailer: X", "Proxy-Authorization: Basic eA==", "X-Forwarded-For: 1.2.3.4",
             "Forwarded: for=1.2.3.4", "Accept-Encoding: gzip", "X-Data-Parallel-Rank: 1", "User-Agent: test",
             "Origin: http://a", "Referer: http://b", "X-API-Key: client-key", "OpenAI-Organization: o",
             "Accept: application/json", "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
             "tracestate: a=b"]
    assert gateway.request("POST", PATHS[0] + "?api-version=1", chat_body("small"), lines).status == 200
    first, *rest = engine.requests()[0]["head"].split("\r\n")[:-2]
    headers = dict(line.split(": ", 1) for line in rest)
    headers = {name.lower(): value for name, value in headers.items()}
    assert first == "POST /v1/chat/completions HTTP/1.1"
    assert set(headers) == {"host", "content-type", "content-length", "accept", "x-request-id", "traceparent",
                            "tracestate", "authorization"}
    assert headers["authorization"] == "Bearer engine-key"
    assert headers["host"] == f"127.0.0.1:{engine.port}"
    assert headers["traceparent"].startswith("00-0af7651916cd43dd")


@pytest.mark.parametrize("value", ["x", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331",
                                   "00-00000000000000000000000000000000-b7ad6b7169203331-01",
                                   "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01", "a" * 4000])
def test_a_malformed_traceparent_does_not_go_on(gateway, engine, value):
    assert gateway.request("POST", PATHS[0], chat_body("small"), [f"traceparent: {value}", "tracestate: a=b"]).status == 200
    assert "trace" not in engine.requests()[0]["head"].lower()


# --- what the client gets ---

def test_response_headers_come_by_allow_list_only(gateway, engine):
    plain = gateway.chat("small")
    streamed = gateway.chat("small", stream=True)
    ours = {"content-type", "x-request-id", "x-vllmgw-model", "x-vllmgw-replica", "server-timing", "connection"}
    assert {name for name, _ in plain.headers} - {"date"} == ours | {"content-length"}
    assert {name for name, _ in streamed.headers} - {"date"} == ours | {"transfer-encoding", "cache-control",
                                                                        "x-accel-buffering"}
    assert plain.get("content-type") == "application/json"
    assert streamed.get("content-type").startswith("text/event-stream")
    assert streamed.get("cache-control") == "no-cache" and streamed.get("x-accel-buffering") == "no"
    assert plain.get("x-vllmgw-model") == "small" and plain.get("x-vllmgw-replica") == "small/0"
    assert re.fullmatch(r"queue;dur=[\d.]+, upstream;dur=[\d.]+, gateway;dur=[\d.]+", plain.get("server-timing"))


def test_the_answer_is_the_engines_byte_for_byte(gateway, engine):
    body = chat_body("org/small")
    with Gateway({"org/small": {"backend": {"kind": "static", "urls": [engine.url], "api_key": "engine-key"}}}) as same:
        for stream in (False, True):
            data = http("POST", PATHS[0], {**body, "stream": stream}, ["Authorization: Bearer engine-key", "Connection: close"])
            with Connection(engine.port) as direct:
                direct.send(data)
                expected = direct.read_answer()
            through = same.request("POST", PATHS[0], {**body, "stream": stream})
            assert through.body == expected.body and through.is_clean


def test_every_request_has_an_id_of_its_own(gateway):
    answers = [gateway.request("GET", path) for path in ("/health", "/ready", "/version", "/metrics", "/v1/models",
                                                         "/v1/models/small", "/v1/models/nope", "/nope")]
    answers += [gateway.request("OPTIONS", "/v1/models"), gateway.request("PUT", "/v1/models"), gateway.chat("small"),
                gateway.chat("small", stream=True), gateway.chat("nope"), gateway.request("POST", PATHS[0], b"x" * LIMIT + b"x")]
    ids = [answer.get("x-request-id") for answer in answers]
    assert len(set(ids)) == len(ids) and all(re.fullmatch(r"req-[0-9a-f]{16}", each) for each in ids)
    assert answers[-1].status == 413
    assert [gateway.access_of(answer)["status"] for answer in answers] == [answer.status for answer in answers]


# --- row 52: routes ---

DANGEROUS = ["/sleep", "/sleep?level=1", "/wake_up", "/is_sleeping", "/invocations", "/pause", "/resume", "/collective_rpc",
             "/reset_prefix_cache", "/reset_mm_cache", "/reset_encoder_cache", "/update_weights", "/init_weight_transfer",
             "/v1/load_lora_adapter", "/v1/unload_lora_adapter", "/abort_requests", "/scale_elastic_ep", "/ping", "/load",
             "/server_info", "/start_profile", "/stop_profile", "/docs", "/openapi.json", "/_engine/requests",
             "/v1/responses/resp_1", "/v1/responses/resp_1/cancel", "/admin"]


@pytest.mark.parametrize("path", DANGEROUS)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_row_52_routes_of_an_engine_that_are_not_ours_do_not_exist(gateway, engine, method, path):
    answer = gateway.request(method, path, {"model": "small"} if method == "POST" else None)
    assert (answer.status, answer.error["code"]) == (404, "not_found")
    assert engine.counters()["requests"] == 0


def test_the_models_are_listed_and_found_by_every_name(gateway, engine):
    listed = gateway.request("GET", "/v1/models").json()
    assert listed["object"] == "list" and {model["id"] for model in listed["data"]} == {"small", "big"}
    assert gateway.request("GET", "/v1/models/small").json()["id"] == "small"
    assert gateway.request("GET", "/v1/models/%73mall").json()["id"] == "small"
    assert gateway.request("GET", "/v1/models/nope").error["code"] == "model_not_found"
    assert engine.counters()["requests"] == 0
