# SPDX-License-Identifier: Apache-2.0
"""Sizes: what does not fit a head is split, by noun."""
from house import Problem, Sample, functions, main

FILE_LINES = 450
FUNCTION_LINES = 75
MAIN_LINES = 150


def check(house):
    for path in house.files(r".*\.[ch]"):
        text = house.read(path)
        count = text.count("\n")
        limit = MAIN_LINES if path == "server/main.c" else FILE_LINES
        if count > limit:
            yield Problem(path, limit, f"{count} lines, more than {limit}", "find the second noun and give it a file")
        if path.endswith(".c"):
            for function in functions(text):
                if function.length > FUNCTION_LINES:
                    yield Problem(path, function.line, f"{function.name} has {function.length} lines, more than "
                                  f"{FUNCTION_LINES}", "give its steps names: one function each")


REFUSED = [
    Sample("long file", {"lib/util/a.c": "int a;\n" * 451}, "lib/util/a.c:450"),
    Sample("long main", {"server/main.c": "int a;\n" * 151}, "server/main.c:150"),
    Sample("long function", {"lib/util/a.c": "int f(void)\n{\n" + "\tg();\n" * 80 + "}\n"}, "lib/util/a.c:2"),
]
ACCEPTED = [
    Sample("a table is no function", {"lib/util/a.c": "static const int t[] =\n{\n" + "\t1,\n" * 100 + "};\n"}),
    Sample("at the limit", {"lib/util/a.c": "int f(void)\n{\n" + "\tg();\n" * 74 + "}\n"}),
]

if __name__ == "__main__":
    main(check, REFUSED, ACCEPTED)
