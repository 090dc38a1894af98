#!/usr/bin/env python3
"""A machine that is too busy loses nobody: 4 hosts of one worker each, and beside them 4 threads
for each core that never rest.

    bazel build //cli:closeranks //tests/multiprocess:toy_worker
    tests/multiprocess/suspicion_test.py --seconds 600 --json docs/results/suspicion.json

Fails if the supervisors put on record that another host was suspected, that a worker was ended, or
a second generation. With --json it also writes a record, and beside it a page with the same name
and .md.
"""

import argparse
import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "benchmarks"))
import record  # noqa: E402

# As a test this runs where Bazel has put the programs.
BIN = pathlib.Path(".") if pathlib.Path("cli/closeranks").exists() else ROOT / "bazel-bin"
CLOSERANKS = (BIN / "cli/closeranks").resolve()
WORKER = (BIN / "tests/multiprocess/toy_worker").resolve()
HOSTS = 4
BUSY_FOR_EACH_CORE = 4
START_LIMIT_S = 120


class Hosts:
    """Supervisors of one worker each; close() kills all of them."""

    def __init__(self, folder):
        self.folder = folder
        (folder / "key").write_text("0123456789abcdef" * 2)
        # The whole of 127.0.0.0/8 is this machine; pids don't repeat while they live.
        block = f"127.{1 + (os.getpid() >> 16) % 250}.{(os.getpid() >> 8) % 256}"
        addresses = [f"{block}.{1 + host}:{20000 + os.getpid() % 256}" for host in range(HOSTS)]
        self.supervisors = [self._start(host, addresses) for host in range(HOSTS)]

    def _start(self, host, addresses):
        report = self._report(host)
        command = [CLOSERANKS, "run", "--hosts=" + ",".join(addresses), f"--host_index={host}",
                   f"--key_file={self.folder / 'key'}", f"--report={report}", "--", WORKER,
                   "--tcp", "--dawdles=1", "--epochs=1000000", f"--report={report}"]
        with open(f"{report}.log", "wb") as log:
            return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                    start_new_session=True)

    def _report(self, host):
        return self.folder / f"report.{host}"

    def events(self, host, pattern):
        return [json.loads(line) for path in self._report(host).glob(pattern)
                for line in path.read_bytes().split(b"\n")[:-1]]

    def wait_until_stepping(self):
        deadline = time.monotonic() + START_LIMIT_S
        while not all(any(event["event"] == "commit"
                          for event in self.events(host, "events.[0-9]*.jsonl"))
                      for host in range(HOSTS)):
            assert time.monotonic() < deadline, self.last_words()
            time.sleep(0.2)

    def last_words(self):
        return "\n".join(path.read_text(errors="replace")[-2000:]
                         for path in sorted(self.folder.glob("*.log")))

    def stop(self):
        for supervisor in self.supervisors:
            supervisor.send_signal(signal.SIGTERM)
        for supervisor in self.supervisors:
            supervisor.wait(60)

    def close(self):
        for supervisor in self.supervisors:
            try:
                os.killpg(supervisor.pid, signal.SIGKILL)  # its workers are in its group
            except ProcessLookupError:
                pass
            supervisor.wait()

    def row(self, host, begin, end):
        """What is on record of the time between these two, in nanoseconds."""
        launcher = [event for event in self.events(host, "events.supervisor.jsonl")
                    if event["t"] < end or event["event"] == "end"]
        worker = [event for event in self.events(host, "events.[0-9]*.jsonl")
                  if event["t"] < end]
        steps = [event["step"] for event in worker
                 if event["event"] == "commit" and event["t"] >= begin]
        return {
            "host": host,
            "suspicions": sum(event["event"] == "suspected" for event in launcher),
            "workers_lost": sum(event["event"] == "worker_exit" for event in launcher),
            "generations": max(event["gen"] for event in worker if event["event"] == "world"),
            "longest_silence_ms": next(event["longest_silence_ms"] for event in launcher
                                       if event["event"] == "end"),
            "steps": steps[-1] - steps[0] + 1 if steps else 0}


def measure(seconds):
    busy = [subprocess.Popen(["sh", "-c", "while :; do :; done"])
            for _ in range(BUSY_FOR_EACH_CORE * os.cpu_count())]
    with tempfile.TemporaryDirectory() as folder:
        hosts = Hosts(pathlib.Path(folder))
        try:
            hosts.wait_until_stepping()
            begin = time.monotonic_ns()
            time.sleep(seconds)
            end = time.monotonic_ns()
            load = os.getloadavg()[0]
            for process in busy:
                process.kill()
            hosts.stop()
            rows = [hosts.row(host, begin, end) for host in range(HOSTS)]
        finally:
            for process in busy:
                process.kill()
                process.wait()
            hosts.close()
    return rows, load


def page(measured):
    lines = ["# Suspicions of who is only slow", "",
             f"{HOSTS} hosts on one machine, each with its own supervisor and a worker that steps "
             f"all the time, for {measured['seconds']} s beside",
             f"{measured['busy_threads']} threads that never rest ({BUSY_FOR_EACH_CORE} for each "
             f"core). Counted from the supervisors' own records.", "",
             "| host | suspected others | workers lost | generations | longest silence of another "
             "host, ms | steps |", "|---|---|---|---|---|---|"]
    lines += [f"| {row['host']} | {row['suspicions']} | {row['workers_lost']} | "
              f"{row['generations']} | {row['longest_silence_ms']:.0f} | {row['steps']:,} |"
              for row in measured["rows"]]
    lines += ["", "Heartbeats come every 50 ms, and another host is suspected after 200 ms to 4 s "
              "of silence, by how evenly it was heard", "before.", "",
              f"{record.origin(measured)}; load average at "
              f"the end {measured['load_average']:.1f}.", "", f"    {measured['command']}", ""]
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=int, default=600)
    parser.add_argument("--json", type=pathlib.Path)
    options = parser.parse_args()
    measured = record.begin() if options.json else {}
    rows, load = measure(options.seconds)
    for row in rows:
        print(json.dumps(row), flush=True)
    if options.json:
        measured |= {"seconds": options.seconds,
                     "busy_threads": BUSY_FOR_EACH_CORE * os.cpu_count(), "load_average": load,
                     "rows": rows}
        record.write(options.json.resolve(), measured, page(measured))
    for row in rows:
        assert row["suspicions"] == 0 and row["workers_lost"] == 0, row
        assert row["generations"] == 1 and row["steps"] > 0, row


if __name__ == "__main__":
    sys.exit(main())
