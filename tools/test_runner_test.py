#!/usr/bin/env python3
"""Plants outcomes of tests and sees how test_runner.py counts them."""

import contextlib
import io
import json
import pathlib
import sys
import tempfile
import unittest
from unittest import mock

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import test_runner  # pylint: disable=wrong-import-position

XML = '<testsuites name="AllTests"><testsuite name="A">%s</testsuite></testsuites>'
PASSED = '<testcase classname="A" name="Good" status="run" result="completed"/>'
FAILED = '<testcase classname="A" name="Bad" status="run"><failure message="no"/></testcase>'
SKIPPED = ('<testcase classname="A" name="Left" status="run" result="skipped">'
           '<skipped message="a_test.cc:12&#x0A;needs two hosts"/></testcase>')
DISABLED = '<testcase classname="A" name="DISABLED_x" status="notrun" result="suppressed"/>'
FILTERED = '<testcase classname="A" name="Else" status="notrun" result="filtered"/>'


class TestRunnerTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def judge(self, attempts):
        """Totals after attempts of (status, log text, xml text)."""
        files = []
        for number, (status, log, xml) in enumerate(attempts):
            log_path = self.folder / ("%d.log" % number)
            xml_path = self.folder / ("%d.xml" % number)
            log_path.write_text(log)
            if xml:
                xml_path.write_text(xml)
            files.append((status, log_path, xml_path))
        totals = test_runner.Totals()
        with contextlib.redirect_stdout(io.StringIO()):
            test_runner.judge("//a:a_test", "unit", files, totals, "")
        return totals

    def test_cases_are_counted_one_by_one(self):
        totals = self.judge([("PASSED", "", XML % (PASSED * 3 + SKIPPED + FILTERED))])
        self.assertEqual((totals.passed, totals.failures), (3, []))
        self.assertEqual([skip.reason for skip in totals.skips], ["needs two hosts"])

    def test_disabled_is_skipped(self):
        totals = self.judge([("PASSED", "", XML % (PASSED + DISABLED))])
        self.assertEqual((totals.passed, len(totals.skips)), (1, 1))

    def test_failed_case_is_named(self):
        totals = self.judge([("FAILED", "", XML % (PASSED + FAILED))])
        self.assertEqual((totals.passed, totals.failures), (1, ["//a:a_test A.Bad"]))

    def test_crash_names_the_case_that_ran(self):
        log = "[ RUN      ] A.Good\n[       OK ] A.Good (0 ms)\n[ RUN      ] A.Bad\n"
        made_up = '<testsuites><testsuite><testcase name="a/a_test"><error/></testcase>'
        totals = self.judge([("FAILED", log, made_up + "</testsuite></testsuites>")])
        self.assertEqual((totals.passed, totals.failures), (0, ["//a:a_test A.Bad"]))

    def test_failure_after_the_last_case_counts(self):
        totals = self.judge([("FAILED", "leaked", XML % PASSED)])
        self.assertEqual((totals.passed, totals.failures), (1, ["//a:a_test failed"]))

    def test_failed_case_counts_even_if_the_program_says_it_passed(self):
        totals = self.judge([("PASSED", "", XML % FAILED)])
        self.assertEqual(totals.failures, ["//a:a_test A.Bad"])

    def test_timeout_counts_with_torn_xml(self):
        totals = self.judge([("TIMEOUT", "[ RUN      ] A.Slow\n", "<testsuites")])
        self.assertEqual(totals.failures, ["//a:a_test A.Slow"])

    def test_tags_that_are_unwanted_keep_targets_out(self):
        targets = [test_runner.Target("//a:short", "cc_test", ["unit"]),
                   test_runner.Target("//a:long", "cc_test", ["unit", "long"]),
                   test_runner.Target("//a:full", "cc_test", ["unit", "full"]),
                   test_runner.Target("//a:other", "cc_test", ["docs"])]
        for unwanted, expected in (({"full", "long"}, ["//a:short"]),
                                   ({"full"}, ["//a:long", "//a:short"]),
                                   (set(), ["//a:full", "//a:long", "//a:short"])):
            with mock.patch.object(test_runner, "run_group") as run_group:
                with contextlib.redirect_stdout(io.StringIO()):
                    test_runner.run_kind("unit", targets, unwanted, False, set(), None)
            self.assertEqual(run_group.call_args.args[1], expected)

    def test_not_built_is_failed(self):
        self.assertEqual(self.judge([]).failures, ["//a:a_test"])

    def test_script_counts_as_one_or_says_why_not(self):
        self.assertEqual(self.judge([("PASSED", "fine", "")]).passed, 1)
        totals = self.judge([("PASSED", "SKIPPED: no namespaces\n", "")])
        self.assertEqual((totals.passed, totals.skips[0].reason), (0, "no namespaces"))

    def test_shards_add_up(self):
        totals = self.judge([("PASSED", "", XML % PASSED), ("PASSED", "", XML % PASSED)])
        self.assertEqual(totals.passed, 2)

    def test_last_attempt_decides(self):
        events = self.folder / "events.json"
        lines = []
        for status in ["FAILED", "PASSED"]:
            lines.append(json.dumps({
                "id": {"testResult": {"label": "//a:a_test", "run": 1, "shard": 1}},
                "testResult": {"status": status, "testActionOutput": [
                    {"name": "test.log", "uri": "file:///a%20b/test.log"}]}}))
        events.write_text("\n".join(lines))
        self.assertEqual(test_runner.read_results(events),
                         {"//a:a_test": [("PASSED", pathlib.Path("/a b/test.log"), None)]})


if __name__ == "__main__":
    unittest.main()
