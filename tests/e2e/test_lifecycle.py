# SPDX-License-Identifier: Apache-2.0
"""Starting, reloading and stopping vllmgw-server, with work in every phase."""

import fcntl
import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import threading

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from engine import Engine, binary, wait_until  # noqa: E402
from gateway import SANITIZER, Answer, Connection, Gateway, chat_body, http  # noqa: E402

PATH = "/v1/chat/completions"


def ask(gateway, model="small", stream=True, is_last=True, **more):
    """A connection that has asked; usually for the last time."""
    connection = gateway.connect()
    headers = ["Connection: close"] if is_last else []
    connection.send(http("POST", PATH, chat_body(model, stream=stream, **more), headers))
    return connection


def finish(connections):
    """The one answer of each connection, read to the connections' ends."""
    return [Answer(connection.read_all()) for connection in connections]


def wait_for_text(gateway, text, timeout=10.0):
    wait_until(lambda: text in gateway.text, timeout, f"{text!r} in the log")


def wait_in_flight(gateway, count):
    name = 'vllmgw_requests_in_flight{model="small"}'
    wait_until(lambda: gateway.metrics()[name] == count, 20, f"{count} requests in flight")


def ended(gateway, timeout):
    """The exit status; the log must be free of a sanitizer's or of MHD's last words."""
    code = gateway.process.wait(timeout)
    assert not SANITIZER.search(gateway.text) and "Fatal error" not in gateway.text, gateway.text[-8000:]
    return code


# --- stopping ---

@pytest.mark.parametrize("workers", [1, 2])
def test_sigterm_lets_what_is_under_way_finish_and_refuses_what_is_new(workers):
    with Engine(model="small", tokens=20, itl="50ms") as engine, Gateway({"small": engine}, workers=workers) as gateway:
        expected = gateway.chat("small", stream=True).body
        whole = gateway.chat("small").body
        kept = gateway.connect()
        kept.send(http("GET", "/health"))
        assert kept.read_answer().status == 200
        request, late = http("POST", PATH, chat_body("small")), gateway.connect()
        late.send(request[:20])
        streams = [ask(gateway, is_last=number % 2 == 0) for number in range(50)]
        waiting = [ask(gateway, stream=False, is_last=False) for _ in range(10)]
        wait_in_flight(gateway, 60)

        gateway.term()
        wait_for_text(gateway, "stopping: ")
        wait_until(lambda: is_refused(gateway.port), 5, "the refusal of new connections")
        late.send(request[20:])
        refused = late.read_answer()

        assert refused.status == 503 and refused.error["code"] == "shutting_down"
        assert refused.get("connection") == "close" and kept.read_all() == b""
        for answer in finish(streams):
            assert answer.status == 200 and answer.is_clean and answer.body == expected
        for connection in waiting:
            answer = connection.read_answer()
            assert answer.status == 200 and answer.body == whole
        assert ended(gateway, 5) == 0
        assert gateway.log[-1]["text"] == "stopped"


def is_refused(port):
    try:
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
    except ConnectionRefusedError:
        return True
    return False


def begin_all_phases(gateway):
    """Requests in every phase; {name of the phase: connection}."""
    body = json.dumps(chat_body("small")).encode()
    head = http("POST", PATH, body)
    phases = {
        "idle": b"", "half a head": head[:20], "half a body": head[:-10], "kept alive": http("GET", "/health"),
        "stream": http("POST", PATH, chat_body("small", stream=True)),
        "waiting": http("POST", PATH, chat_body("small", x_fault="stall-before-headers")),
        "waiting stream": http("POST", PATH, chat_body("small", stream=True, x_fault="stall-before-headers")),
        "half an answer": http("POST", PATH, chat_body("small", max_tokens=1, x_fault="big-body:8000000")),
        "stalled": http("POST", PATH, chat_body("small", stream=True, x_fault="stall-mid-stream:2")),
        "slow reader": http("POST", PATH, chat_body("small", stream=True, x_fault="event-8mb")),
        "refused, body on its way": http("POST", "/nowhere", b"x" * 5000000)[:1000],
        "waits for 100": http("POST", PATH, body, ["Expect: 100-continue"])[:-len(body)]}
    connections = {}
    for phase, data in phases.items():
        connections[phase] = gateway.connect(receive_buffer=4096 if phase in ("slow reader", "half an answer") else 0)
        connections[phase].send(data)
    connections["kept alive"].read_answer()
    for phase in ("stream", "stalled", "slow reader", "half an answer"):
        connections[phase].read_until(b"\r\n\r\n")
    return connections


