"""The report card as a page for people: tables, plots, what was missed and why."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from simulators.card.card import Card, Delay, KindFigures, Miss, Rate, RuleFigures, Share, TotalFigures
from simulators.card.page_words import AFTER, HEAD, summary_zh
from simulators.card.pictures import told_s
from simulators.card.report import Report

FALSE = "false alarms in 10,000 device-days"
FAMILY_WORDS = {
    "lighting": "streetlights", "drainage": "drainage and pumps", "manholes": "manholes", "trucks": "muck trucks",
    "system": "between devices and house", "all": "**all**",
}  # fmt: skip


def page(report: Report) -> str:
    """Return the page as Markdown."""
    parts = [HEAD, summary_zh(report), _glance(report), _misses(report), _plots(), _families(report)]
    parts += [_kinds(report.card), _rules(report.card), _false(report.card), _missed(report.card)]
    return "\n\n".join([*parts, _baselines(report), _played(report), AFTER]) + "\n"


def table(head: Sequence[str], rows: Iterator[Sequence[str]] | Sequence[Sequence[str]]) -> str:
    """Return a Markdown table; columns after the first stand to the right."""
    lines = [" | ".join(head), " | ".join(["---", *["--:"] * (len(head) - 1)])]
    return "\n".join(f"| {line} |" for line in [*lines, *(" | ".join(row) for row in rows)])


def share(one: Share) -> str:
    """Return a share with its interval."""
    if one.share is None:
        return "–"
    return f"{one.share:.3f} ({one.low:.2f}–{one.high:.2f})"


def rate(one: Rate) -> str:
    """Return a rate with its interval."""
    if one.rate is None or one.high is None:
        return f"– ({one.events})"
    return f"{one.rate:.2f} ({one.low:.2f}–{one.high:.2f})"


def number(one: float | None) -> str:
    """Return a figure with two digits."""
    return "–" if one is None else f"{one:.2f}"


def _glance(report: Report) -> str:
    card, floors = report.card, report.floors
    total = card.total
    late = sum(miss.figure == "delay" for miss in card.misses)
    timed = sum(one.delay_limit_s is not None and one.delay.p95_s is not None for one in card.kinds)
    reached = sum((one.recall.share or 0.0) >= floors["recall"] for one in card.kinds if one.recall.of)
    judged = sum(one.recall.of > 0 for one in card.kinds)
    clean = sum((one.precision.share or 0.0) >= floors["precision"] for one in card.rules if one.precision.of)
    spoke = sum(one.precision.of > 0 for one in card.rules)
    pieces = "–" if total.fragmentation is None else f"{total.fragmentation:.3f}"
    rows = [
        ("recall, each kind of fault", f"≥ {floors['recall']:.2f}", f"{reached} of {judged} kinds"),
        ("recall, all faults together", "", share(total.recall)),
        ("precision, each rule that spoke", f"≥ {floors['precision']:.2f}", f"{clean} of {spoke} rules"),
        ("precision, all alerts together", "", share(total.precision)),
        ("false alarms in 10,000 device-days", f"≤ {floors['false_alarms']:.1f}", rate(total.false_alarms)),
        ("incidents a fault that was told", f"≤ {floors['fragmentation']:.1f}", pieces),
        ("delay of immediate rules, 95 %", "`for` + 2 reports", f"{timed - late} of {timed} kinds"),
    ]
    return "## At a glance\n\n" + table(("", "floor", "found (95 % interval)"), rows)


def _misses(report: Report) -> str:
    misses = report.card.misses
    if not misses:
        if report.made.plan != "full":
            few = "Nothing that so small a card can show: missed is what lies beyond its floor with the whole interval."
            return f"## Below the floor\n\n{few}"
        return "## Below the floor\n\nNothing: every rule and every kind of fault reaches its floor."
    rows = [
        (_about(one), one.figure, _figure(one), _floor(one), one.reason or "**no reason is written down**")
        for one in misses
    ]
    lines = ["| what | figure | found | floor | reason |", "| --- | --- | --: | --: | --- |"]
    return "## Below the floor\n\n" + "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)])


def _about(one: Miss) -> str:
    sort, _, name = one.about.partition(" ")
    return f"{sort} `{name}`" if sort in ("kind", "rule") else one.about


def _figure(one: Miss) -> str:
    return told_s(one.found) if one.figure == "delay" else f"{one.found:.3f}"


def _floor(one: Miss) -> str:
    return told_s(one.floor) if one.figure == "delay" else f"{one.floor:g}"


def _plots() -> str:
    names = {"found": "Recall and precision by kind of fault", "delay": "Delays", "false": "False alarms"}
    return "\n\n".join(f"![{words}](images/report-card-{name}.svg)" for name, words in names.items())


def _families(report: Report) -> str:
    head = ("family", "device-days", "faults", "recall", "precision", FALSE, "incidents a fault", "alerts a fault")
    return "## By family\n\n" + table(head, [_total_row(one) for one in [*report.card.families, report.card.total]])


def _total_row(one: TotalFigures) -> tuple[str, ...]:
    days = f"{one.false_alarms.device_days:,.0f}"
    return (
        FAMILY_WORDS.get(one.name, one.name), days, f"{one.recall.of:,}", share(one.recall), share(one.precision),
        rate(one.false_alarms), number(one.fragmentation), number(one.alerts_each),
    )  # fmt: skip


def _kinds(card: Card) -> str:
    head = (
        "kind of fault", "must be said by", "faults", "recall", "precision of that rule", "delay 50 % / 95 % / most",
        "95 % since it began", "limit", "incidents a fault", "alerts a fault", "overlap",
    )  # fmt: skip
    return "## By kind of fault\n\n" + table(head, [_kind_row(one) for one in card.kinds])


def _kind_row(one: KindFigures) -> tuple[str, ...]:
    left = one.unseen + one.early
    faults = f"{one.recall.of}" + (f" (+{left})" if left else "")
    return (
        f"`{one.kind}`", f"`{one.rule.replace(' ', '`, `')}`", faults, share(one.recall), share(one.precision),
        _delays(one.delay), told_s(one.since_on.p95_s), told_s(one.delay_limit_s), number(one.fragmentation),
        number(one.alerts_each), number(one.overlap),
    )  # fmt: skip


def _delays(one: Delay) -> str:
    return " / ".join(told_s(each) for each in (one.p50_s, one.p95_s, one.max_s)) if one.max_s is not None else "–"


def _rules(card: Card) -> str:
    head = ("rule", "alerts", "true", "precision", "explained by others", FALSE)
    return "## By rule\n\n" + table(head, [_rule_row(one) for one in card.rules])


def _rule_row(one: RuleFigures) -> tuple[str, ...]:
    counts = (f"{one.precision.of:,}", f"{one.precision.hits:,}")
    return (f"`{one.rule}`", *counts, share(one.precision), f"{one.suppressed:,}", rate(one.false_alarms))


def _false(card: Card) -> str:
    rows = [(f"`{one.rule}`", beside, str(count)) for one in card.rules for beside, count in one.beside.items()]
    if not rows:
        return "## False alarms, by what was there\n\nThere were none."
    lines = ["| rule | what was there at the time | alerts |", "| --- | --- | --: |"]
    text = "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)])
    return f"## False alarms, by what was there\n\n{text}"


def _missed(card: Card) -> str:
    rows = [
        f"- `{one.kind}`: {one.recall.of - one.recall.hits} of {one.recall.of}, such as "
        + ", ".join(f"`{entity}`" for _, entity, _ in one.missed[:3])
        for one in card.kinds
        if one.missed
    ]
    return "## Faults that nobody was told of\n\n" + ("\n".join(rows) if rows else "There were none.")


def _baselines(report: Report) -> str:
    head = ("", "recall", "precision", FALSE, "incidents a fault", "alerts a fault")
    named = {"the rules": report.compared, **report.baselines}
    rows = []
    for name, card in named.items():
        one = card.total
        pieces = (number(one.fragmentation), number(one.alerts_each))
        rows.append((name, share(one.recall), share(one.precision), rate(one.false_alarms), *pieces))
    text = (
        "The same courses, the first of each family: the rules; naive ones, each threshold by itself without waiting, "
        "hysteresis, samples, guards or root cause (`config/naive_rules.yaml`); and as many alerts as the rules told, "
        "on devices and at times drawn by lot."
    )
    kept = report.made.naive_kept
    left = f"\n\nRules that cannot do without their patience stand as they are: {', '.join(kept)}." if kept else ""
    return f"## Beside naive and random alerts\n\n{text}\n\n{table(head, rows)}{left}"


def _played(report: Report) -> str:
    made = report.made
    head = ("family", "courses", "seeds", "devices", "days", "readings", "making them, CPU", "judging them, CPU")
    rows = [
        (
            FAMILY_WORDS.get(name, name), str(one.courses), _seeds(one.seeds), f"{one.devices:,}", f"{one.days:g}",
            f"{one.readings:,}", f"{one.generating_cpu_s:.0f} s", f"{one.judging_cpu_s:.0f} s",
        )
        for name, one in made.families.items()
    ]  # fmt: skip
    text = (
        f"Seeds {made.seeds}, {made.plan} card, {made.rules} rules (`{made.rules_hash}`), {made.wall_s:,.0f} s in "
        f"{made.processes} process{'es' if made.processes > 1 else ''} on {made.machine}."
    )
    return f"## What was played\n\n{text}\n\n{table(head, rows)}"


def _seeds(seeds: Sequence[int]) -> str:
    return str(seeds[0]) if len(seeds) == 1 else f"{seeds[0]}–{seeds[-1]}"
