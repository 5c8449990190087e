# SPDX-License-Identifier: Apache-2.0
"""A real Prometheus scrapes the gateway, and examples/grafana speaks only of what the gateway tells."""

import json
import pathlib
import re
import shutil
import subprocess
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from engine import ROOT, Engine, binary, wait_until  # noqa: E402
from gateway import Gateway  # noqa: E402
from prometheus import Prometheus, names_of  # noqa: E402

FOLDER = ROOT / "examples" / "grafana"
ALICE = ["Authorization: Bearer sk-alice-0123456789"]
SCRAPED = {"job", "instance"}  # labels that Prometheus adds

pytestmark = pytest.mark.skipif(
    not (shutil.which("prometheus") and shutil.which("promtool")),
    reason="prometheus is not installed (Debian: prometheus): nothing of it was tested")


@pytest.fixture(scope="module")
def driven():
    """A gateway about which there is something to tell: replicas, swaps, a wake, keys, limits, failures."""
    def process(name, *args, **keys):
        command = [binary("vllmgw-engine"), "--port", "${PORT}", "--model", name, *args]
        return {"backend": {"kind": "process", "command": command, "stop_timeout": "10s"}, **keys}

    keys = [{"name": "alice", "key": ALICE[0].split()[-1], "rpm": 12}, {"name": "root", "key": "sk-root-0123456789", "admin": True}]
    with Engine(served_model_name="small", tokens=4) as one, Engine(served_model_name="small", tokens=4) as two, Gateway(
            {"small": [one, two], "a": process("a"), "b": process("b"), "broken": process("broken", "--fault", "start-unknown-arg")},
            residency={"min_resident": "0s"}, auth={"keys": keys}, metrics={"naming": "both"}) as gateway:
        root = ["Authorization: Bearer sk-root-0123456789"]
        for _ in range(7):
            assert gateway.chat("small", ALICE, stream=True, stream_options={"include_usage": True}).status == 200
        for name in ("a", "b", "broken"):
            gateway.chat(name, root)
        assert gateway.request("GET", "/v1/models").status == 401
        assert 429 in {gateway.chat("small", ALICE).status for _ in range(12)}
        wait_until(lambda: gateway.metrics().get('vllmgw_model_transitions_total{model="a",to="absent"}'), 20, "the swap")
        yield gateway


@pytest.fixture(scope="module")
def told(driven):
    """{metric: labels it has}, of /metrics; without samples only what the family is."""
    text = driven.request("GET", "/metrics").body.decode()
    found = {}
    for line in text.splitlines():
        if line.startswith("# TYPE "):
            found.setdefault(line.split()[2], set())
        elif line and line[0] != "#":
            name, _, labels = line.partition(" ")[0].partition("{")
            found.setdefault(name, set()).update(re.findall(r'(\w+)="', labels))
    return found


def panels():
    return [panel for panel in json.loads((FOLDER / "vllmgw.json").read_text())["panels"] if panel["type"] != "row"]


def expressions():
    """Every expression of the dashboard and of the rules, its variables filled in."""
    rules = re.findall(r"^ *expr: (?:>-\n((?: {10,}.*\n)+)|(.*)\n)", (FOLDER / "vllmgw.rules.yml").read_text(), re.M)
    found = [" ".join((block or line).split()) for block, line in rules]
    for panel in panels():
        found += [target["expr"] for target in panel["targets"]]
    return [one.replace("$__rate_interval", "1m").replace('"$model"', '".+"') for one in found]


def test_prometheus_scrapes_it_and_counts_what_was_sent(driven, tmp_path):
    """The example's own configuration, but for the address and the haste."""
    config = (FOLDER / "prometheus.yml").read_text().replace("127.0.0.1:8080", f"127.0.0.1:{driven.port}")
    shutil.copy(FOLDER / "vllmgw.rules.yml", tmp_path)
    sent = driven.metrics()['vllmgw_requests_total{model="small",code="200"}']
    assert sent >= 7
    with Prometheus(config.replace("15s", "200ms"), tmp_path) as prometheus:
        wait_until(lambda: [one["value"] for one in prometheus.query('up{job="vllmgw"}')] == [1.0], 20, "the first scrape")
        answered = prometheus.query('vllmgw_requests_total{model="small",code="200"}')
        assert [one["value"] for one in answered] == [sent]
        assert driven.chat("small", ["Authorization: Bearer sk-root-0123456789"]).status == 200
        wait_until(lambda: prometheus.query('vllmgw_requests_total{model="small",code="200"}')[0]["value"] == sent + 1, 20,
                   "one more")
        target = prometheus.get("/api/v1/targets")["activeTargets"][0]
        assert target["lastError"] == "" and target["health"] == "up"

        for expression in expressions():
            prometheus.query(expression)  # it understands them all
        failed = prometheus.query('vllmgw_model_state{state="failed"} == 1')
        assert [one["labels"]["model"] for one in failed] == ["broken"]

        def rules():
            group = prometheus.get("/api/v1/rules")["groups"][0]
            return group["rules"] if all(rule["health"] == "ok" for rule in group["rules"]) else None
        states = {rule["name"]: rule["state"] for rule in wait_until(rules, 20, "the rules' evaluation")}
        wait_until(lambda: {rule["name"]: rule["state"] for rule in rules() or []}.get("VllmgwModelFailed") == "pending", 20,
                   "the alert about the broken model")
        assert states["VllmgwDown"] == "inactive"


def test_promtool_accepts_the_metrics_the_rules_and_the_configuration(driven):
    metrics = subprocess.run(["promtool", "check", "metrics"], input=driven.request("GET", "/metrics").body,
                             capture_output=True, timeout=20)
    assert metrics.returncode == 0, metrics.stdout + metrics.stderr
    for kind, name in (("rules", "vllmgw.rules.yml"), ("config", "prometheus.yml")):
        done = subprocess.run(["promtool", "check", kind, FOLDER / name], capture_output=True, timeout=20)
        assert done.returncode == 0, done.stdout + done.stderr


def test_every_metric_and_label_of_the_dashboard_and_the_rules_exists(told):
    told = {**told, "up": set()}
    found = expressions()
    assert len(found) > 40
    for expression in found:
        assert names_of(expression), expression
        for metric, labels in names_of(expression).items():
            assert metric in told, f"{metric} of {expression}"
            assert labels <= told[metric] | SCRAPED, f"{labels - told[metric]} of {metric} in {expression}"


def test_what_a_legend_names_is_left_by_its_expression(told):
    for panel in panels():
        for target in panel["targets"]:
            metrics = names_of(target["expr"])
            grouped = re.findall(r"\bby *\(([^)]*)\)", target["expr"])
            left = set.intersection(*({name.strip() for name in one.split(",")} for one in grouped)) if grouped else \
                set() if "sum" in target["expr"] else set.union(*(told[metric] for metric in metrics)) | SCRAPED
            assert set(re.findall(r"{{(\w+)}}", target["legendFormat"])) <= left, target


def test_the_dashboard_is_whole():
    dashboard = json.loads((FOLDER / "vllmgw.json").read_text())
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"])
    taken = set()
    for panel in dashboard["panels"]:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert at["x"] + at["w"] <= 24 and not cells & taken, panel["title"]
        taken |= cells
    variables = {variable["name"] for variable in dashboard["templating"]["list"]}
    assert set(re.findall(r"\$\{?([a-z]\w*)", json.dumps(dashboard["panels"]))) <= variables
