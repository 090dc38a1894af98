#!/usr/bin/env python3
"""A training on six hosts that are killed, stopped, cut off and halved, one after the other, comes
to the weights of an undisturbed one, and every sample was committed once.

    tests/network/network_faults_test.py [--faults N] [--seed S]

Faults follow from the seed, which is printed. Each strikes in the middle of a step, lasts until the
others have gone on without whom it hit, and the next follows when all are together again. Nothing
here depends on how long anything takes, but for the limits after which a wait is a failure.
"""

import argparse
import json
import pathlib
import random
import signal
import sys
import tempfile
import time

import namespaces
import training
from faults import FAULTS

HOSTS = 6
LIMIT_S = 120  # for anything that a fault makes us wait for
PULSE_S = 0.015
# Steps that a fault may take at this pace; then training slows down, so that it lasts until the
# last fault.
STEPS_PER_FAULT = 80
SLOW_PULSE_S = 0.25


class Paced:
    """Hands out steps until something is so."""

    def __init__(self, job):
        self.job = job
        self.slow_from = STEPS_PER_FAULT  # this step

    def until(self, what):
        deadline = time.monotonic() + LIMIT_S
        while not what(commits := self.job.newest_commits()):
            if time.monotonic() > deadline:
                raise AssertionError(f"waited {LIMIT_S} s; {commits}\n{self.job.last_words()}")
            for host in range(HOSTS):
                code = self.job.supervisor(host).poll()
                # Those that were killed are started again before anybody waits for them.
                if code is not None and code != -signal.SIGKILL:
                    raise AssertionError(f"host {host} ended with {code}\n"
                                         + self.job.last_words())
            self.job.pulse()
            time.sleep(PULSE_S if newest_step(commits) < self.slow_from else SLOW_PULSE_S)


def newest_step(commits):
    return max((commit["step"] for commit in commits.values()), default=0)


def whole(commits):
    """All hosts have committed in one world of all."""
    return (len(commits) == HOSTS and len({commit["gen"] for commit in commits.values()}) == 1
            and all(commit["size"] == HOSTS for commit in commits.values()))


def disturb(job, faults, draw, rows):
    pace = Paced(job)
    pace.until(whole)
    for number in range(faults):
        name = draw.choice(list(FAULTS))
        fault, count = FAULTS[name]
        hosts = draw.sample(range(HOSTS), count)
        before = max(commit["gen"] for commit in job.newest_commits().values())
        step = newest_step(job.newest_commits())
        pace.slow_from = step + STEPS_PER_FAULT
        job.pulse()
        time.sleep(draw.uniform(0, 0.008))  # into some point of the step
        begin = time.monotonic()
        fault.strike(job, hosts)
        rest = [host for host in range(HOSTS) if host not in hosts]
        pace.until(lambda commits: any(commits[host]["gen"] > before for host in rest))
        gone_on = time.monotonic()
        fault.heal(job, hosts)
        pace.until(lambda commits: whole(commits)
                   and all(commit["gen"] > before for commit in commits.values()))
        row = {"fault": name, "hosts": hosts, "step": step,
               "gone_on_s": round(gone_on - begin, 3),
               "whole_s": round(time.monotonic() - gone_on, 3)}
        rows.append(row)
        print(f"{number}: {json.dumps(row)}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--faults", type=int, default=15)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))
    options = parser.parse_args()
    reason = namespaces.why_not()
    if reason:
        print(f"\nSKIPPED: {reason}")
        return
    print(f"again with --faults={options.faults} --seed={options.seed}", flush=True)
    steps_per_epoch = training.Toy.samples // training.Toy.batch
    epochs = 10 + (STEPS_PER_FAULT + 70) * options.faults // steps_per_epoch
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        job = training.Training(pathlib.Path(folder), HOSTS, training.Toy(epochs))
        try:
            disturb(job, options.faults, random.Random(options.seed), rows)
            at = newest_step(job.newest_commits())
            job.open_gate()
            codes = job.wait(900)
            assert codes == [0] * HOSTS, f"{codes}\n{job.last_words()}"
            code, count = job.count_samples()
            assert code == 0 and not count["conflicts"], json.dumps(count, indent=1)
            ends = job.ends()
            assert len(ends) == HOSTS, ends
            assert set(ends) == {job.undisturbed()[0]}, ends
        finally:
            job.close()
    print(f"{len(rows)} faults in {at} of {job.steps} steps; {count['samples_consumed']} samples "
          f"once each in {len(count['ledgers'])} ledgers; the weights are the undisturbed ones")


if __name__ == "__main__":
    sys.exit(main())
