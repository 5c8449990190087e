# SPDX-License-Identifier: Apache-2.0
"""What a way to balance is worth: the share of conversations' prompts that an engine would find in its prefix cache.

The same turns go through a gateway over four engines. Afterwards each engine's record of what it was sent is replayed
through a cache of its own, least recently used blocks leave: as engines keep them, 64 bytes a block."""

import collections
import json
import pathlib
import random
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from engine import Engine  # noqa: E402
from gateway import Gateway, chat_body, http  # noqa: E402

CONVERSATIONS, TURNS, ACTIVE, BLOCK, CACHE_BLOCKS = 30, 8, 6, 64, 2000


def turns():
    """(session, messages) in the order they are asked: a few conversations at a time, half begin with a known text."""
    lot = random.Random(7)
    words = ["".join(lot.choices("abcdefghijklmnopqrstuvwxyz", k=6)) for _ in range(500)]
    systems = [" ".join(lot.choices(words, k=300)) for _ in range(2)]
    waiting = []
    for number in range(CONVERSATIONS):
        first = [{"role": "system", "content": systems[number % 2]}] if number % 4 < 2 else []
        waiting.append((f"session-{number}", first))
    active = [waiting.pop() for _ in range(ACTIVE)]
    asked = collections.Counter()
    while active:
        at = lot.randrange(len(active))
        session, messages = active[at]
        messages.append({"role": "user", "content": " ".join(lot.choices(words, k=60))})
        yield session, list(messages)
        messages.append({"role": "assistant", "content": " ".join(lot.choices(words, k=60))})
        asked[session] += 1
        if asked[session] == TURNS:
            active[at:at + 1] = [waiting.pop()] if waiting else []


def hits(bodies):
    """(blocks found, blocks) of one engine's prompts, in the order they came."""
    cache, found, total = collections.OrderedDict(), 0, 0
    for body in bodies:
        text, before, is_known = json.dumps(json.loads(body)["messages"]), 0, True
        for at in range(0, len(text) - BLOCK + 1, BLOCK):
            before = hash((before, text[at:at + BLOCK]))
            is_known = is_known and before in cache
            found, total = found + is_known, total + 1
            cache[before] = True
            cache.move_to_end(before)
            if len(cache) > CACHE_BLOCKS:
                cache.popitem(last=False)
    return found, total


@pytest.fixture(scope="module")
def engines():
    found = [Engine(served_model_name="small", tokens=1) for _ in range(4)]
    yield found
    for engine in found:
        engine.close()


def rate(engines, balance):
    for engine in engines:
        engine.reset()
    model = {"backend": {"kind": "static", "urls": [engine.url for engine in engines]}, "balance": balance}
    with Gateway({"small": model}, timeouts={"health": None}) as gateway, gateway.connect() as connection:
        for session, messages in turns():
            body = {**chat_body("small", session_id=session), "messages": messages}
            connection.send(http("POST", "/v1/chat/completions", body))
            assert connection.read_answer().status == 200
    sent = [[request["body"] for request in engine.requests()] for engine in engines]
    assert sum(len(bodies) for bodies in sent) == CONVERSATIONS * TURNS
    counts = [hits(bodies) for bodies in sent]
    share = sum(found for found, _ in counts) / sum(total for _, total in counts)
    print(f"{balance}: {100 * share:.1f} % of prompt blocks found; requests {[len(bodies) for bodies in sent]}")
    return share


def test_conversations_find_more_of_their_prompts_by_prefix_and_by_session(engines):
    """Run with -rP it tells the rates."""
    by_load, by_prefix, by_session = (rate(engines, way) for way in ("least_outstanding", "prefix", "sticky"))
    assert by_prefix > 0.75 and by_session > 0.65
    assert by_prefix > by_load + 0.25 and by_session > by_load + 0.15
