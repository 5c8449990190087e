# SPDX-License-Identifier: Apache-2.0
"""Kind "kubernetes" and the chart of examples/helm against a real kube-apiserver with RBAC. The gateway is who the
release's service account is, with the rights of the release's role."""

import copy
import threading
import time
from datetime import datetime

import pytest
from conftest import ACCOUNT, BIG, OTHER, UNKNOWN_KINDS
from engine import wait_until
from rendering import CHART, Release

WATCH_S = 60  # how long the gateway lets a watch last


def scale_path(name, kind="deployments"):
    return f"/apis/apps/v1/namespaces/llm/{kind}/{name}/scale"


# --- the chart ---

@pytest.mark.parametrize("values", ["on-demand", "vllm-router"])
def test_every_object_of_a_release_is_taken(cluster, values):
    objects = Release(CHART / "ci" / f"{values}.yaml", version="v1.29.3").objects
    refused = set()
    for thing in objects:
        status, answer = cluster.api.try_apply(thing, "llm", "&dryRun=All")
        assert status in (200, 201, 404), (thing["kind"], answer)
        if status == 404:
            refused.add(thing["kind"])
    assert refused == UNKNOWN_KINDS & {thing["kind"] for thing in objects}
    for thing in objects:
        if thing["kind"] == "PodDisruptionBudget":  # the same shape in the version that this server has
            status, answer = cluster.api.try_apply({**thing, "apiVersion": "policy/v1beta1"}, "llm", "&dryRun=All")
            assert status == 201, answer


def test_a_field_that_no_version_knows_is_refused(cluster):
    thing = copy.deepcopy(cluster.release.get("Deployment"))
    thing["spec"]["replicsa"] = 1
    status, answer = cluster.api.try_apply(thing, "llm", "&dryRun=All")
    assert status >= 400 and "replicsa" in answer["message"]


def test_the_role_allows_what_the_gateway_does_and_nothing_else(cluster):
    account = cluster.account
    space, slices = "/api/v1/namespaces/llm", "/apis/discovery.k8s.io/v1beta1/namespaces/llm/endpointslices"
    patch = {"spec": {"replicas": 0}}
    for path in [f"{space}/pods", slices, scale_path(cluster.big), scale_path(cluster.other)]:
        assert account.try_call("GET", path)[0] == 200
    assert account.try_call("PATCH", scale_path(cluster.big), patch, "application/merge-patch+json")[0] == 200
    small = cluster.release.names("Deployment")[3]
    workloads = "/apis/apps/v1/namespaces/llm/deployments"
    for method, path in [
            ("PATCH", scale_path(small)), ("GET", scale_path(small)), ("GET", workloads), ("DELETE", f"{workloads}/{small}"),
            ("PATCH", f"{workloads}/{cluster.big}"), ("GET", f"{space}/secrets"), ("GET", f"{space}/configmaps"),
            ("DELETE", f"{space}/pods/x"), ("POST", f"{space}/pods"), ("GET", "/api/v1/namespaces/default/pods"),
            ("GET", slices.replace("llm", "kube-system")), ("DELETE", slices)]:
        body, kind = (patch, "application/merge-patch+json") if method != "GET" else (None, "application/json")
        assert account.try_call(method, path, body, kind)[0] == 403, (method, path)


# --- serving ---

def test_two_models_take_turns_with_the_rights_of_their_role(cluster, measured):
    with cluster.gateway() as gateway:
        began = time.monotonic()
        assert gateway.chat(BIG).status == 200
        measured("0 to 1", began)
        assert cluster.replicas(cluster.big) == 1 and cluster.replicas(cluster.other) == 0
        for model, name, left in (OTHER, cluster.other, cluster.big), (BIG, cluster.big, cluster.other):
            began = time.monotonic()
            answer = gateway.chat(model)
            measured("swap", began)
            assert answer.status == 200 and answer.json()["model"] == model
            assert cluster.replicas(name) == 1 and not cluster.pods(left)
    made = cluster.server.audit(ACCOUNT)
    allowed = {(verb, resource) for rule in cluster.release.get("Role")["rules"] for resource in rule["resources"]
               for verb in rule["verbs"]}
    done = {(call["verb"], "/".join(filter(None, [call["objectRef"]["resource"], call["objectRef"].get("subresource")])))
            for call in made if call["responseStatus"]["code"] == 200}
    assert done == allowed
    scales = [call for call in made if call["verb"] == "patch"]
    took = [milliseconds(call["stageTimestamp"], call["requestReceivedTimestamp"]) for call in scales]
    print(f"  [scale calls: {min(took):.0f} to {max(took):.0f} ms]", end="")
    assert scales and all(call["responseStatus"]["code"] == 200 for call in scales)


