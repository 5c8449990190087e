# SPDX-License-Identifier: Apache-2.0
"""Floors: a file includes its own folder and lower floors only, and each third-party header has one home.

    5 server, examples       public headers <vllmgw/...> only
    4 gateway
    3 residency  balance     siblings of one floor do not meet
    2 observe    backend
    1 core  json  net
    0 util
"""
import os
import re

from house import Problem, Sample, blank, line_of, main

FLOORS = {"util": 0, "core": 1, "json": 1, "net": 1, "observe": 2, "backend": 2, "residency": 3, "balance": 3,
          "gateway": 4}

# header -> the only files that may include it
HOMES = {
    r"curl/.*": (r"lib/net/.*|server/cli/client\.c|server/catalogue\.c", "libcurl belongs to lib/net, the command line's client and the catalogue of engines: reach it through net/transport.h or net/fetch.h"),
    r"microhttpd\.h": (r"server/front/.*", "libmicrohttpd belongs to server/front"),
    r"yaml\.h": (r"server/config_yaml\.c", "libyaml belongs to server/config_yaml.c"),
    r"systemd/.*": (r"server/.*", "libsystemd belongs to the server"),
    r"cmocka\.h": (r"tests/.*", "cmocka belongs to the tests"),
}
INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*([<"])([^>"]+)[>"]', re.M)


def check(house):
    for path in house.files(r"(lib|server|examples|include|tests)/.*\.[ch](\.in)?"):
        text = blank(house.read(path), strings=False)
        for match in INCLUDE.finditer(text):
            problem = judge(house, path, match.group(1) == '"', match.group(2))
            if problem:
                yield Problem(path, line_of(text, match.start()), *problem)


def judge(house, path, quoted, header):
    for pattern, (home, remedy) in HOMES.items():
        if re.fullmatch(pattern, header) and not re.fullmatch(home, path):
            return f"includes <{header}>", remedy
    top = path.split("/")[0]
    if top == "include" and not header.startswith("vllmgw/") and "/" in header:
        return f"a public header includes <{header}>", "public headers need the C library and each other only"
    if top == "include" and quoted:
        return f'includes "{header}"', "public headers include each other as <vllmgw/...>"
    if top == "lib":
        return judge_lib(path, quoted, header)
    if top == "server" and quoted and not is_below(house, "server", path, header):
        return f'includes "{header}"', "the server uses its own files and the public headers <vllmgw/...>"
    if top == "examples" and quoted:
        return f'includes "{header}"', "an example uses the public headers <vllmgw/...> only"
    return None


def judge_lib(path, quoted, header):
    folder = path.split("/")[1]
    if folder not in FLOORS:
        return f"lib/{folder} has no floor", "name its floor in tests/meta/check_floors.py and in lib/README.md"
    if not quoted:
        return None
    target = header.split("/")[0]
    if "/" not in header or target not in FLOORS:
        return f'includes "{header}"', 'write includes from lib/: #include "folder/file.h"'
    if target != folder and FLOORS[target] >= FLOORS[folder]:
        return (f'{folder} (floor {FLOORS[folder]}) includes "{header}" (floor {FLOORS[target]})',
                "turn the dependency round: an interface below, or a function pointer given from above")
    return None


def is_below(house, top, path, header):
    """True for a header of the server itself, a generated one included (those have no file in the tree)."""
    inside = os.path.join(house.root, top, header)
    beside = os.path.join(house.root, os.path.dirname(path), header)
    if os.path.isfile(inside) or os.path.isfile(beside):
        return os.path.realpath(beside if os.path.isfile(beside) else inside).startswith(
            os.path.join(os.path.realpath(house.root), top) + os.sep)
    return header.split("/")[0] not in FLOORS and ".." not in header and not header.startswith("vllmgw/")


REFUSED = [
    Sample("upwards", {"lib/util/a.c": '#include "util/a.h"\n#include "gateway/call.h"\n'}, "lib/util/a.c:2"),
    Sample("siblings", {"lib/json/a.c": '#include "net/loop.h"\n'}, "lib/json/a.c:1"),
    Sample("residency below backend", {"lib/backend/process.c": '#include "residency/lease.h"\n'},
           "lib/backend/process.c:1"),
    Sample("no folder", {"lib/net/a.c": '#include "a.h"\n'}, "lib/net/a.c:1"),
    Sample("unknown folder", {"lib/misc/a.c": "#include <stdio.h>\n"}, "lib/misc/a.c:1"),
    Sample("curl elsewhere", {"lib/backend/a.c": "\n#  include <curl/curl.h>\n"}, "lib/backend/a.c:2"),
    Sample("microhttpd in a route", {"server/routes/a.c": "#include <microhttpd.h>\n"}, "server/routes/a.c:1"),
    Sample("yaml elsewhere", {"server/config.c": "#include <yaml.h>\n"}, "server/config.c:1"),
    Sample("the server under the floor", {"server/main.c": '#include "util/buf.h"\n', "lib/util/buf.h": ""},
           "server/main.c:1"),
    Sample("the server climbs", {"server/main.c": '#include "../lib/util/buf.h"\n', "lib/util/buf.h": ""},
           "server/main.c:1"),
    Sample("an example with a private header", {"examples/a.c": '#include "util/buf.h"\n'}, "examples/a.c:1"),
    Sample("a public header with curl", {"include/vllmgw/a.h": "#include <curl/curl.h>\n"}, "include/vllmgw/a.h:1"),
]
ACCEPTED = [
    Sample("down and aside", {
        "lib/gateway/call.c": '#include "gateway/call.h"\n#include "util/buf.h"\n#include <vllmgw/status.h>\n',
        "lib/net/curl.c": "#include <curl/curl.h>\n",
        "lib/util/a.c": '/* #include "gateway/call.h" */\n',
        "server/main.c": '#include "args.h"\n#include "front/worker.h"\n#include <vllmgw/loop.h>\n',
        "server/args.h": "", "server/front/worker.h": "#include <microhttpd.h>\n"}),
]

if __name__ == "__main__":
    main(check, REFUSED, ACCEPTED)