@pytest.mark.parametrize("attempt", range(10))
def test_the_end_of_the_drain_cuts_every_phase_and_says_so(attempt):
    with Engine(model="small", tokens=2000, itl="10ms") as engine:
        with Gateway({"small": engine}, workers=1 + attempt % 2, timeouts={"drain": f"{attempt * 10}ms"}) as gateway:
            connections = begin_all_phases(gateway)
            wait_in_flight(gateway, 6)
            gateway.term()

            assert ended(gateway, 10) == 0
            for phase in ("stream", "stalled"):
                answer = Answer(connections[phase].read_all())
                assert not answer.is_clean and "[DONE]" not in answer.events()
                assert json.loads(answer.events()[-1])["error"]["code"] == "shutting_down", phase
            for phase in ("waiting", "waiting stream"):
                answer = Answer(connections[phase].read_all())
                assert answer.status == 503 and answer.error["code"] == "shutting_down", phase
            assert not Answer(connections["half an answer"].read_all()).is_clean
            assert not Answer(connections["slow reader"].read_all()).is_clean
            assert connections["idle"].read_all() == b""
            engine.wait_for(lambda counters: counters["open"] == 0)


def test_a_connection_just_accepted_gets_an_answer_although_the_server_stops():
    with Engine(model="small") as engine, Gateway({"small": engine}, workers=2) as gateway:
        base, request = gateway.descriptors(), http("POST", PATH, chat_body("small"))
        fresh = [gateway.connect() for _ in range(20)]
        wait_until(lambda: gateway.descriptors() == base + 20, 10, "their acceptance")
        gateway.term()
        wait_for_text(gateway, "stopping: ")
        for connection in fresh:
            connection.send(request)
        codes = {connection.read_answer().error["code"] for connection in fresh}
        assert codes == {"shutting_down"} and ended(gateway, 5) == 0


def test_an_idle_server_stops_at_once_by_both_signals():
    for number in (signal.SIGTERM, signal.SIGINT):
        with Gateway({"small": "http://127.0.0.1:9"}, workers=2) as gateway:
            gateway.process.send_signal(number)
            assert ended(gateway, 5) == 0


def test_a_second_sigterm_ends_the_patience():
    with Engine(model="small") as engine, Gateway({"small": engine}, timeouts={"drain": "60s"}) as gateway:
        stalled = ask(gateway, x_fault="stall-mid-stream:2")
        stalled.read_until(b"data: ")
        gateway.term()
        wait_for_text(gateway, "stopping: 1 request under way")
        assert gateway.process.poll() is None
        gateway.term()

        assert ended(gateway, 5) == 0
        answer = Answer(stalled.read_all())
        assert json.loads(answer.events()[-1])["error"]["code"] == "shutting_down" and not answer.is_clean
        assert "1 request had to be cut off" in gateway.text
        line = gateway.access()[-1]
        assert (line["outcome"], line["model"], line["status"]) == ("shutting_down", "small", 200)


def test_a_sighup_while_it_stops_cuts_nobody_off():
    with Engine(model="small", tokens=20, itl="50ms") as engine, Gateway({"small": engine}) as gateway:
        stream = ask(gateway)
        stream.read_until(b"data: ")
        gateway.term()
        wait_for_text(gateway, "stopping: 1 request under way")
        gateway.process.send_signal(signal.SIGHUP)

        assert Answer(stream.read_all()).is_clean
        assert ended(gateway, 5) == 0
        assert "cut off" not in gateway.text


def test_a_log_that_nobody_reads_does_not_keep_it_from_stopping(tmp_path):
    """The pipe is full, and whoever holds its other end does not care."""
    os.mkfifo(tmp_path / "log")
    reader = os.open(tmp_path / "log", os.O_RDWR | os.O_CLOEXEC)
    fcntl.fcntl(reader, fcntl.F_SETPIPE_SZ, 4096)
    try:
        with Gateway({}, program=["/bin/sh", "-c", f'exec "$@" 2>{tmp_path}/log', "sh"], wait=False) as gateway:
            said = b""
            while not (found := re.search(rb"listening on http://127.0.0.1:(\d+)", said)):
                said += os.read(reader, 4096)
            gateway.port = int(found[1])
            for _ in range(100):
                assert gateway.request("GET", "/v1/models/no-such-model-" + "x" * 100).status == 404
            gateway.term()
            assert gateway.process.wait(10) == 0
    finally:
        os.close(reader)


