# SPDX-License-Identifier: Apache-2.0
"""Names: public vgw_, internal across files vgw__, statics neither; no type ends in _t (POSIX owns those)."""
import re

from house import Problem, Sample, blank, functions, line_of, main

TYPEDEF_T = re.compile(r"^typedef\b[^;{]*?\b(\w+_t)\s*(?:;|\)\s*\()|^\}\s*(\w+_t)\s*;", re.M)
STATIC = re.compile(r"^(__attribute__\(\(.*\)\)\s+)?static\b")
PUBLIC_MACRO = re.compile(r"^[ \t]*#[ \t]*define[ \t]+(\w+)", re.M)
GUARD = re.compile(r"#ifndef (\w+)\n#define (\w+)\n")


def check(house):
    for path in house.files(r"(include|lib|server|tests|examples)/.*\.[ch](\.in)?"):
        text = blank(house.read(path))
        for match in TYPEDEF_T.finditer(text):
            yield Problem(path, line_of(text, match.start()), f"the type {match.group(1) or match.group(2)} ends in _t",
                          "struct x inside; typedef struct vgw_x vgw_x in public headers")
        if path.startswith("lib/") and path.endswith(".c"):
            yield from judge_functions(path, text)
        if path.startswith("include/"):
            yield from judge_public(path, text)
        if path.startswith("lib/") and path.endswith(".h"):
            yield from judge_internal_guard(path, text)


def judge_functions(path, text):
    for function in functions(text):
        is_static = STATIC.match(function.head)
        if is_static and re.match(r"vgw_", function.name):
            yield Problem(path, function.line, f"the static function {function.name} carries a prefix",
                          "statics have none: the file is their scope")
        if not is_static and not re.match(r"vgw_", function.name):
            yield Problem(path, function.line, f"{function.name} is visible to other files without a prefix",
                          "make it static, or call it vgw__<file>_<verb>")


def judge_public(path, text):
    for match in PUBLIC_MACRO.finditer(text):
        if not re.match(r"VGW_|VLLMGW_|XX$", match.group(1)):
            yield Problem(path, line_of(text, match.start()), f"a public header defines {match.group(1)}",
                          "public macros begin with VGW_; X-macros use XX and undefine it")
    for match in re.finditer(r"\bvgw__\w+", text):
        yield Problem(path, line_of(text, match.start()), f"a public header speaks of {match.group(0)}",
                      "internal names stay in lib/")
    yield from judge_guard(path, text, "VLLMGW_" + path.split("/")[-1].split(".")[0].upper() + "_H")


def judge_internal_guard(path, text):
    parts = path[:-2].split("/")[1:]
    yield from judge_guard(path, text, "VGW_" + "_".join(parts).upper() + "_H")


def judge_guard(path, text, wanted):
    guard = GUARD.search(text)
    if not guard or guard.group(1) != wanted or guard.group(2) != wanted:
        line = line_of(text, guard.start()) if guard else 1
        yield Problem(path, line, f"is not guarded by {wanted}", f"#ifndef {wanted}, #define {wanted}, ... #endif")


REFUSED = [
    Sample("typedef struct", {"lib/util/a.c": "int a;\ntypedef struct a a_t;\n"}, "lib/util/a.c:2"),
    Sample("typedef of a body", {"tests/unit/a.c": "typedef struct {\n\tint b;\n} a_t;\n"}, "tests/unit/a.c:3"),
    Sample("typedef of a function", {"lib/util/a.c": "typedef void (*cb_t)(void);\n"}, "lib/util/a.c:1"),
    Sample("prefixed static", {"lib/util/a.c": "static int vgw__a(void)\n{\n}\n"}, "lib/util/a.c:2"),
    Sample("naked function", {"lib/util/a.c": "int helper(int b)\n{\n}\n"}, "lib/util/a.c:2"),
    Sample("naked macro", {"include/vllmgw/a.h": "#ifndef VLLMGW_A_H\n#define VLLMGW_A_H\n#define MAX 1\n#endif\n"},
           "include/vllmgw/a.h:3"),
    Sample("internal name outside", {"include/vllmgw/a.h":
           "#ifndef VLLMGW_A_H\n#define VLLMGW_A_H\nstruct vgw__a;\n#endif\n"}, "include/vllmgw/a.h:3"),
    Sample("wrong guard", {"include/vllmgw/a.h": "#ifndef A_H\n#define A_H\n#endif\n"}, "include/vllmgw/a.h:1"),
    Sample("no guard", {"lib/util/a.h": "int b;\n"}, "lib/util/a.h:1"),
]
ACCEPTED = [
    Sample("as the house does it", {
        "lib/util/a.c": "__attribute__((format(printf, 1, 0)))\nstatic int d(const char *f)\n{\n}\n\nstatic int c;\n#define X 1\n\nvoid vgw_c(void)\n{\n}\n\n"
                        "typedef int (*a_fn)(uint32_t, size_t);\nstatic size_t a(uint8_t *b)\n{\n}\n\n"
                        "vgw_status vgw_a(vgw_status (*f)(void), int b)\n{\n}\n",
        "lib/util/a.h": "#ifndef VGW_UTIL_A_H\n#define VGW_UTIL_A_H\n#endif\n"}),
]

if __name__ == "__main__":
    main(check, REFUSED, ACCEPTED)
