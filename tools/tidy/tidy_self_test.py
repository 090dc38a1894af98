#!/usr/bin/env python3
"""Plants offences in a small tree and sees that tidy.py finds each, and nothing in a clean one."""

import pathlib
import subprocess
import sys
import tempfile
import unittest

TIDY = pathlib.Path(__file__).resolve().parent / "tidy.py"


def header(path, body=""):
    guard = "CLOSERANKS_" + path.upper().replace("/", "_").replace(".", "_") + "_"
    return "#ifndef %s\n#define %s\n%s#endif  // %s\n" % (guard, guard, body, guard)


def run_tidy(files, *options):
    """(exit status, output) of tidy.py on a tree of `files`: path -> text."""
    with tempfile.TemporaryDirectory() as folder:
        for path, text in files.items():
            file = pathlib.Path(folder) / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
        answer = subprocess.run([sys.executable, str(TIDY), "--root", folder, *options], text=True,
                                stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        return answer.returncode, answer.stdout


class TidyTest(unittest.TestCase):
    def assert_clean(self, path, text):
        status, output = run_tidy({path: text})
        self.assertEqual(status, 0, output)

    def assert_found(self, path, text, place_and_what):
        status, output = run_tidy({path: text})
        self.assertEqual(status, 1, output)
        self.assertIn("%s:%s" % (path, place_and_what), output)
        self.assertIn("1 offences", output)

    def test_includes_that_point_down_are_clean(self):
        self.assert_clean("net/frame.cc", '#include "net/frame.h"\n#include "base/status.h"\n')
        self.assert_clean("examples/mnist/train.cc", '#include "closeranks/closeranks.h"\n')
        self.assert_clean("collectives/engine/executor.cc",
                          '#include "collectives/transport/transport.h"\n'
                          '#include "collectives/data_type.h"\n'
                          '#include "glog/logging.h"\n')

    def test_include_that_points_up(self):
        self.assert_found("base/status.cc", '\n#include "net/frame.h"\n', "2: the include of net/")
        self.assert_found("ddp/reducer.cc", '#include "closeranks/closeranks.h"\n', "1: ")

    def test_include_that_points_sideways(self):
        self.assert_found("ddp/reducer.cc", '#include "elastic/step_gate.h"\n', "1: ")
        self.assert_found("rendezvous/a.cc", '#include "collectives/work.h"\n', "1: ")

    def test_include_inside_collectives(self):
        self.assert_found("collectives/transport/tcp.cc",
                          '#include "collectives/engine/executor.h"\n', "1: ")
        self.assert_found("collectives/schedule/schedule.cc",
                          '#include "collectives/communicator.h"\n', "1: ")
        self.assert_found("collectives/algorithms/ring.cc",
                          '#include "collectives/transport/transport.h"\n', "1: ")

    def test_vague_names(self):
        for name in ["util", "common", "string_helpers", "buffer_manager"]:
            self.assert_found("net/%s.cc" % name, "", "1: the name says")
        self.assert_clean("net/utilization.cc", "")

    def test_include_guard(self):
        self.assert_clean("net/frame.h", header("net/frame.h"))
        self.assert_found("net/frame.h", header("net/frames.h"), "1: the include guard")
        self.assert_found("net/frame.h", "#pragma once\n", "1: the include guard")

    def test_white_space_and_length(self):
        self.assert_found("net/a.cc", "int a;\n\tint b;\n", "2: a tab")
        self.assert_found("net/a.cc", "int a; \n", "1: space at the end")
        self.assert_found("net/a.cc", "//" + "x" * 99 + "\n", "1: 101 columns")
        self.assert_clean("net/a.cc", "//" + "x" * 98 + "\n")
        self.assert_clean("net/a.cc", "// https://" + "x" * 100 + "\n")
        self.assert_found("net/a.cc", "\n" * 601, "601: 601 lines")
        self.assert_clean("net/a.cc", "\n" * 600)

    def test_paths_of_a_machine(self):
        for folder in ["ro" + "ot", "home"]:
            self.assert_found("docs/a.md", "See /%s/me/x.\n" % folder, "1: an absolute path")
        self.assert_clean("docs/a.md", "See a/home/x and $x/home/y.\n".replace("$x", "x"))

    def test_environment(self):
        line = 'const char* home = std::getenv("HOME");\n'
        self.assert_found("base/files.cc", line, "1: reads the environment")
        self.assert_clean("closeranks/environment.cc", line)
        self.assert_clean("base/files.cc", "// not getenv(): options come from above\n")

    def test_format(self):
        if "SKIPPED" in run_tidy({}, "--format")[1]:
            self.skipTest("clang-format isn't installed")
        style = "BasedOnStyle: Google\n"
        status, output = run_tidy({".clang-format": style, "a.cc": "int  a;\nint b;\n"}, "--format")
        self.assertEqual(status, 1, output)
        self.assertIn("a.cc:1: not formatted", output)
        status, output = run_tidy({".clang-format": style, "a.cc": "int a;\n"}, "--format")
        self.assertEqual(status, 0, output)


if __name__ == "__main__":
    unittest.main()
