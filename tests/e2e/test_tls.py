# SPDX-License-Identifier: Apache-2.0
"""TLS on the listeners: what clients see, what the engine sees, certificates that change, what is refused."""

import json
import os
import pathlib
import shutil
import socket
import ssl
import subprocess
import sys
import threading
import time

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from certificates import Authority  # noqa: E402
from engine import Engine, binary, wait_until  # noqa: E402
from gateway import Answer, Connection, Gateway, chat_body, http  # noqa: E402

CHAT = "/v1/chat/completions"


def post(*headers, **more):
    return http("POST", CHAT, chat_body("small", **more), headers)


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def files(authority):
    return authority.make("gateway")


@pytest.fixture(scope="module")
def engine():
    with Engine(served_model_name="small", tokens=5) as one:
        yield one


def start(engine, authority, files, *args, **more):
    keys = {"listen": "https://127.0.0.1:0", **more}
    tls = {"certificate": files[0], "key": files[1], **keys.pop("tls", {})}
    return Gateway({"small": engine}, *args, trust=authority.trust(), tls=tls, **keys)


@pytest.fixture(scope="module")
def gateway(engine, authority, files):
    with start(engine, authority, files, limits={"header_timeout": "700ms", "body": "1MiB"}) as one:
        yield one


# --- ordinary use ---

def test_a_thousand_requests_on_one_connection(gateway):
    with gateway.connect() as connection:
        for _ in range(1000):
            connection.send(post())
            assert connection.read_answer().status == 200
        assert not connection.is_closed


def test_streams_arrive_whole_and_end_with_a_proper_goodbye(gateway):
    with gateway.connect() as connection:
        connection.send(post("Connection: close", stream=True))
        answer = Answer(connection.read_all())
        assert answer.is_clean and answer.events()[-1] == "[DONE]"
        assert not connection.was_reset, "ended by close_notify"
    assert gateway.access_of(answer)["peer"] == "127.0.0.1"


def test_a_session_is_used_again_after_streams(gateway):
    with gateway.connect() as connection:
        for number in range(40):
            connection.send(post(stream=number % 4 > 0))
            answer = connection.read_answer()
            assert answer.status == 200 and answer.is_clean and answer.get("connection") is None
            assert gateway.access_of(answer)["peer"] == "127.0.0.1"
        connection.send(post(stream=True) + post())
        assert connection.read_answer().get("connection") == "close", "the second was read with the first"
        assert connection.read_all() == b"" and not connection.was_reset


def test_curl_is_served_and_speaks_http_1_1(gateway, authority):
    done = subprocess.run(["curl", "-sS", "--cacert", authority.path, "-w", "%{http_version} %{ssl_verify_result}", "-o",
                           "/dev/null", f"https://localhost:{gateway.port}/v1/models"], capture_output=True, text=True,
                          timeout=20)
    assert (done.returncode, done.stdout) == (0, "1.1 0"), done.stderr


def test_a_client_that_wants_small_records_gets_every_byte(gateway, authority):
    """A piece that filled several records was taken for sent after the first."""
    request = http("GET", "/metrics", headers=["Connection: close"])
    done = subprocess.run(["openssl", "s_client", "-connect", f"127.0.0.1:{gateway.port}", "-CAfile", authority.path,
                           "-maxfraglen", "512", "-quiet", "-ign_eof"], input=request,
                          capture_output=True, timeout=20)
    answer = Answer(done.stdout)
    assert answer.status == 200 and len(answer.body) > 4096, done.stderr
    assert len(answer.body) == int(answer.get("content-length"))


def test_the_start_says_https(gateway):
    assert f"listening on https://127.0.0.1:{gateway.port}" in gateway.text


