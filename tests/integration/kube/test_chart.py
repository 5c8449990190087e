# SPDX-License-Identifier: Apache-2.0
"""The chart of examples/helm: what it makes is what Kubernetes takes, and its configuration serves."""

import json
import pathlib
import subprocess
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "support"))
from compat import curl  # noqa: E402
from engine import Engine, binary, wait_until  # noqa: E402
from gateway import Gateway  # noqa: E402
from kube import Cluster  # noqa: E402
from rendering import CHART, Release, check, fill  # noqa: E402

ROUTER, ON_DEMAND = CHART / "ci" / "vllm-router.yaml", CHART / "ci" / "on-demand.yaml"
QUANTIZED, CHAT = "TheBloke/Llama-2-13B-chat-GPTQ", "meta-llama/Llama-2-7B-chat-hf"
KEYS = {"VLLMGW_ADMIN_KEY": "admin-key-0123456789", "MODEL_3_KEY": "hosted-key"}
RELEASES = {"nothing": [], "vllm-router": [ROUTER], "on-demand": [ON_DEMAND]}


def write_json(folder, thing):
    path = pathlib.Path(folder, "thing.json")
    path.write_text(json.dumps(thing))
    return path


# --- what Kubernetes is given ---

def test_every_object_has_the_fields_and_types_of_its_kind(tmp_path):
    releases = [Release(*values) for values in RELEASES.values()]
    assert not any(release.complaint for release in releases)
    assert not check("objects", write_json(tmp_path, sum([release.objects for release in releases], [])))
    for release in releases:
        assert not check("values", CHART / "values.schema.json", write_json(tmp_path, release.values))
        assert all(name in release.notes for name in ["llm-vllmgw.llm.svc:8000", "kubectl port-forward"])


def test_a_field_that_is_unknown_or_of_a_wrong_type_is_found(tmp_path):
    objects = Release(ROUTER).objects
    workloads = [one for one in objects if one["kind"] == "Deployment"]
    workloads[0]["spec"]["replicsa"] = 1
    workloads[1]["spec"]["replicas"] = "two"
    workloads[2]["metadata"]["label"] = {}
    mistakes = check("objects", write_json(tmp_path, objects))
    for workload, word in zip(workloads, ["replicsa", "replicas", "label"], strict=True):
        [mistake] = [line for line in mistakes if line.startswith(f"Deployment {workload['metadata']['name']}: ")]
        assert word in mistake


@pytest.mark.parametrize("values, says", [
    ({"modles": []}, "modles"), ({"models": [{"model": "x"}]}, "name"), ({"models": [{"name": "a b"}]}, "pattern"),
    ({"models": [{"name": "a", "onDemand": "yes"}]}, "boolean"), ({"models": [{"name": "a", "replica": 2}]}, "replica"),
    ({"models": [{"name": "a", "url": "10.0.0.1"}]}, "pattern"), ({"gateway": {"port": 0}}, ">= 1"),
    ({"engine": {"startTimeout": 20}}, "string"), ({"gateway": {"adminKeySecret": {"key": "k"}}}, "name"),
    ({"residency": {"policy": "random"}}, "allowed")])
def test_values_that_do_not_exist_or_are_wrong_are_refused_by_the_schema(values, says, tmp_path):
    mistakes = check("values", CHART / "values.schema.json", write_json(tmp_path, {**Release().values, **values}))
    assert any(says in mistake for mistake in mistakes), mistakes


@pytest.mark.parametrize("values, says", [
    ({"models": [{"name": "a", "onDemand": True}], "gateway": {"replicas": 2}}, "gateway.replicas: 1"),
    ({"models": [{"name": "a.b"}, {"name": "a_B"}]}, "'a.b' and 'a_B' would both be called"),
    ({"models": [{"name": "a", "url": "http://h", "onDemand": True}]}, "cannot be onDemand"),
    ({"serviceMonitor": {"enabled": True}}, "needs gateway.adminKeySecret")])
def test_a_release_that_cannot_be_is_refused_with_its_reason(values, says):
    assert says in Release(values).complaint


@pytest.mark.parametrize("name", ["org/Model@v1", "-a-", "x" * 200, "Ä/b.c:d+e~f", "a__b"])
def test_every_name_of_a_model_becomes_a_name_of_the_cluster(name):
    release = Release({"models": [{"name": name}]})
    [workload] = release.names("Deployment")[1:]
    assert len(workload) <= 63 and workload.strip("-") == workload and "--" not in workload
    assert set(workload) <= set("abcdefghijklmnopqrstuvwxyz0123456789-")
    assert release.get("Service", workload)["spec"]["selector"].items() <= \
        release.get("Deployment", workload)["spec"]["template"]["metadata"]["labels"].items()


def test_a_pod_is_not_killed_while_it_drains():
    for version, sleeps in ("v1.31.0", True), ("v1.29.3", False):
        pod = Release({"gateway": {"drainSeconds": 100, "preStopSeconds": 7}}, version=version).pod()
        assert ("lifecycle" in pod["containers"][0]) == sleeps
        assert pod["terminationGracePeriodSeconds"] > 100 + (7 if sleeps else 0)


def test_amounts_are_texts_whatever_they_were():
    """Server-side apply takes no numbers there."""
    resources = {"limits": {"nvidia.com/gpu": 2, "cpu": 1.5, "memory": "8Gi"}, "claims": [{"name": "gpu"}]}
    release = Release({"models": [{"name": "a", "resources": resources}, {"name": "b"}]})
    [_, one, other] = [release.pod(name)["containers"][0]["resources"] for name in release.names("Deployment")]
    assert other == {"limits": {"nvidia.com/gpu": "1"}}
    assert one == {"limits": {"nvidia.com/gpu": "2", "cpu": "1.5", "memory": "8Gi"}, "claims": [{"name": "gpu"}]}