def test_health_says_that_it_drains():
    with Engine(model="small", itl="20ms") as engine, Gateway({"small": engine}) as gateway:
        requests = [http("GET", path) for path in ("/health", "/ready", "/v1/models")]
        begun = [gateway.connect() for _ in requests]
        for connection, request in zip(begun, requests):
            connection.send(request[:10])
        stream = ask(gateway)
        stream.read_until(b"data: ")
        gateway.term()
        wait_for_text(gateway, "stopping:")
        statuses = []
        for connection, request in zip(begun, requests):
            connection.send(request[10:])
            statuses.append(connection.read_answer().status)

        assert statuses == [503, 503, 200]
        assert Answer(stream.read_all()).is_clean
        assert ended(gateway, 5) == 0


# --- reloading ---

def test_a_reload_adds_and_takes_models_and_leaves_running_streams_alone():
    with Engine(model="small", tokens=20, itl="50ms") as engine, Engine(model="big", tokens=4) as big, \
            Gateway({"small": engine}, workers=2) as gateway:
        expected = gateway.chat("small", stream=True).body
        assert gateway.chat("big").error["code"] == "model_not_found"
        streams = [ask(gateway) for _ in range(10)]
        for stream in streams:
            stream.read_until(b"data: ")

        assert gateway.reload({"big": big})
        assert gateway.chat("small").error["code"] == "model_not_found"
        assert gateway.chat("big").status == 200
        assert [model["id"] for model in gateway.request("GET", "/v1/models").json()["data"]] == ["big"]
        for answer in finish(streams):
            assert answer.is_clean and answer.body == expected


def test_a_bad_file_changes_nothing_and_says_where_it_is_bad():
    with Engine(model="small", tokens=4) as engine, Gateway({"small": engine}) as gateway:
        good = pathlib.Path(gateway.config_path).read_text()
        bad = {"models:\n  small:\n    backnd: {}\n": r":3:5: .*backnd.*backend",
               "listen: [\n": r":2:1: ", "models: {a: {backend: {kind: nobody}}}\n": r":1:\d+: .*nobody",
               "modles: {}\n": r":1:1: .*models"}
        for text, said in bad.items():
            before = len(gateway.text)
            assert not gateway.reload(text=text), text
            assert re.search(r"error: .*vllmgw\.yaml" + said, gateway.text[before:]), gateway.text[before:]
            assert gateway.chat("small").status == 200
        os.unlink(gateway.config_path)
        assert not gateway.reload()
        assert gateway.chat("small").status == 200
        assert gateway.reload(text=good)


@pytest.mark.parametrize("text", ["", "\n\n", "# models will come\n", "{}\n"])
def test_a_file_that_was_emptied_takes_no_models_away(engine_of_reloads, text):
    """Somebody is about to write it, or the disk is full; to serve none is said so."""
    with Gateway({"small": engine_of_reloads}) as gateway:
        assert not gateway.reload(text=text)
        assert "is empty: nothing changes" in gateway.text
        assert gateway.chat("small").status == 200
        assert gateway.reload(text="models: {}\n")
        assert gateway.chat("small").status == 404


@pytest.fixture(scope="module")
def engine_of_reloads():
    with Engine(model="small", tokens=2) as engine:
        yield engine


def test_fifty_reloads_under_load_lose_no_request():
    with Engine(model="small", tokens=4) as one, Engine(model="small", tokens=4) as other, \
            Gateway({"small": one}, workers=2, log={"access": False}) as gateway:
        base, expected, stop, seen = gateway.descriptors(), gateway.chat("small").body, threading.Event(), []

        def hammer():
            with gateway.connect() as connection:
                while not stop.is_set():
                    connection.send(http("POST", PATH, chat_body("small")))
                    answer = connection.read_answer()
                    seen.append((answer.status, answer.body == expected))

        threads = [threading.Thread(target=hammer) for _ in range(8)]
        for thread in threads:
            thread.start()
        try:
            for i in range(50):
                assert gateway.reload({"small": [one, other][i % 2], f"extra-{i}": other})
        finally:
            stop.set()
            for thread in threads:
                thread.join()

        assert len(seen) > 100 and set(seen) == {(200, True)}
        assert gateway.reload({"small": one})
        wait_until(lambda: gateway.descriptors() <= base, 15, "the end of the connections to engines of the past")