def test_several_workers_answer_many_clients_at_once(engine, authority, files):
    with start(engine, authority, files, workers=2) as gateway:
        answers = []

        def ask(stream):
            answers.append(gateway.chat("small", stream=stream))
        threads = [threading.Thread(target=ask, args=(number % 2 == 0,)) for number in range(40)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert [answer.status for answer in answers] == [200] * 40
        assert all(answer.is_clean for answer in answers)


def test_tls_and_plain_listeners_stand_side_by_side(engine, authority, files, tmp_path):
    path = str(tmp_path / "socket")
    with start(engine, authority, files, listen=["https://127.0.0.1:0", f"unix:{path}"]) as gateway:
        assert gateway.chat("small").status == 200
        with socket.socket(socket.AF_UNIX) as sock:
            sock.connect(path)
            sock.sendall(http("GET", "/v1/models", headers=["Connection: close"]))
            assert sock.recv(65536).startswith(b"HTTP/1.1 200")


def test_node_s_fetch_which_official_clients_use_reads_a_stream(gateway, authority):
    if not shutil.which("node"):
        pytest.skip("node is not installed (Debian: nodejs): its client was NOT tried")
    script = ("(async () => { const r = await fetch(process.argv[1] + '/v1/chat/completions', {method: 'POST',"
              " headers: {'content-type': 'application/json'}, body: JSON.stringify({model: 'small', stream: true,"
              " messages: [{role: 'user', content: 'hi'}]})}); let t = ''; const d = new TextDecoder();"
              " for await (const p of r.body) t += d.decode(p); console.log(r.status, t.includes('[DONE]')); })()")
    done = subprocess.run(["node", "-e", script, f"https://localhost:{gateway.port}"], capture_output=True, text=True,
                          env={**os.environ, "NODE_EXTRA_CA_CERTS": authority.path}, timeout=60)
    assert done.stdout.strip() == "200 true", done.stderr


def test_an_administrator_is_told_apart_as_without_tls(gateway, engine, authority, files):
    """Behind TLS everybody comes through a socket of our own: that makes nobody an administrator."""
    good = gateway.request("GET", "/admin/state", headers=["Connection: close"])
    assert good.status == 403 and good.error["code"] == "host_not_allowed"
    with gateway.connect() as connection:
        connection.send(http("GET", "/admin/state", host="localhost", headers=["Connection: close"]))
        assert connection.read_answer().status == 200
    with start(engine, authority, files, admin={"key": "sk-admin-0123456789"}) as other:
        assert other.request("GET", "/admin/state").status == 401


# --- clients that leave, dawdle or do not read ---

@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("phase", ["before the first byte", "in the middle"])
def test_the_engine_is_let_go_when_the_client_leaves(authority, files, phase, stream):
    timing = {"ttft": "60s"} if phase == "before the first byte" else {"itl": "50ms", "tokens": "1200"}
    with Engine(served_model_name="small", **timing) as engine, start(engine, authority, files) as gateway:
        connection = gateway.connect()
        connection.send(post(stream=stream))
        engine.wait_for(lambda counters: counters["running"] == 1)
        if phase == "in the middle" and stream:
            connection.read_until(b"data: ")
        now = engine.counters()["now_ms"]
        connection.close()
        counters = engine.wait_for(lambda counters: counters["closed_by_client"] == 1)
        assert counters["last_close_ms"] - now < 100 + 50
        assert gateway.access(1)[0]["outcome"] in ("client_closed", "client_gone")


def test_a_client_that_does_not_read_costs_bounded_memory_and_gets_all_of_it_later(authority, files):
    """What waits in the gateway is a few sockets' buffers, whatever the engine could send."""
    quiet = {"ASAN_OPTIONS": "quarantine_size_mb=1:thread_local_quarantine_size_kb=64"}
    with Engine(served_model_name="small", tokens=10000, chunk_bytes="2KiB") as engine, \
            start(engine, authority, files, env=quiet) as gateway:
        gateway.chat("small", stream=True, max_tokens=10)
        before = gateway.resident_bytes()
        with gateway.connect(receive_buffer=16384, timeout=60) as connection:
            connection.send(post("Connection: close", stream=True))
            connection.read_until(b"data: ")
            sent = 0
            while sent != engine.counters()["bytes_sent"]:
                sent = engine.counters()["bytes_sent"]
                threading.Event().wait(0.3)
            assert engine.counters()["running"] == 1, "held back"
            assert gateway.resident_bytes() - before < 4 << 20
            pieces = [connection.data, *iter(lambda: connection.sock.recv(65536), b"")]
        whole = b"".join(pieces)
        assert whole.endswith(b"0\r\n\r\n") and whole.count(b"data: ") > 10000 and len(whole) > 16 << 20


def test_what_a_client_has_not_read_yet_at_the_end_is_not_lost(authority, files):
    """The gateway has sent everything and waits for the client's goodbye for a while only."""
    with Engine(served_model_name="small", tokens=100, chunk_bytes="2KiB") as engine, \
            start(engine, authority, files) as gateway:
        idle = gateway.descriptors()
        with gateway.connect() as connection:
            connection.send(post("Connection: close", stream=True))
            gateway.access(1)
            wait_until(lambda: gateway.descriptors() <= idle + 1, 10, "the gateway's close")  # the engine's stays
            answer = Answer(connection.read_all())
        assert answer.is_clean and not connection.was_reset


def test_a_handshake_that_never_ends_is_cut_at_the_heads_deadline(gateway):
    began = time.monotonic()
    with Connection(gateway.port) as silent, Connection(gateway.port) as slow:
        slow.send(b"\x16\x03\x01")
        assert silent.read_all() == b"" and slow.read_all() == b""
        assert 0.6 < time.monotonic() - began < 5
    assert gateway.chat("small").status == 200


def test_plain_http_is_told_to_speak_tls(gateway):
    with Connection(gateway.port) as connection:
        connection.send(http("GET", "/v1/models"))
        answer = connection.read_answer()
        assert answer.status == 400 and "https://" in answer.error["message"]
        connection.read_all()


@pytest.mark.parametrize("noise", [b"\x00" * 100, b"\x16\x03\x01\xff\xff" + b"x" * 300, b"PRI * HTTP/2.0\r\n\r\n", b"\xff"])
def test_noise_ends_the_connection_and_nothing_else(gateway, noise):
    with Connection(gateway.port) as connection:
        connection.send(noise)
        connection.read_all()
    assert gateway.chat("small").status == 200


def test_an_upload_over_the_limit_is_refused_and_the_answer_can_be_read(gateway, authority, tmp_path):
    body = tmp_path / "body"
    body.write_bytes(b'{"model":"small","pad":"' + b"x" * (4 << 20) + b'"}')
    for framing in ("Transfer-Encoding: chunked", "X-Nothing: x"):
        done = subprocess.run(["curl", "-sS", "--cacert", authority.path, "-H", framing, "-H", "Expect:", "-H",
                               "Content-Type: application/json", "--data-binary", f"@{body}",
                               f"https://localhost:{gateway.port}{CHAT}"], capture_output=True, text=True, timeout=20)
        assert json.loads(done.stdout)["error"]["code"] == "request_too_large", (done.stdout, done.stderr)


# A program of its own, because it must be quicker than the gateway: argv: port, certificate to trust, path.
PUMP = """
import socket, ssl, sys
sock = ssl.create_default_context(cafile=sys.argv[2]).wrap_socket(
    socket.create_connection(("127.0.0.1", int(sys.argv[1]))), server_hostname="localhost")
sock.settimeout(15)
sock.sendall(b"POST %s HTTP/1.1\\r\\nHost: a\\r\\nContent-Type: application/json\\r\\n"
             b"Content-Length: 1099511627776\\r\\n\\r\\n" % sys.argv[3].encode())
try:
    while True:
        sock.sendall(b"x" * (1 << 20))
except OSError:
    pass
"""


def test_a_client_that_sends_on_after_its_answer_does_not_hold_its_worker(gateway, authority):
    """Nobody reads what it sends any more, so nothing slows it down: others go on, and it is cut after a while."""
    waits = []
    with subprocess.Popen([sys.executable, "-c", PUMP, str(gateway.port), authority.path, CHAT]) as pump:
        while pump.poll() is None:
            begun = time.monotonic()
            assert gateway.request("GET", "/health").status == 200
            waits.append(time.monotonic() - begun)
    assert max(waits) < 1.5, sorted(waits)[-5:]


def test_a_broken_stream_is_not_taken_for_a_whole_one(authority, files):
    """HTTP/1.0 has no chunks: the end of the connection is the end of the answer, unless TLS tells otherwise."""
    with Engine(served_model_name="small", tokens=10) as engine, start(engine, authority, files) as gateway:
        engine.fault("die-mid-stream:2", times=1)
        with gateway.connect() as connection:
            connection.send(post(stream=True).replace(b"HTTP/1.1", b"HTTP/1.0", 1))
            connection.read_all()
            assert connection.was_reset


def test_without_descriptors_clients_wait_nothing_spins_and_it_recovers(engine, authority, files):
    """Those who got in without a handshake fill it up; one that shakes hands needs two descriptors more."""
    with start(engine, authority, files, program=["prlimit", "--nofile=40:40"], limits={"connections": 200}) as gateway:
        held = [Connection(gateway.port) for _ in range(60)]
        wait_until(lambda: gateway.descriptors() == 40, what="the last descriptor's use")
        cpu, began = gateway.cpu_seconds(), time.monotonic()
        wait_until(lambda: time.monotonic() - began > 0.7, what="some time")
        assert gateway.cpu_seconds() - cpu < 0.3, "waiting for a descriptor is no busy loop"
        for connection in held:
            connection.reset()
        assert gateway.chat("small").status == 200


def test_connections_over_the_limit_wait_for_their_turn(engine, authority, files):
    with start(engine, authority, files, limits={"connections": 4}) as gateway:
        held = [gateway.connect() for _ in range(5)]
        with Connection(gateway.port, timeout=0.3) as waiting:
            waiting.send(b"\x16\x03\x01")
            with pytest.raises(TimeoutError):
                waiting.receive()
            for connection in held:
                connection.close()
        assert gateway.chat("small").status == 200


# --- versions and protocols ---

def shake_hands(gateway, context):
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=20) as sock:
        with context.wrap_socket(sock, server_hostname="localhost") as wrapped:
            return wrapped.version(), wrapped.selected_alpn_protocol()


