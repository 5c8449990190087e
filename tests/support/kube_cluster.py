# SPDX-License-Identifier: Apache-2.0
"""A small Kubernetes cluster for tests: workloads, the pods their controllers make, a kubelet that runs one
vllmgw-engine per pod on an address of its own in 127.0.0.0/8, and the EndpointSlice that follows the pods' readiness.
kube_api.py shows it as an API server does. Standard library only.
"""

import ctypes
import datetime
import itertools
import signal
import socket
import subprocess
import threading
import urllib.request

NAMESPACE = "llm"
LIBC = ctypes.CDLL(None)


def now():
    return datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def die_with_parent():
    LIBC.prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


def free_port():
    with socket.socket() as sock:
        sock.bind(("0.0.0.0", 0))
        return sock.getsockname()[1]


class Pod:
    """One pod with one container. The cluster's lock guards all but the process itself."""

    def __init__(self, cluster, workload, name, address):
        self.cluster, self.workload, self.name, self.address = cluster, workload, name, address
        self.uid = f"uid-{name}"
        self.deleted = None
        self.ready = False
        self.restarts = 0
        self.waiting = "ContainerCreating"
        self.message = ""
        self.last = None
        self.process = None
        self.is_held_unready = False
        threading.Thread(target=self._live, daemon=True).start()

    # --- the kubelet ---

    def _live(self):
        mode = self.workload.mode
        if mode in ("image-missing", "unschedulable", "config-missing"):
            with self.cluster.changed:
                self.waiting = {"image-missing": "ImagePullBackOff", "config-missing": "CreateContainerConfigError",
                                "unschedulable": None}[mode]
                self.message = {"image-missing": 'Back-off pulling image "registry.example/none:1"',
                                "config-missing": 'secret "hf-token" not found', "unschedulable": ""}[mode]
                self.cluster.touch()
                self.cluster.changed.wait_for(lambda: self.deleted)
            self._gone()
            return
        while self._run_once():
            pass
        self._gone()

    def _run_once(self):
        """One life of the container; true when the kubelet starts it again."""
        cluster, workload = self.cluster, self.workload
        command = [cluster.engine, "--host", self.address, "--port", str(cluster.port), "--served-model-name",
                   workload.served_name, *workload.arguments]
        with cluster.changed:
            if self.deleted:
                return False
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                            stderr=subprocess.DEVNULL, preexec_fn=die_with_parent)
            self.waiting = None
            cluster.touch()
        watcher = threading.Thread(target=self._watch_readiness, args=(self.process,), daemon=True)
        watcher.start()
        code = self.process.wait()
        with cluster.changed:
            self.process = None
            self.ready = False
            self.last = {"exitCode": 128 - code if code < 0 else code,
                         "reason": workload.end_reason if code else "Completed", "message": workload.end_message,
                         "finishedAt": now()}
            if self.deleted:
                return False
            self.waiting = "CrashLoopBackOff" if workload.mode == "crashloop" else None
            self.restarts += self.waiting is None
            cluster.publish(workload)
            if self.waiting:
                cluster.changed.wait_for(lambda: self.deleted)
            return not self.deleted

    def _watch_readiness(self, process):
        """Readiness probes; they are rarer once it is ready, because its end is noticed without them."""
        pause = threading.Event()
        while process.poll() is None:
            try:
                with urllib.request.urlopen(f"http://{self.address}:{self.cluster.port}/health", timeout=2) as answer:
                    is_ready = answer.status == 200
            except OSError:
                is_ready = False
            with self.cluster.changed:
                is_ready = is_ready and not self.is_held_unready and not self.deleted
                if is_ready != self.ready and process is self.process:
                    self.ready = is_ready
                    self.cluster.publish(self.workload)
            pause.wait(0.2 if is_ready else 0.05)

    def _gone(self):
        with self.cluster.changed:
            self.workload.pods.remove(self)
            self.cluster.publish(self.workload)
            self.cluster.reconcile(self.workload)

    # --- orders, under the lock ---

    def delete(self):
        if self.deleted:
            return
        self.deleted = now()
        self.ready = False
        self.cluster.publish(self.workload)
        if self.process:
            self.process.terminate()
            timer = threading.Timer(self.workload.grace, self.process.kill)
            timer.daemon = True
            timer.start()

    def kill(self):
        if self.process:
            self.process.kill()

    # --- how the API shows it ---

    def render(self):
        name = self.workload.name
        state = {"running": {"startedAt": now()}}
        if self.waiting:
            state = {"waiting": {"reason": self.waiting, "message": self.message}}
        elif not self.process:
            state = {"terminated": self.last}
        container = {"name": "engine", "ready": self.ready, "restartCount": self.restarts, "state": state,
                     "lastState": {"terminated": self.last} if self.last else {}, "image": "vllm", "imageID": ""}
        status = {"phase": "Running" if self.process or self.restarts else "Pending", "podIP": self.address,
                  "conditions": [{"type": "PodScheduled", "status": "True"},
                                 {"type": "Ready", "status": str(self.ready)}], "containerStatuses": [container]}
        if self.workload.mode == "unschedulable":
            status = {"phase": "Pending", "conditions": [{
                "type": "PodScheduled", "status": "False", "reason": "Unschedulable",
                "message": "0/3 nodes are available: 3 Insufficient nvidia.com/gpu."}]}
        metadata = {"name": self.name, "namespace": NAMESPACE, "uid": self.uid, "labels": {"app": name}}
        if self.deleted:
            metadata |= {"deletionTimestamp": self.deleted, "deletionGracePeriodSeconds": 30}
        return {"metadata": metadata, "spec": {"containers": [{"name": "engine"}]}, "status": status}


