# SPDX-License-Identifier: Apache-2.0
"""How files begin: the licence, then what the file is, before the first line of code."""
import re

from house import Problem, Sample, main

C_BEGINNING = re.compile(r"/\* SPDX-License-Identifier: Apache-2\.0 \*/\n/\*")
SCRIPT_BEGINNING = re.compile(r'(#![^\n]*\n)?(# SPDX-License-Identifier: Apache-2\.0\n)(#|""")')


def check(house):
    for path in house.files(r"(include|lib|server|tests|examples)/.*\.[ch](\.in)?"):
        if not C_BEGINNING.match(house.read(path)):
            yield Problem(path, 1, "does not begin with the licence line and a comment on what it is",
                          "/* SPDX-License-Identifier: Apache-2.0 */, then a comment: what, on which thread, a picture")
    for path in house.files(r".*\.(py|sh)|examples/quickstart|tests/run|tests/bench/run|\.ci/run"):
        text = house.read(path)
        if text and not SCRIPT_BEGINNING.match(text):
            yield Problem(path, 1, "does not begin with the licence line and a comment on what it is",
                          "# SPDX-License-Identifier: Apache-2.0, then a comment or docstring that says what it is")
    for path in house.files(r"(.*/)?CMakeLists\.txt|cmake/.*\.cmake"):
        if not house.read(path).startswith("#") and path != "CMakeLists.txt":
            yield Problem(path, 1, "does not begin with a comment on what it does", "one or two lines of # ...")


REFUSED = [
    Sample("no licence", {"lib/util/a.c": "/* A list. */\nint a;\n"}, "lib/util/a.c:1"),
    Sample("no word on what it is", {"lib/util/a.c": "/* SPDX-License-Identifier: Apache-2.0 */\n#include <a.h>\n"},
           "lib/util/a.c:1"),
    Sample("script", {"tests/run": "#!/usr/bin/env bash\nset -e\n"}, "tests/run:1"),
    Sample("silent CMake", {"lib/CMakeLists.txt": "add_library(x)\n"}, "lib/CMakeLists.txt:1"),
]
ACCEPTED = [
    Sample("good", {"lib/util/a.c": "/* SPDX-License-Identifier: Apache-2.0 */\n/* A list. */\nint a;\n",
                    "tests/run": "#!/usr/bin/env bash\n# SPDX-License-Identifier: Apache-2.0\n# Runs it.\n",
                    "tests/a.py": '# SPDX-License-Identifier: Apache-2.0\n"""A."""\n'}),
]

if __name__ == "__main__":
    main(check, REFUSED, ACCEPTED)
