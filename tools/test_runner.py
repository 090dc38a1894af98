#!/usr/bin/env python3
"""Runs Bazel's tests kind by kind and counts their cases. Called by ./test.

Every test target carries a tag that names its kind (KINDS below); `full` beside it keeps it out of
everything but `./test --full`, and `long` out of `./test --quick`. The last line is always
`N passed, N failed, N skipped`.
"""

import argparse
import collections
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import time
import urllib.parse
import xml.etree.ElementTree as ElementTree

ROOT = pathlib.Path(__file__).resolve().parent.parent

# Kind -> what it needs that a plain machine may lack: said when one of its tests is skipped.
KINDS = {
    "tidy": "tools/setup --for-tests",
    "unit": "",
    "schedules": "",
    "simulation": "",
    "multiprocess": "memfd_create, and permission to signal one's own processes",
    "python": "tools/setup (the Python environment with torch)",
    "docs": "",
    "fuzz": "tools/setup --for-tests (clang-16)",
    "sanitizers": "",
    "network": "root, or the right to make network namespaces",
    "rdma": "qemu, and a kernel package of the distribution",
    "cluster": "root, Go, etcd and containerd",
    "gpu": "an NVIDIA GPU and its driver",
    "e2e": "",
}
# Beside the targets of a kind; they call Bazel themselves.
SCRIPTS = {"e2e": ["tests/e2e/demo_test.py"]}
QUICK = ["tidy", "unit", "schedules", "simulation", "multiprocess"]
# Those of the simulation's that take other seeds than their targets name.
SEEDED = ["//tests/simulation:membership_simulation_short_test",
          "//tests/simulation:system_simulation_test"]
# Not a tag of its own: these kinds once more, under each of these configurations of .bazelrc.
SANITIZED = ["unit", "schedules", "simulation", "multiprocess"]
SANITIZERS = ["asan", "tsan", "ubsan"]
# Tests take their number of runs from the target; --full multiplies the fuzzers' work.
FULL_FUZZ_ARGUMENTS = ["--test_arg=-runs=2000000", "--test_timeout=3600"]

LOG_LINES = 80
# What Bazel says each time, and the summary lines here say better.
BAZEL_CHATTER = ("Loading:", "Analyzing:", "Executed ", "There were tests whose", "Target //",
                 "  bazel-bin/", "INFO: Build completed", "FAIL: //", "Starting local Bazel")

Target = collections.namedtuple("Target", "label rule tags")
Skip = collections.namedtuple("Skip", "name reason kind")


class Totals:
    def __init__(self):
        self.passed = 0
        self.failures = []  # names
        self.skips = []


def call_bazel(*arguments, **keywords):
    return subprocess.run(["bazel", *arguments], cwd=ROOT, **keywords)


def query_bazel(expression, output):
    answer = call_bazel("query", "--noshow_progress", "--ui_event_filters=-info,-warning",
                        "--output=" + output, expression, stdout=subprocess.PIPE, text=True)
    if answer.returncode != 0:
        sys.exit("test: bazel query failed (above): a BUILD file is wrong")
    return answer.stdout