def test_who_scales_nothing_has_no_rights_and_several_gateways_are_never_all_evicted():
    release = Release(ROUTER)
    assert not release.names("Role") and release.pod()["automountServiceAccountToken"] is False
    assert release.get("PodDisruptionBudget")["spec"]["maxUnavailable"] == 1
    release = Release(ON_DEMAND)
    assert release.pod()["automountServiceAccountToken"] is True
    assert release.get("Deployment")["spec"]["strategy"] == {"type": "Recreate"}


def test_an_upgrade_leaves_what_was_scaled_up_as_it_is():
    name = Release(ON_DEMAND).names("Deployment")[1]
    live = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"namespace": "llm", "name": name},
            "spec": {"replicas": 2}}
    assert Release(ON_DEMAND).get("Deployment", name)["spec"]["replicas"] == 0
    assert Release(ON_DEMAND, live=[live]).get("Deployment", name)["spec"]["replicas"] == 2


def test_a_changed_configuration_makes_new_pods():
    def checksum(*values):
        return Release(*values).get("Deployment")["spec"]["template"]["metadata"]["annotations"]["checksum/config"]
    assert checksum() == checksum()
    assert len({checksum(), checksum(ROUTER), checksum({"gateway": {"config": {"limits": {"body": "2MiB"}}}})}) == 3


# --- what the gateway is given ---

@pytest.mark.parametrize("name", ["vllm-router", "on-demand"])
def test_the_configuration_is_accepted(name, tmp_path):
    path = tmp_path / "vllmgw.yaml"
    path.write_text(fill(Release(*RELEASES[name]).config, tmp_path))
    account = {"KUBERNETES_SERVICE_HOST": "127.0.0.1", "KUBERNETES_SERVICE_PORT": "1"}
    done = subprocess.run([binary("vllmgw-server"), "-c", path, "--check"], env={**KEYS, **account},
                          capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stderr


def test_vllm_routers_commands_are_answered_by_the_service_of_the_model(tmp_path):
    """The engines stand in for the services of the release: each by its name and port."""
    release = Release(ROUTER)
    config = fill(release.config, tmp_path)
    with Engine("--served-model-name", QUANTIZED, "--tokens", "6") as one, \
            Engine("--served-model-name", CHAT, "--tokens", "6") as other:
        for name, engine in ("llm-vllmgw-thebloke-llama-2-13b-chat-gptq", one), \
                ("llm-vllmgw-meta-llama-llama-2-7b-chat-hf", other):
            port = release.get("Service", name)["spec"]["ports"][0]["port"]
            address = f"http://{name}.llm.svc:{port}"
            assert config.count(address) == 1
            config = config.replace(address, engine.url)
        with Gateway(text=config) as gateway:
            for path in ["/health", "/ready"]:  # what the probes ask
                assert gateway.request("GET", path).status == 200
            for model, engine in (QUANTIZED, one), (CHAT, other):
                before = len(engine.requests())
                answer = curl(gateway, "http://localhost:8000/v1/completions", "-H", "Content-Type: application/json",
                              "-d", '{ "prompt": "San Francisco is a", \n"model": "%s", "max_tokens": 30, '
                              '"temperature": 1}' % model)
                assert answer.status == 200 and answer.json()["model"] == model and answer.json()["choices"][0]["text"]
                assert len(engine.requests()) == before + 1
    assert release.get("Service")["spec"]["ports"][0]["port"] == 8000


def test_models_on_demand_take_turns_with_the_rights_of_their_role(tmp_path):
    """A cluster of kube_api.py has the release's workloads; each engine there is called as its pod's argument says."""
    release = Release(ON_DEMAND)
    big, other = release.names("Deployment")[1:3]
    served = {name: release.pod(name)["containers"][0]["args"][3] for name in [big, other]}
    with Cluster({f"deployments/{name}": model for name, model in served.items()}) as cluster:
        backend = {"api_server": cluster.api, "ca_file": cluster.ca_file, "token_file": cluster.token_file,
                   "port": cluster.engine_port, "replicas": 1}
        override = {"gateway": {"config": {
            "models": {model: {"backend": backend} for model in served.values()},
            "residency": {"min_resident": "0s"}}}}
        with Gateway(text=fill(Release(ON_DEMAND, override).config, tmp_path), env=KEYS) as gateway:
            assert gateway.request("GET", "/ready").status == 200
            for name, left in (big, other), (other, big):
                assert gateway.chat(served[name]).status == 200
                state = cluster.order("state")["workloads"]
                assert state[f"deployments/{name}"]["ready"] == 1 and state[f"deployments/{left}"]["pods"] == 0
            cluster.order("scale", workload=f"deployments/{other}", replicas=0)
            wait_until(lambda: "-> absent" in gateway.text.partition("somebody else scaled it to 0")[2], 20, "the absence")
            assert gateway.chat(served[other]).status == 200
        assert cluster.order("state")["workloads"][f"deployments/{other}"]["ready"] == 1  # it stays, to be adopted
        check_rights(release, cluster, [big, other])


def check_rights(release, cluster, workloads):
    """Every call was one that the release's role allows, and the role allows no other."""
    rules = release.get("Role")["rules"]
    allowed = {f"{verb} {resource}" for rule in rules for resource in rule["resources"] for verb in rule["verbs"]}
    assert set(cluster.calls) == allowed
    [scale] = [rule for rule in rules if rule["resources"] == ["deployments/scale"]]
    assert scale["resourceNames"] == workloads
    assert release.get("RoleBinding")["subjects"][0]["name"] == release.pod()["serviceAccountName"]
