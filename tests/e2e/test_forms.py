# SPDX-License-Identifier: Apache-2.0
"""Forms (multipart/form-data): routed by their model part, forwarded byte for byte, refused where two readers might
read them differently."""

import hashlib
import gzip
import json
import os
import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from engine import Engine  # noqa: E402
from gateway import Gateway, http  # noqa: E402

PATHS = ["/v1/audio/transcriptions", "/v1/audio/translations", "/v1/images/edits"]
PATH = PATHS[0]
KEY = ["Authorization: Bearer sk-alice-0123456789"]


def part(name, value, more=b""):
    return b'--B\r\nContent-Disposition: form-data; name="%b"%b\r\n\r\n%b\r\n' % (name, more, value)


END = b"--B--\r\n"
AUDIO = bytes(range(256)) * 300 + b"\r\n-- \r\n\r\n"
FILE = part(b"file", AUDIO, b'; filename="../../x"\r\nContent-Type: audio/wav')


@pytest.fixture(scope="module")
def engine():
    with Engine("--served-model-name", "org/whisper") as one:
        yield one


@pytest.fixture(scope="module")
def gateway(engine):
    backend = {"kind": "static", "urls": [engine.url]}
    with Gateway({"whisper": {"backend": backend, "served_name": "org/whisper", "aliases": ["whisper-1"]}},
                 limits={"body": "1MiB"}) as one:
        yield one


@pytest.fixture(autouse=True)
def forget(engine):
    engine.reset()


def send(gateway, body, headers=(), path=PATH, boundary="B"):
    return gateway.request("POST", path, body, [f"Content-Type: multipart/form-data; boundary={boundary}", *headers])


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("order", ["model first", "model last"])
def test_only_the_models_value_changes(gateway, engine, path, order):
    def form(model):
        pieces = [part(b"model", model), FILE, part(b"timestamp_granularities[]", b"word"), part(b"prompt", "größe 🙂".encode())]
        return b"".join(pieces if order == "model first" else pieces[::-1]) + END

    answer = send(gateway, form(b"whisper-1"), path=path)
    assert answer.status == 200 and answer.json()["model"] == "org/whisper", answer
    assert answer.json()["sha256"] == hashlib.sha256(form(b"org/whisper")).hexdigest()
    head = engine.requests()[0]["head"].lower()
    assert f"post {path} " in head and "content-type: multipart/form-data; boundary=b\r\n" in head
    assert answer.get("x-vllmgw-model") == "whisper"


@pytest.mark.parametrize("fields, kind", [
    ([], "application/json"), ([(b"response_format", b"text")], "text/plain"), ([(b"stream", b"true")], "text/event-stream")])
def test_every_kind_of_answer_passes(gateway, fields, kind):
    body = FILE + part(b"model", b"whisper") + b"".join(part(*field) for field in fields) + END
    answer = send(gateway, body)
    assert answer.status == 200 and answer.is_clean and answer.get("content-type").startswith(kind)
    digest = hashlib.sha256(body.replace(b"\r\nwhisper\r\n", b"\r\norg/whisper\r\n")).hexdigest()
    assert digest in answer.body.decode()


def test_a_form_without_a_model_gets_the_default_one(engine):
    backend = {"kind": "static", "urls": [engine.url]}
    with Gateway({"whisper": {"backend": backend, "served_name": "org/whisper"}}, default_model="whisper") as gateway:
        answer = send(gateway, FILE + END)
        assert answer.status == 200 and answer.json()["model"] == "org/whisper"
        assert answer.json()["sha256"] == hashlib.sha256(part(b"model", b"org/whisper") + FILE + END).hexdigest()


