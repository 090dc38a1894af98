#!/usr/bin/env python3
"""Holds the documents to the tree: commands, flags, targets and links in them must exist."""

import pathlib
import re
import shlex
import subprocess
import sys
import unittest

CLOSERANKS = pathlib.Path("cli/closeranks").resolve()


def find_root():
    """The checkout: the test runs in Bazel's copy, whose files are links to it."""
    here = pathlib.Path(__file__).resolve()
    return next(folder for folder in here.parents if (folder / "WORKSPACE").is_file())


ROOT = find_root()
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
# Words that stand for what the reader puts in.
PLACEHOLDER = re.compile(r"\b(PROGRAM|ARGS|NAME|FILE|DIR|FOLDER|KIND|ADDRESS)\b")


def commands(document):
    """Indented lines (code blocks), without their comments."""
    fenced = False
    for line in document.read_text().splitlines():
        fenced ^= line.startswith("```")
        if not fenced and line.startswith("    ") and line.strip():
            yield re.sub(r"\s+#.*", "", line.strip())


def known_flags(words):
    """Every flag that a program of ours names in its own help or text."""
    if words[0] == "closeranks":
        done = subprocess.run([CLOSERANKS, words[1], "--helpfull"], capture_output=True, text=True,
                              timeout=60, check=False)
        text = (done.stdout + done.stderr).replace("_", "-")
        return set(re.findall(r"^\s+-([a-z][a-z-]*)", text, re.M)) | {"help"}
    texts = [(ROOT / words[0]).read_text()]
    if words[0] == "./test":
        texts.append((ROOT / "tools/test_runner.py").read_text())
    return set(re.findall(r"--([a-z][a-z-]*)", "\n".join(texts)))


def target_exists(label):
    """//folder:name, //folder:all, //folder or //..."""
    folder, _, name = label.removeprefix("//").partition(":")
    if folder.endswith("..."):
        return True
    build = ROOT / folder / "BUILD.bazel"
    name = name or pathlib.Path(folder).name
    return build.is_file() and (name == "all" or f'name = "{name}"' in build.read_text())


class Documents(unittest.TestCase):
    def test_links_lead_somewhere(self):
        for document in DOCUMENTS:
            for target in re.findall(r"\]\(([^)#]+)", document.read_text()):
                self.assertTrue((document.parent / target).exists(), f"{document}: {target}")

    def test_programs_of_ours_exist_and_know_the_flags(self):
        checked = 0
        for document in DOCUMENTS:
            for command in commands(document):
                words = shlex.split(PLACEHOLDER.sub("X", command)) if "'" not in command else []
                if not words:
                    continue
                ours = words[0].startswith(("./", "tools/", ".ci/")) or words[0] == "closeranks"
                if not ours:
                    continue
                if words[0] != "closeranks":
                    self.assertTrue((ROOT / words[0]).is_file(), f"{document}: {command}")
                flags = known_flags(words)
                for word in words[1:words.index("--") if "--" in words else None]:
                    if word.startswith("-"):
                        flag = word.lstrip("-").partition("=")[0]
                        self.assertIn(flag, flags, f"{document}: {command}")
                checked += 1
        self.assertGreater(checked, 3)

    def test_targets_exist(self):
        checked = 0
        for document in DOCUMENTS:
            for command in commands(document):
                if command.startswith("bazel "):
                    for label in re.findall(r"//\S*", command):
                        self.assertTrue(target_exists(label), f"{document}: {label}")
                        checked += 1
        self.assertGreater(checked, 3)

    def test_paths_in_the_text_exist(self):
        for document in DOCUMENTS:
            for path in re.findall(r"`((?:[a-z_]+/)+[a-z_.]+\.(?:cc|h|py|md|bzl))`",
                                   document.read_text()):
                if "NAME" not in path:
                    self.assertTrue((ROOT / path).exists(), f"{document}: {path}")

    def test_names_on_a_newcomers_paths_are_files(self):
        text = (ROOT / "docs/design.md").read_text()
        text = text.split("## Two paths", 1)[1].split("\nInstead", 1)[0]
        files = {f"/{path.relative_to(ROOT).with_suffix('')}"
                 for folder in ("net", "collectives", "rendezvous", "ddp", "elastic")
                 for path in (ROOT / folder).rglob("*.h")}
        names = [name.strip() for path in re.findall(r"`([^`]+)`", text)
                 for name in path.split("->")]
        names = [name for name in names if re.fullmatch(r"[a-z_/]+", name)]
        self.assertGreater(len(names), 15)
        for name in names:
            self.assertTrue(any(file.endswith("/" + name) for file in files), name)


if __name__ == "__main__":
    sys.argv[1:] = []
    unittest.main(verbosity=2)