def milliseconds(later, earlier):
    return (datetime.fromisoformat(later) - datetime.fromisoformat(earlier)).total_seconds() * 1000


def test_pods_that_come_and_go_are_followed(cluster, measured):
    with cluster.gateway() as gateway:
        assert gateway.chat(BIG).status == 200
        cluster.scale(cluster.big, 2)
        wait_until(lambda: "2 pods are ready, they were 1" in gateway.text, 20, "the second pod")
        slices = f"/apis/discovery.k8s.io/v1beta1/namespaces/llm/endpointslices/{cluster.big}-7x2kp"
        thing = cluster.api.call("GET", slices)
        assert len(thing["endpoints"]) == 2
        cluster.scale(cluster.big, 1)
        wait_until(lambda: "1 pods are ready, they were 2" in gateway.text, 20, "its end")
        assert len(cluster.api.call("GET", slices)["endpoints"]) == 1
        [said] = [line["time"] for line in gateway.log if line.get("text") == "1 pods are ready, they were 2"]
        written = [call["stageTimestamp"] for call in cluster.server.audit("admin", "tests") if call["verb"] == "update" and
                   call["objectRef"]["resource"] == "endpointslices" and cluster.big in call["requestURI"]][-1]
        print(f"  [from the slice to the log: {milliseconds(said, written):.1f} ms]", end="")
        assert gateway.chat(BIG).status == 200
        cluster.scale(cluster.big, 0)
        wait_until(lambda: "-> absent" in gateway.text.partition("somebody else scaled it to 0")[2], 20, "the absence")
        assert gateway.chat(BIG).status == 200


def test_what_is_up_is_adopted(cluster):
    cluster.clear(cluster.other)
    cluster.scale(cluster.big, 1)
    wait_until(lambda: [pod for pod in cluster.pods(cluster.big) if pod["status"].get("podIP")], 20, "a pod")
    [before] = [pod["metadata"]["uid"] for pod in cluster.pods(cluster.big)]
    with cluster.gateway() as gateway:
        wait_until(lambda: "adopted deployments" in gateway.text, 20, "the adoption")
        assert gateway.chat(BIG).status == 200
    assert [pod["metadata"]["uid"] for pod in cluster.pods(cluster.big)] == [before]


def test_a_stateful_set_is_scaled_too(cluster):
    labels = {"vllmgw/workload": "set"}
    args = ["--port", str(cluster.engine_port), "--served-model-name", "org/set"]
    for thing in [
            {"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "set"}, "spec": {
                "replicas": 0, "serviceName": "set", "selector": {"matchLabels": labels},
                "template": {"metadata": {"labels": labels}, "spec": {"containers": [
                    {"name": "engine", "image": "vllm", "args": args}]}}}},
            {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "set"}, "spec": {
                "clusterIP": "None", "selector": labels, "ports": [{"port": cluster.engine_port, "protocol": "TCP"}]}},
            {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": "set"}, "rules": [
                {"apiGroups": ["apps"], "resources": ["statefulsets/scale"], "verbs": ["get", "patch"]}]},
            {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": {"name": "set"},
             "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "set"},
             "subjects": cluster.release.get("RoleBinding")["subjects"]}]:
        cluster.api.apply(thing, "llm")
    wait_until(lambda: cluster.account.try_call("GET", scale_path("set", "statefulsets"))[0] == 200, 10, "the right")
    backend = cluster.backend(statefulset="set")
    model = {"served_name": "org/set", "backend": backend}
    with cluster.gateway(set=model) as gateway:
        assert gateway.chat("set").status == 200
        assert [pod["metadata"]["name"] for pod in cluster.pods("set")] == ["set-0"]
        assert gateway.chat(OTHER).status == 200
        assert not cluster.pods("set")


# --- refusals ---

