"""What can go wrong with a training on several hosts (training.py)."""

import os
import signal


class KillWorker:
    def strike(self, job, hosts):
        os.kill(job.worker(hosts[0]), signal.SIGKILL)

    def heal(self, job, hosts):
        pass  # its supervisor starts another one


class StopWorker(KillWorker):
    def strike(self, job, hosts):
        os.kill(job.worker(hosts[0]), signal.SIGSTOP)


class KillHosts:
    def strike(self, job, hosts):
        for host in hosts:
            job.signal_host(host, signal.SIGKILL)

    def heal(self, job, hosts):
        for host in hosts:
            job.supervisor(host).wait()
            job.start(host)


class StopHost:
    def strike(self, job, hosts):
        job.signal_host(hosts[0], signal.SIGSTOP)

    def heal(self, job, hosts):
        job.signal_host(hosts[0], signal.SIGCONT)


class Cut:
    """What is done to the network, for all of the hosts."""

    def __init__(self, cut):
        self._cut = cut

    def strike(self, job, hosts):
        self._cut(job.network, hosts)

    def heal(self, job, hosts):
        for host in hosts:
            job.network.heal(host)


# Name -> what it does, and to how many hosts.
FAULTS = {
    "kill a worker": (KillWorker(), 1),
    "stop a worker": (StopWorker(), 1),
    "kill a host": (KillHosts(), 1),
    "kill two hosts": (KillHosts(), 2),
    "stop a host": (StopHost(), 1),
    "blackhole a host": (Cut(lambda net, hosts: net.blackhole(hosts[0])), 1),
    "part two hosts from four": (Cut(lambda net, hosts: net.split(hosts)), 2),
    "a host hears nothing": (Cut(lambda net, hosts: net.deafen(hosts[0])), 1),
    "a host isn't heard": (Cut(lambda net, hosts: net.mute(hosts[0])), 1),
}
