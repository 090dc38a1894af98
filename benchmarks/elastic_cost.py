#!/usr/bin/env python3
"""What the elastic machinery costs where nothing is lost: steps with it and the same without.

    bazel build //cli:closeranks //benchmarks:allreduce_loop
    benchmarks/elastic_cost.py --pairs 30 --json docs/results/elastic_cost.json

With: the gate, the exchange of sample ids, events and the ledger. Without: computation and
all-reduce alone. The same ranks do both in turns of one step (of some, where it is short), hundreds
of turns a pair: the machine's speed changes within seconds, and both have to see the same of it.
Wall time is that of the slowest rank; CPU time is all ranks', and all that their supervisor used
from the first step to the last counts as the machinery's, as does the thread that answers it. What
a start costs, and what a part of a model's own does (its random seed, copies of its buffers), isn't
in it. Writes the JSON and, beside it, a page with the same name and .md.
"""

import argparse
import json
import os
import pathlib
import re
import statistics
import subprocess
import sys
import tempfile

import record

# Name -> flags of the loop. The work takes some 10 ms of a step, as the example's training does.
LOOPS = {
    "steps with computation, then 1 MiB": ["--steps=500", "--alternate=1", "--work=2000"],
    "all-reduces of 1 MiB alone": ["--steps=20000", "--alternate=50"],
}
TOOK = re.compile(r"steps (with|without) it took ([\d.]+) s, ([\d.]+) s of CPU")
BESIDE = re.compile(r"beside both ([\d.]+) s of CPU here, ([\d.]+) s of the supervisor")


def run_pair(options, flags):
    """{"with": {"wall_s", "cpu_s"}, "without": ...} of one run."""
    with tempfile.TemporaryDirectory() as report:
        command = [options.bin / "cli/closeranks", "run", "-n", options.ranks,
                   f"--report={report}", "--", options.bin / "benchmarks/allreduce_loop",
                   f"--report={report}", *flags]
        text = subprocess.run([str(word) for word in command], check=True, text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout
    pair = {"with": {"wall_s": 0.0, "cpu_s": 0.0}, "without": {"wall_s": 0.0, "cpu_s": 0.0}}
    for half, wall, cpu in TOOK.findall(text):
        pair[half]["wall_s"] = max(pair[half]["wall_s"], float(wall))
        pair[half]["cpu_s"] += float(cpu)
    beside = BESIDE.findall(text)
    # Each rank has seen all of it.
    pair["with"]["cpu_s"] += max(float(supervisor) for _, supervisor in beside)
    # The thread that answers the supervisor is the machinery's, in whichever half it worked.
    without = pair["without"]["wall_s"] / (pair["with"]["wall_s"] + pair["without"]["wall_s"])
    moved = without * sum(float(thread) for thread, _ in beside)
    pair["with"]["cpu_s"] += moved
    pair["without"]["cpu_s"] -= moved
    return pair


def interval(values):
    """The order statistics that hold the median with 95%, whatever the distribution."""
    ordered = sorted(values)
    n = len(ordered)
    below, total = 0, 1  # of 2 ** n ways for how many values lie below the median
    while below + 1 < n / 2 and total + binomial(n, below + 1) <= 0.025 * 2 ** n:
        below += 1
        total += binomial(n, below)
    return ordered[below], ordered[n - 1 - below]


def binomial(n, k):
    ways = 1
    for i in range(k):
        ways = ways * (n - i) // (i + 1)
    return ways


def summary(pairs):
    rows = []
    for loop in LOOPS:
        mine = [pair for pair in pairs if pair["loop"] == loop]
        steps = int(re.search(r"--steps=(\d+)", " ".join(LOOPS[loop])).group(1))
        for what in ("wall_s", "cpu_s"):
            costs = [100 * (pair["with"][what] / pair["without"][what] - 1) for pair in mine]
            low, high = interval(costs)
            rows.append({"loop": loop, "of": what[:-2], "pairs": len(mine),
                         "without_ms_a_step": 1000 / steps * statistics.median(
                             pair["without"][what] for pair in mine),
                         "cost_percent": statistics.median(costs), "low": low, "high": high})
    return rows


def page(measured):
    lines = ["# What the elastic machinery costs without faults", "",
             f"{measured['ranks']} ranks, which do steps with it and without it in turns; the "
             "median of runs, and the interval that holds it with 95%.", "",
             "| loop | of | runs | without it, ms a step | cost | interval |",
             "|---|---|---|---|---|---|"]
    for row in measured["rows"]:
        lines.append(f"| {row['loop']} | {row['of']} time | {row['pairs']} | "
                     f"{row['without_ms_a_step']:.3f} | {row['cost_percent']:+.1f}% | "
                     f"{row['low']:+.1f}% to {row['high']:+.1f}% |")
    loads = [pair["load_average"] for pair in measured["pairs"]]
    lines += ["", f"{record.origin(measured)}; the load "
              f"average was {min(loads):.1f} to {max(loads):.1f} (median "
              f"{statistics.median(loads):.1f}).", "", f"    {measured['command']}", ""]
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=30)
    parser.add_argument("--ranks", type=int, default=2)
    parser.add_argument("--json", type=pathlib.Path, required=True)
    parser.add_argument("--bin", type=pathlib.Path, default=record.ROOT / "bazel-bin")
    options = parser.parse_args()
    measured = record.begin() | {"ranks": options.ranks}
    pairs = []
    for _ in range(options.pairs):
        for loop, flags in LOOPS.items():
            pairs.append({"loop": loop, "load_average": os.getloadavg()[0],
                          **run_pair(options, flags)})
            print(json.dumps(pairs[-1]), flush=True)
    measured |= {"rows": summary(pairs), "pairs": pairs}
    record.write(options.json, measured, page(measured))


if __name__ == "__main__":
    main()