def test_http_1_1_is_chosen_and_what_only_speaks_http_2_is_told(gateway, authority):
    assert shake_hands(gateway, authority.trust(["h2", "http/1.1"])) == ("TLSv1.3", "http/1.1")
    assert shake_hands(gateway, authority.trust(version=ssl.TLSVersion.TLSv1_2)) == ("TLSv1.2", None)
    with pytest.raises(ssl.SSLError, match="no application protocol"):
        shake_hands(gateway, authority.trust(["h2"]))


def test_versions_below_the_oldest_are_refused(engine, authority, files):
    with start(engine, authority, files, tls={"min_version": "TLSv1.3"}) as gateway:
        assert shake_hands(gateway, authority.trust())[0] == "TLSv1.3"
        with pytest.raises(ssl.SSLError, match="(?i)protocol.version"):
            shake_hands(gateway, authority.trust(version=ssl.TLSVersion.TLSv1_2))


# --- certificates ---

def serial_shown(gateway, authority):
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=20) as sock:
        with authority.trust().wrap_socket(sock, server_hostname="localhost") as wrapped:
            return wrapped.getpeercert()["serialNumber"]


def test_a_new_certificate_is_shown_without_dropping_anybody(authority, tmp_path):
    """By the files' change, and by SIGHUP; a stream that began before goes on."""
    one, two, three = authority.make("one"), authority.make("two"), authority.make("three")
    shown = (str(tmp_path / "certificate.pem"), str(tmp_path / "key.pem"))

    def install(files):
        for source, target in zip(files, shown):
            shutil.copy(source, target + ".new")
            os.rename(target + ".new", target)
    install(one)
    with Engine(served_model_name="small", itl="20ms", tokens=80) as engine, start(engine, authority, shown) as gateway:
        first = serial_shown(gateway, authority)
        with gateway.connect() as stream, gateway.connect() as kept:
            stream.send(post(stream=True))
            stream.read_until(b"data: ")
            install(two)
            second = wait_until(lambda: (lambda seen: seen != first and seen)(serial_shown(gateway, authority)), 10,
                                "the second certificate")
            install(three)
            assert gateway.reload()
            assert serial_shown(gateway, authority) not in (first, second)
            kept.send(http("GET", "/v1/models"))
            assert kept.read_answer().status == 200
            assert stream.read_answer().is_clean


