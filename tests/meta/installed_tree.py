# SPDX-License-Identifier: Apache-2.0
"""The library as its users get it: installed into an empty folder, moved, then used from outside by CMake, by
pkg-config alone, statically, and from C++. An example that needs a private header fails here."""
import argparse
import glob
import os
import shlex
import subprocess
import sys
import tempfile


def parse():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", required=True)
    parser.add_argument("--build", required=True)
    parser.add_argument("--cmake", default="cmake")
    parser.add_argument("--generator", default="Ninja", help="CMake's, as the library was built with")
    parser.add_argument("--cc", default="cc")
    parser.add_argument("--cxx", default="c++")
    parser.add_argument("--flags", default="", help="flags the installed library was built with")
    return parser.parse_args()


def run(*command, stdin=None, **env):
    words = [str(word) for word in command]
    done = subprocess.run(words, input=stdin, env={**os.environ, **env}, text=True, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, check=False)
    if done.returncode != 0:
        sys.exit(f"{done.stdout}\nfailed ({done.returncode}): {shlex.join(words)}")
    return done.stdout


def expect(condition, sentence):
    if not condition:
        sys.exit(f"not so: {sentence}")
    print(f"ok: {sentence}")


def only(pattern, **options):
    found = glob.glob(pattern, **options)
    expect(len(found) == 1, f"exactly one {os.path.basename(pattern)} is installed")
    return found[0]


def install(args, folder):
    """Installs and moves the tree, so that no path of the build or of the first prefix can be used by mistake."""
    first, prefix = os.path.join(folder, "first"), os.path.join(folder, "prefix")
    run(args.cmake, "--install", args.build, "--prefix", first)
    os.rename(first, prefix)
    return prefix


def by_cmake(args, folder, prefix):
    outside = os.path.join(folder, "outside")
    run(args.cmake, "-S", os.path.join(args.root, "examples"), "-B", outside, "-G", args.generator,
        f"-DCMAKE_PREFIX_PATH={prefix}", f"-DCMAKE_C_COMPILER={args.cc}", f"-DCMAKE_C_FLAGS={args.flags} -Wall -Wextra -Werror")
    run(args.cmake, "--build", outside, "--parallel", "2")
    sources = glob.glob(os.path.join(args.root, "examples", "*.c"))
    programs = glob.glob(os.path.join(outside, "example_*"))
    expect(programs and len(programs) == len(sources), "every example builds as an outside project")
    answer = run(os.path.join(outside, "example_05_event_loop"), stdin="hello\n")
    expect("answer: HELLO" in answer, "an example built outside runs")


def by_pkg_config(args, folder, prefix, libdir):
    source = os.path.join(args.root, "examples", "05_event_loop.c")
    search = {"PKG_CONFIG_PATH": os.path.join(libdir, "pkgconfig")}
    base = [args.cc, "-std=c11", "-D_GNU_SOURCE", *args.flags.split(), source, "-pthread"]

    flags = run("pkg-config", "--cflags", "--libs", "vllmgw", **search).split()
    expect("-lcurl" not in flags, "who links the shared library needs no libcurl of its own")
    shared = os.path.join(folder, "by_pkg_config")
    run(*base, "-o", shared, *flags)
    expect("answer: HELLO" in run(shared, stdin="hello\n", LD_LIBRARY_PATH=libdir), "pkg-config alone suffices")

    flags = run("pkg-config", "--cflags", "--libs", "vllmgw", "libcurl", "jansson", **search).split()
    flags = [os.path.join(libdir, "libvllmgw.a") if flag == "-lvllmgw" else flag for flag in flags]
    static = os.path.join(folder, "by_archive")
    run(*base, "-o", static, *flags)
    expect("answer: HELLO" in run(static, stdin="hello\n"), "the static library suffices")

    version = run("pkg-config", "--modversion", "vllmgw", **search).strip()
    with open(os.path.join(prefix, "include", "vllmgw", "version.h"), encoding="utf-8") as file:
        expect(f'"{version}"' in file.read(), "vllmgw.pc and version.h name the same version")


def static_by_cmake(args, folder, prefix):
    consumer = os.path.join(folder, "consumer")
    os.mkdir(consumer)
    with open(os.path.join(consumer, "CMakeLists.txt"), "w", encoding="utf-8") as file:
        file.write("cmake_minimum_required(VERSION 3.25)\nproject(consumer LANGUAGES C)\n"
                   "find_package(vllmgw 0.1 REQUIRED COMPONENTS shared static)\n"
                   f"add_executable(consumer {args.root}/examples/05_event_loop.c)\n"
                   "target_compile_definitions(consumer PRIVATE _GNU_SOURCE)\n"
                   "target_link_libraries(consumer PRIVATE vllmgw::static)\n")
    build = os.path.join(consumer, "build")
    run(args.cmake, "-S", consumer, "-B", build, "-G", args.generator, f"-DCMAKE_PREFIX_PATH={prefix}",
        f"-DCMAKE_C_COMPILER={args.cc}", f"-DCMAKE_C_FLAGS={args.flags}")
    run(args.cmake, "--build", build)
    answer = run(os.path.join(build, "consumer"), stdin="hello\n")
    expect("answer: HELLO" in answer, "find_package() gives vllmgw::static too")


def from_cxx(args, folder, prefix):
    include = os.path.join(prefix, "include")
    names = sorted(os.path.relpath(path, include) for path in glob.glob(os.path.join(include, "vllmgw", "*")))
    expect("vllmgw/version.h" in names and all(name.endswith(".h") for name in names),
           "the installed headers are headers, version.h among them")
    source = os.path.join(folder, "all.cc")
    with open(source, "w", encoding="utf-8") as file:
        file.writelines(f"#include <{name}>\n" for name in names)
        file.write("int main() { return vgw_version() ? 0 : 1; }\n")
    run(args.cxx, "-std=c++11", "-pedantic", "-Wall", "-Werror", "-fsyntax-only", "-I", include, source)
    expect(True, f"{len(names)} installed headers together are C++11")


def main():
    args = parse()
    with tempfile.TemporaryDirectory(prefix="vllmgw-installed-") as folder:
        prefix = install(args, folder)
        libdir = os.path.dirname(only(os.path.join(prefix, "**", "libvllmgw.so"), recursive=True))
        by_cmake(args, folder, prefix)
        by_pkg_config(args, folder, prefix, libdir)
        static_by_cmake(args, folder, prefix)
        from_cxx(args, folder, prefix)
        for program in glob.glob(os.path.join(args.build, "bin", "vllmgw*")):
            installed = os.path.join(prefix, "bin", os.path.basename(program))
            expect(os.access(installed, os.X_OK), f"{os.path.basename(program)} is installed")
            run(installed, "--version")


if __name__ == "__main__":
    main()
