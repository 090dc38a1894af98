#!/usr/bin/env python3
"""What is wrong with a run's input is said in one clear line, with the exit code of the table."""

import os
import pathlib
import resource
import socket
import subprocess
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import fashion_mnist_part  # noqa: E402

CLOSERANKS = "cli/closeranks"
PROGRAM = "examples/fashion_mnist/fashion_mnist"
SCRATCH = pathlib.Path(os.environ.get("TEST_TMPDIR", "/tmp"))
USAGE = 2
MISMATCH = 84
NO_RESOURCES = 86


def run(*words):
    done = subprocess.run([CLOSERANKS, "run", *words], stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, timeout=120, check=False)
    return done.returncode, done.stdout


class BadInput(unittest.TestCase):
    def expect(self, code, part, *words):
        returned, text = run(*words)
        self.assertEqual(returned, code, text)
        lines = [line for line in text.splitlines() if part in line]
        self.assertTrue(lines, text)
        return text

    def need_data(self):
        reason = fashion_mnist_part.why_skipped()
        if reason:
            self.skipTest(reason)

    def test_unknown_flag(self):
        self.expect(USAGE, "nosuchflag", "-n", "1", "--", PROGRAM, "--nosuchflag")

    def test_contradictory_flags(self):
        self.expect(USAGE, "--logical-shards needs --mode=exact", "-n", "1", "--", PROGRAM,
                    "--mode=fast", "--logical-shards=4")

    def test_unknown_mode(self):
        self.expect(USAGE, "--mode=slow: expected fast or exact", "-n", "1", "--", PROGRAM,
                    "--mode=slow")

    def test_learning_rate_that_is_none(self):
        for rate in ("nan", "inf", "-5", "0"):
            text = self.expect(USAGE, "'learning_rate'", "-n", "1", "--", PROGRAM,
                               f"--learning_rate={rate}")
            self.assertNotIn("c10", text)
            self.assertNotIn("restart 1 of", text)

    def test_missing_data_folder(self):
        self.expect(USAGE, "/nonexistent", "-n", "1", "--", PROGRAM, "--data=/nonexistent")

    def test_an_error_that_all_ranks_have_is_said_once(self):
        text = self.expect(USAGE, "/nonexistent", "-n", "4", "--", PROGRAM, "--data=/nonexistent")
        lines = text.splitlines()
        self.assertEqual(sum("/nonexistent" in line for line in lines), 1, text)
        self.assertEqual(sum("failed as member" in line for line in lines), 3, text)

    def test_truncated_data(self):
        self.need_data()
        data = fashion_mnist_part.write_part(SCRATCH / "cut", 600, 100)
        images = data / "train-images-idx3-ubyte.gz"
        images.write_bytes(images.read_bytes()[:-1000])
        self.expect(USAGE, str(images), "-n", "1", "--", PROGRAM, f"--data={data}")

    def test_program_that_is_not_there(self):
        self.expect(USAGE, "can't run 'nosuchprogram'", "-n", "1", "--", "nosuchprogram")

    def test_several_ranks_without_a_supervisor(self):
        for environment, named in (({"WORLD_SIZE": "4", "RANK": "1"}, "WORLD_SIZE=4"),
                                   ({"RANK": "5"}, "RANK=5"),
                                   ({"LOCAL_RANK": "3"}, "LOCAL_RANK=3"),
                                   ({"MASTER_ADDR": "otherhost"}, "MASTER_ADDR=otherhost"),
                                   ({"CLOSERANKS_AGENT_FD": "77"}, "CLOSERANKS_AGENT_FD=77")):
            done = subprocess.run([PROGRAM], env=environment, capture_output=True, text=True,
                                  timeout=120, check=False)
            self.assertEqual(done.returncode, USAGE, done.stderr)
            self.assertEqual(len(done.stderr.splitlines()), 1, done.stderr)
            self.assertIn(named, done.stderr)
            self.assertIn("closeranks run", done.stderr)

    def test_taken_port(self):
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            address = "127.0.0.1:%d" % taken.getsockname()[1]
            self.expect(NO_RESOURCES, address, "-n", "1", f"--listen={address}", "--", "true")

    def test_report_folder_that_cannot_be_made(self):
        returned, text = run("-n", "1", "--", PROGRAM, "--report=/proc/nosuch")
        self.assertEqual(returned, USAGE, text)
        self.assertIn("--report=/proc/nosuch", text)

    def test_full_disk(self):
        self.need_data()
        data = fashion_mnist_part.write_part(SCRATCH / "few", 600, 100)
        report = SCRATCH / "full"
        # A file that may not grow stands for a disk that is full, at about half of the ledger. The
        # signal that goes with it stays ignored, as Python has it. (TCP: memory is files too.)
        done = subprocess.run(
            [CLOSERANKS, "run", "-n", "2", f"--report={report}", "--", PROGRAM, f"--data={data}",
             "--batch=60", "--epochs=6", "--transport=tcp", f"--report={report}"],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=120, check=False,
            restore_signals=False,
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (8000, 8000)))
        self.assertEqual(done.returncode, NO_RESOURCES, done.stdout)
        lines = done.stdout.splitlines()
        # A rank that is still there says of the other one what it had said itself.
        named = [line for line in lines
                 if f"writing {report}/ledger." in line and " is lost: " not in line]
        self.assertEqual(len(named), 2, done.stdout)
        self.assertTrue(all("; make room there" in line for line in named), done.stdout)
        ends = [line for line in lines
                if "exited with code 86" in line and " is lost: " not in line]
        self.assertEqual(len(ends), 2, done.stdout)

    def test_another_learning_rate_on_one_rank(self):
        self.need_data()
        data = fashion_mnist_part.write_part(SCRATCH / "rates", 600, 100)
        text = self.expect(
            MISMATCH, "configuration differs: ", "-n", "2", "--", "sh", "-c",
            f'exec {PROGRAM} --data={data} --learning_rate=0.00$((RANK + 1))')
        named = [line for line in text.splitlines() if "configuration differs: " in line]
        for rate in ("'lr=0.001'", "'lr=0.002'"):
            self.assertTrue(all(rate in line for line in named), text)

    def test_error_lines_carry_generation_and_rank(self):
        self.expect(USAGE, "gen=- rank=- op=-", "-n", "1", "--", PROGRAM, "--mode=slow")

    def test_help_is_no_error(self):
        for words in ([CLOSERANKS, "run", "--help"], [PROGRAM, "--helpshort"]):
            done = subprocess.run(words, capture_output=True, text=True, timeout=120, check=False)
            self.assertEqual(done.returncode, 0, words)


if __name__ == "__main__":
    unittest.main(verbosity=2)
