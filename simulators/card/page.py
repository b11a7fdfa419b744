"""The report card as a page for people: tables, plots, what was missed and why."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from simulators.card.card import Card, Delay, KindFigures, Miss, Rate, RuleFigures, Share, TotalFigures
from simulators.card.intervals import needed
from simulators.card.page_gains import against
from simulators.card.page_words import Words, summary_zh
from simulators.card.pictures import told_s
from simulators.card.report import Report

FALSE = "false alarms in 10,000 device-days"
FAMILY_WORDS = {
    "lighting": "streetlights", "drainage": "drainage and pumps", "seepage": "slow seepage", "manholes": "manholes",
    "trucks": "muck trucks", "system": "between devices and house", "all": "**all**",
}  # fmt: skip
PROVED, REFUTED, OPEN = "proved", "refuted", "open"


def page(report: Report, language: str = "en") -> str:
    """Return the page as Markdown, in English or Chinese."""
    w, card = Words(language), report.card
    parts = [w.head, summary_zh(report), _glance(report, w), against(report, w), _misses(report, w), _open(report, w)]
    parts += [_plots(w), _families(report, w), _kinds(report, w), _rules(card, w), _false(card, w), _missed(card, w)]
    parts += [_baselines(report, w), _played(report, w), w.after]
    return "\n\n".join(part for part in parts if part) + "\n"


def table(head: Sequence[str], rows: Iterator[Sequence[str]] | Sequence[Sequence[str]], words: int = 1) -> str:
    """Return a Markdown table; columns after the first ``words`` stand to the right."""
    lines = [" | ".join(head), " | ".join([*["---"] * words, *["--:"] * (len(head) - words)])]
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


def verdict(one: Share, floor: float) -> str:
    """Return whether a share's whole interval lies above its floor, below it, or on both sides."""
    return PROVED if one.low >= floor else REFUTED if one.high < floor else OPEN


def _glance(report: Report, w: Words) -> str:
    card, floors = report.card, report.floors
    total = card.total
    late = sum(miss.figure == "delay" for miss in card.misses)
    timed = sum(one.delay_limit_s is not None and one.delay.p95_s is not None for one in card.kinds)
    judged = [one.recall for one in card.kinds if one.recall.of]
    reached = sum((one.share or 0.0) >= floors["recall"] for one in judged)
    proofs = [verdict(one, floors["recall"]) for one in judged]
    clean = sum((one.precision.share or 0.0) >= floors["precision"] for one in card.rules if one.precision.of)
    spoke = sum(one.precision.of > 0 for one in card.rules)
    pieces = "–" if total.fragmentation is None else f"{total.fragmentation:.3f}"
    kinds, rules = w("{} of {} kinds"), w("{} of {} rules")
    sure = w("{} kinds proved, {} refuted, {} open")
    proved = sure.format(*(proofs.count(one) for one in (PROVED, REFUTED, OPEN)))
    rows = [
        (w("recall, each kind of fault"), f"≥ {floors['recall']:.2f}", kinds.format(reached, len(judged))),
        (w("the same, beyond chance"), "", proved),
        (w("recall, all faults together"), "", share(total.recall)),
        (w("precision, each rule that spoke"), f"≥ {floors['precision']:.2f}", rules.format(clean, spoke)),
        (w("precision, all alerts together"), "", share(total.precision)),
        (w(FALSE), f"≤ {floors['false_alarms']:.1f}", rate(total.false_alarms)),
        (w("incidents a fault that was told"), f"≤ {floors['fragmentation']:.1f}", pieces),
        (w("delay of immediate rules, 95 %"), w("`for` + 2 reports"), kinds.format(timed - late, timed)),
    ]
    return f"## {w('At a glance')}\n\n" + table(("", w("floor"), w("found (95 % interval)")), rows)


def _misses(report: Report, w: Words) -> str:
    misses, head = report.card.misses, f"## {w('Below the floor')}\n\n"
    if not misses:
        if report.made.plan == "small":
            few = "Nothing that so small a card can show: missed is what lies beyond its floor with the whole interval."
            return head + w(few)
        return head + w("Nothing: every rule and every kind of fault reaches its floor.")
    rows = [
        (_about(one, w), w(one.figure), _figure(one), _floor(one), one.reason or w("**no reason is written down**"))
        for one in misses
    ]
    lines = [
        f"| {w('what')} | {w('figure')} | {w('found')} | {w('floor')} | {w('reason')} |",
        "| --- | --- | --: | --: | --- |",
    ]
    return head + "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)])