def test_a_burst_of_reloads_ends_with_the_last_file():
    with Engine(model="small", tokens=4) as engine, Gateway({"small": engine}) as gateway:
        gateway.configure({"last": {"served_name": "small", "backend": {"kind": "static", "urls": [engine.url]}}})
        for _ in range(200):
            gateway.process.send_signal(signal.SIGHUP)
        wait_until(lambda: gateway.chat("last").status == 200, 10, "the last file")
        assert gateway.chat("small").status == 404


# --- listening ---

def test_it_listens_on_several_addresses_at_a_time(tmp_path):
    path = tmp_path / "socket"
    listen = ["127.0.0.1:0", "[::1]:0", f"unix:{path}"]
    with Engine(model="small", tokens=4) as engine, Gateway({"small": engine}, workers=2, listen=listen) as gateway:
        ports = re.findall(r"listening on http://\[::1\]:(\d+)", gateway.text)
        assert gateway.chat("small").status == 200
        assert len(ports) == 1, gateway.text
        for _ in range(8):  # whichever worker accepts
            assert over(socket.AF_INET6, ("::1", int(ports[0]))).status == 200
            assert over(socket.AF_UNIX, str(path)).status == 200
        assert path.stat().st_mode & 0o777 == 0o660
    assert not path.exists(), "the socket's file stays"


def over(family, address):
    with socket.socket(family) as sock:
        sock.settimeout(20)
        sock.connect(address)
        sock.sendall(http("POST", PATH, chat_body("small"), ["Connection: close"]))
        data = b""
        while piece := sock.recv(65536):
            data += piece
    return Answer(data)


def test_the_file_of_a_dead_server_is_replaced_and_that_of_a_living_one_is_not(tmp_path):
    path = tmp_path / "socket"
    with Engine(model="small", tokens=4) as engine:
        first = Gateway({"small": engine}, listen=["127.0.0.1:0", f"unix:{path}"])
        first.close()  # killed
        assert path.exists()
        with Gateway({"small": engine}, listen=["127.0.0.1:0", f"unix:{path}"]):
            code, text = serve({"listen": f"unix:{path}", "models": {}}, tmp_path)
            assert code == 1 and "in use" in text, text
            assert over(socket.AF_UNIX, str(path)).status == 200


