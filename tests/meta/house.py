# SPDX-License-Identifier: Apache-2.0
"""What every check of the house shares: the files of the tree, a C file seen without comments and strings, and the
run itself.

A check is a file check_NAME.py with

    def check(house):               yields Problem(path, line, what, remedy) for the tree `house`
    REFUSED = [Sample(...), ...]    small trees it must complain about, and where
    ACCEPTED = [Sample(...), ...]   small trees it must leave in peace

    if __name__ == "__main__":
        main(check, REFUSED, ACCEPTED)

The samples are judged before the real tree is, so a check that can no longer fail fails itself.
"""
import argparse
import os
import re
import subprocess
import sys
import tempfile
from typing import Callable, NamedTuple, Optional

SKIPPED_FOLDERS = {".git", "node_modules", "__pycache__", ".cache", "shared"}


class Problem(NamedTuple):
    path: str
    line: int
    what: str
    remedy: str


class Sample(NamedTuple):
    """A small tree: `files` maps paths to text. `at` is "path:line", the place a problem must name (REFUSED only).
    `prepare` builds what the check needs to see (a library, say)."""
    name: str
    files: dict
    at: str = ""
    prepare: Optional[Callable] = None


class Function(NamedTuple):
    name: str
    line: int       # of the opening brace
    length: int     # from the opening to the closing brace
    head: str       # its declaration
    body: str


class House:
    """A tree of files, and the tools and build folder a check may use."""

    def __init__(self, root, build=None, cc="cc", cxx="c++"):
        self.root = os.path.abspath(root)
        self.build = build
        self.cc = cc
        self.cxx = cxx
        self.seen = 0

    def files(self, pattern):
        """Paths relative to the root that match the regular expression, in order."""
        return [path for path in self._all() if re.fullmatch(pattern, path)]

    def read(self, path):
        self.seen += 1
        with open(os.path.join(self.root, path), encoding="utf-8", errors="replace") as file:
            return file.read()

    def _all(self):
        if os.path.exists(os.path.join(self.root, ".git")):
            listed = subprocess.run(["git", "-c", "safe.directory=*", "-C", self.root, "ls-files", "-z", "--cached",
                                     "--others", "--exclude-standard"], capture_output=True, check=False)
            if listed.returncode == 0:
                names = {name for name in listed.stdout.decode().split("\0") if name}
                return sorted(name for name in names if os.path.isfile(os.path.join(self.root, name))
                              and name.split("/")[0] not in SKIPPED_FOLDERS)
        found = []
        for folder, folders, names in os.walk(self.root):
            folders[:] = [f for f in folders if f not in SKIPPED_FOLDERS and not f.startswith("build")]
            found += [os.path.relpath(os.path.join(folder, name), self.root) for name in names]
        return sorted(found)


# --- C text -----------------------------------------------------------------------------------------------------

_TOKEN = re.compile(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', re.S)


def blank(text, strings=True):
    """The text with comments (and strings, unless strings=False) replaced by blanks; every line stays in place."""
    def replace(match):
        token = match.group(0)
        if token[0] in "\"'" and not strings:
            return token
        return re.sub(r"[^\n]", " ", token)
    return _TOKEN.sub(replace, text)


def line_of(text, offset):
    return text.count("\n", 0, offset) + 1


def functions(text):
    """The function definitions of a file in the house's layout: braces of a definition stand in column 0."""
    lines = blank(text).split("\n")
    start = previous = 0
    for number, line in enumerate(lines, 1):
        if line.startswith("{"):
            start = number
        elif line.startswith("}"):
            if start and not line.startswith("};"):
                head = re.sub(r"^[ \t]*#.*$", "", "\n".join(lines[previous:start - 1]), flags=re.M)
                head = head[head.rfind(";") + 1:].strip()
                name = re.search(r"(\w+)\s*\((?:[^()]|\([^()]*\))*\)[\s\w]*$", head)
                if name:
                    body = "\n".join(lines[start - 1:number])
                    yield Function(name.group(1), start, number - start, head, body)
            start, previous = 0, number


# --- running ----------------------------------------------------------------------------------------------------

def _judge_sample(check, sample, refuse):
    with tempfile.TemporaryDirectory(prefix="house-") as root:
        for path, text in sample.files.items():
            full = os.path.join(root, path)
            os.makedirs(os.path.dirname(full), exist_ok=True)
            with open(full, "w", encoding="utf-8") as file:
                file.write(text)
        house = House(root, build=os.path.join(root, "build"))
        if sample.prepare:
            sample.prepare(house)
        places = {f"{p.path}:{p.line}" for p in check(house)}
    if refuse and sample.at not in places:
        return f"the sample '{sample.name}' must be refused at {sample.at}, but was refused at {sorted(places)}"
    if not refuse and places:
        return f"the sample '{sample.name}' is fine, but was refused at {sorted(places)}"
    return None


def main(check, refused, accepted=()):
    name = os.path.basename(sys.argv[0])
    parser = argparse.ArgumentParser(description=f"{name}: one check of the house")
    parser.add_argument("--root", default=os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", ".."))
    parser.add_argument("--build", help="build folder, for the checks that look at built files")
    parser.add_argument("--cc", default="cc")
    parser.add_argument("--cxx", default="c++")
    args = parser.parse_args()

    if not refused:
        sys.exit(f"{name}: has no sample that it must refuse: nobody knows whether it can fail")
    wrong = [_judge_sample(check, sample, True) for sample in refused]
    wrong += [_judge_sample(check, sample, False) for sample in accepted]
    wrong = [line for line in wrong if line]
    if wrong:
        sys.exit("\n".join(f"{name}: {line}" for line in wrong))

    house = House(args.root, args.build, args.cc, args.cxx)
    problems = sorted(set(check(house)))
    for problem in problems:
        print(f"{problem.path}:{problem.line}: {problem.what}\n    remedy: {problem.remedy}")
    if problems:
        sys.exit(f"{name}: {len(problems)} problem(s)")
    if not house.seen:
        sys.exit(f"{name}: looked at no file at all: is --root right?")
    print(f"{name}: {len(refused) + len(accepted)} samples judged rightly, {house.seen} files fine")
