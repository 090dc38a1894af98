#!/usr/bin/env python3
"""Python's safetensors opens what we write, and we read what it writes."""

import os
import pathlib
import subprocess
import sys
import unittest

COPY = "elastic/checkpoint/copy_safetensors"
SCRATCH = pathlib.Path(os.environ.get("TEST_TMPDIR", "/tmp"))


class PythonSafetensors(unittest.TestCase):
    def test_a_file_from_python_read_and_written_by_us_is_the_same_to_python(self):
        tensors = {
            "model.weight": numpy.arange(12, dtype=numpy.float32).reshape(3, 4) / 7,
            "scalar": numpy.array(5, dtype=numpy.int64),
            "none": numpy.zeros((0, 3), dtype=numpy.float16),
            "mask": numpy.array([True, False, True]),
            "h\u00e9 \"quoted\"": numpy.array([255], dtype=numpy.uint8),
            "double": numpy.array([1e300, -0.0], dtype=numpy.float64),
        }
        theirs, ours = SCRATCH / "theirs.safetensors", SCRATCH / "ours.safetensors"
        safetensors.numpy.save_file(tensors, theirs, metadata={"step": "7"})
        subprocess.run([COPY, theirs, ours], check=True, timeout=60)
        with safetensors.safe_open(ours, framework="numpy") as file:
            self.assertEqual(file.metadata(), {"step": "7"})
            self.assertEqual(sorted(file.keys()), sorted(tensors))
            for name, tensor in tensors.items():
                read = file.get_tensor(name)
                self.assertEqual(read.dtype, tensor.dtype)
                self.assertEqual(read.shape, tensor.shape)
                self.assertEqual(read.tobytes(), tensor.tobytes())


if __name__ == "__main__":
    python = os.environ.get("CLOSERANKS_PYTHON")
    if python and sys.executable != python:
        os.execv(python, [python, *sys.argv])
    try:
        import numpy
        import safetensors
        import safetensors.numpy
    except ImportError as error:
        print(f"SKIPPED: {error}; tools/setup --for-tests installs it")
        sys.exit(0)
    unittest.main()