class Workload:
    def __init__(self, resource, name, served_name):
        self.resource, self.name, self.served_name = resource, name, served_name
        self.replicas = 0
        self.version = 1
        self.pods = []
        self.reset()

    def reset(self):
        self.mode = "run"
        self.is_stuck = False  # its controller makes no new pods
        self.arguments = []
        self.grace = 10.0
        self.end_reason = "Error"
        self.end_message = ""

    def render_scale(self):
        alive = sum(not pod.deleted for pod in self.pods)  # as the ReplicaSet counts: without those that leave
        return {"kind": "Scale", "apiVersion": "autoscaling/v1",
                "metadata": {"name": self.name, "namespace": NAMESPACE, "resourceVersion": str(self.version)},
                "spec": {"replicas": self.replicas} if self.replicas else {},
                "status": {"replicas": alive, "selector": f"app={self.name}"}}


class Cluster:
    """All state, under one condition that is notified at every change."""

    def __init__(self, engine):
        self.engine = engine
        self.port = free_port()
        self.changed = threading.Condition(threading.RLock())
        self.version = 100
        self.oldest = 100  # watches from before it are told 410
        self.history = []  # (version, type, slice)
        self.slices = {}
        self.workloads = {}
        self.all_workloads = []  # also those that a test deleted
        self.reset_addresses()

    def reset_addresses(self):
        self._numbers = itertools.count(2)

    def add(self, resource, name, served_name):
        with self.changed:
            self.workloads[(resource, name)] = Workload(resource, name, served_name)
            self.all_workloads.append(self.workloads[(resource, name)])
            self.publish(self.workloads[(resource, name)])

    def touch(self):
        self.changed.notify_all()

    def scale(self, workload, replicas):
        workload.replicas = replicas
        workload.version += 1
        self.reconcile(workload)

    def reconcile(self, workload):
        alive = [pod for pod in workload.pods if not pod.deleted]
        for pod in alive[workload.replicas:]:
            pod.delete()
        for _ in range(len(alive), 0 if workload.is_stuck else workload.replicas):
            number = next(self._numbers)
            name = (f"{workload.name}-{len(alive)}" if workload.resource == "statefulsets"
                    else f"{workload.name}-6d4b75cb6d-{number:05d}")
            workload.pods.append(Pod(self, workload, name, f"127.{77 + number // 200}.0.{number % 200 + 2}"))
        self.publish(workload)

    def publish(self, workload):
        """The EndpointSlice of a workload's service, as the endpoint slice controller writes it."""
        name = f"{workload.name}-x7k2p"
        endpoints = [{
            "addresses": [pod.address],
            "conditions": {"ready": pod.ready, "serving": pod.ready, "terminating": bool(pod.deleted)},
            "targetRef": {"kind": "Pod", "name": pod.name, "namespace": NAMESPACE, "uid": pod.uid},
        } for pod in workload.pods if pod.process or pod.ready or pod.restarts]
        old = self.slices.get(name)
        if old is None or old["endpoints"] != endpoints:
            self.version += 1
            new = {"kind": "EndpointSlice", "apiVersion": "discovery.k8s.io/v1", "addressType": "IPv4",
                   "metadata": {"name": name, "namespace": NAMESPACE, "resourceVersion": str(self.version),
                                "labels": {"kubernetes.io/service-name": workload.name}},
                   "endpoints": endpoints, "ports": [{"name": "http", "port": self.port, "protocol": "TCP"}]}
            self.slices[name] = new
            self.history.append((self.version, "MODIFIED" if old else "ADDED", new))
        self.touch()

    def compact(self):
        """Forget the past, as etcd does: who watches from there has to list again."""
        self.version += 1
        self.oldest = self.version
        self.history = []
        self.touch()

    def close(self):
        for workload in self.all_workloads:
            for pod in workload.pods:
                pod.kill()
