#!/usr/bin/env python3
"""How long the text of an error on one rank needs to the logs of all others.

    bazel build //cli:closeranks //tests/multiprocess:toy_worker
    benchmarks/first_error.py --count 20

4 ranks of the toy under one supervisor; of each kind of error as many runs. The time is from right
before the error to where the line of the last other rank that names it has come out of the
supervisor, so the restart of the one that was lost and the recovery go on meanwhile.
"""

import argparse
import pathlib
import re
import statistics
import subprocess
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
RANKS = 4
STEP = 20
KINDS = {"throw": "threw a bad sample", "alloc": "threw std::bad_alloc",
         "check": r"was killed by signal 6 .*: F .*a bad sample",
         "segv": "was killed by signal 11", "kill": "was killed by signal 9"}


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
            if of := re.match(rf"\[(\d)\] .*member {victim} is lost: its worker {KINDS[kind]}",
                              line):
                told.setdefault(int(of.group(1)), now)
        assert job.wait() == 0 and len(told) == RANKS - 1, (kind, told)
        return (max(told.values()) - struck) / 1e6


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=20, help="runs of each kind")
    parser.add_argument("--bin", type=pathlib.Path, default=ROOT / "bazel-bin")
    options = parser.parse_args()
    for kind in KINDS:
        times = [strike(options, kind, turn % RANKS) for turn in range(options.count)]
        print(f"{kind:6} p50 {statistics.median(times):7.1f} ms, greatest {max(times):7.1f} ms",
              flush=True)


if __name__ == "__main__":
    main()
