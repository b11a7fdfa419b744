"""Prints what the rules said on every SKAB recording."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path

from bench.skab.play import Line, catalog, line, rig_rules, runs, shipped_rules


def table(lines: list[Line]) -> None:
    """Print a row for each recording, and their sum."""
    print("\n| recording | what was done | said, after | false |\n|---|---|---|---|")
    for one in lines:
        run, labelled = one.run, one.run.faults
        said = []
        for (begin, end), delay in zip(labelled, one.delays_s, strict=True):
            rules = [h.rule for h in one.told if begin <= h.told_ms <= end]
            said.append("nothing" if delay is None else f"{', '.join(dict.fromkeys(rules))}, {delay:.0f} s")
        count = Counter(h.rule for h in one.false)
        false = ", ".join(f"{number} {rule}" for rule, number in sorted(count.items())) or "0"
        print(f"| {run.name} | {run.label} | {'; '.join(said) or '–'} | {false} |")
    found = sum(delay is not None for one in lines for delay in one.delays_s)
    faults = sum(len(one.delays_s) for one in lines)
    false_alerts, hours = sum(len(one.false) for one in lines), sum(one.run.hours for one in lines)
    print(f"\nfound {found} of {faults}; {false_alerts} false in {hours:.1f} h without a label")


def main() -> None:
    """Play everything and print both halves."""
    known = catalog()
    rules, every = rig_rules(known), runs(Path(sys.argv[1]), known)
    for tuning, title in ((True, "chosen on"), (False, "reported")):
        print(f"\n### the rig's rules, {title}")
        table([line(run, rules, known) for run in every if run.tuning is tuning])
    print("\n### the shipped rules for pumps")
    table([line(run, shipped_rules(known), known, run.pump) for run in every])


main()
