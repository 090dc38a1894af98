"""Hosts that are network namespaces on one bridge, and what can go wrong between them.

Needs root. Namespaces, links and bridges live as long as the processes that hold them, which end
with this one, however it ends: nothing is left behind, and nothing outside them is touched. IPv6
only, with the smallest MTU that IPv6 allows.
"""

import ctypes
import os
import shutil
import signal
import subprocess

MTU = 1280
PR_SET_PDEATHSIG = 1
# Where a plain user's PATH doesn't lead.
os.environ["PATH"] += ":/usr/sbin:/sbin"


def why_not():
    """The reason why no namespaces can be made here, with the remedy; or None."""
    if os.geteuid() != 0:
        return "network namespaces need root; run it as root"
    for program in ("ip", "tc", "nsenter", "unshare"):
        if shutil.which(program) is None:
            return f"there is no {program}; apt-get install iproute2 util-linux"
    probe = subprocess.run(
        ["unshare", "--net", "sh", "-c", "ip link add bridge0 type bridge && "
         "ip link add port0 type veth peer name port1"],
        capture_output=True, text=True, check=False)
    if probe.returncode != 0:
        return ("no bridge or veth can be made: " + " ".join(probe.stderr.split())
                + "; run it where the kernel has them, and with CAP_NET_ADMIN")
    return None


def end_with_parent():
    """For Popen's preexec_fn: the process is killed when this one ends."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


class Namespaces:
    """`count` hosts at fd00::1, fd00::2, ..., which reach each other until they are cut off."""

    def __init__(self, count):
        self.count = count
        self._holders = [self._hold() for _ in range(count + 1)]
        self._switch = self._holders[-1]
        try:
            for bridge in ("main", "apart"):
                self._ip(self._switch, f"link add {bridge} type bridge mcast_snooping 0")
                self._ip(self._switch, f"link set {bridge} mtu {MTU} up")
            for host in range(count):
                self._plug(host)
        except BaseException:
            self.close()
            raise

    @staticmethod
    def _hold():
        holder = subprocess.Popen(["unshare", "--net", "sh", "-c", "echo; exec sleep infinity"],
                                  stdout=subprocess.PIPE, preexec_fn=end_with_parent)
        holder.stdout.readline()  # by now it is in its own namespace
        return holder

    @staticmethod
    def _inside(holder):
        return ["nsenter", f"--net=/proc/{holder.pid}/ns/net", "--"]

    def _run(self, holder, *words):
        done = subprocess.run(self._inside(holder) + list(words), capture_output=True, text=True,
                              check=False)
        if done.returncode != 0:
            raise RuntimeError(f"{' '.join(words)}: {done.stderr.strip()}")

    def _ip(self, holder, words):
        self._run(holder, "ip", *words.split())

    def _plug(self, host):
        holder = self._holders[host]
        self._ip(self._switch, f"link add port{host} mtu {MTU} type veth "
                               f"peer name eth0 mtu {MTU} netns {holder.pid}")
        self._ip(self._switch, f"link set port{host} master main up")
        self._ip(holder, "link set lo up")
        # Nobody else has the address: no time is lost with asking.
        self._ip(holder, f"-6 addr add {self.address(host)}/64 dev eth0 nodad")
        self._ip(holder, "link set eth0 up")

    @staticmethod
    def address(host):
        return f"fd00::{host + 1:x}"

    def enter(self, host):
        """What to put in front of a command, so that it runs on this host."""
        return self._inside(self._holders[host])

    def split(self, hosts):
        """These reach each other, and nobody else. Frames vanish without a word."""
        for host in hosts:
            self._ip(self._switch, f"link set port{host} master apart")

    def blackhole(self, host):
        self._ip(self._switch, f"link set port{host} nomaster")

    def deafen(self, host):
        """Nothing reaches it; what it sends arrives."""
        self._drop_all(self._switch, f"port{host}")

    def mute(self, host):
        """What it sends is lost; it hears the others."""
        self._drop_all(self._holders[host], "eth0")

    def _drop_all(self, holder, device):
        # No frame fits into a bucket of one byte.
        self._run(holder, "tc", "qdisc", "replace", "dev", device, "root", "tbf", "rate", "8bit",
                  "burst", "1", "limit", "1")

    def heal(self, host):
        self._ip(self._switch, f"link set port{host} master main")
        for holder, device in ((self._switch, f"port{host}"), (self._holders[host], "eth0")):
            subprocess.run(self._inside(holder) + ["tc", "qdisc", "del", "dev", device, "root"],
                           capture_output=True, check=False)  # there may be none

    def close(self):
        for holder in self._holders:
            holder.kill()
            holder.wait()
