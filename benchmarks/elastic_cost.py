#!/usr/bin/env python3
"""What the elastic machinery costs where nothing is lost: steps with it and the same without.

    bazel build //cli:closeranks //benchmarks:allreduce_loop
    benchmarks/elastic_cost.py --pairs 30 --json docs/results/elastic_cost.json

With: the gate, the exchange of sample ids, events and the ledger. Without: computation and
all-reduce alone. The same ranks do both in turns of one step (of some, where it is short), hundreds
of turns a pair: the machine's speed changes within seconds, and both have to see the same of it.
Wall time is that of
the slowest rank; CPU time is all ranks', and all that their supervisor used from its start to its
end counts as the machinery's. Writes the JSON and, beside it, a page with the same name and .md.
"""

import argparse
import datetime
import json
import os
import pathlib
import platform
import re
import statistics
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
# Name -> flags of the loop. The work takes some 20 ms of a step, as the example's training does.
LOOPS = {
    "steps with computation, then 1 MiB": ["--steps=500", "--alternate=1", "--work=2000"],
    "all-reduces of 1 MiB alone": ["--steps=20000", "--alternate=50"],
}
TOOK = re.compile(r"steps (with|without) it took ([\d.]+) s, ([\d.]+) s of CPU")
IN_ALL = re.compile(r"([\d.]+) s of CPU in all")


def run_pair(options, flags):
    """{"with": {"wall_s", "cpu_s"}, "without": ...} of one run."""
    with tempfile.TemporaryDirectory() as report, tempfile.TemporaryFile("w+") as output:
        command = [options.bin / "cli/closeranks", "run", "-n", options.ranks,
                   f"--report={report}", "--", options.bin / "benchmarks/allreduce_loop",
                   f"--report={report}", *flags]
        process = subprocess.Popen([str(word) for word in command], stdout=output,
                                   stderr=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode != 0:
            raise RuntimeError(f"{command} ended with {process.returncode}")
        output.seek(0)
        text = output.read()
    pair = {"with": {"wall_s": 0.0, "cpu_s": 0.0}, "without": {"wall_s": 0.0, "cpu_s": 0.0}}
    for half, wall, cpu in TOOK.findall(text):
        pair[half]["wall_s"] = max(pair[half]["wall_s"], float(wall))
        pair[half]["cpu_s"] += float(cpu)
    pair["with"]["cpu_s"] += (usage.ru_utime + usage.ru_stime
                              - sum(float(cpu) for cpu in IN_ALL.findall(text)))
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


def page(record):
    lines = ["# What the elastic machinery costs without faults", "",
             f"{record['ranks']} ranks, which do steps with it and without it in turns; the median "
             "of runs, and the interval that holds it with 95%.", "",
             "| loop | of | runs | without it, ms a step | cost | interval |",
             "|---|---|---|---|---|---|"]
    for row in record["rows"]:
        lines.append(f"| {row['loop']} | {row['of']} time | {row['pairs']} | "
                     f"{row['without_ms_a_step']:.3f} | {row['cost_percent']:+.1f}% | "
                     f"{row['low']:+.1f}% to {row['high']:+.1f}% |")
    loads = [pair["load_average"] for pair in record["pairs"]]
    lines += ["", f"{record['date']}, commit {record['commit']}, {record['machine']}; the load "
              f"average was {min(loads):.1f} to {max(loads):.1f} (median "
              f"{statistics.median(loads):.1f}).", "", f"    {record['command']}", ""]
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=30)
    parser.add_argument("--ranks", type=int, default=2)
    parser.add_argument("--json", type=pathlib.Path, required=True)
    parser.add_argument("--bin", type=pathlib.Path, default=ROOT / "bazel-bin")
    options = parser.parse_args()
    options.json.parent.mkdir(parents=True, exist_ok=True)
    pairs = []
    for _ in range(options.pairs):
        for loop, flags in LOOPS.items():
            pairs.append({"loop": loop, "load_average": os.getloadavg()[0],
                          **run_pair(options, flags)})
            print(json.dumps(pairs[-1]), flush=True)
    commit = subprocess.run(["git", "-C", ROOT, "rev-parse", "--short", "HEAD"],
                            capture_output=True, text=True, check=True).stdout.strip()
    cpu = next(line.split(":")[1].strip() for line in open("/proc/cpuinfo")
               if line.startswith("model name"))
    # The number only: what follows it names somebody's build.
    kernel = re.match(r"[0-9.]*[0-9]", platform.release()).group()
    record = {"commit": commit, "date": datetime.date.today().isoformat(),
              "machine": f"{os.cpu_count()} cores of {cpu}, Linux {kernel}",
              "command": " ".join(["benchmarks/elastic_cost.py", *sys.argv[1:]]),
              "ranks": options.ranks, "rows": summary(pairs), "pairs": pairs}
    options.json.write_text(json.dumps(record, indent=1) + "\n")
    options.json.with_suffix(".md").write_text(page(record))


if __name__ == "__main__":
    main()
