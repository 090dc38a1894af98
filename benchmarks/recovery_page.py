"""What the strikes of benchmarks/recovery.py come to: rows, and a page that draws them."""

import statistics

from record import origin

PHASES = ["detect_ms", "agree_ms", "rewire_ms", "own_part_ms", "catch_up_ms", "replay_ms"]
LETTERS = "DARPCS"
OURS = "closeranks"
BAR = 48  # characters, for the longest


def percentile(values, share):
    """The least value that at least `share` of all don't exceed."""
    ordered = sorted(values)
    return ordered[max(0, -(-len(ordered) * share // 100) - 1)]


def summary(strikes):
    """A row for each system and fault, in their order."""
    rows = []
    for system, fault in dict.fromkeys((s["system"], s["fault"]) for s in strikes):
        mine = [s for s in strikes if (s["system"], s["fault"]) == (system, fault)]
        sound = [s for s in mine if "ms" in s]
        row = {"system": system, "fault": fault, "count": len(sound),
               "failed": len(mine) - len(sound)}
        if sound:
            times = [s["ms"] for s in sound]
            row |= {"p50_ms": statistics.median(times), "p99_ms": percentile(times, 99)}
            row["phases"] = {phase: statistics.median(s[phase] for s in sound)
                             for phase in PHASES if phase in sound[0]}
        rows.append(row)
    # Beside the same fault in our bare loop, which alternated with it.
    ours = {row["fault"]: row.get("p50_ms") for row in rows if row["system"] == OURS}
    for row in rows:
        if "p50_ms" in row and not row["system"].startswith(OURS) and ours.get(row["fault"]):
            row["times_ours"] = row["p50_ms"] / ours[row["fault"]]
    return rows


def number(ms):
    return f"{ms:.2f}" if ms < 100 else f"{ms:.0f}"


def draw(row, longest):
    """The median's phases, to scale."""
    if not row.get("phases"):
        return ""
    total = sum(row["phases"].values())
    bar = ""
    for letter, phase in zip(LETTERS, PHASES):
        bar += letter * round(row["phases"][phase] / longest * BAR)
    return bar or "." if total else ""


def page(record):
    rows = record["rows"]
    with_phases = [row for row in rows if row.get("phases")]
    lines = ["# Recovery", "",
             "From a strike to the first survivor's next completed step (in a bare loop: "
             "all-reduce of 1 MiB) in the world",
             "that was made after it, with 4 ranks; each strike is a start of its own, and systems "
             "alternate. Milliseconds.", "",
             "| system | fault | strikes | without a next step | p50 | p99 | p50, times ours |",
             "|---|---|---|---|---|---|---|"]
    for row in rows:
        times = [number(row[key]) if key in row else "-" for key in ("p50_ms", "p99_ms")]
        times.append(f"{row['times_ours']:.1f}" if "times_ours" in row else "")
        lines.append(f"| {row['system']} | {row['fault']} | {row['count'] + row['failed']} | "
                     f"{row['failed']} | {' | '.join(times)} |")
    for row in record["left_out"]:
        lines.append(f"| {row['system']} | {row['fault']} | 0 | not run: {row['reason']} | | | |")
    lines += ["", "## Our phases", "",
              "Medians of each: detect, agree, rewire, until the survivor takes up the new world "
              "(it computes its own part to", "the end), catch-up, and the replay of the torn step "
              "to its commit. The survivor is the one that commits first.", "",
              "| system | fault | detect | agree | rewire | own part | catch-up | step |",
              "|---|---|---|---|---|---|---|---|"]
    for row in with_phases:
        cells = " | ".join(number(row["phases"][phase]) for phase in PHASES)
        lines.append(f"| {row['system']} | {row['fault']} | {cells} |")
    lines += ["", "Each drawn to a scale of its own: D detect, A agree, R rewire, P own part, C "
              "catch-up, S step.", "", "```"]
    for row in with_phases:
        name = f"{row['system']}: {row['fault']}"
        longest = sum(row["phases"].values())
        lines.append(f"{name:58} {draw(row, longest)} {number(longest)} ms")
    probes = [s["probe_ns"] for s in record["strikes"]]
    loads = [s["load_average"] for s in record["strikes"] if "load_average" in s]
    lines += ["```", "", f"{origin(record)}. A "
              f"flag's round trip between two processes took {min(probes):.0f} to "
              f"{max(probes):.0f} ns", f"(median {statistics.median(probes):.0f}); the load "
              f"average at the strikes was {min(loads):.1f} to {max(loads):.1f} (median "
              f"{statistics.median(loads):.1f}).", "", f"    {record['command']}", ""]
    return "\n".join(lines)
