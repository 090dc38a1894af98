"""The loop of benchmarks/allreduce_loop under torchft, with gloo: all-reduces of 1 MiB of float32
until it is killed. Each process is a replica of its own.

    torchft_loop.py FOLDER REPLICA

Writes `world SIZE NANOSECONDS` (of CLOCK_MONOTONIC) to FOLDER/REPLICA when it has committed the
first step in a world of that size, FOLDER/REPLICA.pid before.
"""

import datetime
import os
import pathlib
import sys
import time

import torch
from torch.distributed import TCPStore
import torchft


def main():
    folder, replica = pathlib.Path(sys.argv[1]), sys.argv[2]
    (folder / f"{replica}.pid").write_text(str(os.getpid()))
    store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    limit = datetime.timedelta(seconds=10)
    manager = torchft.Manager(
        pg=torchft.ProcessGroupGloo(timeout=limit), load_state_dict=lambda state: None,
        state_dict=dict, min_replica_size=2, replica_id=f"replica{replica}_",
        store_addr="127.0.0.1", store_port=store.port, rank=0, world_size=1, timeout=limit,
        quorum_timeout=datetime.timedelta(seconds=60))
    own = torch.empty(1 << 18)
    known_size = 0
    while True:
        manager.start_quorum()
        own.fill_(1)
        manager.allreduce(own).wait()
        committed = manager.should_commit()
        size = manager.num_participants()
        if committed and size != known_size:
            with open(folder / replica, "a") as log:
                log.write(f"world {size} {time.monotonic_ns()}\n")
            known_size = size


if __name__ == "__main__":
    main()
