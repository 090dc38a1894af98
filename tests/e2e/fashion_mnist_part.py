"""The first pictures of Fashion-MNIST, as files of the same format."""

import gzip
import pathlib
import struct
import sys

WHOLE = pathlib.Path("/usr/share/datasets/fashion-mnist")


def skip_without_data():
    if not WHOLE.is_dir():
        print(f"SKIPPED: {WHOLE} isn't there; apt-get install dataset-fashion-mnist")
        sys.exit(0)


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
