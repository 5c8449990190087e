# SPDX-License-Identifier: Apache-2.0
"""vllmgw, the command line, against a server whose engines are processes."""
import json
import os
import pathlib
import pty
import re
import subprocess
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))

from engine import ROOT, wait_until  # noqa: E402
from gateway import Gateway, binary, chat_body, http  # noqa: E402

TRACES = ROOT / "examples" / "traces"
ENVIRONMENT = {key: value for key, value in os.environ.items() if not key.startswith("VLLMGW_")}


def model(name, *args, **keys):
    command = [binary("vllmgw-engine"), "--port", "${PORT}", "--model", name, "--load-time", "100ms", *args]
    return {"backend": {"kind": "process", "command": command, "stop_timeout": "10s"}, **keys}


@pytest.fixture
def gateway(tmp_path):
    models = {"a": model("a", aliases=["first"]), "b": model("b"), "slow": model("slow", "--ttft", "30s")}
    with Gateway(models, state_dir=str(tmp_path), residency={"min_resident": "0s"}) as server:
        yield server


def vllmgw(*args, url=None, status=0, **env):
    """Run it; what it wrote to standard output."""
    command = [binary("vllmgw"), *(["--url", url] if url else []), *args]
    run = subprocess.run(command, capture_output=True, text=True, timeout=60, env={**ENVIRONMENT, **env}, check=False)
    assert run.returncode == status, (run.returncode, run.stdout, run.stderr)
    return run.stdout if status == 0 else run.stderr


def test_help_lists_every_command_and_each_tells_its_own_use():
    text = vllmgw("--help")
    names = re.findall(r"^  ([a-z]+) ", text, re.M)
    assert {"ps", "models", "load", "unload", "sleep", "wake", "pin", "unpin", "reset", "logs", "top", "events", "explain",
            "requests", "cancel", "reload", "state", "simulate", "trace", "bench"} <= set(names)
    for name in names:
        assert vllmgw(name, "--help").startswith(f"usage: vllmgw {name}")
    assert re.fullmatch(r"vllmgw \d+\.\d+\.\d+\n", vllmgw("--version"))


@pytest.mark.parametrize("args", [[], ["nonsense"], ["ps", "more"], ["load"], ["load", "--force", "a"], ["logs"],
                                  ["logs", "-n", "0", "a"], ["explain"], ["simulate"], ["trace"], ["bench"], ["--url"]])
def test_wrong_usage_ends_with_2(args):
    assert "vllmgw" in vllmgw(*args, status=2)


def test_a_gateway_that_is_not_there_is_told_with_what_to_do():
    for command in (["ps"], ["load", "a"], ["logs", "a"], ["events"]):
        text = vllmgw(*command, url="http://127.0.0.1:1", status=3)
        assert "http://127.0.0.1:1" in text and "Is vllmgw-server running?" in text
    assert "unix:/nowhere.sock" in vllmgw("ps", url="unix:/nowhere.sock", status=3)


def test_models_come_and_go(gateway):
    text = vllmgw("load", "first", url=gateway.url)
    assert re.fullmatch(r"(first: starting[^\n]*\n)*first: ready after \S+\n", text)
    assert re.search(r"^a +ready +- +\S+ +- +http://127\.0\.0\.1:\d+", vllmgw("ps", url=gateway.url), re.M)
    listed = vllmgw("models", url=gateway.url)
    assert [line.split()[:2] for line in listed.splitlines()[1:]] == [["a", "ready"], ["b", "absent"], ["slow", "absent"]]
    assert vllmgw("pin", "a", url=gateway.url) == "a: pinned\n"
    assert json.loads(vllmgw("--json", "ps", url=gateway.url))[0]["pinned"] is True
    assert vllmgw("unpin", "a", url=gateway.url) == "a: unpinned\n"
    assert "absent after" in vllmgw("unload", "a", url=gateway.url)
    assert json.loads(vllmgw("load", "b", "--json", url=gateway.url))["state"] == "ready"
    assert json.loads(vllmgw("state", url=gateway.url))["models"][1]["state"] == "ready"
    assert "b is ready" in vllmgw("explain", "b", url=gateway.url)
    assert "the configuration was read again" in vllmgw("reload", url=gateway.url)
    assert "nobody" in vllmgw("load", "nobody", url=gateway.url, status=1)


