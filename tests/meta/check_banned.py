# SPDX-License-Identifier: Apache-2.0
"""Functions we do not use: they cannot say how much room there is, hide errors, or hand a line to a shell."""
import re

from house import Problem, Sample, blank, line_of, main

BANNED = {
    "strcpy": "snprintf or memcpy with the sizes known", "strcat": "vgw__buf_append or snprintf",
    "sprintf": "snprintf", "vsprintf": "vsnprintf", "strtok": "strcspn, strchr or memchr", "gets": "fgets or read",
    "strncpy": "memcpy with the length known: strncpy may leave the text without its end",
    "system": "posix_spawn with an argument vector", "popen": "posix_spawn with an argument vector",
    "alloca": "a bounded local or an allocation that can be checked",
    "atoi": "strtol with errno and the end checked", "atol": "strtol with errno and the end checked",
    "atof": "strtod with errno and the end checked",
}
CALL = re.compile(r"(?<![\w.>])(" + "|".join(BANNED) + r")[ \t]*\(")


def check(house):
    for path in house.files(r"(lib|server|examples|include|tests)/.*\.[ch]"):
        text = blank(house.read(path))
        for match in CALL.finditer(text):
            yield Problem(path, line_of(text, match.start()), f"calls {match.group(1)}()", BANNED[match.group(1)])


REFUSED = [Sample(name, {"lib/util/a.c": f"int f(char *s)\n{{\n\t{name}(s);\n}}\n"}, "lib/util/a.c:3")
           for name in BANNED]
ACCEPTED = [
    Sample("names that contain them, words in text", {"lib/util/a.c":
           '/* not strcpy(a, b) */\nvoid f(struct s *s)\n{\n\tmy_system(s);\n\ts->system(s);\n\tputs("sprintf(");\n}\n'}),
]

if __name__ == "__main__":
    main(check, REFUSED, ACCEPTED)
