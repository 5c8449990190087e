# SPDX-License-Identifier: Apache-2.0
"""A real Prometheus on a port of its own, and what its expressions speak of.

    with Prometheus(config_text, folder) as prometheus:
        assert prometheus.query("up")[0]["value"] == 1.0

Standard library only; the program is Debian's package prometheus.
"""

import json
import os
import pathlib
import re
import subprocess
import urllib.error
import urllib.parse
import urllib.request

from engine import wait_until


class Prometheus:
    """One prometheus over files in `folder` (rules are found beside the configuration)."""

    def __init__(self, config, folder):
        path = pathlib.Path(folder) / "prometheus.yml"
        path.write_text(config)
        self.log_path = pathlib.Path(folder) / "prometheus.log"
        with open(self.log_path, "wb") as log:
            self.process = subprocess.Popen(
                ["prometheus", f"--config.file={path}", f"--storage.tsdb.path={folder}/data", "--log.level=warn",
                 "--web.listen-address=127.0.0.1:0"], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            self.port = wait_until(self._find_port, 30, "prometheus")
            wait_until(self._is_ready, 30, "prometheus being ready")
        except BaseException:
            self.close()
            raise

    def _find_port(self):
        """The port the kernel chose is in no log: of the listening sockets, the one that this process holds."""
        assert self.process.poll() is None, self.log_path.read_text()
        folder, held = f"/proc/{self.process.pid}/fd", set()
        for name in os.listdir(folder):
            try:
                held.add(os.readlink(os.path.join(folder, name)))
            except FileNotFoundError:
                continue
        for line in pathlib.Path("/proc/net/tcp").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and f"socket:[{fields[9]}]" in held:
                return int(fields[1].split(":")[1], 16)
        return None

    def _is_ready(self):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/-/ready", timeout=5) as answer:
                return answer.status == 200
        except OSError:
            return False

    def get(self, path, **query):
        """The data of an answer of its API; what it refuses is an error that says why."""
        url = f"http://127.0.0.1:{self.port}{path}?{urllib.parse.urlencode(query)}"
        try:
            with urllib.request.urlopen(url, timeout=20) as answer:
                said = json.load(answer)
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{query}: {error.read().decode()}") from error
        assert said["status"] == "success", said
        return said["data"]

    def query(self, expression):
        """[{"labels": {...}, "value": number}] of an instant vector."""
        found = self.get("/api/v1/query", query=expression)["result"]
        return [{"labels": one["metric"], "value": float(one["value"][1])} for one in found]

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(20)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def names_of(expression):
    """{metric: labels that it must have} of a PromQL expression: those it is matched by, and all grouped by."""
    bare = re.sub(r'"[^"]*"', '""', expression)
    grouped = set()
    for group in re.findall(r"\b(?:by|on|without) *\(([^)]*)\)", bare):
        grouped |= {name.strip() for name in group.split(",")}
    rest = re.sub(r"\[[^]]*\]|\b(?:by|on|without) *\([^)]*\)", "", bare)
    found = {}
    for name, matchers in re.findall(r"([a-zA-Z_:][\w:]*)(?![\w:(]| *\()(?:{([^}]*)})?", re.sub(r"\b(?:or|and)\b", " ", rest)):
        found.setdefault(name, set(grouped)).update(re.findall(r"([a-z_]+) *(?:=~|!=|!~|=)", matchers))
    return found