def test_a_bad_certificate_changes_nothing_and_is_told(engine, authority, tmp_path):
    good = authority.make("good")
    shown = (str(tmp_path / "certificate.pem"), str(tmp_path / "key.pem"))
    for source, target in zip(good, shown):
        shutil.copy(source, target)
    with start(engine, authority, shown) as gateway:
        pathlib.Path(shown[0]).write_text("nonsense\n")
        wait_until(lambda: "the certificate stays as it was" in gateway.text, 10, "the complaint")
        assert not gateway.reload()
        assert gateway.chat("small").status == 200
        shutil.copy(good[0], shown[0])
        wait_until(lambda: "certificate read again" in gateway.text, 10, "the recovery")


def check(tmp_path, authority, certificate, key, listen="https://127.0.0.1:0"):
    config = tmp_path / "check.yaml"
    tls = {name: value for name, value in (("certificate", certificate), ("key", key)) if value}
    config.write_text(json.dumps({"listen": listen, "tls": tls,
                                  "models": {"m": {"backend": {"kind": "static", "urls": ["http://127.0.0.1:9"]}}}}))
    done = subprocess.run([binary("vllmgw-server"), "--check", "-c", str(config)], capture_output=True, text=True,
                          timeout=20)
    return done.returncode, done.stderr


