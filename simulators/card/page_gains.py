"""The page's part on what the rules gain over another set of rules, on the same courses."""

from __future__ import annotations

from collections.abc import Mapping

from simulators.card.card import KindFigures, Rate, Share
from simulators.card.gains import RuleGain
from simulators.card.page_words import Words
from simulators.card.pictures import told_s
from simulators.card.report import Report


def against(report: Report, w: Words) -> str:
    """Return the part as Markdown; empty where no other rules were played."""
    other = report.against
    if other is None:
        return ""
    text = w("Beside `{}`, {} rules (`{}`), on the very same courses: {} rules differ, and {} kinds of faults.")
    said = text.format(other.name, other.rules, other.rules_hash, len(other.gains), len(other.kinds))
    parts = [f"## {w('Against other rules')}", said]
    if other.gains:
        head = ("rule", "", "true alerts", "false alarms", "false in 10,000 device-days", "found now", "lost", "sooner")
        parts.append(_table(head, [(f"`{one.rule}`", w(one.state), *gain_cells(one, w)) for one in other.gains], w))
    if other.kinds:
        heads = ("kind of fault", "recall before", "now", "delay 95 % before", "now", "incidents before", "now")
        parts.append(_table(heads, [(f"`{now.kind}`", *_kind_cells(before, now)) for before, now in other.kinds], w))
    return "\n\n".join(parts)


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]], w: Words) -> str:
    heads = [w(one) if one else "" for one in head]
    lines = [" | ".join(heads), " | ".join(["---", *["--:"] * (len(head) - 1)])]
    return "\n".join(f"| {line} |" for line in [*lines, *(" | ".join(row) for row in rows)])


def gain_cells(one: RuleGain, w: Words) -> list[str]:
    """Return what a rule gains, as cells: alerts before and now, faults found and lost, how much sooner."""
    true = (one.before.hits, one.precision.hits)
    false = (one.before.of - one.before.hits, one.precision.of - one.precision.hits)
    said = [f"{was} → {now}" if was != now else str(now) for was, now in (true, false)]
    sooner = "–"
    if one.sooner_s is not None:
        sooner = f"{told_s(abs(one.sooner_s))}{' ' + w('later') if one.sooner_s < 0 else ''} ({one.sooner_of})"
    return [*said, _rate(one.false_alarms), _counted(one.found), _counted(one.lost), sooner]


def _counted(found: Mapping[str, int]) -> str:
    return ", ".join(f"{number} {kind}" for kind, number in found.items()) or "–"


def _rate(one: Rate) -> str:
    return "–" if one.rate is None or one.high is None else f"{one.rate:.2f} ({one.low:.2f}–{one.high:.2f})"


def _share(one: Share) -> str:
    return "–" if one.share is None else f"{one.share:.3f}"


def _kind_cells(before: KindFigures, now: KindFigures) -> list[str]:
    cells = [f"{_share(before.recall)} ({before.recall.of})", _share(now.recall)]
    cells += [told_s(one.delay.p95_s) for one in (before, now)]
    return cells + ["–" if one.fragmentation is None else f"{one.fragmentation:.2f}" for one in (before, now)]
