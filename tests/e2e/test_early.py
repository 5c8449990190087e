# SPDX-License-Identifier: Apache-2.0
"""heartbeat.while_loading: streams begin before their model is there, say how long it takes, and tell failures as events."""

import json
import pathlib
import re
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from engine import Engine, binary  # noqa: E402
from gateway import Answer, Gateway, chat_body, http  # noqa: E402

CHAT = "/v1/chat/completions"


def slow(load_time, *args, **keys):
    command = [binary("vllmgw-engine"), "serve", "${MODEL}", "--port", "${PORT}", "--tokens", "3", "--load-time", load_time, *args]
    return {"backend": {"kind": "process", "command": command, "stop_timeout": "10s"}, **keys}


def gateway(models, style="comment", early=True, **keys):
    return Gateway(models, heartbeat={"idle": "200ms", "style": style, "while_loading": early},
                   residency={"max_resident": 3, "min_resident": "0s"}, **keys)


def ask(one, model="big", path=CHAT, **more):
    connection = one.connect()
    connection.send(http("POST", path, {**chat_body(model), "stream": True, **more}, ["Connection: close"]))
    return connection


def comments(answer):
    return [line for line in answer.body.decode().split("\n") if line.startswith(":")]


def test_the_head_comes_at_once_and_comments_tell_how_long_it_takes():
    with gateway({"big": slow("900ms")}) as one:
        with ask(one) as connection:
            connection.read_until(b": loading big, position 1\n\n")
            assert b"data:" not in connection.data
            answer = Answer(connection.read_all())
        assert answer.status == 200 and answer.is_clean and answer.events()[-1] == "[DONE]"
        assert answer.get("content-type") == "text/event-stream" and answer.get("cache-control") == "no-cache"
        assert 3 <= len(comments(answer)) <= 6, answer.body
        assert set(comments(answer)) == {": loading big, position 1"}, "nothing is known of a first start"
        line = one.access_of(answer)
        assert (line["status"], line["outcome"], line["model"]) == (200, "ok", "big") and line["queue_us"] > 500000
        with one.connect() as admin:
            admin.send(http("POST", "/admin/models/big/unload?wait=true", {}, host="localhost"))
            admin.read_answer("POST")
        with ask(one) as connection:
            again = Answer(connection.read_all())
        assert re.fullmatch(r": loading big, position 1, eta [12] s", comments(again)[0]), again.body


def test_positions_count_those_who_came_before():
    with gateway({"big": slow("700ms")}) as one:
        first = ask(one)
        first.read_until(b"position 1")
        second = ask(one)
        second.read_until(b"position 2")
        first.close()
        second.read_until(b"position 1")
        assert Answer(second.read_all()).is_clean
        second.close()


@pytest.mark.parametrize("style, beat", [("data", b"data:\n\n"), ("off", b"")])
def test_other_styles_say_less(style, beat):
    with gateway({"big": slow("600ms")}, style) as one, ask(one) as connection:
        connection.read_until(b"\r\n\r\n")
        answer = Answer(connection.read_all())
        assert answer.status == 200 and answer.is_clean and not comments(answer)
        assert (beat in answer.body) if beat else answer.body.startswith(b"data: {")


def test_without_it_and_without_a_stream_the_status_waits_and_tells_the_truth():
    broken = {"backend": {"kind": "process", "command": ["/bin/false", "${PORT}"]}}
    with gateway({"big": slow("300ms"), "broken": broken}, early=False) as one:
        assert not comments(one.chat("big", stream=True))
        assert one.chat("broken", stream=True, timeout=10).status == 503
    with gateway({"big": slow("300ms"), "broken": broken}) as one:
        assert one.chat("big").json()["object"] == "chat.completion"
        assert one.chat("broken", timeout=10).status == 503


def test_a_later_failure_is_an_error_event_and_a_bad_end():
    """And one that is known at once keeps its status."""
    script = "sleep 0.5; exit 3"
    broken = {"backend": {"kind": "process", "command": ["/bin/sh", "-c", script, "engine", "${PORT}"]}}
    with gateway({"broken": broken}) as one:
        with ask(one, "broken") as connection:
            answer = Answer(connection.read_all())
        assert answer.status == 200 and not answer.is_clean
        error = json.loads(answer.events()[-1])["error"]
        assert error["code"] == "model_start_failed"
        line = one.access_of(answer)
        assert line["status"] == 200 and line["outcome"] == "model_start_failed"
        again = one.chat("broken", stream=True, timeout=10)
        assert again.status in (200, 503)
        assert one.chat("absent", stream=True).status == 404


def test_an_engines_refusal_is_an_event_too():
    with gateway({"big": slow("500ms")}) as one, ask(one, max_tokens=-5) as connection:
        answer = Answer(connection.read_all())
        assert answer.status == 200 and not answer.is_clean
        assert "max_tokens" in json.loads(answer.events()[-1])["error"]["message"]


def test_a_fallback_that_came_too_late_for_a_header_is_a_comment():
    models = {"big": slow("60s", fallback={"model": "small", "after": "500ms"})}
    with Engine("--served-model-name", "small", "--tokens", "2") as small, gateway({**models, "small": small}) as one, \
            ask(one) as connection:
        answer = Answer(connection.read_all())
        assert answer.is_clean and ": fallback big -> small" in comments(answer)
        assert one.access_of(answer)["fallback_from"] == "big"


def test_a_client_that_leaves_while_it_is_told_is_dropped():
    with gateway({"big": slow("60s")}) as one:
        with ask(one) as connection:
            connection.read_until(b": loading")
        assert one.access(1)[0]["outcome"] == "client_closed"
