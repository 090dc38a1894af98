#!/usr/bin/env python3
"""The example trains on six hosts through some fault a second, and comes to the weights and the
test accuracy of an undisturbed run, with every sample committed once.

    bazel build //cli:closeranks //examples/fashion_mnist
    tests/network/trained_through_faults_test.py --json docs/results/network_faults.json

Faults follow from the seed, which is printed; when each strikes doesn't. A host is struck only
while the others have the state and decide without it. With --json it also writes a record, and
beside it a page with the same name and .md.
"""

import argparse
import collections
import json
import os
import pathlib
import random
import shlex
import signal
import sys
import tempfile
import time

import namespaces
import training
from faults import FAULTS

sys.path[:0] = [str(training.ROOT / "tests/e2e"), str(training.ROOT / "benchmarks")]
import fashion_mnist_part  # noqa: E402
import record  # noqa: E402

HOSTS = 6
LIMIT_S = 300  # between two faults, and to the end after the last
LOOK_S = 0.02
# With so many that have the state in a world of as many, one more may be lost.
LEAST_TO_STRIKE = 4


class Striker:
    """Strikes and heals as time goes by."""

    def __init__(self, job, draw, every_s):
        self._job = job
        self._draw = draw
        self._every_s = every_s
        self._lasting = []  # (until when, fault, hosts)
        self._next_at = 0
        self.rows = []

    def look(self, count):
        """One look at the job; strikes if fewer than `count` faults have and one may now. True once
        all are over and all hosts step in one world."""
        now = time.monotonic()
        for lasting in [lasting for lasting in self._lasting if lasting[0] <= now]:
            lasting[1].heal(self._job, lasting[2])
            self._lasting.remove(lasting)
        for host in range(HOSTS):
            code = self._job.supervisor(host).poll()
            # Those that were killed are started again before long.
            if code is not None and code != -signal.SIGKILL:
                raise AssertionError(f"after {len(self.rows)} faults host {host} ended with {code}:"
                                     + (" more --epochs" if code == 0 else
                                        "\n" + self._job.last_words()))
        commits = self._job.newest_commits()
        newest = max((commit["gen"] for commit in commits.values()), default=0)
        struck = {host for lasting in self._lasting for host in lasting[2]}
        there = [host for host, commit in commits.items()
                 if commit["gen"] == newest and host not in struck]
        size = max((commits[host]["size"] for host in there), default=0)
        is_whole = len(there) == size == HOSTS
        if len(self.rows) == count:
            return is_whole and not self._lasting
        if now >= self._next_at and min(len(there), size) >= LEAST_TO_STRIKE:
            names = [name for name in FAULTS if FAULTS[name][1] == 1 or is_whole]
            self._strike(self._draw.choice(names), there, commits, now)
        return False

    def _strike(self, name, there, commits, now):
        fault, count = FAULTS[name]
        hosts = self._draw.sample(sorted(there), count)
        try:
            fault.strike(self._job, hosts)
        except ProcessLookupError:  # the worker has just ended by itself
            return
        self._lasting.append((now + self._draw.uniform(0.3, 1.5), fault, hosts))
        self._next_at = now + self._draw.uniform(0.5, 1.5) * self._every_s
        step = max(commit["step"] for commit in commits.values())
        self.rows.append({"fault": name, "hosts": hosts, "step": step, "in_world_of": len(there)})
        print(f"{len(self.rows)}: {json.dumps(self.rows[-1])}", flush=True)

    def run(self, count):
        struck, deadline = 0, time.monotonic() + LIMIT_S
        while not self.look(count):
            if len(self.rows) > struck:
                struck, deadline = len(self.rows), time.monotonic() + LIMIT_S
            if time.monotonic() > deadline:
                raise AssertionError(f"waited {LIMIT_S} s after {struck} faults\n"
                                     + self._job.last_words())
            time.sleep(LOOK_S)


