# SPDX-License-Identifier: Apache-2.0
"""The one writer of a state: a life cycle's `state` is assigned in one line of one function, so that lists,
counters, events and assertions cannot be forgotten by a second one.

Byte parsers (lib/json, lib/net) step through their grammar as they like: nothing else follows from their state.
"""
import re

from house import Problem, Sample, blank, line_of, main

WRITE = re.compile(r"(?:->|\.)state\s*=(?!=)")
LIFE_CYCLES = r"(lib/(core|observe|backend|residency|balance|gateway)|server)/.*\.c"


def check(house):
    first_in_residency = None
    for path in house.files(LIFE_CYCLES):
        text = blank(house.read(path))
        lines = [line_of(text, match.start()) for match in WRITE.finditer(text) if not is_initializer(text, match)]
        for line in lines[1:]:
            yield Problem(path, line, f"assigns ->state again (line {lines[0]} does already)",
                          "one function set_state() is the only writer; give parsers a `step` instead")
        if lines and path.startswith("lib/residency/"):
            if first_in_residency:
                yield Problem(path, lines[0], f"assigns ->state; so does {first_in_residency}",
                              "a replica's state has one writer in the whole folder")
            first_in_residency = first_in_residency or f"{path}:{lines[0]}"


def is_initializer(text, match):
    """`{ .state = X }` makes an object, it does not move one."""
    before = text[:match.start()].rstrip()
    return match.group(0).startswith(".") and (before.endswith("{") or before.endswith(","))


REFUSED = [
    Sample("two writers", {"lib/gateway/a.c": "a->state = B;\nif (a->state == B)\n\ta->state = C;\n"},
           "lib/gateway/a.c:3"),
    Sample("two files", {"lib/residency/a.c": "a->state = B;\n", "lib/residency/b.c": "\na->state = B;\n"},
           "lib/residency/b.c:2"),
]
ACCEPTED = [
    Sample("one writer, a parser, an initialiser", {
        "lib/residency/a.c": "struct a b = { .state = B };\na->state = to;\nif (a->state == B)\n\treturn;\n",
        "lib/net/p.c": "p->state = A;\np->state = B;\n"}),
]

if __name__ == "__main__":
    main(check, REFUSED, ACCEPTED)
