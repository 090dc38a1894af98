"""Where and when something was measured, and the two files that keep it."""

import datetime
import json
import os
import pathlib
import platform
import re
import shlex
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent


def begin():
    """What every record says of itself; call it before measuring, as the tree may change."""
    commit = subprocess.run(["git", "-C", ROOT, "rev-parse", "--short", "HEAD"],
                            capture_output=True, text=True, check=True).stdout.strip()
    with open("/proc/cpuinfo", encoding="utf-8") as cpuinfo:
        cpu = next(line.split(":")[1].strip() for line in cpuinfo
                   if line.startswith("model name"))
    # The number only: what follows it names somebody's build.
    kernel = re.match(r"[0-9.]*[0-9]", platform.release()).group()
    program = pathlib.Path(sys.argv[0]).resolve().relative_to(ROOT)
    return {"commit": commit, "date": datetime.date.today().isoformat(),
            "machine": f"{os.cpu_count()} cores of {cpu}, Linux {kernel}",
            "command": shlex.join([str(program), *sys.argv[1:]])}


def origin(record):
    """As a page says it: "2026-11-22, commit 4487645, 2 cores of ..."."""
    return f"{record['date']}, commit {record['commit']}, {record['machine']}"


def write(path, record, page):
    """The JSON, and beside it the page with the same name and .md."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(record, indent=1) + "\n")
    path.with_suffix(".md").write_text(page)
