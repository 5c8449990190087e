# SPDX-License-Identifier: Apache-2.0
"""Every public header compiles alone, as C11 and as C++11, with -pedantic -Werror, and uses types of one size.

With --build the generated version.h of that folder is used; a sample tree brings its own.
"""
import os
import re
import subprocess
import tempfile
from concurrent.futures import ThreadPoolExecutor

from house import Problem, Sample, blank, line_of, main

FLAGS = ["-fsyntax-only", "-pedantic", "-Wall", "-Wextra", "-Wundef", "-Werror"]
C_ONLY = ["-std=c11", "-Wstrict-prototypes", "-Wmissing-prototypes"]
CXX_ONLY = ["-std=c++11", "-Wold-style-cast"]
LOOSE = re.compile(r"\b(ssize_t|off_t|time_t|long)\b")


def check(house):
    headers = house.files(r"include/vllmgw/.*\.h")
    jobs = [(path, language) for path in headers for language in ("c", "c++")]
    with ThreadPoolExecutor(2) as pool:
        for path, problem in zip([job[0] for job in jobs], pool.map(lambda job: compile_alone(house, *job), jobs)):
            if problem:
                yield Problem(path, *problem)
    for path in headers:
        text = blank(house.read(path))
        for match in LOOSE.finditer(text):
            yield Problem(path, line_of(text, match.start()), f"uses {match.group(0)}",
                          "size_t, int64_t, uint32_t: the same on every platform")


def compile_alone(house, path, language):
    name = path[len("include/"):]
    with tempfile.TemporaryDirectory(prefix="house-") as folder:
        source = os.path.join(folder, "alone." + ("c" if language == "c" else "cc"))
        with open(source, "w", encoding="utf-8") as file:
            file.write(f"#include <{name}>\n#include <{name}>\nint main(void);\nint main(void) {{ return 0; }}\n")
        command = [house.cc, *C_ONLY] if language == "c" else [house.cxx, *CXX_ONLY]
        command += FLAGS + ["-I", os.path.join(house.root, "include"), source]
        if house.build:
            command += ["-I", os.path.join(house.build, "include")]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode == 0:
        return None
    place = re.search(re.escape(path) + r":(\d+)(?::\d+)?:.*(?:error|fatal).*", done.stderr)
    first = place.group(0).split(": ", 1)[-1] if place else done.stderr.strip().split("\n")[0]
    return (int(place.group(1)) if place else 1, f"does not compile alone as {language}: {first}",
            "include what it uses; keep to the common part of C11 and C++11")


REFUSED = [
    Sample("needs another header first", {"include/vllmgw/a.h": "int a;\nuint32_t b;\n"}, "include/vllmgw/a.h:2"),
    Sample("not C++", {"include/vllmgw/a.h": "#ifndef A\n#define A\nvoid f(int class);\n#endif\n"},
           "include/vllmgw/a.h:3"),
    Sample("no guard", {"include/vllmgw/a.h": "struct a { int b; };\n"}, "include/vllmgw/a.h:1"),
    Sample("an extension", {"include/vllmgw/a.h": "#ifndef A\n#define A\nstruct a { int n; char t[0]; };\n#endif\n"},
           "include/vllmgw/a.h:3"),
    Sample("a type of many sizes", {"include/vllmgw/a.h": "#ifndef A\n#define A\nlong f(void);\n#endif\n"},
           "include/vllmgw/a.h:3"),
]
ACCEPTED = [
    Sample("good", {"include/vllmgw/a.h": "#ifndef A\n#define A\n#include <stddef.h>\n/* so long */\n"
                                          "size_t a(void);\n#endif\n"}),
]

if __name__ == "__main__":
    main(check, REFUSED, ACCEPTED)
