#!/usr/bin/env python3
"""How long the text of an error on one rank needs to the logs of all others.

    bazel build //cli:closeranks //tests/multiprocess:toy_worker
    benchmarks/first_error.py --count 20 --json docs/results/first_error.json

4 ranks of the toy under one supervisor; of each kind of error as many runs. The time is from right
before the error to where the line of the last other rank that names it has come out of the
supervisor, so the restart of the one that was lost and the recovery go on meanwhile. Writes the
JSON and, beside it, a page with the same name and .md.
"""

import argparse
import os
import pathlib
import re
import statistics
import subprocess
import tempfile
import time

import record

RANKS = 4
STEP = 20
# What the toy is told to do -> what it is, and what the logs say of it.
KINDS = {"throw": ("exception", "threw a bad sample"),
         "alloc": ("out of memory", "threw std::bad_alloc"),
         "check": ("failed check", r"was killed by signal 6 .*: F .*a bad sample"),
         "segv": ("SIGSEGV", "was killed by signal 11"),
         "kill": ("SIGKILL", "was killed by signal 9")}


def strike(options, kind, victim):
    """Milliseconds."""
    with tempfile.TemporaryDirectory() as folder:
        job = subprocess.Popen(
            [options.bin / "cli/closeranks", "run", "-n", str(RANKS), f"--report={folder}/run",
             "--", options.bin / "tests/multiprocess/toy_worker", "--tells_when", "--epochs=50",
             f"--report={folder}", f"--faults={victim}:part:{kind}:{STEP}"],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        struck, told = None, {}
        for line in job.stdout:
            now = time.monotonic_ns()
            if begin := re.search(r"strikes at (\d+)", line):
                struck = int(begin.group(1))
            if of := re.match(rf"\[(\d)\] .*member {victim} is lost: its worker {KINDS[kind][1]}",
                              line):
                told.setdefault(int(of.group(1)), now)
        assert job.wait() == 0 and len(told) == RANKS - 1, (kind, told)
        return (max(told.values()) - struck) / 1e6


def page(measured):
    lines = ["# From an error to its text in every log", "",
             "From right before the error on one of 4 ranks to where the line of the last other "
             "rank that names it has come out of the supervisor. Milliseconds.", "",
             "| error | runs | p50 | greatest |", "|---|---|---|---|"]
    for row in measured["rows"]:
        lines.append(f"| {row['error']} | {row['count']} | {row['p50_ms']:.1f} | "
                     f"{row['greatest_ms']:.1f} |")
    loads = measured["load_average"]
    lines += ["", f"{record.origin(measured)}; the load average was {min(loads):.1f} to "
              f"{max(loads):.1f}.", "", f"    {measured['command']}", ""]
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=20, help="runs of each kind")
    parser.add_argument("--bin", type=pathlib.Path, default=record.ROOT / "bazel-bin")
    parser.add_argument("--json", type=pathlib.Path, required=True)
    options = parser.parse_args()
    measured = record.begin() | {"rows": [], "load_average": []}
    times = {kind: [] for kind in KINDS}
    for turn in range(options.count):
        measured["load_average"].append(os.getloadavg()[0])
        for kind, all_of_kind in times.items():
            all_of_kind.append(strike(options, kind, turn % RANKS))
    for kind, all_of_kind in times.items():
        measured["rows"].append({"error": KINDS[kind][0], "count": options.count,
                                 "p50_ms": statistics.median(all_of_kind),
                                 "greatest_ms": max(all_of_kind), "ms": all_of_kind})
        print(measured["rows"][-1], flush=True)
    record.write(options.json, measured, page(measured))


if __name__ == "__main__":
    main()
