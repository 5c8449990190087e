#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes the three example traces for `vllmgw simulate`, as JSON lines {"at_ms", "model", "service_ms"}.

    generate.py [FOLDER]        default: the folder of this file

steady.jsonl  one hour; a 70 % / 20 % / 10 % mix of models a, b, c with Poisson arrivals, one every 20 s
agent.jsonl   one hour; an agent that asks a, then b, then a... and thinks a little in between: each next question
              comes only when the last answer would have come (its own time plus a swap)
bursty.jsonl  one hour; a is asked all the time, and five rare models t1 to t5 come in bursts of 3 to 8 requests

Every file has its own seed, so a second run writes the same bytes.
"""

import json
import pathlib
import random
import sys

HOUR_MS = 3_600_000


def steady():
    rng = random.Random(1)
    at = 0.0
    while True:
        at += rng.expovariate(1 / 20_000)
        if at > HOUR_MS:
            return
        model = rng.choices("abc", weights=(70, 20, 10))[0]
        yield int(at), model, int(rng.uniform(500, 4_000))


def agent():
    rng = random.Random(2)
    at = 0
    model = "a"
    while at < HOUR_MS:
        service = int(rng.uniform(1_000, 6_000))
        yield at, model, service
        at += service + 25_000 + int(rng.expovariate(1 / 5_000))
        model = "b" if model == "a" else "a"


def bursty():
    rng = random.Random(3)
    rows = []
    at = 0.0
    while at < HOUR_MS:
        rows.append((int(at), "a", int(rng.uniform(500, 3_000))))
        at += rng.expovariate(1 / 15_000)
    at = 0.0
    while True:
        at += rng.expovariate(1 / 240_000)
        if at > HOUR_MS:
            break
        model = "t%d" % rng.randint(1, 5)
        moment = at
        for _ in range(rng.randint(3, 8)):
            rows.append((int(moment), model, int(rng.uniform(1_000, 5_000))))
            moment += rng.expovariate(1 / 1_000)
    return sorted(rows)


def main():
    folder = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else pathlib.Path(__file__).parent)
    for name, rows in (("steady", steady()), ("agent", agent()), ("bursty", bursty())):
        with open(folder / f"{name}.jsonl", "w", encoding="utf-8") as out:
            for at, model, service in rows:
                out.write(json.dumps({"at_ms": at, "model": model, "service_ms": service}) + "\n")


if __name__ == "__main__":
    main()