def test_with_bazel(labels, options, events):
    """Runs `labels`; Bazel's events go to the file `events`."""
    with tempfile.NamedTemporaryFile("w", suffix=".targets") as patterns:
        patterns.write("\n".join(labels))
        patterns.flush()
        command = ["test", "--keep_going", "--test_output=summary", "--test_summary=none",
                   "--ui_event_filters=-info", "--noshow_loading_progress", *options,
                   "--build_event_json_file=" + str(events),
                   "--target_pattern_file=" + patterns.name]
        if sys.stdout.isatty():
            call_bazel(*command)
            return
        command += ["--color=no", "--curses=no", "--show_progress_rate_limit=30"]
        bazel = subprocess.Popen(["bazel", *command], cwd=ROOT, text=True, errors="replace",
                                 stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        for line in bazel.stdout:
            if line.strip() and not line.startswith(BAZEL_CHATTER):
                print(line, end="", flush=True)
        bazel.wait()


def find_targets():
    """All test targets of the tree that a person didn't mark `manual`."""
    document = ElementTree.fromstring(query_bazel('kind(".*_test rule", //...)', "xml"))
    targets = []
    for rule in document.iter("rule"):
        tags = [item.get("value") for item in rule.findall("./list[@name='tags']/string")]
        if "manual" not in tags:
            targets.append(Target(rule.get("name"), rule.get("class"), tags))
    return targets


def path_of(uri):
    return pathlib.Path(urllib.parse.unquote(urllib.parse.urlparse(uri).path))


def read_results(events):
    """Label -> list of (status, log path, xml path), one for each shard's last attempt."""
    attempts = {}
    if not events.exists():
        return {}
    for line in events.read_text().splitlines():
        event = json.loads(line)
        if "testResult" not in event or "testResult" not in event["id"]:
            continue
        identity, result = event["id"]["testResult"], event["testResult"]
        outputs = {output["name"]: path_of(output["uri"])
                   for output in result.get("testActionOutput", []) if "uri" in output}
        shard = (identity["label"], identity.get("run", 1), identity.get("shard", 1))
        attempts[shard] = (result["status"], outputs.get("test.log"), outputs.get("test.xml"))
    results = collections.defaultdict(list)
    for (label, _, _), attempt in attempts.items():
        results[label].append(attempt)
    return results


def count_cases(path):
    """(passed names, failed names, [(name, reason)] skipped) of a test.xml."""
    passed, failed, skipped = [], [], []
    if path is None or not path.exists():
        return passed, failed, skipped
    try:
        document = ElementTree.fromstring(path.read_text(errors="replace"))
    except ElementTree.ParseError:  # torn by a crash; the target's status tells
        return passed, failed, skipped
    for case in document.iter("testcase"):
        suite = case.get("classname", "")
        name = (suite + "." if suite else "") + case.get("name", "")
        skip = case.find("skipped")
        if case.find("failure") is not None or case.find("error") is not None:
            failed.append(name)
        elif skip is not None:
            # GoogleTest: "file:line", newline, what was streamed into GTEST_SKIP().
            reason = (skip.get("message") or skip.text or "").strip()
            reason = re.sub(r"^\S+:\d+\s*\n", "", reason)
            skipped.append((name, " ".join(reason.split()) or "it doesn't say why"))
        elif case.get("status") == "notrun":
            if case.get("result") != "suppressed":
                continue  # filtered out, by a shard for one
            skipped.append((name, "DISABLED_ in its source"))
        else:
            passed.append(name)
    return passed, failed, skipped


def tail(path):
    if path is None or not path.exists():
        return "(no log)"
    lines = path.read_text(errors="replace").splitlines()
    cut = ["... (%d lines above; whole log: %s)" % (len(lines) - LOG_LINES, path)]
    return "\n".join(lines if len(lines) <= LOG_LINES else cut + lines[-LOG_LINES:])


def running_at_end(log):
    """The GoogleTest case that was running when the program ended, if any."""
    if log is None or not log.exists():
        return None
    marks = re.findall(r"^\[ (RUN     |      OK|FAILED  |SKIPPED )[ ]+\] (\S+)",
                       log.read_text(errors="replace"), re.MULTILINE)
    return marks[-1][1] if marks and marks[-1][0].startswith("RUN") else None


def said_skipped(log):
    """The reason, if a test that isn't GoogleTest's printed a line `SKIPPED: reason`."""
    if log is None or not log.exists():
        return None
    match = re.search(r"^SKIPPED: (.+)$", log.read_text(errors="replace"), re.MULTILINE)
    return match.group(1) if match else None


def judge(label, kind, attempts, totals, note):
    """Adds one target's cases to the totals and prints its failures."""
    passed, failed, skipped, broken = [], [], [], []
    for status, log, xml in attempts:
        ok, bad, left = count_cases(xml)
        reason = said_skipped(log)
        if status == "PASSED" and reason and len(ok) <= 1 and not bad and not left:
            ok, left = [], [("", reason)]
        passed += ok
        failed += bad
        skipped += left
        if status != "PASSED":
            broken.append((status, log))
    if not attempts:
        print("FAILED %s%s: it wasn't built or run; Bazel's reason is above" % (label, note))
        failed = [""]
    elif broken:
        # A crash leaves no cases, or the one that Bazel makes up.
        if not any("." in case for case in failed):
            failed = [running_at_end(log) or status.lower() for status, log in broken]
        for status, log in broken:
            print("FAILED %s%s (%s)\n%s\n" % (label, note, status, tail(log)))
    elif failed:  # a case failed and the program exited with 0
        print("FAILED %s%s: %s, though it exited with 0" % (label, note, ", ".join(failed)))
    elif not passed and not skipped:
        passed = [""]  # not counted by cases
    name = lambda case: label + note + (" " + case if case else "")
    totals.passed += len(passed)
    totals.failures += [name(case) for case in failed]
    totals.skips += [Skip(name(case), reason, kind) for case, reason in skipped]


def run_script(script, kind, totals):
    """Runs a test that can't be one of Bazel's, because it calls Bazel itself."""
    begin = time.monotonic()
    print("== %s: %s" % (kind, script), flush=True)
    result = subprocess.run([ROOT / script], cwd=ROOT, text=True, errors="replace",
                            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                            stderr=subprocess.STDOUT)
    if result.returncode == 0:
        totals.passed += 1
    else:
        print("FAILED %s (exit code %d)\n%s\n" % (script, result.returncode, result.stdout))
        totals.failures.append(script)
    print("== %s: %s %s, %.0f s" % (kind, script, "failed" if result.returncode else "passed",
                                    time.monotonic() - begin), flush=True)


def run_group(kind, labels, options, note, totals):
    begin = time.monotonic()
    before = (totals.passed, len(totals.failures), len(totals.skips))
    with tempfile.TemporaryDirectory() as folder:
        events = pathlib.Path(folder) / "events.json"
        test_with_bazel(labels, options, events)
        results = read_results(events)
    for label in labels:
        judge(label, kind, results.get(label, []), totals, note)
    print("== %s%s: %d passed, %d failed, %d skipped of %d targets, %.0f s" % (
        kind, note, totals.passed - before[0], len(totals.failures) - before[1],
        len(totals.skips) - before[2], len(labels), time.monotonic() - begin), flush=True)


def run_kind(kind, targets, unwanted_tags, full, with_torch, totals):
    """False if the tree has no targets of this kind."""
    def labels_of(kinds, also_unwanted=()):
        unwanted = unwanted_tags | set(also_unwanted)
        return sorted(target.label for target in targets
                      if set(kinds) & set(target.tags) and not unwanted & set(target.tags))

    if kind == "sanitizers":
        any_target = False
        scripts = {target.label for target in targets if target.rule != "cc_test"}
        for sanitizer in SANITIZERS:
            # torch isn't built with them: its own findings would drown ours.
            labels = [label for label in labels_of(SANITIZED, ["no-sanitizers", "no-" + sanitizer])
                      if label not in with_torch | scripts]
            if labels:
                any_target = True
                print("== sanitizers [%s]: %d targets" % (sanitizer, len(labels)), flush=True)
                run_group(kind, labels, ["--config=" + sanitizer], " [%s]" % sanitizer,
                          totals)
        return any_target

    labels = labels_of([kind])
    if not labels:
        return False
    options = []
    if kind == "fuzz":
        options = ["--config=fuzz"] + (FULL_FUZZ_ARGUMENTS if full else [])
    print("== %s: %d targets" % (kind, len(labels)), flush=True)
    run_group(kind, labels, options, "", totals)
    for script in SCRIPTS.get(kind, []):
        run_script(script, kind, totals)
    return True


def report(totals, begin):
    """Prints what was skipped and what failed; the exit code."""
    # The same reason is said once, with how many it stopped.
    by_reason = collections.defaultdict(list)
    for skip in totals.skips:
        by_reason[(skip.kind, skip.reason)].append(skip.name)
    for (kind, reason), names in by_reason.items():
        for name in names[:5]:
            print("skipped %s" % name)
        if len(names) > 5:
            print("skipped %d more" % (len(names) - 5))
        print("    because: %s" % reason)
        needs = KINDS[kind] or "what the reason names"
        print("    runs with: %s, then ./test %s" % (needs, kind))
    for name in totals.failures:
        print("failed  %s" % name)
    print("%.0f s" % (time.monotonic() - begin))
    print("%d passed, %d failed, %d skipped" % (
        totals.passed, len(totals.failures), len(totals.skips)))
    return 0 if totals.passed and not totals.failures else 1


def main():
    parser = argparse.ArgumentParser(prog="./test", description=__doc__.splitlines()[0])
    parser.add_argument("kinds", nargs="*", metavar="KIND", help=", ".join(KINDS))
    parser.add_argument("--quick", action="store_true",
                        help=", ".join(QUICK) + ", without targets tagged `long`")
    parser.add_argument("--full", action="store_true", help="also targets tagged `full`")
    parser.add_argument("--seeds", type=int, metavar="N",
                        help="with the kind simulation: nothing but its jobs with faults, so many")
    parser.add_argument("--from", type=int, metavar="S", default=0, dest="first_seed",
                        help="with --seeds: the first seed")
    arguments = parser.parse_args()
    if arguments.seeds is not None and arguments.kinds != ["simulation"]:
        parser.error("--seeds goes with the kind simulation alone")
    for kind in arguments.kinds:
        if kind not in KINDS:
            parser.error("no kind is called %s; there are: %s" % (kind, " ".join(KINDS)))
    kinds = arguments.kinds + (QUICK if arguments.quick else []) or list(KINDS)
    kinds = [kind for kind in KINDS if kind in kinds]

    begin = time.monotonic()
    totals = Totals()
    if arguments.seeds is not None:
        options = ["--test_arg=--seeds=%d" % arguments.seeds,
                   "--test_arg=--from=%d" % arguments.first_seed, "--test_timeout=86400"]
        run_group("simulation", SEEDED, options, "", totals)
        return report(totals, begin)
    targets = find_targets()
    for target in targets:
        if not set(target.tags) & set(KINDS):
            print("FAILED %s: no kind among its tags, so ./test would never run it; add one of %s"
                  % (target.label, " ".join(KINDS)))
            totals.failures.append(target.label)
    with_torch = set()
    if "sanitizers" in kinds:
        with_torch = set(query_bazel(
            'kind(".*_test rule", rdeps(//..., //third_party/torch))', "label").split())
    unwanted_tags = set() if arguments.full else {"full"}
    if arguments.quick:
        unwanted_tags.add("long")
    for kind in kinds:
        if not run_kind(kind, targets, unwanted_tags, arguments.full, with_torch, totals):
            print("== %s: no targets, so nothing of this kind was run" % kind, flush=True)
    if os.environ.get("CI"):
        call_bazel("shutdown")
    return report(totals, begin)


if __name__ == "__main__":
    sys.exit(main())
