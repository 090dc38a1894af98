#!/usr/bin/env python3
"""Killed as a whole and started again on another number of ranks, a run comes to the same weights,
every sample counts once, and Python opens its checkpoints."""

import json
import os
import pathlib
import signal
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import fashion_mnist_part  # noqa: E402

CLOSERANKS = "cli/closeranks"
PROGRAM = "examples/fashion_mnist/fashion_mnist"
SCRATCH = pathlib.Path(os.environ.get("TEST_TMPDIR", "/tmp"))
SAMPLES = 6000
EPOCHS = 4
STEPS = EPOCHS * 24  # batches of 256

OPEN = """
import sys, safetensors.numpy
tensors = {}
for path in sys.argv[1:]:
    tensors.update(safetensors.numpy.load_file(path))
model = {name for name in tensors if name.startswith("model.")}
assert model, tensors.keys()
for name in model:
    moment = tensors["optimizer." + name.removeprefix("model.") + ".exp_avg"]
    assert moment.shape == tensors[name].shape and moment.any(), name
    assert tensors["optimizer." + name.removeprefix("model.") + ".step"] == %d, name
"""


def command(report, ranks, data, *program_flags, keep=()):
    return [CLOSERANKS, "run", "-n", str(ranks), f"--report={report}", *keep, "--", PROGRAM,
            "--mode=exact", "--logical-shards=12", f"--epochs={EPOCHS}", f"--data={data}",
            *program_flags]


def weights(report):
    subprocess.run([CLOSERANKS, "report", str(report)], check=True)
    return json.loads((report / "report.json").read_text())["weights_sha256"]


def python_opens(checkpoint):
    python = os.environ.get("CLOSERANKS_PYTHON", sys.executable)
    if subprocess.run([python, "-c", "import safetensors.numpy"], check=False,
                      stderr=subprocess.DEVNULL).returncode != 0:
        print("SKIPPED: opening it in Python; tools/setup --for-tests installs safetensors")
        return
    shards = sorted(checkpoint.glob("*.safetensors"))
    subprocess.run([python, "-c", OPEN % STEPS, *shards], check=True)


def main():
    if fashion_mnist_part.why_skipped():
        return
    data = fashion_mnist_part.write_part(SCRATCH / "data", SAMPLES, 1000)
    undisturbed = SCRATCH / "undisturbed"
    subprocess.run(command(undisturbed, 2, data), check=True)

    report, folder = SCRATCH / "report", SCRATCH / "checkpoints"
    flags = [f"--checkpoint-folder={folder}", "--checkpoint-every=5"]
    with subprocess.Popen(command(report, 4, data, *flags)) as first:
        while not list(folder.glob("lineage-*/step-*/manifest.json")):
            assert first.poll() is None, "it ended before its first checkpoint"
            time.sleep(0.01)
        first.send_signal(signal.SIGKILL)
    subprocess.run([CLOSERANKS, "checkpoint", "verify", folder], check=True)
    subprocess.run(command(report, 3, data, *flags, keep=["--keep_ledgers"]), check=True)

    assert weights(report) == weights(undisturbed)
    assert json.loads((report / "report.json").read_text())["steps"] < STEPS, "it began anew"
    subprocess.run([CLOSERANKS, "verify-epoch", "--samples", str(SAMPLES), "--epochs",
                    str(EPOCHS), report], check=True)
    for verb in ("ls", "verify", "show"):
        subprocess.run([CLOSERANKS, "checkpoint", verb, folder], check=True)
    python_opens(max(folder.glob("lineage-*/step-*")))


if __name__ == "__main__":
    main()