def ask_until_answered(gateway, model, timeout=40):
    """A model that could not be stopped is looked at again every half minute."""
    pause = threading.Event()

    def is_answered():
        return gateway.chat(model, timeout=60).status == 200 or pause.wait(0.2)
    wait_until(is_answered, timeout, "an answer")


def test_a_missing_right_is_named_and_needs_no_restart_when_it_is_given(cluster):
    binding = "/apis/rbac.authorization.k8s.io/v1/namespaces/llm/rolebindings/llm-vllmgw"
    cluster.clear(cluster.big, cluster.other)
    with cluster.gateway() as gateway:
        cluster.api.call("DELETE", binding)
        wait_until(lambda: cluster.account.try_call("GET", scale_path(cluster.big))[0] == 403, 10, "the loss of the right")
        try:
            answer = gateway.chat(BIG)
            assert answer.status == 503
            assert ('add to its Role in namespace llm: {apiGroups: ["apps"], resources: [deployments/scale], verbs: [get]}'
                    in answer.error["message"])
        finally:
            cluster.api.apply(cluster.release.get("RoleBinding"), "llm")
        ask_until_answered(gateway, BIG)


def test_a_token_that_is_refused_is_named_and_read_again(cluster):
    cluster.clear(cluster.big, cluster.other)
    with cluster.gateway() as gateway:
        cluster.token_file.write_text("wrong")
        try:
            answer = gateway.chat(BIG)
            assert answer.status == 503 and "does not accept the token" in answer.error["message"]
        finally:
            cluster.write_token()
        ask_until_answered(gateway, BIG)


# --- an API server that goes away ---

def test_without_an_api_server_what_serves_goes_on_and_a_swap_is_made_when_it_is_back(cluster, measured):
    cluster.clear(cluster.other)
    answers = []
    with cluster.gateway() as gateway:
        assert gateway.chat(BIG).status == 200
        cluster.server.kill()
        try:
            assert gateway.chat(BIG).status == 200
            asker = threading.Thread(target=lambda: answers.append(gateway.chat(OTHER, timeout=120)))
            asker.start()
            wait_until(lambda: "draining -> leaving" in gateway.text, 10, "the swap")
            wait_until(lambda: "EndpointSlices of llm: GET" in gateway.text, 10, "a list that failed")
        finally:
            began = time.monotonic()
            cluster.server.start()
        cluster.server.wait()
        measured("the API server is back", began)
        asker.join(60)
        measured("the swap is made", began)
        assert [answer.status for answer in answers] == [200]
        assert cluster.replicas(cluster.other) == 1 and not cluster.pods(cluster.big)
        began = time.monotonic()
        cluster.scale(cluster.other, 2)
        wait_until(lambda: "2 pods are ready, they were 1" in gateway.text, 30, "the second pod")
        measured("another pod", began)
        assert "add to its Role" not in gateway.text


def test_a_model_that_cannot_be_started_without_an_api_server_is_refused_soon(cluster, measured):
    cluster.clear(cluster.big, cluster.other)
    with cluster.gateway() as gateway:
        cluster.server.kill()
        try:
            began = time.monotonic()
            answer = gateway.chat(BIG)
            measured("refused", began)
            assert answer.status == 503 and "could not be started" in answer.error["message"]
            assert time.monotonic() - began < 10
        finally:
            cluster.server.start()
        cluster.server.wait()
        ask_until_answered(gateway, BIG)


def test_a_watch_whose_past_was_compacted_begins_with_a_list(cluster, quiet):
    gateway, server = quiet

    def calls(verb):
        return [call for call in server.audit(ACCOUNT) if call["verb"] == verb and call["stage"] == "ResponseComplete" and
                call["objectRef"]["resource"] == "endpointslices" and call["responseStatus"]["code"] == 200]
    watches, lists = len(calls("watch")), len(calls("list"))
    cluster.api.merge("/api/v1/namespaces/quiet", {"metadata": {"labels": {"changed": str(time.time())}}})
    cluster.plane.compact()
    wait_until(lambda: len(calls("list")) > lists, WATCH_S + 20, "a new list")
    assert len(calls("watch")) >= watches + 2  # the one that ended in time, and the one that was told 410
    assert "the watch of quiet broke" not in gateway.text
    cluster.scale("still", 2, namespace="quiet")
    wait_until(lambda: "2 pods are ready, they were 1" in gateway.text, 20, "the second pod")
