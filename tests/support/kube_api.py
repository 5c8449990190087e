# SPDX-License-Identifier: Apache-2.0
"""A Kubernetes API server for tests: https, bearer tokens, RBAC refusals, the scale subresource with conflicts,
EndpointSlices with lists, watches, bookmarks and 410, pods. Its bodies are those of the real one. Behind it is the
cluster of kube_cluster.py.

    kube_api.py FOLDER ENGINE RESOURCE/NAME=SERVED_NAME...

writes FOLDER/ca.crt and FOLDER/token, prints "ready PORT ENGINE_PORT ORDERS_PORT", and ends when its standard input
does. Tests give orders by POST /_test/ORDER with a JSON object (see ORDERS), without TLS, on a port of their own; each
is answered with the state.
"""

import json
import os
import pathlib
import re
import ssl
import subprocess
import sys
import threading
import time
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from kube_cluster import NAMESPACE, Cluster

USER = "system:serviceaccount:llm:gateway"
SCALE = re.compile(rf"/apis/apps/v1/namespaces/{NAMESPACE}/(deployments|statefulsets)/([^/]+)/scale")
SLICES = re.compile(rf"/apis/discovery.k8s.io/(v1|v1beta1)/namespaces/{NAMESPACE}/endpointslices")
PODS = f"/api/v1/namespaces/{NAMESPACE}/pods"
BOOKMARK_S = 0.5


class Refusal(Exception):
    def __init__(self, code, reason, message, details=None, headers=None):
        super().__init__(message)
        self.code = code
        self.headers = headers or {}
        self.body = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": message,
                     "reason": reason, "details": details or {}, "code": code}
        if code == 401:
            self.body.pop("details")


