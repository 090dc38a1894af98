"""The loop of benchmarks/allreduce_loop under torchrun, with gloo: all-reduces of 1 MiB of float32
until it is killed. Where a rank is lost, torchrun starts all anew.

Writes `world SIZE NANOSECONDS` (of CLOCK_MONOTONIC) to FOLDER/RANK when it has completed the first
all-reduce of each start, FOLDER/RANK.pid before.
"""

import os
import pathlib
import sys
import time

import torch
import torch.distributed


def main():
    folder, rank = pathlib.Path(sys.argv[1]), os.environ["RANK"]
    (folder / f"{rank}.pid").write_text(str(os.getpid()))
    torch.distributed.init_process_group("gloo")
    size = torch.distributed.get_world_size()
    own = torch.empty(1 << 18)
    first = True
    while True:
        own.fill_(1)
        torch.distributed.all_reduce(own)
        if first:
            now = time.monotonic_ns()
            assert own[0] == size and own[-1] == size, "a wrong sum"
            with open(folder / rank, "a") as log:
                log.write(f"world {size} {now}\n")
            first = False


if __name__ == "__main__":
    main()
