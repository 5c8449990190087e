# SPDX-License-Identifier: Apache-2.0
"""Adds up the JUnit files of ctest: "N passed, N failed, N skipped".

    count_results.py FOLDER [STAGE]                 the files STAGE.*.xml, or all
    count_results.py FOLDER --failed-stages "A B"   all; a failed stage without a failed test counts as one

A cmocka program or a pytest file is one test to ctest; its own count of tests is taken from what it printed.
"""
import glob
import os
import re
import sys
import xml.etree.ElementTree as ElementTree

CMOCKA = {"passed": re.compile(r"\[  PASSED  \] (\d+) test"),
          "failed": re.compile(r"\[  FAILED  \] \S+ (\d+) test"),
          "skipped": re.compile(r"\[  SKIPPED \] \S+ (\d+) test")}
PYTEST = re.compile(r"^=*\s*(\d+ (?:passed|failed|skipped|errors?)\b.*) in [\d.]+s", re.M)


def count_inner(text):
    """What a program says of its own tests; all zero if it says nothing."""
    inner = {kind: sum(map(int, pattern.findall(text))) for kind, pattern in CMOCKA.items()}
    for summary in PYTEST.findall(text):
        for number, word in re.findall(r"(\d+) (passed|failed|skipped|error)", summary):
            inner["failed" if word == "error" else word] += int(number)
    return inner


def count_case(case):
    """One <testcase>: how many passed, failed and were skipped in it."""
    is_failed = case.find("failure") is not None or case.find("error") is not None
    is_skipped = case.find("skipped") is not None
    inner = count_inner(case.findtext("system-out") or "")
    if sum(inner.values()) and not is_skipped:
        if is_failed and not inner["failed"]:
            inner["failed"] = 1  # it crashed or leaked after its last test
        return inner
    return {"passed": int(not is_failed and not is_skipped), "failed": int(is_failed),
            "skipped": int(is_skipped and not is_failed)}


def count_files(pattern):
    total = dict.fromkeys(CMOCKA, 0)
    for path in sorted(glob.glob(pattern)):
        try:
            cases = list(ElementTree.parse(path).iter("testcase"))
        except ElementTree.ParseError:
            total["failed"] += 1
            continue
        for case in cases:
            for kind, number in count_case(case).items():
                total[kind] += number
    return total


def main():
    folder, rest = sys.argv[1], sys.argv[2:]
    if rest and rest[0] == "--failed-stages":
        total = count_files(os.path.join(folder, "*.xml"))
        for stage in rest[1].split():
            if not count_files(os.path.join(folder, f"{stage}.*.xml"))["failed"]:
                total["failed"] += 1
    else:
        total = count_files(os.path.join(folder, f"{rest[0]}.*.xml" if rest else "*.xml"))
    print(f"{total['passed']} passed, {total['failed']} failed, {total['skipped']} skipped")


if __name__ == "__main__":
    main()
