# SPDX-License-Identifier: Apache-2.0
"""Clients behind proxies: who a request is from, for limits per address, the access log and what loopback peers may."""

import pathlib
import socket
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from engine import Engine  # noqa: E402
from gateway import Answer, Gateway, http  # noqa: E402

TRUSTED = ["127.0.0.1", "10.0.0.0/8", "fd00::/8"]


@pytest.fixture(scope="module")
def engine():
    with Engine("--served-model-name", "small", "--tokens", "2") as one:
        yield one


def peer(gateway, *headers):
    return gateway.access_of(gateway.request("GET", "/health", headers=headers))["peer"]


def test_the_client_is_the_first_from_the_right_that_is_not_trusted(engine):
    cases = {
        (): "127.0.0.1",
        ("X-Forwarded-For: 203.0.113.9",): "203.0.113.9",
        ("X-Forwarded-For: 198.51.100.1, 203.0.113.9",): "203.0.113.9",
        ("X-Forwarded-For: 198.51.100.1, 203.0.113.9, 10.1.2.3, fd00::7",): "203.0.113.9",
        ("X-Forwarded-For: 203.0.113.9:1234 , 10.1.2.3:80",): "203.0.113.9",
        ("X-Forwarded-For: 2001:DB8::1",): "2001:db8::1",
        ("X-Forwarded-For: [2001:db8::1]:443",): "2001:db8::1",
        ("X-Forwarded-For: ::ffff:203.0.113.9",): "203.0.113.9",
        ("X-Forwarded-For: 198.51.100.1", "x-forwarded-for: 203.0.113.9"): "203.0.113.9",
        ("X-Forwarded-For: 10.0.0.1, 10.0.0.2",): "10.0.0.1",
        ("X-Forwarded-For: 203.0.113.9, unknown",): "127.0.0.1",
        ("X-Forwarded-For: 203.0.113.9, unknown, 10.0.0.2",): "10.0.0.2",
        ("X-Forwarded-For: ",): "127.0.0.1",
        ("X-Forwarded-For: 203.0.113.0/24",): "127.0.0.1",
        ("X-Forwarded-For: " + "198.51.100.1, " * 60 + "203.0.113.9",): "203.0.113.9",
        ("Forwarded: for=198.51.100.1",): "127.0.0.1",
        ("Forwarded: for=198.51.100.1", "X-Forwarded-For: 203.0.113.9"): "203.0.113.9",
    }
    with Gateway({"small": engine}, trusted_proxies=TRUSTED) as gateway:
        assert {headers: peer(gateway, *headers) for headers in cases} == cases


def test_the_standard_header_when_that_is_configured(engine):
    cases = {
        ("Forwarded: for=203.0.113.9",): "203.0.113.9",
        ('Forwarded: for=198.51.100.1, proto=https;For="[2001:db8::1]:443";by=10.0.0.1, for=10.0.0.2',): "2001:db8::1",
        ("Forwarded: for=203.0.113.9, for=_hidden",): "127.0.0.1",
        ("Forwarded: proto=https",): "127.0.0.1",
        ("X-Forwarded-For: 203.0.113.9",): "127.0.0.1",
    }
    with Gateway({"small": engine}, trusted_proxies=TRUSTED, proxy_header="forwarded") as gateway:
        assert {headers: peer(gateway, *headers) for headers in cases} == cases


@pytest.mark.parametrize("trusted", [[], ["10.0.0.0/8", "unix"]])
def test_peers_that_are_not_trusted_say_nothing(engine, trusted):
    with Gateway({"small": engine}, trusted_proxies=trusted) as gateway:
        assert peer(gateway, "X-Forwarded-For: 203.0.113.9", "Forwarded: for=203.0.113.9") == "127.0.0.1"


def test_unix_sockets_can_be_trusted(engine, tmp_path):
    path = str(tmp_path / "gateway.sock")
    with Gateway({"small": engine}, trusted_proxies=["unix"], listen=["127.0.0.1:0", f"unix:{path}"]) as gateway:
        with socket.socket(socket.AF_UNIX) as sock:
            sock.connect(path)
            sock.sendall(http("GET", "/health", headers=["X-Forwarded-For: 203.0.113.9", "Connection: close"]))
            raw = b""
            while piece := sock.recv(65536):
                raw += piece
        assert gateway.access_of(Answer(raw))["peer"] == "203.0.113.9"
        assert peer(gateway, "X-Forwarded-For: 203.0.113.9") == "127.0.0.1"


def test_limits_per_address_count_clients_and_not_their_proxy(engine):
    with Gateway({"small": engine}, trusted_proxies=TRUSTED, auth={"per_ip_rpm": 2}) as gateway:
        for client in ("203.0.113.1", "203.0.113.2", "2001:db8::1"):
            statuses = [gateway.chat("small", [f"X-Forwarded-For: 198.51.100.{turn}, {client}"]).status for turn in range(3)]
            assert statuses == [200, 200, 429], client
        assert gateway.chat("small", ["X-Forwarded-For: 2001:db8::2"]).status == 429, "one network"


def test_nobody_becomes_a_loopback_peer_by_a_header(engine):
    def admin(gateway, *headers):
        with gateway.connect() as connection:
            connection.send(http("GET", "/admin/state", headers=headers, host="localhost"))
            return connection.read_answer()

    keys = {"keys": [{"name": "alice", "key": "sk-alice-0123456789"}]}
    with Gateway({"small": engine}, trusted_proxies=TRUSTED, auth=keys) as gateway:
        assert admin(gateway).status == 200 and gateway.request("GET", "/metrics").status == 200
        for client in ("203.0.113.9", "127.0.0.1", "::1", "10.0.0.1"):
            header = f"X-Forwarded-For: {client}"
            refused = admin(gateway, header)
            assert refused.status == 403 and refused.error["code"] == "permission_denied"
            assert gateway.request("GET", "/metrics", headers=[header]).status == 401


@pytest.mark.parametrize("entry", ["10.0.0.1/8", "300.0.0.1", "10.0.0.0/33", "proxy.example", "fd00::/129", "10.0.0.0/"])
def test_what_is_no_network_is_refused(engine, entry):
    with Gateway({"small": engine}) as gateway:
        assert not gateway.reload(trusted_proxies=[entry])
        assert "is not an address (127.0.0.1), a network" in gateway.text