def _about(one: Miss, w: Words) -> str:
    sort, _, name = one.about.partition(" ")
    return f"{w(sort)} `{name}`" if sort in ("kind", "rule") else w(one.about)


def _figure(one: Miss) -> str:
    return told_s(one.found) if one.figure == "delay" else f"{one.found:.3f}"


def _floor(one: Miss) -> str:
    return told_s(one.floor) if one.figure == "delay" else f"{one.floor:g}"


def _open(report: Report, w: Words) -> str:
    """Say plainly of which kinds there were too few faults to know."""
    floor = report.floors["recall"]
    open_ = [one for one in report.card.kinds if one.recall.of and verdict(one.recall, floor) == OPEN]
    none = [one.kind for one in report.card.kinds if not one.recall.of]
    head = f"## {w('Too few faults to prove it')}\n\n"
    if not open_ and not none:
        return head + w("Of no kind: each recall lies above its floor, or below it, with its whole interval.")
    text = w("{} of {} kinds: so few faults leave a recall on both sides of {} possible. With none missed it takes {}.")
    judged = len(report.card.kinds) - len(none)
    said = text.format(len(open_), judged, f"{floor:g}", needed(floor)) if open_ else ""
    told = ", ".join(f"`{one.kind}` {one.recall.hits}/{one.recall.of}" for one in open_)
    left = w("None had to be said of:") + " " + ", ".join(f"`{kind}`" for kind in none) + "." if none else ""
    return head + "\n\n".join(part for part in (said, told, left) if part)


def _plots(w: Words) -> str:
    names = {"found": "Recall and precision by kind of fault", "delay": "Delays", "false": "False alarms"}
    return "\n\n".join(f"![{w(words)}](images/report-card-{name}.svg)" for name, words in names.items())


def _families(report: Report, w: Words) -> str:
    head = ("family", "device-days", "faults", "recall", "precision", FALSE, "incidents a fault", "alerts a fault")
    rows = [_total_row(one, w) for one in [*report.card.families, report.card.total]]
    return f"## {w('By family')}\n\n" + table([w(one) for one in head], rows)


def _total_row(one: TotalFigures, w: Words) -> tuple[str, ...]:
    days = f"{one.false_alarms.device_days:,.0f}"
    return (
        _family(one.name, w), days, f"{one.recall.of:,}", share(one.recall), share(one.precision),
        rate(one.false_alarms), number(one.fragmentation), number(one.alerts_each),
    )  # fmt: skip


def _family(name: str, w: Words) -> str:
    return w(FAMILY_WORDS[name]) if name in FAMILY_WORDS else name


def _kinds(report: Report, w: Words) -> str:
    """Return two tables a family: what was found, and how soon."""
    last = ("precision of that rule", "incidents a fault")
    found = ("kind of fault", "must be said by", "faults", "recall", "proof", *last)
    soon = ("kind of fault", "delay 50 % / 95 % / most", "limit", "95 % since it began", "alerts a fault", "overlap")
    parts, floor = [f"## {w('By kind of fault')}"], report.floors["recall"]
    for family in dict.fromkeys(one.family for one in report.card.kinds):
        mine = [one for one in report.card.kinds if one.family == family]
        parts += [
            f"### {_family(family, w)}",
            table([w(one) for one in found], [_found_row(one, floor, w) for one in mine], words=2),
            table([w(one) for one in soon], [_soon_row(one) for one in mine]),
        ]
    return "\n\n".join(parts)


def _found_row(one: KindFigures, floor: float, w: Words) -> tuple[str, ...]:
    left = one.unseen + one.early
    faults = f"{one.recall.of}" + (f" (+{left})" if left else "")
    rules = ", ".join(f"`{rule}`" for rule in one.rule.split())
    proof = w(verdict(one.recall, floor)) if one.recall.of else "–"
    return (
        f"`{one.kind}`", rules, faults, share(one.recall), proof, share(one.precision), number(one.fragmentation)
    )  # fmt: skip


def _soon_row(one: KindFigures) -> tuple[str, ...]:
    return (
        f"`{one.kind}`", _delays(one.delay), told_s(one.delay_limit_s), told_s(one.since_on.p95_s),
        number(one.alerts_each), number(one.overlap),
    )  # fmt: skip


