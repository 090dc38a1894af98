#!/usr/bin/env python3
"""Runs the simulation of whole jobs over many seeds, a chunk on each core, and keeps the record.

    tests/simulation/many_seeds.py --seeds 1000000 --json docs/results/simulation.json

Seeds that the file already has aren't run again, so that it can be stopped and started at will;
each chunk says which commit it ran. Beside the JSON a page with the same name and .md is written.
Ends with 1 at the first seed that fails, whose replay it prints.
"""

import argparse
import concurrent.futures
import datetime
import json
import os
import pathlib
import platform
import re
import shutil
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
PROGRAM = ROOT / "bazel-bin/tests/simulation/system_simulation_test"
COUNTS = ["faults", "events", "generations", "steps", "ended"]
SUMMARY = re.compile(r"(?P<seeds>\d+) seeds, (?P<faults>\d+) faults, (?P<events>\d+) events, "
                     r"(?P<generations>\d+) generations, (?P<steps>\d+) steps, "
                     r"(?P<ended>\d+) jobs came to their end; (?P<seconds>[\d.]+) s")


def run_chunk(program, begin, seeds, commit):
    """A row, or the output of the run that failed."""
    done = subprocess.run([program, "--from", str(begin), "--seeds", str(seeds)],
                          capture_output=True, text=True, check=False)
    found = SUMMARY.search(done.stdout)
    if done.returncode != 0 or found is None:
        return done.stdout + done.stderr
    row = {"from": begin, "seeds": int(found["seeds"]), "commit": commit}
    row |= {name: int(found[name]) for name in COUNTS}
    return row | {"cpu_seconds": float(found["seconds"])}


def gaps(chunks, seeds, most):
    """[(begin, seeds)] of what no chunk has run yet, at most `most` each."""
    known = {seed for chunk in chunks for seed in range(chunk["from"],
                                                        chunk["from"] + chunk["seeds"])}
    found = []
    for seed in range(seeds):
        if seed in known:
            continue
        begin, count = found[-1] if found else (seed, most)
        if begin + count == seed and count < most:
            found[-1] = (begin, count + 1)
        else:
            found.append((seed, 1))
    return found


def page(record):
    """The whole, and what each commit ran."""
    chunks = record["chunks"]
    lines = ["# Whole jobs in simulation", "",
             "Each seed is a job of its own with hosts, a workload and a schedule of faults; none "
             "of these broke a promise.", "",
             "| commit | jobs | faults | events | generations | steps | trained to the end | h |",
             "|---|---|---|---|---|---|---|---|"]
    groups = {commit: [c for c in chunks if c["commit"] == commit]
              for commit in dict.fromkeys(c["commit"] for c in chunks)}
    if len(groups) > 1:
        groups["all"] = chunks
    for commit, group in groups.items():
        sums = [sum(chunk[name] for chunk in group) for name in ["seeds"] + COUNTS]
        hours = sum(chunk["cpu_seconds"] for chunk in group) / 3600
        lines.append(f"| {commit} | " + " | ".join(f"{n:,}" for n in sums) + f" | {hours:.1f} |")
    lines += ["", "h: hours of one core. A job that doesn't come to its end lost its quorum or its "
              "state, as its faults may have it.", "",
              f"{record['date']}, {record['machine']}.", "", f"    {record['command']}", ""]
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=1_000_000, help="from 0")
    parser.add_argument("--chunk", type=int, default=10_000)
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("--json", type=pathlib.Path, required=True)
    options = parser.parse_args()
    git = ["git", "-C", str(ROOT)]
    if subprocess.run([*git, "diff", "--quiet", "HEAD"], check=False).returncode != 0:
        sys.exit("the tree differs from its last commit: commit first, so that the record can name "
                 "what it ran")
    subprocess.run(["bazel", "build", "//tests/simulation:system_simulation_test"], cwd=ROOT,
                   check=True)
    commit = subprocess.run([*git, "rev-parse", "--short", "HEAD"], capture_output=True, text=True,
                            check=True).stdout.strip()
    record = {"chunks": []}
    if options.json.exists():
        record = json.loads(options.json.read_text())
    record["command"] = (f"tests/simulation/many_seeds.py --seeds {options.seeds} --json "
                         f"{options.json}")
    record["machine"] = f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores"
    todo = gaps(record["chunks"], options.seeds, options.chunk)
    with tempfile.TemporaryDirectory() as folder:
        # What is built meanwhile doesn't change what runs.
        program = shutil.copy(PROGRAM, folder)
        with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
            runs = [pool.submit(run_chunk, program, begin, seeds, commit)
                    for begin, seeds in todo]
            for run in concurrent.futures.as_completed(runs):
                row = run.result()
                if isinstance(row, str):
                    pool.shutdown(wait=False, cancel_futures=True)
                    print(row, file=sys.stderr)
                    return 1
                record["chunks"] = sorted(record["chunks"] + [row], key=lambda c: c["from"])
                record["date"] = datetime.date.today().isoformat()
                options.json.write_text(json.dumps(record, indent=1) + "\n")
                options.json.with_suffix(".md").write_text(page(record))
                print(f"{sum(c['seeds'] for c in record['chunks']):,} seeds", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
