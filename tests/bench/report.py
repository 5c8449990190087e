# SPDX-License-Identifier: Apache-2.0
"""Medians, ratios, targets, and the table people read."""

import statistics

# figure: (row of the table, unit, decimals)
ROWS = {
    "small": ("POST 600 B, CPU of the gateway", "us", 1),
    "small harness": ("  of engine + load", "us", 1),
    "large": ("POST 100 KB, CPU of the gateway", "us", 1),
    "large harness": ("  of engine + load", "us", 1),
    "sse": ("SSE event, 500 streams, CPU of the gateway", "us", 2),
    "sse harness": ("  of engine + load", "us", 2),
    "sse burst": ("  events per read of the client", "", 2),
    "start": ("stream of one event, CPU of the gateway", "us", 1),
    "start harness": ("  of engine + load", "us", 1),
    "rss": ("{n} open: RSS per stream", "KiB", 2),
    "event": ("  CPU per event", "us", 2),
    "post": ("  CPU per small POST", "us", 1),
    "start ": ("  CPU per stream started", "us", 1),
    "post p50": ("  latency of a lone small POST p50", "us", 0),
    "start p50": ("  first event of a lone new stream p50", "us", 0),
    "start p99": ("  first event of a lone new stream p99", "us", 0),
    "two rate": ("two cores: small POSTs per second", "/s", 0),
    "two p50": ("  latency p50", "us", 0),
    "two p99": ("  latency p99", "us", 0),
}
OPEN_ORDER = ["rss", "event", "post", "start ", "post p50", "start p50", "start p99"]
SMALL_LIMIT = 1.3
EVENT_LIMIT = 1.0
RSS_LIMIT_KIB = 8
GROWTH_LIMIT = 1.5      # from the fewest to the most open streams; what is linear in them grows tenfold


def medians(values):
    """{figure: {contender: [values]}} to {figure: {contender: median}}."""
    return {figure: {name: statistics.median(seen) for name, seen in by_name.items()}
            for figure, by_name in values.items()}


def row_of(figure):
    if figure.startswith("open "):
        _, count, what = figure.split(" ", 2)
        text, unit, decimals = ROWS["start " if what == "start" else what]
        return text.format(n=count), unit, decimals
    return ROWS[figure]


def order(figures):
    def rank(figure):
        if not figure.startswith("open "):
            names = list(ROWS)
            return (2 if figure.startswith("two") else 0, 0, names.index(figure))
        _, count, what = figure.split(" ", 2)
        return (1, int(count), OPEN_ORDER.index("start " if what == "start" else what))
    return sorted(figures, key=rank)


def ratio(median, figure, other):
    ours, theirs = median.get(figure, {}).get("vllmgw"), median.get(figure, {}).get(other)
    return ours / theirs if ours is not None and theirs else None


def table(median, names):
    def cell(value, decimals):
        return "-" if value is None else f"{value:.{decimals}f}"
    others = [name for name in ("nginx", "haproxy") if name in names and "vllmgw" in names]
    lines = [f"{'':46}{'':4}" + "".join(f"{name:>10}" for name in names)
             + "".join(f"{'/ ' + name:>11}" for name in others)]
    for figure in order(median):
        text, unit, decimals = row_of(figure)
        line = f"{text:46}{unit:4}"
        line += "".join(f"{cell(median[figure].get(name), decimals):>10}" for name in names)
        if "harness" not in figure and "burst" not in figure:
            line += "".join(f"{cell(ratio(median, figure, name), 2):>11}" for name in others)
        lines.append(line)
    return "\n".join(lines)


def growth(median, name, what):
    """A figure with the most open streams against the same with the fewest."""
    counts = sorted(int(figure.split()[1]) for figure in median
                    if figure.startswith("open ") and figure.split(" ", 2)[2] == what)
    if len(counts) < 2:
        return None
    first, last = (median[f"open {count} {what}"].get(name) for count in (counts[0], counts[-1]))
    return last / first if first and last else None


def targets(median):
    """[(text, value, limit, passed)]; a figure that was not measured gives no row."""
    rss = [by_name["vllmgw"] for figure, by_name in median.items()
           if figure.endswith(" rss") and "vllmgw" in by_name]
    wanted = [("small POST: CPU against nginx", ratio(median, "small", "nginx"), SMALL_LIMIT),
              ("SSE event: CPU against nginx", ratio(median, "sse", "nginx"), EVENT_LIMIT),
              ("RSS per open stream, KiB", rss[-1] if rss else None, RSS_LIMIT_KIB)]
    for what, text in (("event", "event"), ("post", "small POST"), ("start", "starting a stream")):
        text = f"not linear in open streams: growth of {text}"
        wanted.append((text, growth(median, "vllmgw", what), GROWTH_LIMIT))
    return [(text, value, limit, value <= limit) for text, value, limit in wanted if value is not None]
