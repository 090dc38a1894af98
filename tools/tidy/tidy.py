#!/usr/bin/env python3
"""Checks what the compiler doesn't: which way includes point, names, guards, lengths, format.

tidy.py [--format] [--root FOLDER]. Prints each offence as `file:line: what (remedy)`; exits with 1
if there was one. --format runs clang-format instead of the other checks.
"""

import argparse
import os
import pathlib
import re
import shutil
import subprocess
import sys

# Which way includes point: a folder may include those of lower rows. Folders of one row don't know
# each other.
ROWS = [
    ["examples", "tests", "benchmarks"],
    ["python", "cli"],
    ["launcher"],
    ["closeranks"],
    ["ddp", "elastic"],
    ["collectives", "rendezvous"],
    ["net"],
    ["telemetry"],
    ["base"],
]
# Inside collectives/: what each folder may include ("" is collectives/ itself).
COLLECTIVES = {
    "": ["algorithms", "backends", "engine", "reduction", "schedule", "topology", "transport"],
    "backends": ["algorithms", "engine", "reduction", "schedule", "topology", "transport"],
    "engine": ["algorithms", "reduction", "schedule", "topology", "transport"],
    "transport": ["topology"],
    "algorithms": ["schedule", "topology"],
    "schedule": [],
    "reduction": [],
    "topology": [],
}
# The words that every folder of collectives/ uses, and that include nothing of it but each other.
COLLECTIVES_WORDS = ["collectives/data_type.h", "collectives/work.h"]

# The one file that reads the environment: everything else takes options.
READS_ENVIRONMENT = ["closeranks/environment.cc"]

VAGUE_NAMES = {"util", "utils", "common", "helper", "helpers", "manager"}
COLUMNS = 100
LINES = 600
CLANG_FORMAT = "clang-format-16"  # one version: each formats a little differently

CPP = {".cc", ".h", ".cu", ".cuh"}
CODE = CPP | {".py", ".bzl", ".bazel", ".sh"}
NOT_TEXT = {".png", ".gz", ".safetensors", ".bin"}

INCLUDE = re.compile(r'^\s*#\s*include\s+"([^"]+)"')
GETENV = re.compile(r"\b(secure_)?getenv\s*\(")
# Written so that it doesn't find itself.
HOME_PATH = re.compile(r"(?<![\w.}~-])/(?:ro" + r"ot|home)/\w")


def find_files(root):
    """The tree's files, as paths relative to `root`: those that git knows or would add."""
    listed = None
    if (root / ".git").exists():
        listed = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=root,
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    if listed is not None and listed.returncode == 0:
        names = [name for name in listed.stdout.decode().split("\0") if name]
    else:  # an unpacked archive, or a checkout of somebody else's
        names = []
        for folder, folders, files in os.walk(root):
            folders[:] = [name for name in folders
                          if name not in (".git", "__pycache__") and not name.startswith("bazel-")]
            names += [os.path.relpath(os.path.join(folder, name), root) for name in files]
    return sorted(name for name in names
                  if (root / name).is_file() and not (root / name).is_symlink())


def row_of(folder):
    for number, row in enumerate(ROWS):
        if folder in row:
            return number
    return None


def why_not_include(path, included):
    """Why the file `path` may not include `included`, or None."""
    here, there = path.split("/"), included.split("/")
    if row_of(there[0]) is None or row_of(here[0]) is None:
        return None  # an outside library, or a tool
    if here[0] != there[0]:
        if row_of(there[0]) > row_of(here[0]):
            return None
        way = "sideways" if row_of(there[0]) == row_of(here[0]) else "up"
        return "the include of %s points %s from %s/ to %s/" % (included, way, here[0], there[0])
    if here[0] != "collectives" or included in COLLECTIVES_WORDS or path.endswith("_test.cc"):
        return None
    inside = here[1] if len(here) > 2 else ""
    wanted = there[1] if len(there) > 2 else ""
    if inside == wanted or wanted in COLLECTIVES.get(inside, []):
        return None
    return "the include of %s points the wrong way inside collectives/" % included


