# SPDX-License-Identifier: Apache-2.0
"""The tests themselves: each one asserts something (directly, or through a helper that does), none sleeps, none
insists on a port, and every function that looks like a test is run.
"""
import re

from house import Problem, Sample, blank, functions, line_of, main

SLEEP = re.compile(r"\b(?:usleep|nanosleep|clock_nanosleep|sleep)\s*\(|\btime\.sleep\b|\bset" r"Timeout\s*\(")
ASSERTS = re.compile(r"\b(assert_\w+|fail_msg|fail|expect_\w+|mock_assert)\s*\(")
REGISTERED = re.compile(r"\bcmocka_unit_test\w*\(\s*(\w+)")
CALLED = re.compile(r"\b([A-Za-z_]\w*)\s*\(")
PY_TEST = re.compile(r"^( *)(?:async )?def (test_\w+)\(.*$", re.M)
PY_ASSERT = re.compile(r"\bassert\b|pytest\.raises|\b(?:check|expect|assert|wait|await)_?\w*\(")
JS_TEST = re.compile(r"^(?:test|it)\(", re.M)
JS_ASSERT = re.compile(r"\bassert\b|\bexpect\(")


def check(house):
    sources = {path: blank(house.read(path)) for path in house.files(r"tests/(unit|integration|fuzz|support)/.*\.[ch]")}
    asserting = helpers_that_assert(sources.values())
    for path, text in sources.items():
        yield from judge_sleep(path, text)
        if re.search(r"/test_\w+\.c$", path):
            yield from judge_c(path, text, asserting)
    for path in house.files(r"tests/(e2e|support|integration)/.*\.py"):
        text = house.read(path)
        yield from judge_sleep(path, re.sub(r"#.*", "", text))
        yield from judge_python(path, text)
    for path in house.files(r"tests/e2e/.*\.m?js"):
        text = blank(house.read(path), strings=False)
        yield from judge_sleep(path, text)
        if JS_TEST.search(text) and not JS_ASSERT.search(text):
            yield Problem(path, 1, "its tests assert nothing", "a test that cannot fail is a defect")


def judge_sleep(path, text):
    for match in SLEEP.finditer(text):
        yield Problem(path, line_of(text, match.start()), "sleeps",
                      "wait for the event itself: a barrier, a fake clock, or poll with a deadline")


def helpers_that_assert(texts):
    """Names of functions and macros that assert, directly or through one another."""
    bodies = {}
    for text in texts:
        for function in functions(text):
            bodies[function.name] = function.body
        for macro in re.finditer(r"^#define (\w+)\(.*?\)((?:.*\\\n)*.*)", text, re.M):
            bodies.setdefault(macro.group(1), macro.group(2))
    asserting = {name for name, body in bodies.items() if ASSERTS.search(body)}
    grown = True
    while grown:
        more = {name for name, body in bodies.items() if set(CALLED.findall(body)) & asserting} - asserting
        asserting |= more
        grown = bool(more)
    return asserting


def judge_c(path, text, asserting):
    run = set(REGISTERED.findall(text))
    if not run:
        yield Problem(path, 1, "runs no test", "list its functions with cmocka_unit_test()")
    for function in functions(text):
        is_test = re.search(r"\(void \*\*\w+\)$", function.head.strip())
        if function.name in run and not (ASSERTS.search(function.body)
                                         or set(CALLED.findall(function.body)) & asserting):
            yield Problem(path, function.line, f"{function.name} asserts nothing",
                          "a test that cannot fail is a defect")
        if is_test and text.count(function.name) == 1:
            yield Problem(path, function.line, f"{function.name} is never run", "add it to the list in main()")


def judge_python(path, text):
    for match in PY_TEST.finditer(text):
        indent = len(match.group(1))
        end = re.compile(rf"^ {{0,{indent}}}\S", re.M).search(text, match.end())
        body = text[match.end():end.start() if end else len(text)]
        if not PY_ASSERT.search(body):
            yield Problem(path, line_of(text, match.start()), f"{match.group(2)} asserts nothing",
                          "a test that cannot fail is a defect")


RUN = "int main(void)\n{\n\tcmocka_unit_test(a);\n}\n"
REFUSED = [
    Sample("asserts nothing", {"tests/unit/test_a.c": "static void a(void **s)\n{\n\tf();\n}\n" + RUN},
           "tests/unit/test_a.c:2"),
    Sample("not run", {"tests/unit/test_a.c": "static void b(void **s)\n{\n\tassert_true(1);\n}\n"
                       "static void a(void **s)\n{\n\tassert_true(1);\n}\n" + RUN}, "tests/unit/test_a.c:2"),
    Sample("runs nothing", {"tests/unit/test_a.c": "int main(void)\n{\n}\n"}, "tests/unit/test_a.c:1"),
    Sample("sleeps", {"tests/unit/test_a.c": "static void a(void **s)\n{\n\tassert_true(1);\n\tusl" "eep(1);\n}\n" + RUN},
           "tests/unit/test_a.c:4"),
    Sample("python sleeps", {"tests/e2e/test_a.py": "def test_a():\n    time.sl" "eep(1)\n    assert True\n"},
           "tests/e2e/test_a.py:2"),
    Sample("python asserts nothing", {"tests/e2e/test_a.py": "def test_a():\n    f()\n\ndef test_b():\n    assert 1\n"},
           "tests/e2e/test_a.py:1"),
    Sample("javascript sleeps", {"tests/e2e/a.mjs": "set" "Timeout(f, 1)\n"}, "tests/e2e/a.mjs:1"),
    Sample("javascript asserts nothing", {"tests/e2e/a.mjs": "test('a', () => {})\n"}, "tests/e2e/a.mjs:1"),
]
ACCEPTED = [
    Sample("through a helper and a macro", {
        "tests/support/h.h": "#define MUST(x) \\\n\tassert_true(x)\n",
        "tests/unit/test_a.c": "static void h(void)\n{\n\tMUST(1);\n}\nstatic void a(void **s)\n{\n\th();\n}\n" + RUN}),
]

if __name__ == "__main__":
    main(check, REFUSED, ACCEPTED)