class State:
    """What the tests changed about the server itself; the cluster's lock guards it."""

    def __init__(self, cluster, token):
        self.cluster = cluster
        self.token = token
        self.denied = set()  # (verb, resource)
        self.faults = []     # [verb, resource, code, times, retry_after]
        self.calls = []      # "VERB RESOURCE"
        self.watch_epoch = 0  # watches of an older one are cut
        self.is_watch_refused_early = False  # 410 as the status instead of as an event
        self.slice_version = "v1"  # before Kubernetes 1.21: v1beta1

    def admit(self, verb, group, resource, name, authorization):
        """Authentication, authorization, then the faults a test ordered, in the real server's order."""
        self.calls.append(f"{verb} {resource}")
        if authorization != f"Bearer {self.token}":
            raise Refusal(401, "Unauthorized", "Unauthorized")
        if (verb, resource) in self.denied:
            raise self.deny(verb, group, resource, name)
        for fault in self.faults:
            if fault["times"] and fault["verb"] == verb and fault["resource"] == resource:
                fault["times"] -= 1
                raise self.deny(verb, group, resource, name) if fault["code"] == 403 else self.make_fault(fault)

    @staticmethod
    def deny(verb, group, resource, name):
        kind = resource.split("/")[0] + (f".{group}" if group else "")
        named = f' "{name}"' if name else ""
        details = {"group": group, "kind": resource.split("/")[0]} | ({"name": name} if name else {})
        return Refusal(403, "Forbidden", f'{kind}{named} is forbidden: User "{USER}" cannot {verb} resource '
                       f'"{resource}" in API group "{group}" in the namespace "{NAMESPACE}"', details)

    @staticmethod
    def make_fault(fault):
        code = fault["code"]
        if code == 409:
            return Refusal(409, "Conflict", 'Operation cannot be fulfilled on deployments.apps "big": the object has '
                           "been modified; please apply your changes to the latest version and try again")
        if code == 429:
            return Refusal(429, "TooManyRequests", "Too many requests, please try again later.",
                           {"retryAfterSeconds": 1}, {"Retry-After": "1"})
        return Refusal(code, "InternalError", "Internal error occurred: etcdserver: request timed out")


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    state = None

    def log_message(self, *_):
        pass

    def answer(self, code, body, headers=None):
        data = json.dumps(body).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def handle_call(self, body=None):
        url = urllib.parse.urlsplit(self.path)
        query = dict(urllib.parse.parse_qsl(url.query))
        try:
            if url.path.startswith("/_test/"):
                self.answer(200, give_order(self.state, url.path[7:], json.loads(body or "{}")))
            elif SCALE.fullmatch(url.path):
                self.answer(200, self.scale(*SCALE.fullmatch(url.path).groups(), body))
            elif SLICES.fullmatch(url.path):
                self.serve_slices(SLICES.fullmatch(url.path)[1], query)
            elif url.path == PODS:
                self.answer(200, self.list_pods(query))
            else:
                raise Refusal(404, "NotFound", "the server could not find the requested resource")
        except Refusal as refusal:
            self.answer(refusal.code, refusal.body, refusal.headers)
        except (BrokenPipeError, ConnectionResetError, ssl.SSLError):
            self.close_connection = True

    def do_GET(self):
        self.handle_call()

    def do_PATCH(self):
        self.handle_call(self.rfile.read(int(self.headers.get("Content-Length", 0))))

    do_POST = do_PATCH

    def admit(self, verb, group, resource, name=""):
        self.state.admit(verb, group, resource, name, self.headers.get("Authorization"))

    def scale(self, resource, name, body):
        cluster = self.state.cluster
        with cluster.changed:
            self.admit("patch" if body is not None else "get", "apps", f"{resource}/scale", name)
            workload = cluster.workloads.get((resource, name))
            if not workload:
                raise Refusal(404, "NotFound", f'{resource}/scale.apps "{name}" not found',
                              {"name": name, "group": "apps", "kind": f"{resource}/scale"})
            if body is None:
                return workload.render_scale()
            if self.headers.get("Content-Type") != "application/merge-patch+json":
                raise Refusal(415, "UnsupportedMediaType", "the body of the request was in an unknown format")
            patch = json.loads(body)
            version = patch.get("metadata", {}).get("resourceVersion")
            if version and version != str(workload.version):
                raise State.make_fault({"code": 409})
            replicas = patch["spec"]["replicas"]
            if replicas != workload.replicas:
                cluster.scale(workload, replicas)
            return workload.render_scale()

    def serve_slices(self, version, query):
        """Rights are looked at before the version is: they know groups only."""
        with self.state.cluster.changed:
            self.admit("watch" if query.get("watch") else "list", "discovery.k8s.io", "endpointslices")
            is_there = version == self.state.slice_version
        if not is_there:
            raise Refusal(404, "NotFound", "the server could not find the requested resource")
        if query.get("watch"):
            self.watch(query)
        else:
            self.answer(200, self.list_slices())

    def list_slices(self):
        cluster = self.state.cluster
        with cluster.changed:
            return {"kind": "EndpointSliceList", "apiVersion": f"discovery.k8s.io/{self.state.slice_version}",
                    "metadata": {"resourceVersion": str(cluster.version)}, "items": list(cluster.slices.values())}

    def list_pods(self, query):
        cluster = self.state.cluster
        with cluster.changed:
            self.admit("list", "", "pods")
            items = [pod.render() for workload in cluster.workloads.values() for pod in workload.pods
                     if query.get("labelSelector") == f"app={workload.name}"]
            return {"kind": "PodList", "apiVersion": "v1", "metadata": {"resourceVersion": str(cluster.version)},
                    "items": items}

    # --- watches ---

    def send_event(self, kind, thing):
        data = json.dumps({"type": kind, "object": thing}).encode() + b"\n"
        half = len(data) // 2  # pieces end where they like, not with the events
        for part in (data[:half], data[half:]):
            self.wfile.write(f"{len(part):x}\r\n".encode() + part + b"\r\n")
            self.wfile.flush()

    def watch(self, query):
        state, cluster = self.state, self.state.cluster
        seen = int(query["resourceVersion"])
        deadline = time.monotonic() + int(query.get("timeoutSeconds", "300"))
        gone = Refusal(410, "Expired", f"too old resource version: {seen} ({cluster.oldest})")
        with cluster.changed:
            epoch = state.watch_epoch
            is_gone = seen < cluster.oldest
            if is_gone and state.is_watch_refused_early:
                raise gone
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        if is_gone:
            self.send_event("ERROR", gone.body)
        while not is_gone and time.monotonic() < deadline:
            with cluster.changed:
                cluster.changed.wait_for(
                    lambda: state.watch_epoch != epoch or cluster.version > seen, BOOKMARK_S)
                if state.watch_epoch != epoch:
                    self.close_connection = True
                    return  # cut in the middle, without the last chunk
                events = [event for event in cluster.history if event[0] > seen]
                seen = max(seen, cluster.version)
            for _, kind, thing in events:
                self.send_event(kind, thing)
            if not events and query.get("allowWatchBookmarks") == "true":
                self.send_event("BOOKMARK", {"kind": "EndpointSlice", "apiVersion": "discovery.k8s.io/v1",
                                             "metadata": {"resourceVersion": str(seen)}})
        self.wfile.write(b"0\r\n\r\n")