def test_what_is_wrong_with_the_files_is_told_with_a_remedy(tmp_path, authority, files):
    certificate, key = files
    other = authority.make("other")
    text, locked = tmp_path / "text.pem", tmp_path / "locked.key"
    text.write_text("hello\n")
    subprocess.run(["openssl", "ec", "-in", key, "-aes128", "-passout", "pass:secret", "-out", str(locked)], check=True,
                   capture_output=True)
    for pair, said in [
            (("/nowhere.pem", key), "tls.certificate: /nowhere.pem: No such file"),
            ((certificate, "/nowhere.key"), "tls.key: /nowhere.key: No such file"),
            ((str(text), key), "holds no certificate in PEM form"),
            ((certificate, str(text)), "holds no private key in PEM form"),
            ((certificate, other[1]), "is not the key of the certificate in"),
            ((certificate, str(locked)), "has a passphrase; store it without one"),
            ((certificate, None), "tls.key: is needed with tls.certificate"),
            ((None, None), "listen: https:// needs tls.certificate and tls.key")]:
        code, stderr = check(tmp_path, authority, *pair)
        assert code == 78 and said in stderr, (pair, stderr)
    code, stderr = check(tmp_path, authority, *files, listen="127.0.0.1:0")
    assert code == 78 and "no address begins with https://" in stderr
    assert check(tmp_path, authority, *files) == (0, "")


def test_a_certificate_that_has_expired_or_soon_will_is_warned_of(tmp_path, authority):
    for name, days, said in [("old", -1, "has expired"), ("late", 3, "expires within 14 days")]:
        code, stderr = check(tmp_path, authority, *authority.make(name, days=days))
        assert code == 0 and stderr.startswith("warning: tls.certificate: ") and said in stderr


# --- the end ---

def test_a_stop_lets_streams_finish_and_tells_what_it_must_cut(authority, files):
    with Engine(served_model_name="small", itl="20ms", tokens=30) as engine, \
            Engine(served_model_name="small", itl="50ms", tokens=2000) as endless:
        for upstream, drain, clean in ((engine, "20s", True), (endless, "300ms", False)):
            with start(upstream, authority, files, timeouts={"drain": drain}) as gateway:
                with gateway.connect() as stream, Connection(gateway.port) as silent:
                    stream.send(post(stream=True))
                    stream.read_until(b"data: ")
                    gateway.term()
                    answer = Answer(stream.read_all())
                    silent.read_all()
                assert answer.is_clean == clean
                assert clean or "shutting_down" in answer.events()[-1]
