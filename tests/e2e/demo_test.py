#!/usr/bin/env python3
"""Runs the script ./demo, and holds what it says and leaves to what the README promises.

Not one of Bazel's tests: ./demo calls Bazel itself. ./test e2e runs it.
"""

import json
import pathlib
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]


def demo(*arguments):
    return subprocess.run([ROOT / "demo", *arguments], text=True, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT)


def check_run(folder):
    """Rank 0 is killed in the second epoch, comes back, and nothing is lost."""
    result = demo("--report", folder)
    print(result.stdout)
    assert result.returncode == 0, result.returncode
    report = json.loads((folder / "report.json").read_text())
    expected = {"ranks": 4, "mode": "fast", "epochs": 3, "samples_lost": 0,
                "samples_duplicated": 0, "samples_expected": 180000,
                "samples_consumed": 180000}
    assert {key: report[key] for key in expected} == expected, report
    assert [recovery["lost_ranks"] for recovery in report["recoveries"]] == [[0]], report
    assert [join["rank"] for join in report["joins"]] == [0], report
    assert report["test_accuracy"] >= 0.89, report["test_accuracy"]
    assert len(report["weights_sha256"]) == 64, report["weights_sha256"]
    for word in ("detect", "agree", "rewire", "catch-up", "replay", "accuracy"):
        assert word in result.stdout, word
    page = (folder / "report.html").read_text()
    assert page.startswith("<!DOCTYPE html>") and "http" not in page.replace(
        "http://www.w3.org/2000/svg", ""), "the page wants the network"


def check_bad_input():
    """Said before anything is installed or built, in one line and with the usage's exit code."""
    for arguments, text in (
            (["--frobnicate"], "no flag '--frobnicate'"),
            (["--ranks"], "--ranks needs a value"),
            (["--ranks=0"], "--ranks=0"),
            (["--epochs", "many"], "--epochs=many"),
            (["--kill=first"], "--kill=first"),
            (["--mode=slow"], "--mode=slow")):
        result = demo(*arguments)
        assert result.returncode == 2, (arguments, result)
        assert text in result.stdout.splitlines()[0], (arguments, result.stdout)


def main():
    check_bad_input()
    with tempfile.TemporaryDirectory() as scratch:
        check_run(pathlib.Path(scratch) / "report")


if __name__ == "__main__":
    sys.exit(main())