# --- orders of the tests -------------------------------------------------------------------------------------------


def order_set(state, order):
    """Attributes of a workload: mode, is_stuck, arguments, grace, end_reason, end_message."""
    for name, value in order["set"].items():
        setattr(find(state, order), name, value)


def order_scale(state, order):
    """Somebody else scales it."""
    state.cluster.scale(find(state, order), order["replicas"])


def order_crash(state, order):
    """The engine of its first pod is killed, its container restarted."""
    pod = next(pod for pod in find(state, order).pods if pod.process)
    pod.process.kill()


def order_delete_pod(state, order):
    find(state, order).pods[0].delete()


def order_hold_unready(state, order):
    """Readiness probes fail although the engine answers."""
    for pod in find(state, order).pods:
        pod.is_held_unready = order["value"]


def order_forget(state, order):
    """The workload is deleted."""
    workload = find(state, order)
    state.cluster.scale(workload, 0)
    del state.cluster.workloads[(workload.resource, workload.name)]


def order_cut_watches(state, _):
    state.watch_epoch += 1
    state.cluster.touch()


def order_compact(state, order):
    state.is_watch_refused_early = order.get("early", False)
    state.cluster.compact()


def order_speak(state, order):
    """Another version of EndpointSlices, as after an upgrade."""
    state.slice_version = order["version"]


def order_deny(state, order):
    state.denied.add((order["verb"], order["resource"]))


def order_allow_all(state, _):
    state.denied.clear()
    state.faults.clear()


def order_fault(state, order):
    state.faults.append({"times": 1, **order})


def order_token(state, order):
    state.token = order["token"]


def order_reset(state, order):
    """As it was in the beginning; answered when the last pod is gone."""
    cluster = state.cluster
    state.denied.clear()
    state.faults.clear()
    state.is_watch_refused_early = False
    state.slice_version = "v1"
    state.token = order["token"]
    for workload in cluster.all_workloads:
        cluster.workloads[(workload.resource, workload.name)] = workload
        workload.reset()
        cluster.scale(workload, 0)
        for pod in workload.pods:
            pod.kill()
    cluster.changed.wait_for(lambda: not any(workload.pods for workload in cluster.all_workloads), 20)
    cluster.reset_addresses()


def order_state(_state, _order):
    """Nothing but the answer."""


ORDERS = {name[6:]: function for name, function in globals().items() if name.startswith("order_")}


def find(state, order):
    return state.cluster.workloads[tuple(order["workload"].split("/"))]


def give_order(state, name, order):
    with state.cluster.changed:
        ORDERS[name](state, order)
        calls, state.calls = state.calls, []
        return {"calls": calls, "workloads": {
            f"{resource}/{workload}": {"replicas": thing.replicas, "pods": len(thing.pods),
                                       "ready": sum(pod.ready for pod in thing.pods)}
            for (resource, workload), thing in state.cluster.workloads.items()}}


def make_certificates(folder):
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
         "-subj", "/CN=kubernetes", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", f"{folder}/tls.key", "-out",
         f"{folder}/ca.crt"], check=True, capture_output=True)


def main():
    folder, engine = pathlib.Path(sys.argv[1]), sys.argv[2]
    cluster = Cluster(engine)
    for text in sys.argv[3:]:
        workload, served_name = text.split("=", 1)
        cluster.add(*workload.split("/"), served_name)
    make_certificates(folder)
    Handler.state = State(cluster, "first-token")
    (folder / "token").write_text("first-token\n")
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "ca.crt", folder / "tls.key")
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    server.daemon_threads = True
    orders = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    for one in (server, orders):
        threading.Thread(target=one.serve_forever, daemon=True).start()
    print(f"ready {server.server_port} {cluster.port} {orders.server_port}", flush=True)
    sys.stdin.buffer.read()
    with cluster.changed:
        cluster.close()
    os._exit(0)


if __name__ == "__main__":
    main()
