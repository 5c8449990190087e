# SPDX-License-Identifier: Apache-2.0
"""The chart's renderer and the checker of its objects, made ready once per build folder; skips where their tools are
missing."""

import functools
import json
import os
import pathlib
import shutil
import subprocess
import tempfile

import pytest

HERE = pathlib.Path(__file__).resolve().parent
CHART = HERE.parents[2] / "examples" / "helm" / "vllmgw"
FOLDER = pathlib.Path(os.environ.get("VGW_KUBE_FOLDER") or os.path.join(tempfile.gettempdir(), f"vgw-kube-{os.getuid()}"))
DEBIAN_GO = "/usr/share/gocode"  # where Debian's packages put the sources of Go's libraries


@functools.cache
def renderer():
    """The path of helmtpl."""
    go = next((go for go in [shutil.which("go"), "/usr/bin/go"] if go and os.access(go, os.X_OK)), None)
    if not go:
        pytest.skip("no Go compiler (golang-go): the chart is not rendered")
    for package in ["github.com/Masterminds/sprig", "sigs.k8s.io/yaml"]:
        if not os.path.isdir(f"{DEBIAN_GO}/src/{package}"):
            pytest.skip(f"{package} is not installed (golang-github-masterminds-sprig-dev, "
                        "golang-k8s-sigs-yaml-dev): the chart is not rendered")
    FOLDER.mkdir(parents=True, exist_ok=True)
    env = {**os.environ, "GO111MODULE": "off", "GOPATH": DEBIAN_GO, "GOCACHE": str(FOLDER / "go"), "GOFLAGS": "",
           "GOTOOLCHAIN": "local"}
    done = subprocess.run([go, "build", "-o", FOLDER / "helmtpl", "."], cwd=HERE.parents[1] / "support" / "helmtpl",
                          env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return FOLDER / "helmtpl"


@functools.cache
def checker():
    """The folder where check.mjs can run."""
    if not shutil.which("npm") or not shutil.which("node"):
        pytest.skip("no npm: the chart's objects are not type-checked")
    folder = FOLDER / "check"
    folder.mkdir(parents=True, exist_ok=True)
    wanted = (HERE / "package-lock.json").read_text()
    done = folder / "installed"
    for name in ["package.json", "package-lock.json", "check.mjs"]:
        shutil.copyfile(HERE / name, folder / name)
    if not done.exists() or done.read_text() != wanted:
        result = subprocess.run(["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts"], cwd=folder,
                                capture_output=True, text=True)
        if result.returncode != 0:
            pytest.skip(f"npm cannot install the types, the chart's objects are not checked: {result.stderr[-300:]}")
        done.write_text(wanted)
    return folder


def check(what, *args):
    """The mistakes that check.mjs finds."""
    folder = checker()
    done = subprocess.run(["node", "check.mjs", what, *map(str, args)], cwd=folder, capture_output=True, text=True)
    assert done.returncode in (0, 1) and not done.stderr, done.stderr
    assert (done.returncode == 1) == bool(done.stdout), done
    return done.stdout.splitlines()


def fill(config, folder):
    """A release's vllmgw.yaml for a gateway of this machine."""
    assert "listen: 0.0.0.0:8080\n" in config and "state_dir: /var/lib/vllmgw\n" in config
    return (config.replace("0.0.0.0:8080", "127.0.0.1:0")
            .replace("state_dir: /var/lib/vllmgw", f"state_dir: {folder}"))


class Release:
    """A chart with values, as it would be installed as `llm` in the namespace `llm`. values: files or mappings."""

    def __init__(self, *values, version="v1.31.0", live=None):
        with tempfile.TemporaryDirectory() as folder:
            args = ["-n", "llm", "-k", version]
            for i, one in enumerate(values):
                if isinstance(one, dict):
                    path = pathlib.Path(folder, f"{i}.json")
                    path.write_text(json.dumps(one))
                    one = path
                args += ["-f", one]
            if live:
                path = pathlib.Path(folder, "live.json")
                path.write_text(json.dumps(live))
                args += ["-l", path]
            done = subprocess.run([renderer(), *args, "llm", CHART], capture_output=True, text=True)
        self.complaint = done.stderr
        if done.returncode == 0:
            out = json.loads(done.stdout)
            self.values, self.objects, self.notes = out["values"], out["objects"], out["notes"]

    def get(self, kind, name="llm-vllmgw"):
        """One object; None if there is none."""
        found = [one for one in self.objects if one["kind"] == kind and one["metadata"]["name"] == name]
        assert len(found) <= 1
        return found[0] if found else None

    def names(self, kind):
        return [one["metadata"]["name"] for one in self.objects if one["kind"] == kind]

    def pod(self, name="llm-vllmgw"):
        return self.get("Deployment", name)["spec"]["template"]["spec"]

    @property
    def config(self):
        """The text of vllmgw.yaml."""
        return self.get("ConfigMap")["data"]["vllmgw.yaml"]
