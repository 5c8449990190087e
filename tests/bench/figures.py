# SPDX-License-Identifier: Apache-2.0
"""What is measured. Each suite runs one contender once and returns {figure: value}."""

import json
import subprocess

import contenders

EVENT_RATE = 2500       # events a second over all open streams, the same however many are open
SSE_STREAMS = 500
SSE_INTERVAL_MS = 20
FULL = {"rounds": 5, "open_rounds": 2, "warm": 0.4, "window": 2.0, "open_window": 2.0,
        "steps": [500, 2500, 5000]}
QUICK = {"rounds": 2, "open_rounds": 1, "warm": 0.2, "window": 0.5, "open_window": 0.5, "steps": [500, 5000]}


class Bench:
    """The knobs of a run and the faults it has met."""

    def __init__(self, knobs, folder, one_core, other_core):
        self.knobs = knobs
        self.folder = folder
        self.one_core = one_core
        self.other_core = other_core    # None: there is one core only
        self.faults = []

    def rig(self, name, two_cores=False):
        other_core = self.other_core if two_cores else self.one_core
        return contenders.Rig(name, self.folder, self.one_core, other_core)

    def load(self, rig, phases, **options):
        """Runs bench-load against a rig; returns its figures phase by phase."""
        command = [contenders.tool("bench-load"), "--port", str(rig.port)]
        command += ["--engine", str(rig.processes[0].pid)]
        if rig.gateway_pids:
            command += ["--gateway", ",".join(map(str, rig.gateway_pids))]
        for key, value in options.items():
            command += ["--" + key.replace("_", "-"), str(value)]
        load = contenders.spawn(command + phases, rig.other_core, stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE, text=True)
        try:
            output, complaint = load.communicate(timeout=300)
        finally:
            contenders.stop(load)
        lines = [json.loads(line) for line in output.splitlines()]
        if len(lines) != len(phases):
            raise contenders.BenchError(f"bench-load against {rig.name}: {complaint.strip()}")
        for line in lines:
            if line["errors"]:
                self.faults.append(f"{rig.name}, {line['phase']}: {line['errors']} errors, first: "
                                   f"{line['error']}")
        return lines


def per(nanoseconds, count):
    """Microseconds for each of `count`; None when there was none."""
    return nanoseconds / count / 1000 if count else None


def cpu(name, rig, line, count):
    """CPU figures of a phase: of the gateway, and of what is not the gateway."""
    figures = {f"{name} harness": per(line["engine_cpu_ns"] + line["load_cpu_ns"], count)}
    if rig.gateway_pids:
        figures[name] = per(line["gateway_cpu_ns"], count)
    return figures


def closed_loop(bench, name, contender, phase, **options):
    knobs = bench.knobs
    with bench.rig(contender) as rig:
        _, line = bench.load(rig, [f"{phase}:{knobs['warm']}s", f"{phase}:{knobs['window']}s"], **options)
        return cpu(name, rig, line, line["done"])


def small(bench, contender):
    return closed_loop(bench, "small", contender, "post", body_bytes=600)


def large(bench, contender):
    return closed_loop(bench, "large", contender, "post", body_bytes=100 * 1024)


def start(bench, contender):
    return closed_loop(bench, "start", contender, "start")


def sse(bench, contender):
    knobs = bench.knobs
    phases = [f"open:{SSE_STREAMS}", f"hold:{knobs['warm']}s", f"hold:{knobs['window']}s", "close"]
    with bench.rig(contender) as rig:
        line = bench.load(rig, phases, interval_ms=SSE_INTERVAL_MS, event_bytes=220)[2]
        rate = line["events"] / line["seconds"]
        if rate < 0.95 * SSE_STREAMS * 1000 / SSE_INTERVAL_MS:
            bench.faults.append(f"{contender}, sse: only {rate:.0f} events a second came through")
        return cpu("sse", rig, line, line["events"]) | {"sse burst": line["events"] / max(line["reads"], 1)}


def open_streams(bench, contender, count):
    """`count` open streams; what they cost, and what a request costs beside them."""
    knobs = bench.knobs
    window = knobs["open_window"]
    phases = [f"post:{knobs['warm']}s", f"start:{knobs['warm']}s", f"open:{count},{EVENT_RATE}",
              f"hold:{window}s", f"post:{window}s", f"start:{window}s",
              f"post:{window / 2}s,1", f"start:{window / 2}s,1", "close"]
    with bench.rig(contender) as rig:
        lines = bench.load(rig, phases, interval_ms=count * 1000 // EVENT_RATE)
    _, base, _, hold, post, begin, calm_post, calm_begin, _ = lines
    figures = {f"open {count} post p50": calm_post["latency_us"]["p50"],
               f"open {count} start p50": calm_begin["latency_us"]["p50"],
               f"open {count} start p99": calm_begin["latency_us"]["p99"]}
    if rig.gateway_pids:
        event_ns = hold["gateway_cpu_ns"] / max(hold["events"], 1)
        figures[f"open {count} rss"] = (hold["gateway_rss_kib"] - base["gateway_rss_kib"]) / count
        figures[f"open {count} event"] = event_ns / 1000
        # The events that came meanwhile are not the requests' cost.
        for name, line in (("post", post), ("start", begin)):
            own_ns = line["gateway_cpu_ns"] - line["events"] * event_ns
            figures[f"open {count} {name}"] = per(own_ns, line["done"])
    return figures


def two(bench, contender):
    knobs = bench.knobs
    with bench.rig(contender, two_cores=True) as rig:
        _, line = bench.load(rig, [f"post:{knobs['warm']}s", f"post:{knobs['window']}s"])
        return {"two rate": line["done"] / line["seconds"], "two p50": line["latency_us"]["p50"],
                "two p99": line["latency_us"]["p99"]}


def suites(bench, only):
    """[(name, rounds, function(bench, contender))] in the order of the table, and what cannot run here."""
    knobs = bench.knobs
    alone = {"small": small, "large": large, "sse": sse, "start": start}
    table = [(name, knobs["rounds"], function) for name, function in alone.items()]
    skipped = []
    for count in knobs["steps"]:
        if 2 * count + 500 > contenders.FILES:
            skipped.append(f"{count} open streams: only {contenders.FILES} open files are allowed")
            continue
        table.append(("open", knobs["open_rounds"], lambda b, c, n=count: open_streams(b, c, n)))
    if bench.other_core is None:
        skipped.append("two-core layout: there is one core only")
    else:
        table.append(("two", knobs["rounds"], two))
    return [row for row in table if not only or row[0] in only], skipped