def _delays(one: Delay) -> str:
    return " / ".join(told_s(each) for each in (one.p50_s, one.p95_s, one.max_s)) if one.max_s is not None else "–"


def _rules(card: Card, w: Words) -> str:
    head = ("rule", "alerts", "true", "precision", "explained by others", FALSE)
    spoke = [one for one in card.rules if one.precision.of or one.suppressed]
    mute = [f"`{one.rule}`" for one in card.rules if not (one.precision.of or one.suppressed)]
    said = f"\n\n{w('Said nothing:')} {', '.join(mute)}." if mute else ""
    return f"## {w('By rule')}\n\n" + table([w(one) for one in head], [_rule_row(one) for one in spoke]) + said


def _rule_row(one: RuleFigures) -> tuple[str, ...]:
    counts = (f"{one.precision.of:,}", f"{one.precision.hits:,}")
    return (f"`{one.rule}`", *counts, share(one.precision), f"{one.suppressed:,}", rate(one.false_alarms))


def _false(card: Card, w: Words) -> str:
    rows = [
        (f"`{one.rule}`", _beside(beside, w), str(count)) for one in card.rules for beside, count in one.beside.items()
    ]
    head = f"## {w('False alarms, by what was there')}\n\n"
    if not rows:
        return head + w("There were none.")
    return head + table([w(one) for one in ("rule", "what was there at the time", "alerts")], rows, words=2)


def _beside(told: str, w: Words) -> str:
    sort, _, kind = told.partition(" ")
    return f"{w(sort)} `{kind}`" if kind else w(sort)


def _missed(card: Card, w: Words) -> str:
    text, such = w("{} of {}"), w("such as")
    rows = [
        f"- `{one.kind}`: {text.format(one.recall.of - one.recall.hits, one.recall.of)}, {such} "
        + ", ".join(f"`{entity}`" for _, entity, _ in one.missed[:3])
        for one in card.kinds
        if one.missed
    ]
    return f"## {w('Faults that nobody was told of')}\n\n" + ("\n".join(rows) if rows else w("There were none."))


def _baselines(report: Report, w: Words) -> str:
    if not report.baselines:
        return ""
    head = ("", "recall", "precision", FALSE, "incidents a fault", "alerts a fault")
    named = {"the rules": report.compared, **report.baselines}
    rows = []
    for name, card in named.items():
        one = card.total
        pieces = (number(one.fragmentation), number(one.alerts_each))
        rows.append((w(name), share(one.recall), share(one.precision), rate(one.false_alarms), *pieces))
    text = w(
        "The same courses, the first of each family: the rules; naive ones, each threshold by itself without waiting, "
        "hysteresis, samples, guards or root cause (`config/naive_rules.yaml`); and as many alerts as the rules told, "
        "on devices and at times drawn by lot."
    )
    kept = report.made.naive_kept
    patient = w("Rules that cannot do without their patience stand as they are:")
    left = f"\n\n{patient} {', '.join(kept)}." if kept else ""
    heads = [w(one) if one else "" for one in head]
    return f"## {w('Beside naive and random alerts')}\n\n{text}\n\n{table(heads, rows)}{left}"


def _played(report: Report, w: Words) -> str:
    made = report.made
    head = ("family", "courses", "seeds", "devices", "days", "readings", "making them, CPU", "judging them, CPU")
    rows = [
        (
            _family(name, w), str(one.courses), _seeds(one.seeds), f"{one.devices:,}", f"{one.days:g}",
            f"{one.readings:,}", f"{one.generating_cpu_s:.0f} s", f"{one.judging_cpu_s:.0f} s",
        )
        for name, one in made.families.items()
    ]  # fmt: skip
    text = w("Seeds {}, {} card, {} rules (`{}`), {} s with {} at a time on {}.").format(
        made.seeds, w(made.plan), made.rules, made.rules_hash, f"{made.wall_s:,.0f}", made.processes, made.machine
    )
    return f"## {w('What was played')}\n\n{text}\n\n{table([w(one) for one in head], rows)}"


def _seeds(seeds: Sequence[int]) -> str:
    return str(seeds[0]) if len(seeds) == 1 else f"{seeds[0]}–{seeds[-1]}"
