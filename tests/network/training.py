"""A training on several hosts: of toy workers, in steps that a test hands out one by one, or of the
example."""

import json
import os
import pathlib
import signal
import subprocess
import time

import namespaces

ROOT = pathlib.Path(__file__).resolve().parents[2]
# As a test this runs where Bazel has put the programs.
BIN = pathlib.Path(".") if pathlib.Path("cli/closeranks").exists() else ROOT / "bazel-bin"
CLOSERANKS = (BIN / "cli/closeranks").resolve()
SHARDS = 24  # exact mode: the weights depend on nothing but the samples


class Program:
    """What is trained, for so many epochs."""

    def __init__(self, epochs):
        self.epochs = epochs


class Toy(Program):
    """Waits at a gate before each step."""

    program = (BIN / "tests/multiprocess/toy_worker").resolve()
    samples, batch = 1200, 24
    undisturbed_workers = 1

    def command(self, report, gate):
        return [self.program, "--tcp", f"--shards={SHARDS}", f"--samples={self.samples}",
                f"--batch={self.batch}", f"--epochs={self.epochs}", f"--report={report}",
                *([f"--gate={gate}"] if gate else [])]


class FashionMnist(Program):
    """The example, on the whole data. It has no gate."""

    program = (BIN / "examples/fashion_mnist/fashion_mnist").resolve()
    samples, batch = 60000, 256
    undisturbed_workers = 2

    def command(self, report, _gate):
        return [self.program, "--transport=tcp", "--mode=exact", f"--logical-shards={SHARDS}",
                f"--batch={self.batch}", f"--epochs={self.epochs}", f"--report={report}"]


class Training:
    """One supervisor with one worker on each of `hosts`; close() ends all of it."""

    def __init__(self, folder, hosts, program):
        self.folder = folder
        self.hosts = hosts
        self.program = program
        self.steps = -(-program.samples // program.batch) * program.epochs
        self.losses = {}  # by generation: which members were lost with the one before it
        self._gate = folder / "gate"
        self._held = None
        os.mkfifo(self._gate)
        (folder / "key").write_text("0123456789abcdef" * 2)
        self._network = namespaces.Namespaces(hosts)
        self._supervisors = [None] * hosts
        self._reports = [folder / f"report.{host}" for host in range(hosts)]
        self._logs = [[] for _ in range(hosts)]  # of each host, one for each supervisor
        self._commits = {}  # by the path of a worker's events: (bytes read, its newest commit)
        for host in range(hosts):
            self.start(host)

    @property
    def network(self):
        return self._network

    def undisturbed(self):
        """The weights' hash of a run that nothing happens to, and its test accuracy, if it has
        one."""
        report = self.folder / "undisturbed"
        subprocess.run([CLOSERANKS, "run", f"-n={self.program.undisturbed_workers}",
                        f"--report={report}", "--", *self.program.command(report, None)],
                       check=True, stdout=subprocess.DEVNULL)
        (end,) = set(self._ends(report))
        return end, self._accuracy([report])

    def start(self, host):
        """A supervisor, the first of this host or a successor, by the same command."""
        report = self._reports[host]
        self._logs[host].append(self.folder / f"{report.name}.{len(self._logs[host])}.log")
        addresses = [f"[{self._network.address(other)}]:29400" for other in range(self.hosts)]
        command = [*self._network.enter(host), CLOSERANKS, "run", "--hosts=" + ",".join(addresses),
                   f"--host_index={host}", f"--key_file={self.folder / 'key'}",
                   "--max_restarts=100000", "--quorum_timeout=600", f"--report={report}", "--",
                   *self.program.command(report, self._gate)]
        with open(self._logs[host][-1], "wb") as log:
            self._supervisors[host] = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True, preexec_fn=namespaces.end_with_parent)

    def supervisor(self, host):
        return self._supervisors[host]

    def worker(self, host):
        """The pid of the host's newest worker."""
        started = [event for event in self._events(self._reports[host] / "events.supervisor.jsonl")
                   if event["event"] == "worker_started"]
        return started[-1]["pid"]

    @staticmethod
    def _events(path):
        if not path.exists():
            return []
        return [json.loads(line) for line in path.read_bytes().split(b"\n")[:-1]]

    def signal_host(self, host, number):
        for pid in (self._supervisors[host].pid, self.worker(host)):
            try:
                os.kill(pid, number)
            except ProcessLookupError:  # the worker may just have ended
                pass

    def pulse(self):
        """Lets every worker that waits at the gate into its step."""
        try:
            os.close(os.open(self._gate, os.O_WRONLY | os.O_NONBLOCK))
        except OSError:  # nobody waits there yet
            pass

    def open_gate(self):
        self._held = os.open(self._gate, os.O_RDWR)

    def newest_commits(self):
        """By host, what its newest supervisor's workers committed last: {step, gen, size}."""
        newest = {}
        for host in range(self.hosts):
            for path in self._reports[host].glob("events.[0-9]*.jsonl"):
                commit = self._read_on(path)
                if commit and (host not in newest or commit["t"] > newest[host]["t"]):
                    newest[host] = commit
        return newest

    def _read_on(self, path):
        offset, commit = self._commits.get(path, (0, None))
        try:
            with open(path, "rb") as events:
                events.seek(offset)
                fresh = events.read()
        except FileNotFoundError:  # a successor of its supervisor has just removed it
            return None
        whole = fresh[:fresh.rfind(b"\n") + 1]
        for line in whole.split(b"\n")[:-1]:
            if b'"event":"commit"' in line:
                commit = json.loads(line)
            elif b'"event":"world"' in line:
                world = json.loads(line)
                self.losses.setdefault(world["gen"], set()).update(world["lost_members"])
        self._commits[path] = (offset + len(whole), commit)
        return commit

    def wait(self, limit_s):
        """Until all supervisors have ended. Their exit codes."""
        deadline = time.monotonic() + limit_s
        return [supervisor.wait(max(1, deadline - time.monotonic()))
                for supervisor in self._supervisors]

    def _ends(self, report):
        return [event["weights_sha256"] for path in sorted(report.glob("events.[0-9]*.jsonl"))
                for event in self._events(path) if event["event"] == "end"]

    def ends(self):
        """The hashes of the weights of all who came to the end."""
        return [end for report in self._reports for end in self._ends(report)]

    @classmethod
    def _accuracy(cls, reports):
        measured = [event for report in reports for path in report.glob("events.[0-9]*.jsonl")
                    for event in cls._events(path)
                    if event["event"] == "metric" and event["name"] == "test_accuracy"]
        return max(measured, key=lambda event: event["t"])["value"] if measured else None

    def accuracy(self):
        """The test accuracy, if the program said one."""
        return self._accuracy(self._reports)

    def count_samples(self):
        """What `closeranks verify-epoch` says of all hosts' reports: (exit code, its JSON)."""
        reports = [report for report in self._reports if list(report.glob("ledger.*.txt"))]
        done = subprocess.run([CLOSERANKS, "verify-epoch", f"--samples={self.program.samples}",
                               f"--epochs={self.program.epochs}", "--json", *reports],
                              stdout=subprocess.PIPE, check=False)
        return done.returncode, json.loads(done.stdout)

    def last_words(self):
        logs = [logs[-1] for logs in self._logs]
        return "\n".join(f"{log.name}: " + " | ".join(
            log.read_text(errors="replace").splitlines()[-6:]) for log in logs)

    def close(self):
        for host, supervisor in enumerate(self._supervisors):
            if supervisor.poll() is None:
                self.signal_host(host, signal.SIGKILL)
                supervisor.wait()
        if self._held is not None:
            os.close(self._held)
        self._network.close()