def test_a_load_that_fails_ends_with_1_and_the_reason(gateway):
    script = "echo 'ValueError: there are no weights' >&2; exit 3"
    gateway.configure({"a": {"backend": {"kind": "process", "command": ["/bin/sh", "-c", script, "x", "${PORT}"]}}})
    vllmgw("reload", url=gateway.url)
    run = subprocess.run([binary("vllmgw"), "--url", gateway.url, "load", "a"], capture_output=True, text=True,
                         timeout=60, check=False)
    assert run.returncode == 1 and "no weights" in run.stdout, run


def test_on_a_terminal_one_line_lives(gateway):
    primary, secondary = pty.openpty()
    with subprocess.Popen([binary("vllmgw"), "--url", gateway.url, "load", "a"], stdout=secondary) as process:
        os.close(secondary)
        text = b""
        try:
            while piece := os.read(primary, 4096):
                text += piece
        except OSError:
            pass
        assert process.wait(30) == 0
    os.close(primary)
    assert text.count(b"\r\x1b[K") >= 2 and text.count(b"\n") == 1, text


def test_logs_and_events_and_top(gateway):
    with subprocess.Popen([binary("vllmgw"), "--url", gateway.url, "events", "-n", "3", "--json"],
                          stdout=subprocess.PIPE, text=True) as events:
        # somebody listens when the request for the events is under way
        wait_until(lambda: '"path":"/admin/events"' in vllmgw("requests", "--json", url=gateway.url), 10, "the listener")
        vllmgw("load", "a", url=gateway.url)
        lines = [json.loads(line) for line in events.stdout]
        assert events.wait(30) == 0
    assert len(lines) == 3 and {event["model"] for event in lines} == {"a"}
    assert "listening" in vllmgw("logs", "-n", "1", "a", url=gateway.url)
    with subprocess.Popen([binary("vllmgw"), "--url", gateway.url, "logs", "-f", "a"], stdout=subprocess.PIPE) as follow:
        assert b"listening" in follow.stdout.readline()
        follow.terminate()
    top = vllmgw("top", url=gateway.url)
    assert top.startswith("vllmgw-server ") and re.search(r"^a +ready", top, re.M) and "REQUEST" in top


def test_a_request_is_found_and_cancelled(gateway):
    vllmgw("load", "slow", url=gateway.url)
    with gateway.connect() as client:
        client.send(http("POST", "/v1/chat/completions", chat_body("slow")))
        def found():
            return re.search(r"^(req-\S+) +slow", vllmgw("requests", url=gateway.url), re.M)
        request = wait_until(found, 10, "the request")[1]
        assert vllmgw("cancel", request, url=gateway.url) == "cancelled\n"
        assert client.read_answer("POST").status == 502
    vllmgw("cancel", request, url=gateway.url, status=1)


def test_the_key_comes_from_the_option_or_the_environment(tmp_path):
    with Gateway({"a": model("a")}, state_dir=str(tmp_path), admin={"key": "k-e-y"}) as server:
        assert "--key" in vllmgw("ps", url=server.url, status=1)
        vllmgw("ps", "--key", "k-e-y", url=server.url)
        vllmgw("ps", VLLMGW_URL=server.url, VLLMGW_KEY="k-e-y")


def test_it_speaks_over_a_unix_socket(tmp_path):
    path = str(tmp_path / "sock")
    with Gateway({"a": model("a")}, state_dir=str(tmp_path), listen=["127.0.0.1:0", f"unix:{path}"]):
        assert "a" in vllmgw("models", url=f"unix:{path}")