def test_a_port_in_use_is_said_whoever_has_it(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as other:
        code, text = serve({"listen": f"127.0.0.1:{other.getsockname()[1]}", "models": {}}, tmp_path)
        assert code == 1 and "already in use" in text and str(other.getsockname()[1]) in text
    with Gateway({"small": "http://127.0.0.1:9"}, workers=2) as gateway:
        code, text = serve({"listen": f"127.0.0.1:{gateway.port}", "models": {}, "workers": 2}, tmp_path)
        assert code == 1 and "already in use" in text, "a second gateway took half of the first one's connections"


def test_a_start_that_cannot_listen_leaves_the_engines_of_an_earlier_run_alone(tmp_path):
    own = {"own": {"backend": {"kind": "process", "command": [binary("vllmgw-engine"), "--port", "${PORT}", "--model", "own"]}}}
    with Gateway(own, residency={"on_exit": "leave"}, state_dir=str(tmp_path)) as gateway:
        assert gateway.chat("own").status == 200
    with socket.create_server(("127.0.0.1", 0)) as other:
        code, text = serve({"listen": f"127.0.0.1:{other.getsockname()[1]}", "state_dir": str(tmp_path), "models": own}, tmp_path)
        assert code == 1 and "already in use" in text
    with Gateway(own, state_dir=str(tmp_path)) as gateway:
        assert "adopted pid" in gateway.text and gateway.chat("own").status == 200


def test_there_is_room_for_every_model_of_the_configuration_and_of_the_next():
    def models(prefix):
        return {f"{prefix}{i}": {"backend": {"kind": "process", "command": ["true", "${PORT}"]}} for i in range(200)}
    with Gateway(models("a")) as gateway:
        assert gateway.reload(models("b")), gateway.text
        assert len(gateway.request("GET", "/v1/models").json()["data"]) == 200


def test_a_stopped_server_can_be_started_again_at_once_on_its_port():
    with Engine(model="small", tokens=4) as engine:
        with Gateway({"small": engine}) as first:
            kept = first.connect()
            kept.send(http("GET", "/health"))
            kept.read_answer()
        with Gateway({"small": engine}, listen=f"127.0.0.1:{first.port}") as second:
            assert second.port == first.port and second.chat("small").status == 200


# --- the command line ---

def server(*args, env=None, timeout=20, **options):
    done = subprocess.run([binary("vllmgw-server"), *args], capture_output=True, text=True, timeout=timeout,
                          env={**os.environ, **(env or {})}, **options)
    assert not SANITIZER.search(done.stderr), done.stderr
    return done


def serve(config, folder):
    """Exit status and words of a server that is not expected to stay."""
    path = folder / "vllmgw.yaml"
    path.write_text(json.dumps(config))
    done = server("-c", str(path))
    return done.returncode, done.stderr


GOOD = "models:\n  small: {backend: {kind: static, urls: [http://127.0.0.1:9]}}\n"


@pytest.mark.parametrize("args, code, said", [
    (["--version"], 0, r"^vllmgw-server \d+\.\d+"), (["-V"], 0, r"libmicrohttpd \d"), (["--help"], 0, r"^Usage:"),
    (["-h"], 0, r"Exit status"), (["--json-schema"], 0, r'"\$schema"'), (["--reference"], 0, r"\| `?listen"),
    (["--nonsense"], 2, r"--nonsense.*\n.*--help"), (["-c"], 2, r"--help"), (["serve.yaml"], 2, r"with -c"),
    (["-c", "/nowhere/vllmgw.yaml"], 78, r"/nowhere/vllmgw\.yaml"), (["-c", "/", "--check"], 78, r"error: /")])
def test_exit_statuses_are_those_of_the_documentation(args, code, said):
    done = server(*args)
    assert done.returncode == code, done
    assert re.search(said, done.stdout if code == 0 else done.stderr), done
    assert not (done.stderr if code == 0 else done.stdout)


def test_check_counts_the_models_or_names_every_mistake(tmp_path):
    path = tmp_path / "vllmgw.yaml"
    path.write_text(GOOD)
    good = server("-c", str(path), "--check")
    path.write_text(GOOD + "wrokers: 2\nlimits: {body: 3parsecs}\n")
    bad = server("-c", str(path), "--check")

    assert (good.returncode, good.stdout, good.stderr) == (0, f"{path}: ok, 1 model\n", "")
    assert bad.returncode == 78 and bad.stdout == ""
    assert re.search(rf"{path}:3:1: .*wrokers.*workers", bad.stderr) and re.search(rf"{path}:4:\d+: .*", bad.stderr)


def test_what_print_config_prints_is_a_configuration(tmp_path):
    path, again = tmp_path / "vllmgw.yaml", tmp_path / "again.yaml"
    path.write_text(GOOD + "timeouts: {drain: 7s}\n")
    first = server("-c", str(path), "--print-config")
    again.write_text(first.stdout)
    second = server("-c", str(again), "--print-config")

    def values(text):
        return [line.split(" #")[0].rstrip() for line in text.split("\n") if not line.lstrip().startswith("#")]

    assert first.returncode == second.returncode == 0, second
    assert values(first.stdout) == values(second.stdout) and re.search(r"drain: 7s", first.stdout)


def test_the_schema_knows_the_keys_that_the_server_knows():
    schema = json.loads(server("--json-schema").stdout)
    assert {"listen", "workers", "models", "limits", "timeouts"} <= set(schema["properties"])


def test_environment_variables_override_the_file(tmp_path):
    path = tmp_path / "vllmgw.yaml"
    path.write_text(GOOD)
    done = server("-c", str(path), "--print-config", env={"VLLMGW_TIMEOUTS_DRAIN": "9s"})
    wrong = server("-c", str(path), "--check", env={"VLLMGW_TIMEOUTS_DRAIN": "soon"})
    assert re.search(r"drain: 9s", done.stdout), done
    assert wrong.returncode == 78 and "VLLMGW_TIMEOUTS_DRAIN" in wrong.stderr


def test_descriptors_that_do_not_suffice_are_told_at_the_start():
    with Gateway({"small": "http://127.0.0.1:9"}, program=["prlimit", "--nofile=300:300"]) as gateway:
        wait_for_text(gateway, "only 300 descriptors")
        assert gateway.request("GET", "/health").status == 200
