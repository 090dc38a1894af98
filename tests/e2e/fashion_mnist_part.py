"""The first pictures of Fashion-MNIST, as files of the same format."""

import gzip
import pathlib
import struct

WHOLE = pathlib.Path("/usr/share/datasets/fashion-mnist")


def why_skipped():
    """Why a test that needs the data can't run, said as ./test reads it; None when it can."""
    if WHOLE.is_dir():
        return None
    reason = f"{WHOLE} isn't there; apt-get install dataset-fashion-mnist"
    print(f"\nSKIPPED: {reason}", flush=True)
    return reason


def write_part(folder, train, test):
    """Writes the first `train` and `test` pictures and labels into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, count in (("train", train), ("t10k", test)):
        for kind, bytes_each, header in (("images-idx3", 28 * 28, 16), ("labels-idx1", 1, 8)):
            file = f"{name}-{kind}-ubyte.gz"
            whole = gzip.decompress((WHOLE / file).read_bytes())
            # An idx file is a magic number, the count, perhaps further sizes, and the bytes.
            part = (whole[:4] + struct.pack(">I", count) + whole[8:header]
                    + whole[header:header + count * bytes_each])
            (folder / file).write_bytes(gzip.compress(part, 1))
    return folder
