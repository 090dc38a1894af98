#!/usr/bin/env python3
"""Runs the script ./demo, and holds what it says and leaves to what the README promises.

Not one of Bazel's tests: ./demo calls Bazel itself. ./test e2e runs it.
"""

import json
import os
import pathlib
import shutil
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


class Rehearsal:
    """A copy of the script among stand-ins for what it calls. They say that they were called; the
    run ends with `code`."""

    def __init__(self, folder, code=0):
        for name in ("tools", "path", "bin/cli", "caller/data"):
            (folder / name).mkdir(parents=True)
        self.folder = folder
        shutil.copy(ROOT / "demo", folder)
        self.write("tools/setup", "echo setup")
        self.write("path/bazel", f'[ "$1" = build ] || echo {folder}/bin')
        self.write("bin/cli/closeranks", f'echo "called $*"; [ "$1" != run ] || exit {code}')

    def write(self, name, script):
        (self.folder / name).write_text(f"#!/bin/sh\n{script}\n")
        (self.folder / name).chmod(0o755)

    def demo(self, *arguments):
        path = f"{self.folder}/path:{os.environ['PATH']}"
        return subprocess.run(["../demo", *arguments], text=True, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, cwd=self.folder / "caller",
                              env={**os.environ, "PATH": path})


def check_bad_input(scratch):
    """Said before anything is installed or built, in one line and with the usage's exit code."""
    rehearsal = Rehearsal(scratch)
    (rehearsal.folder / "caller/file").write_text("")
    for arguments, text in (
            (["--frobnicate"], "no flag '--frobnicate'"),
            (["--ranks"], "--ranks needs a value"),
            (["--report="], "--report needs a value"),
            (["--kill="], "--kill needs a value"),
            (["--report", "--seed=2"], "--report needs a value"),
            (["--ranks=0"], "--ranks=0: expected"),
            (["--ranks=1025"], "--ranks=1025: expected"),
            (["--ranks=" + "9" * 40], "--ranks=9"),
            (["--epochs", "many"], "--epochs=many: expected"),
            (["--epochs=" + "9" * 40], "--epochs=9"),
            (["--seed=" + "9" * 40], "--seed=9"),
            (["--kill=first"], "--kill=first: expected"),
            (["--kill=4"], "--kill=4: there is no rank 4"),
            (["--ranks=2", "--kill=0,2"], "there is no rank 2"),
            (["--kill=1,0,1"], "rank 1 is named twice"),
            (["--kill=3,1,2,0"], "nobody of --ranks=4 would survive"),
            (["--ranks=1", "--kill=0"], "nobody of --ranks=1 would survive"),
            (["--mode=slow"], "--mode=slow: expected"),
            (["--mode=exact", "--logical-shards=x"], "--logical-shards=x: expected"),
            (["--mode=exact", "--logical-shards=0"], "--logical-shards=0: expected"),
            (["--mode=exact", "--logical-shards=4097"], "--logical-shards=4097: expected"),
            (["--logical-shards=8"], "--logical-shards=8 needs --mode=exact"),
            (["--data=nowhere"], "/caller/nowhere: there is no such folder"),
            (["--data=file"], "/caller/file: there is no such folder"),
            (["--report=file"], "/caller/file: "),
            (["--report=/proc/nowhere"], "--report=/proc/nowhere: ")):
        result = rehearsal.demo(*arguments)
        assert result.returncode == 2, (arguments, result)
        lines = result.stdout.splitlines()
        assert text in lines[0], (arguments, lines)
        assert len(lines) == 1 or arguments == ["--frobnicate"], (arguments, lines)


def check_folders_are_the_callers(scratch):
    rehearsal = Rehearsal(scratch)
    result = rehearsal.demo("--data", "data", "--report=there/report")
    assert result.returncode == 0, result
    caller = rehearsal.folder / "caller"
    assert result.stdout.count(f"--report={caller}/there/report ") == 1, result.stdout
    assert f"--data={caller}/data" in result.stdout, result.stdout
    assert (caller / "there/report").is_dir()
    assert f"--report={rehearsal.folder}/demo-report" in rehearsal.demo().stdout


def check_failed_run_is_reported(scratch):
    """The exit code is the run's, and there is a report of it."""
    result = Rehearsal(scratch, code=86).demo("--report=report")
    assert result.returncode == 86, result
    assert result.stdout.splitlines()[-1].startswith("called report "), result.stdout


def main():
    with tempfile.TemporaryDirectory() as scratch:
        scratch = pathlib.Path(scratch).resolve()
        check_bad_input(scratch / "bad_input")
        check_folders_are_the_callers(scratch / "folders")
        check_failed_run_is_reported(scratch / "failed")
        check_run(scratch / "report")


if __name__ == "__main__":
    sys.exit(main())
