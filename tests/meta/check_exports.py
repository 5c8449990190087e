# SPDX-License-Identifier: Apache-2.0
"""What the library shows: the shared one exactly the VGW_API functions of the public headers, the static one nothing
without the prefix vgw_, and the shared one needs no library but libcurl, jansson and libc.
"""
import os
import re
import subprocess

from house import Problem, Sample, blank, line_of, main

DECLARATION = re.compile(r"^VGW_API\b[^;]*?\b(vgw_\w+)\s*\(", re.M)
MAP = "lib/vllmgw.map"
NEEDED = re.compile(r"libcurl.*|libjansson.*|libc\.so.*|libpthread.*|ld-linux.*|lib(asan|ubsan|tsan|gcc_s|m|dl|rt)\.so.*")


def check(house):
    library = os.path.join(house.build, "lib", "libvllmgw.so")
    archive = os.path.join(house.build, "lib", "libvllmgw.a")
    if not os.path.exists(library):
        yield Problem(MAP, 1, f"{library} does not exist", "build first")
        return
    yield from judge_exports(house, {name for name, kind in symbols(library, "-D") if kind != "A"})
    if os.path.exists(archive):
        for name, _ in symbols(archive):
            if not name.startswith(("vgw_", "__asan", "__odr_asan", "__ubsan", "__tsan", "_sub_")):
                yield Problem("lib/CMakeLists.txt", 1, f"libvllmgw.a defines {name}",
                              "static, or a name that begins with vgw__: programs link this into their own namespace")
    for name in needed(library):
        if not NEEDED.fullmatch(name):
            yield Problem("lib/CMakeLists.txt", 1, f"libvllmgw.so needs {name}",
                          "the library links libcurl, jansson and libc only; take the rest through an interface")


def judge_exports(house, exported):
    declared = {}
    for path in house.files(r"include/vllmgw/.*\.h"):
        text = blank(house.read(path))
        for match in DECLARATION.finditer(text):
            declared[match.group(1)] = (path, line_of(text, match.start()))
    for name in sorted(set(declared) - exported):
        yield Problem(*declared[name], f"{name} is declared but not exported",
                      "define it, in a file that includes its header")
    for name in sorted(exported - set(declared)):
        yield Problem(MAP, 1, f"the library exports {name}, which no public header declares",
                      "internal names begin with vgw__, which the version script hides; public ones get VGW_API")


def symbols(path, *flags):
    listed = subprocess.run(["nm", "--defined-only", "--extern-only", "--format=posix", *flags, path],
                            capture_output=True, text=True, check=True).stdout
    for line in listed.split("\n"):
        parts = line.split()
        if len(parts) >= 2:
            yield parts[0].split("@")[0], parts[1]


def needed(path):
    listed = subprocess.run(["readelf", "-d", path], capture_output=True, text=True, check=True).stdout
    return re.findall(r"\(NEEDED\).*\[(.*)\]", listed)


HEADER = {"include/vllmgw/a.h": "#define VGW_API\n\nVGW_API int vgw_a(void);\n"}


def library_of(code, script="{ global: vgw_[a-z]*; local: *; };", libraries=()):
    """Builds libvllmgw.so and .a from `code`, the way the real one is built."""
    def prepare(house):
        folder = os.path.join(house.build, "lib")
        os.makedirs(folder)
        source = os.path.join(folder, "a.c")
        for path, text in ((source, code), (os.path.join(folder, "map"), "V1 " + script)):
            with open(path, "w", encoding="utf-8") as file:
                file.write(text)
        subprocess.run(["cc", "-fPIC", "-c", "a.c", "-o", "a.o"], cwd=folder, check=True)
        subprocess.run(["cc", "-shared", "-o", "libvllmgw.so", "a.o", "-Wl,--version-script=map",
                        "-Wl,--no-as-needed", *libraries], cwd=folder, check=True)
        subprocess.run(["ar", "rcs", "libvllmgw.a", "a.o"], cwd=folder, check=True)
    return prepare


REFUSED = [
    Sample("declared only", HEADER, "include/vllmgw/a.h:3", library_of("int vgw_b; int vgw__c(void) { return 0; }")),
    Sample("exported only", HEADER, "lib/vllmgw.map:1",
           library_of("int vgw_a(void) { return 0; }\nint vgw_b(void) { return 0; }")),
    Sample("internal name exported", HEADER, "lib/vllmgw.map:1",
           library_of("int vgw_a(void) { return 0; }\nint vgw__b(void) { return 0; }", "{ global: vgw_*; local: *; };")),
    Sample("naked name in the archive", HEADER, "lib/CMakeLists.txt:1",
           library_of("int vgw_a(void) { return 0; }\nint helper(void) { return 0; }")),
    Sample("one more library", HEADER, "lib/CMakeLists.txt:1",
           library_of("int vgw_a(void) { return 0; }", libraries=["-lresolv"])),
    Sample("not built", HEADER, "lib/vllmgw.map:1"),
]
ACCEPTED = [
    Sample("good", HEADER, "", library_of("int vgw_a(void) { return 0; }\nint vgw__b(void) { return vgw_a(); }")),
]

if __name__ == "__main__":
    main(check, REFUSED, ACCEPTED)
