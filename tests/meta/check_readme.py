# SPDX-License-Identifier: Apache-2.0
"""What the READMEs show is true: C programs compile, links and commands lead to files, configurations are accepted by
the server (when it is built), presets exist."""
import json
import os
import re
import subprocess
import tempfile

from house import Problem, Sample, line_of, main

BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.M | re.S)
LINK = re.compile(r"\]\((?!https?://|#|mailto:)([^)#\s]+)\)")
COMMAND = re.compile(r"(?<![\w./-])((?:examples|tests|\.ci)/[\w./-]*\w)")


def check(house):
    for path in house.files(r"(.*/)?README\.md"):
        text = house.read(path)
        yield from judge_links(house, path, text)
        for match in BLOCK.finditer(text):
            line = line_of(text, match.start()) + 1
            if match.group(1) == "c" and "int main(" in match.group(2):
                yield from judge_c(house, path, line, match.group(2))
            if match.group(1) == "yaml" and "models:" in match.group(2):
                yield from judge_yaml(house, path, line, match.group(2))
        yield from judge_presets(house, path, text)


def judge_links(house, path, text):
    for match in LINK.finditer(text):
        if not os.path.exists(os.path.join(house.root, os.path.dirname(path), match.group(1))):
            yield Problem(path, line_of(text, match.start()), f"links to {match.group(1)}, which is not there",
                          "a path relative to this file")
    for match in COMMAND.finditer(text):
        here = os.path.join(house.root, os.path.dirname(path), match.group(1))
        if not os.path.exists(here) and not os.path.exists(os.path.join(house.root, match.group(1))):
            yield Problem(path, line_of(text, match.start()), f"names {match.group(1)}, which is not there",
                          "name what exists")


def judge_c(house, path, line, code):
    with tempfile.TemporaryDirectory(prefix="house-") as folder:
        source = os.path.join(folder, "block.c")
        with open(source, "w", encoding="utf-8") as file:
            file.write(code)
        command = [house.cc, "-std=c11", "-Wall", "-Wextra", "-Werror", "-fsyntax-only", "-I",
                   os.path.join(house.root, "include"), source]
        if house.build:
            command += ["-I", os.path.join(house.build, "include")]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        place = re.search(r"block\.c:(\d+):.*(?:error|fatal)[^:]*: (.*)", done.stderr)
        at, what = (line + int(place.group(1)) - 1, place.group(2)) if place else (line, done.stderr[:200])
        yield Problem(path, at, f"this program does not compile: {what}", "show what works")


def judge_yaml(house, path, line, text):
    server = os.path.join(house.build or "", "bin", "vllmgw-server")
    if not os.path.exists(server):
        return
    with tempfile.TemporaryDirectory(prefix="house-") as folder:
        file_name = os.path.join(folder, "vllmgw.yaml")
        with open(file_name, "w", encoding="utf-8") as file:
            file.write(text)
        done = subprocess.run([server, "-c", file_name, "--check"], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        said = (done.stderr or done.stdout).replace(file_name, "the block")[:300]
        yield Problem(path, line, f"the server refuses this configuration: {said}", "show what works")


def judge_presets(house, path, text):
    presets = os.path.join(house.root, "CMakePresets.json")
    known = set()
    if os.path.exists(presets):
        with open(presets, encoding="utf-8") as file:
            known = {preset["name"] for preset in json.load(file)["configurePresets"]}
    for match in re.finditer(r"--preset (\w+)", text):
        if match.group(1) not in known:
            yield Problem(path, line_of(text, match.start()), f"names the preset {match.group(1)}, which is not there",
                          f"one of {', '.join(sorted(known)) or 'none'}")


def strict_server(house):
    """A stand-in for the server that refuses every configuration."""
    folder = os.path.join(house.build, "bin")
    os.makedirs(folder)
    path = os.path.join(folder, "vllmgw-server")
    with open(path, "w", encoding="utf-8") as file:
        file.write("#!/bin/sh\necho 'the block:1:1: no' >&2\nexit 78\n")
    os.chmod(path, 0o755)


REFUSED = [
    Sample("broken program", {"README.md": "A\n```c\n#include <stddef.h>\nint main(void)\n{\n\treturn x;\n}\n```\n"},
           "README.md:6"),
    Sample("dead link", {"lib/README.md": "\nsee [it](../no.md)\n"}, "lib/README.md:2"),
    Sample("no such command", {"README.md": "run `tests/walk`\n"}, "README.md:1"),
    Sample("no such preset", {"README.md": "`cmake --preset dev`\n"}, "README.md:1"),
    Sample("refused configuration", {"README.md": "\n```yaml\nmodels: {}\n```\n"}, "README.md:3", strict_server),
]
ACCEPTED = [
    Sample("good", {"README.md": "[l](lib/a.c) `tests/run` https://host/tests/x\n```c\nint main(void) { return 0; }\n"
                    "```\n```c\nnot a program\n```\n", "lib/a.c": "", "tests/run": ""}),
]

if __name__ == "__main__":
    main(check, REFUSED, ACCEPTED)
