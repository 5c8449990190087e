# SPDX-License-Identifier: Apache-2.0
"""The contract of every public function: Owns, Threads, Blocks, Errors, Since, in the header, right above it.

A function that neither takes nor returns a pointer has nothing to own and may leave Owns out; so may a one-line
note on a function whose pointers are only the object itself (its first argument) and the error.
"""
import re

from house import Problem, Sample, blank, line_of, main

WORDS = ("Threads", "Blocks", "Errors", "Since")
DECLARATION = re.compile(r"^VGW_API\b[^;]*;", re.M)
NAME = re.compile(r"\b(vgw_\w+)\s*\(")


def check(house):
    for path in house.files(r"include/vllmgw/.*\.h"):
        text = house.read(path)
        code = blank(text)
        for match in DECLARATION.finditer(code):
            yield from judge(path, line_of(code, match.start()), match.group(0), comment_above(text, match.start()))


def comment_above(text, offset):
    before = text[:offset].rstrip()
    if not before.endswith("*/"):
        return None
    return before[before.rindex("/*"):]


def judge(path, line, declaration, comment):
    name = NAME.search(declaration)
    what = name.group(1) if name else declaration.split("\n")[0]
    if not comment or not comment.startswith("/**"):
        yield Problem(path, line, f"{what} has no /** ... */ contract", "write what it does, then the five lines")
        return
    words = WORDS + (("Owns",) if hands_over_pointers(declaration) else ())
    missing = [word for word in words if not re.search(rf"\b{word}:", comment)]
    if missing:
        yield Problem(path, line, f"the contract of {what} lacks {', '.join(missing)}",
                      "see the vocabulary at the top of include/vllmgw/common.h")


def hands_over_pointers(declaration):
    """True when someone could wonder who owns what: a pointer comes back, or one goes in besides the object."""
    head, _, arguments = declaration.partition("(")
    if "*" in head:
        return True
    rest = re.sub(r"vgw_error\s*\*\s*\w+|\w+_fn\s+\w+|void\s*\*\s*user", "", arguments).split(",")[1:]
    return any("*" in argument for argument in rest)


GOOD = "Owns: taken.  Threads: any.  Blocks: never.  Errors: none.  Since: 0.1"


def header(note, declaration):
    return {"include/vllmgw/a.h": f"{note}\n{declaration}\n"}


REFUSED = [
    Sample("no note", header("", "VGW_API void vgw_a(void);"), "include/vllmgw/a.h:2"),
    Sample("a plain comment", header(f"/* {GOOD} */", "VGW_API void vgw_a(void);"), "include/vllmgw/a.h:2"),
    Sample("no owner of the result", header(f"/** A. {GOOD[13:]} */", "VGW_API char *vgw_a(void);"),
           "include/vllmgw/a.h:2"),
    Sample("no owner of an argument", header(f"/** A. {GOOD[13:]} */", "VGW_API void vgw_a(int n,\n\tchar *s);"),
           "include/vllmgw/a.h:2"),
    Sample("a note further up", header(f"/** A. {GOOD} */\nint b;", "VGW_API void vgw_a(void);"),
           "include/vllmgw/a.h:3"),
] + [
    Sample(f"no {word}", header("/** A. " + GOOD.replace(word + ":", "x") + " */", "VGW_API int vgw_a(void);"),
           "include/vllmgw/a.h:2") for word in WORDS
]
ACCEPTED = [
    Sample("full", header(f"/** A. {GOOD} */", "VGW_API char *vgw_a(vgw_a *a, char *b);")),
    Sample("no pointers", header(f"/** A. {GOOD[13:]} */", "VGW_API int vgw_a(const vgw_a *a, vgw_error *err);")),
]

if __name__ == "__main__":
    main(check, REFUSED, ACCEPTED)