def test_bench_reports_percentiles(gateway):
    vllmgw("load", "a", url=gateway.url)
    for more in ([], ["--stream"]):
        answer = json.loads(vllmgw("bench", "--json", "--model", "a", "-c", "4", "-n", "40", "--max-tokens", "4", *more,
                                   url=gateway.url))
        assert answer["ok"] == 40 and answer["total_ms"]["p50"] > 0
    text = vllmgw("bench", "--model", "a", "-n", "3", url=gateway.url)
    assert text.startswith("3 of 3 requests") and re.search(r"^total( +\d+\.\d){4}$", text, re.M)
    vllmgw("bench", "--model", "nobody", "-n", "2", url=gateway.url, status=1)


# --- what-if ---

def simulate(trace, *more):
    answer = json.loads(vllmgw("simulate", "--json", "--config", str(TRACES / "models.yaml"), "--trace",
                               str(TRACES / f"{trace}.jsonl"), *more))
    return {run["policy"]: run for run in answer["policies"]}


@pytest.mark.parametrize("trace", ["steady", "agent", "bursty"])
def test_the_cost_policy_comes_near_the_bound_and_first_come_does_not(trace):
    runs = simulate(trace)
    bound = runs["clairvoyant"]["wait_p95_ms"]
    assert bound <= runs["cost"]["wait_p95_ms"] <= 1.2 * bound
    assert runs["first-come"]["wait_p95_ms"] >= 2 * bound
    assert runs["cost"]["refused"] == 0


def test_what_if_there_were_room_for_more():
    one, three = simulate("steady"), simulate("steady", "--set", "residency.max_resident=3")
    assert three["lru"]["swaps"] == 3 < one["lru"]["swaps"]
    assert three["lru"]["wait_p50_ms"] == 0


def test_times_come_from_a_gateway_or_by_hand(gateway, tmp_path):
    slow = simulate("agent")
    by_hand = simulate("agent", "--time", "a=1s,100ms", "--time", "b=1s,100ms")
    assert by_hand["cost"]["wait_p95_ms"] < slow["cost"]["wait_p95_ms"] / 10
    vllmgw("load", "a", "b", url=gateway.url)
    learned = simulate("agent", "--times", gateway.url)
    assert learned["lru"]["wait_p95_ms"] < slow["lru"]["wait_p95_ms"]
    file = tmp_path / "learned.json"
    file.write_text(vllmgw("state", url=gateway.url))
    assert simulate("agent", "--times", str(file)) == learned


def test_mistakes_in_a_question_name_their_place(tmp_path):
    config, trace = str(TRACES / "models.yaml"), tmp_path / "t.jsonl"
    trace.write_text('{"at_ms":1,"model":"a","service_ms":1}\n{"at_ms":0,"model":"a","service_ms":1}\n')
    assert f"{trace}:2: " in vllmgw("simulate", "--config", config, "--trace", str(trace), status=1)
    trace.write_text('{"at_ms":1,"model":"nobody","service_ms":1}\n')
    assert "nobody" in vllmgw("simulate", "--config", config, "--trace", str(trace), status=1)
    assert "--set" in vllmgw("simulate", "--config", config, "--trace", str(trace), "--set", "no.key=1", status=1)
    assert "missing.yaml" in vllmgw("simulate", "--config", "missing.yaml", "--trace", str(trace), status=1)


def test_a_log_becomes_a_trace(gateway, tmp_path):
    for name in ("a", "b", "a"):
        assert gateway.chat(name).status == 200
    gateway.access(3)
    lines = [json.loads(line) for line in vllmgw("trace", "export", "--log", gateway.log_path).splitlines()]
    assert [line["model"] for line in lines] == ["a", "b", "a"]
    assert lines[0]["at_ms"] == 0 and lines == sorted(lines, key=lambda line: line["at_ms"])
    trace = tmp_path / "t.jsonl"
    trace.write_text("\n".join(map(json.dumps, lines)))
    assert "3 requests" in vllmgw("simulate", "--config", str(TRACES / "models.yaml"), "--trace", str(trace))
    empty = tmp_path / "empty"
    empty.write_text("12:00:00 info  access: nothing\n")
    assert "log.format: json" in vllmgw("trace", "export", "--log", str(empty), status=1)
