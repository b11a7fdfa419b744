"""A city in virtual time: 20,000 devices for 30 days under all shipped rules, and how long that takes.

    python -m bench.virtual            # two processes; a table, and bench/virtual.json
    python -m bench.virtual --small    # the small card's courses, seconds, nothing written

The courses of the report card, as large as a city of 20,000 devices has its kinds, with faults in them: made, judged
by the engine and its root-cause stage, matched with the truth. CPU seconds are split into making readings and judging
them; the days in which rules learn before a course begins come on top of the thirty, and are in the times.
"""

from __future__ import annotations

import argparse
import json
import resource
from pathlib import Path
from typing import Any

from bench.machine import machine
from lamplighter.score_command import Asked, make
from lamplighter.settings import load_settings

RESULTS = Path(__file__).with_name("virtual.json")
GOAL_S = 600.0  # for 20,000 devices and 30 days on two cores


def run(*, small: bool, processes: int, families: tuple[str, ...] = (), progress: bool = False) -> dict[str, Any]:
    """Play, and return what it took."""
    asked = Asked("A", "small" if small else "speed", families, processes, None, baselines=False)
    report = make(load_settings(None), asked, progress=progress)
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    rows = {
        name: {
            "devices": one.devices,
            "days": one.days,
            "readings": one.readings,
            "making_cpu_s": one.generating_cpu_s,
            "judging_cpu_s": one.judging_cpu_s,
            "judged_per_cpu_s": round(one.readings / max(one.judging_cpu_s, 1e-9)),
        }
        for name, one in report.made.families.items()
    }
    return {
        "machine": machine(),
        "rules": report.made.rules,
        "processes": report.made.processes,
        "wall_s": report.made.wall_s,
        "goal_s": None if small else GOAL_S,
        "cpu_s": round(sum(one.ru_utime + one.ru_stime for one in used), 1),
        "devices": sum(one["devices"] for one in rows.values()),
        "readings": sum(one["readings"] for one in rows.values()),
        "families": rows,
    }


def show(found: dict[str, Any]) -> None:
    print(f"{found['machine']}; {found['rules']} rules")
    print(f"{'':<10}{'devices':>9}{'days':>7}{'readings':>14}{'making, s':>11}{'judging, s':>12}{'judged/s':>12}")
    for name, one in found["families"].items():
        print(
            f"{name:<10}{one['devices']:>9,}{one['days']:>7g}{one['readings']:>14,}{one['making_cpu_s']:>11.1f}"
            f"{one['judging_cpu_s']:>12.1f}{one['judged_per_cpu_s']:>12,}"
        )
    print(
        f"{found['devices']:,} devices, {found['readings']:,} readings: {found['wall_s']:.0f} s in "
        f"{found['processes']} processes, {found['cpu_s']:.0f} s of CPU"
        + (f", goal {found['goal_s']:.0f} s" if found["goal_s"] else "")
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", action="store_true", help="few devices and days, nothing written")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--family", nargs="*", default=[], help="only these")
    parser.add_argument("--out", type=Path, default=RESULTS)
    given = parser.parse_args()
    found = run(small=given.small, processes=given.processes, families=tuple(given.family), progress=True)
    show(found)
    if not given.small and not given.family:
        given.out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
