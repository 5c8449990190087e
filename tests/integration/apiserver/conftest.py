# SPDX-License-Identifier: Apache-2.0
"""One cluster for all tests of this folder: a release of the chart in a real API server, small nodes around it."""

import pathlib
import sys
import time

import pytest

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "kube"), str(HERE.parents[1] / "support")]
from control_plane import ADMIN, PROGRAM, Api, ControlPlane, free_port  # noqa: E402
from engine import wait_until  # noqa: E402
from gateway import Gateway  # noqa: E402
from nodes import Nodes  # noqa: E402
from rendering import CHART, Release, fill  # noqa: E402

ACCOUNT = "system:serviceaccount:llm:llm-vllmgw"
BIG, OTHER = "org/Big_Model.v1:awq", "org/other"
# What this API server does not know: policy/v1 came with 1.21, the other is of the Prometheus operator.
UNKNOWN_KINDS = {"PodDisruptionBudget", "ServiceMonitor"}


class Cluster:
    """plane: etcd and API servers; server: the one that is asked; api: the same as its admin; release: the chart's;
    token_file: of the release's service account, issued by the API server."""

    def __init__(self, folder):
        self.folder = folder
        self.plane = ControlPlane(folder)
        self.nodes = []
        try:
            self.server = self.plane.start_server()
            self.server.wait()
            self.api = Api(self.server, self.plane.ca_file, ADMIN)
            self.engine_port = free_port()
            self.release = Release(CHART / "ci" / "on-demand.yaml", {"engine": {"port": self.engine_port}}, version="v1.29.3")
            self.add_namespace("llm")
            for thing in self.release.objects:
                if thing["kind"] not in UNKNOWN_KINDS:
                    self.api.apply(thing, "llm")
            self.big, self.other = self.release.names("Deployment")[1:3]
            self.token_file = folder / "token"
            self.write_token()
        except BaseException:
            self.close()
            raise

    def add_namespace(self, name):
        self.api.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}, name)
        self.nodes.append(Nodes(self.api, name))

    def write_token(self):
        answer = self.api.call("POST", "/api/v1/namespaces/llm/serviceaccounts/llm-vllmgw/token", {
            "apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"expirationSeconds": 3600}})
        self.token = answer["status"]["token"]
        self.token_file.write_text(self.token)

    @property
    def account(self):
        """The API as the gateway sees it."""
        return Api(self.server, self.plane.ca_file, self.token)

    def backend(self, server=None, **more):
        return {"kind": "kubernetes", "namespace": "llm", "api_server": (server or self.server).url, "port": self.engine_port,
                "ca_file": self.plane.ca_file, "token_file": str(self.token_file), **more}

    def gateway(self, **models):
        """The release's gateway, with its own configuration and more models."""
        own = self.backend(replicas=1)
        override = {"models": {**{name: {"backend": own} for name in [BIG, OTHER]}, **models},
                    "residency": {"min_resident": "0s"}}
        values = {"engine": {"port": self.engine_port}, "gateway": {"config": override}}
        release = Release(CHART / "ci" / "on-demand.yaml", values, version="v1.29.3")
        keys = {"VLLMGW_ADMIN_KEY": "admin-key-0123456789", "MODEL_3_KEY": "hosted-key"}
        return Gateway(text=fill(release.config, self.folder), env=keys)

    def scale(self, name, replicas, kind="deployments", namespace="llm"):
        """Somebody else scales it."""
        self.api.merge(f"/apis/apps/v1/namespaces/{namespace}/{kind}/{name}/scale", {"spec": {"replicas": replicas}})

    def replicas(self, name, kind="deployments"):
        return self.api.call("GET", f"/apis/apps/v1/namespaces/llm/{kind}/{name}")["spec"]["replicas"]

    def pods(self, name, namespace="llm"):
        items = self.api.call("GET", f"/api/v1/namespaces/{namespace}/pods")["items"]
        return [pod for pod in items if pod["metadata"]["labels"].get("vllmgw/workload") == name]

    def clear(self, *names):
        """Nothing is left of these workloads' pods."""
        for name in names:
            self.scale(name, 0)
        wait_until(lambda: not any(self.pods(name) for name in names), 20, "the end of the pods")

    def close(self):
        for nodes in self.nodes:
            nodes.close()
        self.plane.close()


@pytest.fixture(scope="session")
def cluster(tmp_path_factory):
    if not PROGRAM.exists():
        pytest.skip(f"{PROGRAM} is not built (tests/run --stage apiserver)")
    one = Cluster(tmp_path_factory.mktemp("cluster"))
    yield one
    one.close()


@pytest.fixture
def measured():
    """Says how long something took."""
    def say(what, began):
        print(f"  [{what}: {(time.monotonic() - began) * 1000:.0f} ms]", end="")
    return say


@pytest.fixture(scope="session", autouse=True)
def quiet(cluster):
    """(gateway, server): a gateway whose only model serves, in a namespace of its own where nothing happens, and an API
    server that does not remember changes itself, so that it forgets them with etcd."""
    server = cluster.plane.start_server("--watch-cache-sizes=endpointslices.discovery.k8s.io#0")
    server.wait()
    labels = {"vllmgw/workload": "still"}
    args = ["--port", str(cluster.engine_port), "--served-model-name", "org/still"]
    cluster.add_namespace("quiet")
    for thing in [
            {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "still"}, "spec": {
                "replicas": 1, "selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels}, "spec": {
                    "containers": [{"name": "engine", "image": "vllm", "args": args}]}}}},
            {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "still"}, "spec": {
                "selector": labels, "ports": [{"port": cluster.engine_port, "protocol": "TCP"}]}},
            {**cluster.release.get("Role"), "rules": [{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}]},
            cluster.release.get("RoleBinding")]:
        cluster.api.apply(thing, "quiet")
    model = {"served_name": "org/still", "backend": cluster.backend(server, namespace="quiet", deployment="still")}
    with Gateway({"still": model}, log={"level": "debug"}) as gateway:
        assert gateway.chat("still").status == 200
        yield gateway, server
