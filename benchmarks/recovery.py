#!/usr/bin/env python3
"""How long the survivors of a killed rank need: kills ranks in real training, keeps the record.

    bazel build //cli:closeranks //examples/fashion_mnist //benchmarks:allreduce
    benchmarks/recovery.py --runs 5 --json docs/results/recovery.json

Each run trains Fashion-MNIST for one epoch and loses ranks in the middle of a step. Times are from
the killer's kill() to where the survivor that commits first may compute again (detect, agree,
rewire, catch-up; without what it still had to compute of its own part); replaying the torn step,
and all the time from kill() to its commit, stand apart. Writes the JSON and, beside it, a page
with the same name and .md.
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
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
PHASES = ["detect_ms", "agree_ms", "rewire_ms", "catch_up_ms", "total_ms", "replay_ms",
          "commit_ms"]
CASES = [(4, "0"), (4, "3"), (4, "2,3"), (2, "0")]


def run_once(bin_folder, ranks, kill, epochs):
    """The recoveries and joins of one run; None for a run that wasn't sound."""
    with tempfile.TemporaryDirectory() as report:
        done = subprocess.run(
            [bin_folder / "cli/closeranks", "run", "-n", str(ranks), f"--kill={kill}@50%",
             f"--report={report}", "--", bin_folder / "examples/fashion_mnist/fashion_mnist",
             f"--epochs={epochs}", f"--report={report}"], stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL, check=False)
        subprocess.run([bin_folder / "cli/closeranks", "report", report],
                       stdout=subprocess.DEVNULL, check=False)
        result = json.loads((pathlib.Path(report) / "report.json").read_text())
        return result if done.returncode == 0 and result["sound"] else None


def flag_round_trip_ns(bin_folder):
    """Where the cores are: a flag's round trip between two processes, as allreduce prints it."""
    done = subprocess.run([bin_folder / "benchmarks/allreduce", "--max_bytes=4", "--seconds=0.1"],
                          capture_output=True, text=True, check=True)
    rows = [line.split() for line in done.stdout.splitlines()]
    return float(next(row[0] for row in rows if len(row) == 5 and row[0].isdigit()))


def measure(bin_folder, runs, epochs):
    rows = []
    for number in range(runs):
        for ranks, kill in CASES:
            row = {"ranks": ranks, "kill": kill, "run": number,
                   "probe_ns": flag_round_trip_ns(bin_folder)}
            result = run_once(bin_folder, ranks, kill, epochs)
            row["sound"] = result is not None
            if result:
                row |= {phase: result["recoveries"][0][phase] for phase in PHASES}
            rows.append(row)
            print(row, flush=True)
    return rows


def page(record):
    lines = ["# Recovery of killed ranks", "",
             "From the killer's kill() to where the first survivor may compute again, in real "
             "training of Fashion-MNIST.", "Milliseconds, median (greatest) of the runs. Total is "
             "detect + agree + rewire + catch-up; replay of the torn", "step, and all the time "
             "from the kill to its commit, stand apart. Until a survivor takes up the new world it "
             "computes", "its own part to the end: that is in the last column only, but for the "
             "catch-up of those who", "wait for it. The survivor shown is the one that commits "
             "first.", "",
             "| ranks | killed | sound runs | detect | agree | rewire | catch-up | total | replay "
             "| kill to commit |",
             "|---|---|---|---|---|---|---|---|---|---|"]
    for ranks, kill in CASES:
        rows = [r for r in record["rows"] if (r["ranks"], r["kill"]) == (ranks, kill)]
        sound = [r for r in rows if r["sound"]]
        cells = [f"{statistics.median(r[p] for r in sound):.2f} ({max(r[p] for r in sound):.2f})"
                 if sound else "-" for p in PHASES]
        lines.append(f"| {ranks} | {kill} | {len(sound)} of {len(rows)} | "
                     + " | ".join(cells) + " |")
    probes = [row["probe_ns"] for row in record["rows"]]
    lines += ["", f"{record['date']}, commit {record['commit']}, {record['machine']}; a flag's "
              f"round trip between two processes took {min(probes):.0f} to {max(probes):.0f} ns; "
              f"the load average at the start was {record['load_average_at_start']:.1f}.",
              "", f"    {record['command']}", ""]
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--json", type=pathlib.Path, required=True)
    parser.add_argument("--bin", type=pathlib.Path, default=ROOT / "bazel-bin")
    options = parser.parse_args()
    options.json.parent.mkdir(parents=True, exist_ok=True)
    commit = subprocess.run(["git", "-C", ROOT, "rev-parse", "--short", "HEAD"],
                            capture_output=True, text=True, check=True).stdout.strip()
    cpu = next(line.split(":")[1].strip() for line in open("/proc/cpuinfo")
               if line.startswith("model name"))
    cores = sum(line.startswith("processor") for line in open("/proc/cpuinfo"))
    # The number only: what follows it names somebody's build.
    kernel = re.match(r"[0-9.]*[0-9]", platform.release()).group()
    record = {"commit": commit, "date": datetime.date.today().isoformat(),
              "machine": f"{cores} cores of {cpu}, Linux {kernel}",
              "load_average_at_start": os.getloadavg()[0],
              "command": f"benchmarks/recovery.py --runs {options.runs} --json {options.json}",
              "rows": measure(options.bin, options.runs, options.epochs)}
    options.json.write_text(json.dumps(record, indent=1) + "\n")
    options.json.with_suffix(".md").write_text(page(record))


if __name__ == "__main__":
    main()
