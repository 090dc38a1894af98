"""The systems whose recovery is measured: how each is started, struck and read.

A job has 4 ranks (in torch's words workers, in torchft's replicas) on this machine. Whatever the
system, its ranks write down when they completed a step, by CLOCK_MONOTONIC, and the time that
counts is the first one of a survivor in a world that was made after the strike.
"""

import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests/network"))
import namespaces  # noqa: E402

RANKS = 4
PEERS = ROOT / "benchmarks/peers"

KILL_WORKER = "kill a worker"
KILL_HOST = "kill a supervisor and its worker"
STOP_WORKER = "stop a worker"
BLACKHOLE_HOST = "blackhole a host"


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Job:
    """One start of a system. Everything that it started is killed by close()."""

    # How long a start may take, in seconds.
    start_limit = 120

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.processes = []

    def start(self, command, log, **keywords):
        with open(self.folder / log, "ab") as output:
            process = subprocess.Popen(
                [str(word) for word in command], stdin=subprocess.DEVNULL, stdout=output,
                stderr=output, start_new_session=True, preexec_fn=namespaces.end_with_parent,
                **keywords)
        self.processes.append(process)
        return process

    def wait_until_stepping(self):
        deadline = time.monotonic() + self.start_limit
        while not self.steps():
            if time.monotonic() > deadline or any(p.poll() is not None for p in self.processes):
                raise RuntimeError("it doesn't step: " + self.last_words())
            time.sleep(0.1)

    def last_words(self):
        """Of the logs, for an error."""
        return " | ".join(" ".join(path.read_text(errors="replace").split("\n")[-4:])
                          for path in sorted(self.folder.glob("*.log")))[-600:]

    def strike(self, fault, victim):
        """Strikes; returns when, in nanoseconds of CLOCK_MONOTONIC."""
        number = signal.SIGSTOP if fault == STOP_WORKER else signal.SIGKILL
        pids = self.victims(fault, victim)
        begin = time.monotonic_ns()
        for pid in pids:
            os.kill(pid, number)
        return begin

    def close(self):
        for process in self.processes:
            for pid in self.members_of(process.pid):
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
            process.wait()

    @staticmethod
    def members_of(session):
        """All processes that a start_new_session has come to, itself included, with the sessions
        that they have begun in turn."""
        parents = {}  # pid -> its parent and its session
        for stat in pathlib.Path("/proc").glob("[0-9]*/stat"):
            try:
                fields = stat.read_text().rpartition(")")[2].split()
            except OSError:  # it has just ended
                continue
            parents[int(stat.parent.name)] = {int(fields[1]), int(fields[3])}
        members = {session}
        while more := {pid for pid, above in parents.items()
                       if pid not in members and above & members}:
            members |= more
        return [session, *(members - {session})]

    # To be had from each system:
    def steps(self):
        """Whether all ranks step."""
        raise NotImplementedError

    def victims(self, fault, victim):
        """The pids to be hit."""
        raise NotImplementedError

    def recovered(self, victim, struck):
        """None, or {"ms": ..., and maybe phases}."""
        raise NotImplementedError


