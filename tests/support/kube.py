# SPDX-License-Identifier: Apache-2.0
"""A cluster of kube_api.py for tests in Python.

    with Cluster({"deployments/big": "org/big"}) as cluster:
        cluster.order("scale", workload="deployments/big", replicas=1)
"""

import json
import pathlib
import shutil
import subprocess
import sys
import tempfile
import urllib.request

from engine import binary


class Cluster:
    """workloads: RESOURCE/NAME -> what its engines call their model. calls: "VERB RESOURCE" of all calls so far."""

    def __init__(self, workloads):
        self.folder = tempfile.mkdtemp(prefix="vgw-kube-")
        self.calls = []
        script = pathlib.Path(__file__).with_name("kube_api.py")
        self.process = subprocess.Popen(
            [sys.executable, script, self.folder, binary("vllmgw-engine"),
             *(f"{name}={served}" for name, served in workloads.items())],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        word, port, engine_port, orders = (self.process.stdout.readline().split() or ["none", 0, 0, 0])
        if word != "ready":
            self.close()
            raise RuntimeError("kube_api.py did not start")
        self.api, self._orders = f"https://127.0.0.1:{port}", f"http://127.0.0.1:{orders}"
        self.engine_port = int(engine_port)
        self.ca_file, self.token_file = f"{self.folder}/ca.crt", f"{self.folder}/token"

    def order(self, order, **more):
        """An order of kube_api.py; the cluster's state after it."""
        request = urllib.request.Request(f"{self._orders}/_test/{order}", json.dumps(more).encode(), method="POST")
        with urllib.request.urlopen(request, timeout=20) as answer:
            state = json.load(answer)
        self.calls += state["calls"]
        return state

    def close(self):
        self.process.stdin.close()
        self.process.wait(20)
        self.process.stdout.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
