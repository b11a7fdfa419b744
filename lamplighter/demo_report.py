"""What the demo shows while it runs and what it says at the end: the ledger, and the rules against the known faults."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from rich.console import Console
from rich.live import Live
from rich.table import Table

from simulators.faults import Fault, read_truth

if TYPE_CHECKING:
    from lamplighter.wiring import House
    from storage.operations import AlertRow

NAMED_RULES = ("lighting_rate", "seepage", "route_deviation")  # kinds of rule that each have to show an alert
LINE_S = 5.0  # between progress lines where there is no terminal
DEMO_MINUTE_S = 60.0  # from here on every kind and every named rule must have shown an alert


def process_age_s() -> float:
    """Return how long ago this process was started, seconds (Linux: field 22 of /proc/self/stat)."""
    ticks = int(Path("/proc/self/stat").read_text(encoding="ascii").rsplit(")", 1)[1].split()[19])
    return time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")


def resident_mb(*pids: int | None) -> float:
    """Return the resident memory of processes that still run, MB; None is this one. Shared pages count in each."""
    total = 0
    for pid in pids:
        try:
            text = Path(f"/proc/{pid or 'self'}/status").read_text(encoding="ascii")
        except OSError:
            continue
        total += sum(int(line.split()[1]) for line in text.splitlines() if line.startswith("VmRSS:"))
    return total / 1024


async def show_progress(console: Console, house: House, stop: asyncio.Event, run_for_s: float | None) -> None:
    """Show the ledger and the open alerts until stopped or until ``run_for_s`` seconds have passed."""
    until = None if run_for_s is None else time.monotonic() + run_for_s
    step_s = 0.5 if console.is_terminal else LINE_S
    with Live(console=console, refresh_per_second=4, transient=True) if console.is_terminal else _Silent() as live:
        while not stop.is_set():
            left = step_s if until is None else min(step_s, until - time.monotonic())
            if left <= 0:
                return
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), left)
            if isinstance(live, Live):
                live.update(_progress_table(house))
            else:
                console.print(_progress_line(house))


class _Silent:
    """Stands where the live table would be, when there is no terminal."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, *_: object) -> None:
        return None


def _city_time(house: House) -> str:
    zone = ZoneInfo(house.settings.city.timezone)
    return datetime.fromtimestamp(house.now_ms() / 1000, zone).strftime("%H:%M")


def _open_counts(house: House) -> Counter[str]:
    return Counter({rule: len(found) for rule, found in house.engine.open_alerts().items() if found})


def _progress_line(house: House) -> str:
    lines = house.ledger().lines.values()
    received, stored = sum(x.received for x in lines), sum(x.stored for x in lines)
    return (
        f"{_city_time(house)} in the city · {received:,} readings received, {stored:,} stored · "
        f"{sum(_open_counts(house).values())} alerts open"
    )


def _progress_table(house: House) -> Table:
    table = Table(title=f"{_city_time(house)} in the city", title_justify="left")
    for heading in ("kind", "received", "stored", "quarantined", "duplicate", "pending"):
        table.add_column(heading, justify="left" if heading == "kind" else "right")
    for kind, line in house.ledger().lines.items():
        numbers = (line.received, line.stored, line.quarantined, line.duplicate, line.pending)
        table.add_row(kind, *(f"{number:,}" for number in numbers))
    found = _open_counts(house)
    table.caption = "open alerts: " + (", ".join(f"{rule} {n}" for rule, n in found.most_common()) or "none yet")
    return table


def summarise(
    house: House,
    truth: Path,
    sent: Mapping[str, Any],
    *,
    end_ms: int,
    ready_s: float,
    ready_cpu_s: float,
    run_s: float,
    mb: float,
) -> dict[str, Any]:
    """Return the whole report: ledger, rules against faults, figures, and whether the demo passed.

    Args:
        house: after everything is drained.
        truth: the simulator's file of faults.
        sent: what the simulator says it has sent.
        end_ms: city time of the end; faults due later are not asked for.
        ready_s, ready_cpu_s: wall and CPU seconds from the start of the process until it was ready.
        run_s: seconds of the run.
        mb: resident memory of all processes, MB.
    """
    faults = read_truth(truth) if truth.exists() else []
    alerts = house.operations.alerts(limit=100_000)
    rules = _rules(house, alerts, faults, end_ms)
    missed = [fault.id for fault in faults if fault.due_ms <= end_ms and not _said(fault, alerts)]
    ledger = house.ledger()
    kinds = {
        kind: {
            "received": line.received,
            "stored": line.stored,
            "quarantined": line.quarantined,
            "duplicate": line.duplicate,
            "pending": line.pending,
        }
        for kind, line in ledger.lines.items()
    }
    received = sum(line["received"] for line in kinds.values())
    published = sum(sent["readings"].values())
    unshown = _unshown(house, alerts) if run_s >= DEMO_MINUTE_S else []
    return {
        "passed": ledger.balance() and received >= published and not missed and not unshown,
        "ledger": kinds,
        "balances": ledger.balance(),
        "sent": sent,
        "rules": rules,
        "faults_due": sum(fault.due_ms <= end_ms for fault in faults),
        "faults_missed": missed,
        "without_alert": unshown,
        "unexplained": [_brief(row) for row in alerts if not any(_matches(f, row) for f in faults)],
        "ready_s": round(ready_s, 2),
        "ready_cpu_s": round(ready_cpu_s, 2),
        "run_s": round(run_s, 1),
        "resident_mb": round(mb, 1),
    }