class Closeranks(Job):
    """The bare loop, or training, under one supervisor of all ranks or one for each."""

    def __init__(self, folder, bin_folder, program, hosts=1, between=None):
        super().__init__(folder)
        closeranks = bin_folder / "cli/closeranks"
        if between:  # namespaces
            addresses = [f"[{between.address(host)}]:29400" for host in range(hosts)]
        else:
            addresses = [f"127.0.0.{host + 1}:{free_port()}" for host in range(hosts)]
        (self.folder / "key").write_text("0123456789abcdef" * 2)
        self.between = between
        for host in range(hosts):
            report = self.folder / f"report.{host}"
            flags = ["-n", RANKS // hosts, f"--report={report}"]
            if hosts > 1:
                flags += ["--hosts=" + ",".join(addresses), f"--host_index={host}",
                          f"--key_file={self.folder / 'key'}"]
            enter = between.enter(host) if between else []
            self.start([*enter, closeranks, "run", *flags, "--", *program, f"--report={report}"],
                       f"host{host}.log")

    def events(self):
        """By member, of its first process: the lines of its events."""
        events = {}
        for path in sorted(self.folder.glob("report.*/events.[0-9]*.jsonl")):
            lines = path.read_bytes().split(b"\n")[:-1]
            parsed = [json.loads(line) for line in lines]
            member = int(path.name.split(".")[1])
            # A successor began later.
            if parsed and (member not in events or parsed[0]["t"] < events[member][0]["t"]):
                events[member] = parsed
        return events

    def steps(self):
        events = self.events()
        return len(events) == RANKS and all(
            any(e["event"] == "commit" and e["size"] == RANKS for e in lines)
            for lines in events.values())

    def victims(self, fault, victim):
        pids = {}
        for path in self.folder.glob("report.*/events.supervisor.jsonl"):
            for line in path.read_text().splitlines():
                event = json.loads(line)
                if event["event"] == "worker_started" and event["member"] == victim:
                    pids = {"supervisor": self.processes[
                        int(path.parent.suffix[1:])].pid, "worker": event["pid"]}
        if fault in (KILL_WORKER, STOP_WORKER):
            return [pids["worker"]]
        return [pids["supervisor"], pids["worker"]]

    def strike(self, fault, victim):
        if fault != BLACKHOLE_HOST:
            return super().strike(fault, victim)
        begin = time.monotonic_ns()
        self.between.blackhole(victim)
        return begin

    def recovered(self, victim, struck):
        best = None
        for member, lines in self.events().items():
            if member == victim:
                continue
            commits = [e for e in lines if e["event"] == "commit"]
            known = max((e["gen"] for e in commits if e["t"] < struck), default=0)
            after = [e for e in commits if e["t"] > struck and e["gen"] > known]
            if after and (best is None or after[0]["t"] < best[0]["t"]):
                best = (after[0], lines)
        if best is None:
            return None
        commit, lines = best
        world = next(e for e in lines if e["event"] == "world" and e["gen"] == commit["gen"])
        # Who hears of it from another's proposal has noticed nothing itself.
        noticed = [e["t_detected"] for other, events in self.events().items() if other != victim
                   for e in events if e["event"] == "world" and e["gen"] == commit["gen"]
                   and e["t_detected"] > 0]
        detected = world["t_detected"] or min(noticed, default=world["t_decided"])
        # Each moment no earlier than the one before it.
        times = [struck]
        for t in (detected, world["t_decided"], world["t_rewired"], world["t_asked"],
                  world["t_entered"], commit["t"]):
            times.append(max(t, times[-1]))
        gaps = [(b - a) / 1e6 for a, b in zip(times, times[1:])]
        names = ["detect_ms", "agree_ms", "rewire_ms", "own_part_ms", "catch_up_ms", "replay_ms"]
        return {"ms": (commit["t"] - struck) / 1e6, **dict(zip(names, gaps))}


class Peer(Job):
    """A program of benchmarks/peers: each rank leaves its pid in FOLDER/RANK.pid, and a line `world
    SIZE NANOSECONDS` in FOLDER/RANK at its first step in each world."""

    def worlds(self, rank):
        path = self.folder / str(rank)
        if not path.exists():
            return []
        return [(int(size), int(t)) for _, size, t in
                (line.split() for line in path.read_text().split("\n")[:-1])]

    def steps(self):
        return all(any(size == RANKS for size, _ in self.worlds(rank)) for rank in range(RANKS))

    def victims(self, fault, victim):
        return [int((self.folder / f"{victim}.pid").read_text())]

    def recovered(self, victim, struck):
        times = [t for rank in range(RANKS) if rank != victim or not self.spares_victim
                 for _, t in self.worlds(rank) if t > struck]
        return {"ms": (min(times) - struck) / 1e6} if times else None

    # Whether the one that was struck may be a survivor by its rank: where all are started anew.
    spares_victim = True


class Ulfm(Peer):
    def __init__(self, folder, environment):
        super().__init__(folder)
        self.start([environment / "bin/mpirun", "--with-ft", "ulfm", "--allow-run-as-root",
                    "--oversubscribe", "-n", RANKS, environment / "ulfm_loop", folder],
                   "mpirun.log")


class Torchrun(Peer):
    """One agent of all workers or one for each, with its defaults or the quickest settings it
    has."""

    spares_victim = False

    def __init__(self, folder, python, tuned=False, hosts=1):
        super().__init__(folder)
        port = free_port()
        for host in range(hosts):
            # The first has the store by which they meet.
            conf = [f"is_host={int(host == 0)}"]
            flags = []
            if tuned:
                conf += ["last_call_timeout=1", "keep_alive_interval=1", "keep_alive_max_attempt=2"]
                flags = ["--monitor_interval=0.1"]
            self.start([python, "-m", "torch.distributed.run",
                        "--nnodes=1" if hosts == 1 else f"--nnodes=2:{hosts}",
                        f"--nproc_per_node={RANKS // hosts}", "--rdzv_backend=c10d",
                        f"--rdzv_endpoint=127.0.0.1:{port}", "--rdzv_conf", ",".join(conf),
                        "--max_restarts=3", *flags, PEERS / "torchrun_loop.py", folder],
                       f"torchrun{host}.log",
                       # Sharing the agent's store, its default, a new start finds the addresses of
                       # the one before in it, and gloo can't connect.
                       env={**os.environ, "OMP_NUM_THREADS": "1",
                            "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1"})

    def victims(self, fault, victim):
        if fault != KILL_HOST:
            return super().victims(fault, victim)
        # Not the one that has the store: without it nobody recovers.
        for rank in (victim, (victim + 1) % RANKS):
            [worker] = super().victims(fault, rank)
            stat = pathlib.Path(f"/proc/{worker}/stat").read_text()
            agent = int(stat.rpartition(")")[2].split()[1])
            if agent != self.processes[0].pid:
                return [agent, worker]
        raise RuntimeError("two ranks have one agent")


class Torchft(Peer):
    """A lighthouse, and one process for each replica."""

    def __init__(self, folder, environment, heartbeat_ms=None):
        super().__init__(folder)
        port = free_port()
        lighthouse = [environment / "bin/torchft_lighthouse", "--min_replicas", "2",
                      "--bind", f"127.0.0.1:{port}", "--join_timeout_ms", "1000"]
        if heartbeat_ms:
            lighthouse += ["--heartbeat_timeout_ms", str(heartbeat_ms)]
        self.start(lighthouse, "lighthouse.log")
        for rank in range(RANKS):
            self.start([environment / "bin/python3", PEERS / "torchft_loop.py", folder, rank],
                       f"replica{rank}.log",
                       env={**os.environ, "OMP_NUM_THREADS": "1",
                            "TORCHFT_LIGHTHOUSE": f"http://127.0.0.1:{port}"})