def test_row_49_malformed_forms_are_refused(gateway, engine):
    model = part(b"model", b"whisper")
    cases = {
        "two models": (model + model + END, "B"), "no boundary": (model + END, ""), "300 characters": (model + END, "B" * 300),
        "100000 parts": (part(b"x", b"") * 10000 + model + END, "B"), "a long part header": (part(b"x", b"1", b"; x=" + b"y" * 9000) + END, "B"),
        "no final boundary": (model, "B"), "another boundary": (model + END, "C"), "epilogue": (model + END + b"more", "B"),
        "boundary inside": (part(b"x", b"a--B--b") + model + END, "B"), "base64": (
            b"--B\r\nContent-Transfer-Encoding: base64\r\nContent-Disposition: form-data; name=model\r\n\r\nd2hpc3Blcg==\r\n" + END, "B"),
    }
    for name, (body, boundary) in cases.items():
        answer = send(gateway, body, boundary=boundary)
        assert (answer.status, answer.error["code"]) == (400, "invalid_multipart"), (name, answer)
    assert engine.counters()["requests"] == 0


@pytest.mark.parametrize("value, status, code", [
    (b"absent", 404, "model_not_found"), (b"", 400, "invalid_model"), (b"x" * 513, 400, "invalid_model"),
    (b"a\r\nb", 400, "invalid_model"), (b"a\0b", 400, "invalid_model"), (b"\xff", 400, "invalid_encoding"), (None, 400, "missing_model")])
def test_models_of_forms_are_checked_as_those_of_json(gateway, engine, value, status, code):
    answer = send(gateway, (part(b"model", value) if value is not None else b"") + FILE + END)
    assert (answer.status, answer.error["code"], answer.error["param"]) == (status, code, None if code == "invalid_encoding" else "model")
    assert engine.counters()["requests"] == 0


@pytest.mark.parametrize("kind", ["application/json", "multipart/mixed; boundary=B", "multipart/form-data", "text/plain"])
def test_forms_need_their_own_content_type(gateway, kind):
    answer = gateway.request("POST", PATH, part(b"model", b"whisper") + END, [f"Content-Type: {kind}"])
    assert (answer.status, answer.error["code"]) == (415, "unsupported_media_type")
    assert "multipart/form-data" in answer.error["message"]


def test_a_key_may_use_only_its_models_and_files_are_no_tokens(engine):
    models = {name: {"backend": {"kind": "static", "urls": [engine.url]}, "served_name": "org/whisper"} for name in ("whisper", "other")}
    keys = {"keys": [{"name": "alice", "key": KEY[0][-19:], "models": ["whisper"], "tpm": 1000}]}
    with Gateway(models, auth=keys) as gateway:
        assert send(gateway, FILE + part(b"model", b"other") + END, KEY).error["code"] == "model_not_allowed"
        for _ in range(3):  # 77 KB each: as text they would be more than the key has
            assert send(gateway, FILE + part(b"model", b"whisper") + END, KEY).status == 200
        assert engine.counters()["requests"] == 3


def test_a_form_in_pieces_compressed_or_too_large(gateway, engine):
    body = part(b"file", os.urandom(400000)) + part(b"model", b"org/whisper") + END
    wrapped = gateway.request("POST", PATH, body.replace(b"org/whisper", b"whisper"), ["Content-Type: multipart/form-data; boundary=\"B\""])
    assert wrapped.json()["sha256"] == hashlib.sha256(body).hexdigest()
    packed = send(gateway, gzip.compress(body.replace(b"org/whisper", b"whisper")), ["Content-Encoding: gzip"])
    assert packed.json()["sha256"] == hashlib.sha256(body).hexdigest()
    large = send(gateway, part(b"file", bytes(1100000)) + part(b"model", b"whisper") + END)
    assert large.status == 413
    with gateway.connect() as connection:
        data = http("POST", PATH, body, ["Content-Type: multipart/form-data; boundary=B", "Connection: close"])
        for at in range(0, len(data), 9973):
            connection.send(data[at:at + 9973])
        assert json.loads(connection.read_answer("POST").body)["error"]["code"] == "model_not_found"
