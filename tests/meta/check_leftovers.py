# SPDX-License-Identifier: Apache-2.0
"""Left behind: notes to self, half-done work, paths of one developer's machine, registry addresses."""
import re

from house import Problem, Sample, line_of, main

MARKERS = ["TO" "DO", "FIX" "ME", "XX" "X", "HA" "CK"]
UNDONE = ["not " "implemented", "un" "implemented", "place" "holder for", "place" "holder until", "a place" "holder,"]
MACHINE = ["/wo" "rk", "/fa" "rm", "/ho" "me/[a-z]", "/ro" "ot/(?!\\.cache/)", "/tmp/w" "t/",
           "bash_" "jobs"]
REGISTRIES = ["registry\\.np" "mjs", "py" "pi\\.org", "files\\.python" "hosted", "proxy\\.go" "lang",
              "deb\\.deb" "ian\\.org", "regi" "stry\\.yarnpkg"]

RULES = [
    (re.compile(r"\b(" + "|".join(MARKERS) + r")\b"), r".*\.(c|h|in|py|js|mjs|sh|cmake|txt|md|ya?ml|html|css)",
     "do it now, or leave it out and say so where a user would look"),
    (re.compile("|".join(UNDONE), re.I), r".*\.(c|h|in|py|js|mjs|sh|cmake)",
     "do it now, or leave it out and say so where a user would look"),
    (re.compile(r"(?<![\w.$}~-])(?:" + "|".join(MACHINE) + ")"), r".*",
     "a path relative to the file or the build folder, or one the user gives"),
    (re.compile("|".join(REGISTRIES)), r".*",
     "leave the address to the package manager's configuration (npm: omit-lockfile-registry-resolved=true)"),
]
BINARY = re.compile(r".*\.(png|ico|gz|bin|woff2?)|tests/fuzz/corpus/.*|tests/fuzz/.*/corpus/.*")


def check(house):
    for path in house.files(r".*"):
        if BINARY.fullmatch(path):
            continue
        text = house.read(path)
        for pattern, files, remedy in RULES:
            if not re.fullmatch(files, path) and not is_script(path, text):
                continue
            for match in pattern.finditer(text):
                yield Problem(path, line_of(text, match.start()), f"left behind: {match.group(0)}", remedy)


def is_script(path, text):
    return "." not in path.rsplit("/", 1)[-1] and text.startswith("#!")


REFUSED = (
    [Sample("marker", {"lib/util/a.c": f"int a;\n/* {word}: later */\n"}, "lib/util/a.c:2") for word in MARKERS]
    + [Sample("undone", {"lib/util/a.c": f"\nint a; /* {word} */\n"}, "lib/util/a.c:2") for word in UNDONE]
    + [Sample("in a script", {"tests/run": f"#!/bin/sh\n# {MARKERS[0]}\n"}, "tests/run:2")]
    + [Sample("machine", {"README.md": "see " + "/wo" "rk/main" + "\n"}, "README.md:1"),
       Sample("machine, in data", {"a.json": '{"a": "' + "/ho" "me/joe" + '"}\n'}, "a.json:1")]
    + [Sample("registry", {"a/package-lock.json": '\n"https://' + "registry.np" "mjs" + '.org/a"\n'},
              "a/package-lock.json:2")]
)
ACCEPTED = [
    Sample("an X-macro, a word that contains one, a relative path",
           {"lib/util/a.c": "#define XX(a) a\nint workhorse; /* fills the place" "holders, the todos of others */\n",
            "a.md": "see ./wo" "rk and ${X}/wo" "rk and net" "wo" "rk/main\n"}),
]

if __name__ == "__main__":
    main(check, REFUSED, ACCEPTED)