def train(job, options):
    """The job's record, with a verdict."""
    striker = Striker(job, random.Random(options.seed), options.every)
    begin = time.monotonic()
    striker.run(options.faults)
    seconds = time.monotonic() - begin
    load = os.getloadavg()[0]
    codes = job.wait(3600)
    assert codes == [0] * HOSTS, f"{codes}\n{job.last_words()}"
    job.newest_commits()
    code, count = job.count_samples()
    weights, accuracy = job.undisturbed()
    ends = job.ends()
    trained = {
        "seed": options.seed, "epochs": options.epochs, "steps": job.steps,
        "faults": dict(sorted(collections.Counter(row["fault"] for row in striker.rows).items())),
        "seconds_of_faults": round(seconds), "load_average": load,
        "generations": max(job.losses),
        "generations_that_lost_somebody": sum(bool(lost) for lost in job.losses.values()),
        "ledgers": len(count["ledgers"]), "samples_consumed": count["samples_consumed"],
        "samples_lost": count["samples_lost"], "samples_duplicated": count["samples_duplicated"],
        "conflicts": len(count["conflicts"]),
        "test_accuracy": job.accuracy(), "undisturbed_test_accuracy": accuracy,
        "weights_sha256": sorted(set(ends)), "undisturbed_weights_sha256": weights,
        "hosts_at_the_end": len(ends), "rows": striker.rows}
    trained["verdict"] = "as promised" if (
        code == 0 and not count["conflicts"] and ends == [weights] * HOSTS
        and trained["test_accuracy"] == accuracy) else "NOT AS PROMISED"
    return trained


def page(measured):
    lines = ["# Trained through faults of hosts and network", "",
             f"The example on {HOSTS} hosts of one worker each, which are network namespaces of "
             "one machine, in exact mode:",
             f"{measured['epochs']} epochs, {measured['steps']:,} steps; "
             f"{sum(measured['faults'].values())} faults within {measured['seconds_of_faults']} s "
             "of them.", "", "| fault | times |", "|---|---|"]
    lines += [f"| {name} | {times} |" for name, times in measured["faults"].items()]
    lines += ["", "| | through the faults | undisturbed |", "|---|---|---|",
              f"| test accuracy | {measured['test_accuracy']:.4f} | "
              f"{measured['undisturbed_test_accuracy']:.4f} |",
              "| weights | " + ", ".join(hash[:16] for hash in measured["weights_sha256"])
              + f" | {measured['undisturbed_weights_sha256'][:16]} |", "",
              f"{measured['generations']} generations, "
              f"{measured['generations_that_lost_somebody']} of them without somebody of the one "
              "before. By "
              f"`closeranks verify-epoch` over {measured['ledgers']} ledgers",
              f"{measured['samples_consumed']:,} samples were consumed, {measured['samples_lost']} "
              f"lost, {measured['samples_duplicated']} duplicated; {measured['conflicts']} "
              f"conflicts. Verdict: {measured['verdict']}.", "",
              f"{record.origin(measured)}; load average "
              f"{measured['load_average']:.1f}.", "", f"    {measured['command']}", ""]
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--faults", type=int, default=200)
    parser.add_argument("--every", type=float, default=1.0, help="seconds between two, on average")
    parser.add_argument("--epochs", type=int, default=60, help="enough for all the faults")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))
    parser.add_argument("--json", type=pathlib.Path)
    options = parser.parse_args()
    reason = namespaces.why_not()
    if reason:
        print(f"\nSKIPPED: {reason}")
        return
    if fashion_mnist_part.why_skipped():
        return
    measured = {}
    if options.json:
        measured = record.begin()
        # With what may have been drawn.
        measured["command"] = shlex.join(["tests/network/trained_through_faults_test.py",
                                          f"--faults={options.faults}",
                                          f"--epochs={options.epochs}", f"--seed={options.seed}",
                                          "--json", "docs/results/network_faults.json"])
    print(f"again with --faults={options.faults} --seed={options.seed}", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        job = training.Training(pathlib.Path(folder), HOSTS, training.FashionMnist(options.epochs))
        try:
            measured |= train(job, options)
        finally:
            job.close()
    if options.json:
        record.write(options.json.resolve(), measured, page(measured))
    print(json.dumps({name: value for name, value in measured.items() if name != "rows"}, indent=1))
    assert measured["verdict"] == "as promised"


if __name__ == "__main__":
    sys.exit(main())
