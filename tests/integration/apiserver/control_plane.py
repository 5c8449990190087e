# SPDX-License-Identifier: Apache-2.0
"""A real control plane without nodes: etcd, and kube-apiserver with TLS and RBAC.

    with ControlPlane(folder) as plane:
        server = plane.start_server()
        Api(server, plane.ca_file, ADMIN).apply(objects)
"""

import base64
import http.client
import json
import os
import pathlib
import signal
import socket
import ssl
import subprocess
import threading

from certificates import Authority
from engine import wait_until

PROGRAM = pathlib.Path(os.environ.get("VGW_APISERVER", "build/apiserver"), "kube-apiserver").absolute()
ADMIN = "the-admins-token"
# The headers of every call, and of each watch also its beginning: who asked what, and what was the answer.
AUDIT = {"apiVersion": "audit.k8s.io/v1", "kind": "Policy", "rules": [{"level": "Metadata"}],
         "omitStages": ["RequestReceived"]}


def free_port():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


class Server:
    """One kube-apiserver; several may share the etcd of a control plane."""

    def __init__(self, plane, number, *flags):
        self.plane, self.flags = plane, flags
        self.port = free_port()
        self.url = f"https://127.0.0.1:{self.port}"
        self.audit_path = plane.folder / f"audit-{number}.log"
        self.log_path = plane.folder / f"kube-apiserver-{number}.log"
        self.start()

    def start(self):
        plane = self.plane
        (plane.folder / "audit.json").write_text(json.dumps(AUDIT))
        cert, key = plane.server_pair
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(
                [PROGRAM, f"--etcd-servers={plane.etcd_url}", "--bind-address=127.0.0.1",
                 f"--secure-port={self.port}", "--advertise-address=192.0.2.2", f"--tls-cert-file={cert}",
                 f"--tls-private-key-file={key}", f"--cert-dir={plane.folder}", "--authorization-mode=RBAC",
                 f"--token-auth-file={plane.folder}/tokens.csv", "--service-account-issuer=https://kubernetes.default.svc",
                 f"--service-account-key-file={plane.account_key}", f"--service-account-signing-key-file={plane.account_key}",
                 "--disable-admission-plugins=ServiceAccount", "--endpoint-reconciler-type=none",
                 "--service-cluster-ip-range=10.96.0.0/16", f"--audit-policy-file={plane.folder}/audit.json",
                 f"--audit-log-path={self.audit_path}", *self.flags],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def wait(self):
        """Until it is ready, which includes its default roles."""
        api = Api(self, self.plane.ca_file, ADMIN)
        wait_until(lambda: api.try_call("GET", "/readyz")[0] == 200 or self.process.poll() is not None, 60, "kube-apiserver")
        if self.process.poll() is not None:
            raise RuntimeError(f"kube-apiserver ended:\n{self.log_path.read_text()[-3000:]}")

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(20)

    def audit(self, user, agent=None):
        """The calls of a user, oldest first; those of Api have the agent "tests", the gateway's none."""
        lines = self.audit_path.read_text().split("\n")[:-1]
        calls = [call for call in map(json.loads, lines) if call["user"].get("username") == user]
        return [call for call in calls if call.get("userAgent") == agent]


class ControlPlane:
    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        authority = Authority(self.folder)
        self.ca_file = authority.path
        self.server_pair = authority.make("server", subject="kubernetes")
        self.account_key = authority.make("accounts")[1]
        (self.folder / "tokens.csv").write_text(f'{ADMIN},admin,1,"system:masters"\n')
        self.etcd_url, peers = f"http://127.0.0.1:{free_port()}", f"http://127.0.0.1:{free_port()}"
        self.servers = []
        with open(self.folder / "etcd.log", "wb") as log:
            self.etcd = subprocess.Popen(
                ["etcd", "--unsafe-no-fsync", "--data-dir", self.folder / "etcd", "--listen-client-urls", self.etcd_url,
                 "--advertise-client-urls", self.etcd_url, "--listen-peer-urls", peers, "--initial-advertise-peer-urls",
                 peers, "--initial-cluster", f"default={peers}"], stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def start_server(self, *flags):
        self.servers.append(Server(self, len(self.servers), *flags))
        return self.servers[-1]

    def ask_etcd(self, path, body):
        connection = http.client.HTTPConnection(self.etcd_url[7:], timeout=20)
        connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
        answer = connection.getresponse()
        data = json.loads(answer.read())
        connection.close()
        assert answer.status == 200, data
        return data

    def compact(self):
        """Forget all the past."""
        found = self.ask_etcd("/v3/kv/range", {"key": base64.b64encode(b"none").decode()})
        self.ask_etcd("/v3/kv/compaction", {"revision": found["header"]["revision"], "physical": True})

    def close(self):
        for process in [*(server.process for server in self.servers), self.etcd]:
            process.kill()
            process.wait(20)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class Api:
    """Calls to a server by the owner of a token, on one connection per thread."""

    def __init__(self, server, ca_file, token):
        self.port, self.token = server.port, token
        self.trust = ssl.create_default_context(cafile=ca_file)
        self.local = threading.local()

    def _converse(self, method, path, data, content_type):
        connection = getattr(self.local, "connection", None)
        if connection is None:
            connection = self.local.connection = http.client.HTTPSConnection(
                "127.0.0.1", self.port, timeout=20, context=self.trust)
        try:
            connection.request(method, path, data, {"Authorization": f"Bearer {self.token}", "Content-Type": content_type,
                                                    "User-Agent": "tests"})
            answer = connection.getresponse()
            return answer.status, answer.read()
        except (OSError, http.client.HTTPException):
            connection.close()
            self.local.connection = None
            raise

    def try_call(self, method, path, body=None, content_type="application/json"):
        """(status, body); 0 without an answer. The body is an object if it is JSON."""
        data = None if body is None else json.dumps(body)
        try:
            try:
                status, data = self._converse(method, path, data, content_type)
            except (OSError, http.client.HTTPException):  # a connection to a server that was replaced meanwhile
                status, data = self._converse(method, path, data, content_type)
        except (OSError, http.client.HTTPException):
            return 0, {}
        try:
            return status, json.loads(data)
        except ValueError:
            return status, data.decode(errors="replace")

    def call(self, method, path, body=None, content_type="application/json"):
        status, answer = self.try_call(method, path, body, content_type)
        assert 200 <= status < 300, (method, path, status, answer)
        return answer

    def merge(self, path, patch):
        return self.call("PATCH", path, patch, "application/merge-patch+json")

    def try_apply(self, thing, namespace, query=""):
        """Server-side apply, which refuses fields that it does not know."""
        path = f"{folder_of(thing, namespace)}/{thing['metadata']['name']}?fieldManager=tests&force=true{query}"
        return self.try_call("PATCH", path, thing, "application/apply-patch+yaml")

    def apply(self, thing, namespace):
        status, answer = self.try_apply(thing, namespace)
        assert status in (200, 201), (thing["kind"], thing["metadata"]["name"], status, answer)
        return answer


def folder_of(thing, namespace):
    """The path of the objects of this one's kind."""
    version, kind = thing["apiVersion"], thing["kind"].lower()
    group = f"/apis/{version}" if "/" in version else f"/api/{version}"
    if thing["kind"] == "Namespace":
        return f"{group}/namespaces"
    plural = kind[:-1] + "ies" if kind.endswith("y") else kind + "s"
    return f"{group}/namespaces/{namespace}/{plural}"