def _rules(house: House, alerts: Sequence[AlertRow], faults: Sequence[Fault], end_ms: int) -> dict[str, dict[str, int]]:
    sent = house.operations.outbox_sent_by_rule()
    out: dict[str, dict[str, int]] = {}
    for rule in house.rules.rules:
        rows = [row for row in alerts if row.rule == rule.id]
        due = [fault for fault in faults if fault.rule == rule.id and fault.due_ms <= end_ms]
        if not rows and not due:
            continue
        out[rule.id] = {
            "raised": len(rows),
            "cleared": sum(row.cleared_ms is not None for row in rows),  # latched ones too
            "notified": sent.get(rule.id, 0),
            "explained": sum(bool(row.suppressed_by) for row in rows),  # told of under what explains them
            "faults": len(due),
            "found": sum(_said(fault, alerts) for fault in due),
            "unexplained": sum(not any(_matches(fault, row) for fault in faults) for row in rows),
        }
    return out


def _said(fault: Fault, alerts: Sequence[AlertRow]) -> bool:
    return any(_matches(fault, row) and (row.active_ms or row.begun_ms) <= fault.due_ms for row in alerts)


def _matches(fault: Fault, row: AlertRow) -> bool:
    return row.rule == fault.rule and row.entity == fault.entity


def _unshown(house: House, alerts: Sequence[AlertRow]) -> list[str]:
    """Return the kinds of facility and of named rules that raised nothing: after a minute each should have."""
    shown = {row.kind for row in alerts}
    raised = {row.rule for row in alerts}
    named = {rule.kind for rule in house.rules.rules if rule.id in raised}
    return [kind.name for kind in house.catalog if kind.name not in shown] + [k for k in NAMED_RULES if k not in named]


def _brief(row: AlertRow) -> str:
    return f"{row.rule} {row.entity}"


def print_summary(console: Console, report: Mapping[str, Any]) -> None:
    """Print the report as two tables and a verdict."""
    table = Table(title="Readings", title_justify="left")
    for heading in ("kind", "received", "stored", "quarantined", "duplicate", "pending"):
        table.add_column(heading, justify="left" if heading == "kind" else "right")
    for kind, line in report["ledger"].items():
        table.add_row(kind, *(f"{number:,}" for number in line.values()))
    console.print(table)
    table = Table(title="Alerts against the injected faults", title_justify="left")
    for heading in ("rule", "raised", "cleared", "notified", "explained", "faults due", "found", "unexplained"):
        table.add_column(heading, justify="left" if heading == "rule" else "right")
    for rule, line in report["rules"].items():
        table.add_row(rule, *(str(number) for number in line.values()))
    console.print(table)
    for text in _verdict(report):
        console.print(text)


def _verdict(report: Mapping[str, Any]) -> list[str]:
    received = sum(line["received"] for line in report["ledger"].values())
    sent = sum(report["sent"]["readings"].values())
    word = "balances" if report["balances"] else "DOES NOT BALANCE"
    found = report["faults_due"] - len(report["faults_missed"])
    lines = [
        f"{sent:,} readings published, {received:,} received; the ledger {word}",
        f"{found} of the {report['faults_due']} faults that were due have been alerted",
        f"ready after {report['ready_s']} s; {report['resident_mb']} MB resident in all processes",
    ]
    if report["faults_missed"]:
        lines.append(f"missed: {', '.join(report['faults_missed'])}")
    if report["without_alert"]:
        lines.append(f"showed no alert: {', '.join(report['without_alert'])}")
    lines.append("[green]passed[/]" if report["passed"] else "[red]not passed[/]")
    return lines