def check_includes(path, lines):
    for number, line in enumerate(lines, 1):
        match = INCLUDE.match(line)
        reason = why_not_include(path, match.group(1)) if match else None
        if reason:
            yield number, reason, "move the code down, or inject what it needs; ROWS in tidy.py"


def check_name(path, _lines):
    for part in path.split("/"):
        vague = VAGUE_NAMES & set(re.split(r"[_.\-]", part.lower()))
        if vague:
            yield 1, "the name says `%s`, which says nothing" % vague.pop(), "name what it does"


def check_guard(path, lines):
    if not path.endswith(".h"):
        return
    guard = "CLOSERANKS_" + re.sub(r"[^A-Z0-9]", "_", path.upper()) + "_"
    directives = [line.split() for line in lines if line.startswith("#")]
    if directives[:2] != [["#ifndef", guard], ["#define", guard]]:
        yield 1, "the include guard is missing or misnamed", "#ifndef %s, #define %s" % (guard,
                                                                                          guard)


def check_lines(path, lines):
    suffix = pathlib.Path(path).suffix
    for number, line in enumerate(lines, 1):
        if HOME_PATH.search(line):
            yield number, "an absolute path of somebody's machine", "make it relative, or an option"
        if suffix not in CODE:
            continue
        if "\t" in line:
            yield number, "a tab", "indent with spaces"
        if line != line.rstrip():
            yield number, "space at the end of the line", "remove it"
        if len(line) > COLUMNS and "://" not in line:
            yield number, "%d columns" % len(line), "break the line at %d" % COLUMNS
        if suffix in CPP and path not in READS_ENVIRONMENT:
            if GETENV.search(line.split("//")[0]):
                yield number, "reads the environment", "take an option; %s reads it for all" % (
                    READS_ENVIRONMENT[0])
    if suffix in CODE and len(lines) > LINES:
        yield LINES + 1, "%d lines" % len(lines), "split the file: %d are enough" % LINES


CHECKS = [check_includes, check_name, check_guard, check_lines]


def check_tree(root):
    """(offences as (path, line, what, remedy), number of files)."""
    offences, count = [], 0
    for path in find_files(root):
        if pathlib.Path(path).suffix in NOT_TEXT or path == "LICENSE":
            continue
        try:
            lines = (root / path).read_text(encoding="utf-8").splitlines()
        except UnicodeDecodeError:
            continue  # data, such as a fuzzer's corpus
        except FileNotFoundError:
            continue  # removed since it was listed
        count += 1
        for check in CHECKS:
            offences += [(path, *offence) for offence in check(path, lines)]
    return offences, count


def check_format(root):
    offences = []
    paths = [path for path in find_files(root) if pathlib.Path(path).suffix in CPP]
    if not paths:
        return offences, 0
    answer = subprocess.run([CLANG_FORMAT, "--dry-run", *paths], cwd=root, text=True,
                            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    found = re.findall(r"^(.+?):(\d+):\d+: warning: .*-Wclang-format", answer.stderr, re.MULTILINE)
    seen = set()
    for path, line in found:
        if path not in seen:  # the first is enough: one command mends the file
            seen.add(path)
            offences.append((path, int(line), "not formatted", "%s -i %s" % (CLANG_FORMAT, path)))
    if answer.returncode != 0 and not found:
        offences.append((".clang-format", 1, answer.stderr.strip(), "see %s" % CLANG_FORMAT))
    return offences, len(paths)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--format", action="store_true")
    # Bazel runs a link to this file, so its real place tells where the tree is.
    here = pathlib.Path(__file__).resolve()
    parser.add_argument("--root", type=pathlib.Path, default=here.parent.parent.parent)
    arguments = parser.parse_args()
    if arguments.format and not shutil.which(CLANG_FORMAT):
        print("SKIPPED: %s isn't installed" % CLANG_FORMAT)
        return 0
    offences, count = (check_format if arguments.format else check_tree)(arguments.root)
    for path, line, what, remedy in offences:
        print("%s:%d: %s (%s)" % (path, line, what, remedy))
    print("%d files, %d offences" % (count, len(offences)))
    return 1 if offences else 0


if __name__ == "__main__":
    sys.exit(main())
