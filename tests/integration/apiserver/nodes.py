# SPDX-License-Identifier: Apache-2.0
"""What a cluster has besides its control plane, as small as can be: the controllers that make pods of Deployments and
StatefulSets and EndpointSlices of Services, and a kubelet that runs one vllmgw-engine per pod on an address of its own
in 127.0.0.0/8. All they know and say goes through the API.

An engine is called what the argument after --served-model-name of its container says; pods without it are never run.
"""

import datetime
import itertools
import subprocess
import threading
import urllib.request

from engine import binary

STEP_S = 0.05
MERGE = "application/merge-patch+json"


def now():
    return datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def served_name(pod_spec):
    args = pod_spec["containers"][0].get("args", [])
    return args[args.index("--served-model-name") + 1] if "--served-model-name" in args else None


def selects(labels, thing):
    return labels.items() <= thing["metadata"].get("labels", {}).items()


class Nodes:
    """The controllers of one namespace; a thread that looks again and again, as controllers do. Away servers are
    waited for."""

    addresses = (f"127.{78 + i // 200}.0.{i % 200 + 2}" for i in itertools.count())
    lock = threading.Lock()

    def __init__(self, api, namespace):
        self.api, self.namespace = api, namespace
        self.engines = {}     # uid of a pod -> process
        self.where = {}       # uid of a pod -> address
        self.is_closed = threading.Event()
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def close(self):
        self.is_closed.set()
        self.thread.join(20)
        for engine in self.engines.values():
            engine.kill()
            engine.wait(20)

    def _run(self):
        while not self.is_closed.wait(STEP_S):
            try:
                self._step()
            except Unanswered:
                pass

    # --- the API ---

    def path(self, kind):
        group = {"pods": "/api/v1", "services": "/api/v1", "endpointslices": "/apis/discovery.k8s.io/v1beta1"}
        return f"{group.get(kind, '/apis/apps/v1')}/namespaces/{self.namespace}/{kind}"

    def ask(self, method, path, body=None, content_type="application/json"):
        """The answer; None for what is gone, or was changed meanwhile: the next look sees it."""
        status, answer = self.api.try_call(method, path, body, content_type)
        if status in (404, 409):
            return None
        if not 200 <= status < 300:
            raise Unanswered(method, path, status, answer)
        return answer

    def list(self, kind):
        return (self.ask("GET", self.path(kind)) or {}).get("items", [])

    # --- one look ---

    def _step(self):
        workloads = [(kind, one) for kind in ("deployments", "statefulsets") for one in self.list(kind)]
        pods = self.list("pods")
        for kind, one in workloads:
            if served_name(one["spec"]["template"]["spec"]):
                self._reconcile(kind, one, [pod for pod in pods if self._owns(one, pod)])
        for pod in pods:
            self._run_pod(pod)
        self._publish(self.list("pods"))

    @staticmethod
    def _owns(workload, pod):
        return any(owner["uid"] == workload["metadata"]["uid"] for owner in pod["metadata"].get("ownerReferences", []))

    def _reconcile(self, kind, workload, pods):
        alive = [pod for pod in pods if "deletionTimestamp" not in pod["metadata"]]
        wanted = workload["spec"]["replicas"]
        taken = {pod["metadata"]["name"] for pod in pods}
        names = (f"{workload['metadata']['name']}-{i}" for i in itertools.count())
        for _ in range(len(alive), wanted):
            self._make_pod(kind, workload, next(name for name in names if name not in taken))
        for pod in alive[wanted:]:
            self.ask("DELETE", f"{self.path('pods')}/{pod['metadata']['name']}")
        status = {"replicas": len(alive), "readyReplicas": sum(map(is_ready, alive)),
                  "observedGeneration": workload["metadata"]["generation"]}
        if any(workload.get("status", {}).get(name, 0) != value for name, value in status.items()):
            self.ask("PATCH", f"{self.path(kind)}/{workload['metadata']['name']}/status", {"status": status}, MERGE)

    def _make_pod(self, kind, workload, name):
        template, metadata = workload["spec"]["template"], workload["metadata"]
        owner = {"apiVersion": "apps/v1", "kind": workload.get("kind") or kind[:-1], "name": metadata["name"],
                 "uid": metadata["uid"], "controller": True}
        self.ask("POST", self.path("pods"), {
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": name, "labels": template["metadata"]["labels"], "ownerReferences": [owner]},
            # with a node, so that a deleted pod stays until its kubelet says that it has ended
            "spec": {**template["spec"], "nodeName": "here", "volumes": [], "runtimeClassName": None, "containers": [
                {**template["spec"]["containers"][0], "volumeMounts": []}]}})

    # --- the kubelet ---

    def _run_pod(self, pod):
        metadata = pod["metadata"]
        engine = self.engines.get(metadata["uid"])
        if "deletionTimestamp" in metadata:
            if engine and engine.poll() is None:
                engine.terminate()
            else:
                self.ask("DELETE", f"{self.path('pods')}/{metadata['name']}?gracePeriodSeconds=0")
        elif not engine:
            self._start(pod)
        elif engine.poll() is None and not is_ready(pod) and self._answers(pod):
            self._tell(pod, True)

    def _start(self, pod):
        container = pod["spec"]["containers"][0]
        port = container["args"][container["args"].index("--port") + 1]
        with self.lock:
            address = self.where[pod["metadata"]["uid"]] = next(self.addresses)
        self.engines[pod["metadata"]["uid"]] = subprocess.Popen(
            [binary("vllmgw-engine"), "--host", address, "--port", port, "--served-model-name", served_name(pod["spec"])],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self._tell(pod, False)

    def _answers(self, pod):
        args = pod["spec"]["containers"][0]["args"]
        url = f"http://{self.where[pod['metadata']['uid']]}:{args[args.index('--port') + 1]}/health"
        try:
            with urllib.request.urlopen(url, timeout=2) as answer:
                return answer.status == 200
        except OSError:
            return False

    def _tell(self, pod, ready):
        container = pod["spec"]["containers"][0]
        self.ask("PATCH", f"{self.path('pods')}/{pod['metadata']['name']}/status", {"status": {
            "phase": "Running", "podIP": self.where[pod["metadata"]["uid"]], "startTime": now(),
            "podIPs": [{"ip": self.where[pod["metadata"]["uid"]]}],
            "conditions": [{"type": "PodScheduled", "status": "True"}, {"type": "Ready", "status": str(ready)}],
            "containerStatuses": [{"name": container["name"], "image": container["image"], "imageID": "", "ready": ready,
                                   "restartCount": 0, "state": {"running": {"startedAt": now()}}}]}}, MERGE)

    # --- where the ready ones are ---

    def _publish(self, pods):
        old = {one["metadata"]["name"]: one for one in self.list("endpointslices")}
        for service in self.list("services"):
            if service["spec"].get("selector"):
                self._publish_one(service, [pod for pod in pods if selects(service["spec"]["selector"], pod)], old)

    def _publish_one(self, service, pods, old):
        """As the endpoint slice controller of 1.20: pods that are leaving are not in it."""
        name = f"{service['metadata']['name']}-7x2kp"
        endpoints = [{"addresses": [pod["status"]["podIP"]], "conditions": {"ready": is_ready(pod)},
                      "targetRef": {"kind": "Pod", "name": pod["metadata"]["name"], "namespace": self.namespace}}
                     for pod in pods if pod["status"].get("podIP") and "deletionTimestamp" not in pod["metadata"]]
        thing = {"apiVersion": "discovery.k8s.io/v1beta1", "kind": "EndpointSlice", "addressType": "IPv4",
                 "metadata": {"name": name, "labels": {"kubernetes.io/service-name": service["metadata"]["name"]}},
                 "endpoints": endpoints, "ports": [{"name": "http", "port": service["spec"]["ports"][0]["port"]}]}
        if name not in old:
            self.ask("POST", self.path("endpointslices"), thing)
        elif (old[name].get("endpoints") or []) != endpoints:
            self.ask("PUT", f"{self.path('endpointslices')}/{name}", thing)


class Unanswered(Exception):
    """No answer, or one that is none: looked at again later."""


def is_ready(pod):
    return any(one["type"] == "Ready" and one["status"] == "True" for one in pod.get("status", {}).get("conditions", []))
