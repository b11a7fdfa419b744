"""How each part of the house is doing, in words for /healthz and numbers for /metrics."""

from __future__ import annotations

import resource
import shutil
import time
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from api.house import Figure, Part
from lamplighter import abuse, incident_figures, policy_budget
from storage.operations import AWAY, in_words
from storage.recovery import TORN

if TYPE_CHECKING:
    from lamplighter.wiring import House

GIVEN_UP_TOLD_MS = 48 * 3_600_000  # a notice is given up after a day at the latest, and told for another
DISK_FREE_MIN = 200 << 20  # bytes; said before the journal has to refuse


CERTIFICATE_DAYS = 30  # before its end a certificate is spoken of
CERTIFICATE_DAYS_MIN = 7  # and makes the house unwell


def days_left(ends_s: float, now_s: float) -> float:
    """Return how many days are left until ``ends_s``; both epoch seconds."""
    return (ends_s - now_s) / 86_400


def examine_house(house: House) -> list[Part]:
    """Return every part with what is right or wrong about it."""
    return [
        _broker(house),
        _rules(house),
        _losses(house),
        abuse.security(house),
        _journal(house),
        *_operations(house),
        _store(house),
        _disk(house),
        _clock(house),
    ]


def _broker(house: House) -> Part:
    session, broker = house.session, house.settings.broker
    where = f"{broker.host}:{broker.port}"
    if session.connected:
        ends_s = session.certificate_ends_s
        if ends_s is not None and (days := days_left(ends_s, time.time())) < CERTIFICATE_DAYS:
            says = f"connected to {where}, whose certificate ends in {days:.0f} days: renew it"
            return Part("broker", days > CERTIFICATE_DAYS_MIN, says)
        granted_s = session.welcome.session_expiry_interval if session.welcome else None
        if granted_s is not None and granted_s < session.options.session_expiry_s:
            says = f"connected to {where}, which keeps our queue for {granted_s:,} s without us: less than we asked for"
            return Part("broker", True, says)
        return Part("broker", True, f"connected to {where}")
    return Part("broker", False, f"not connected to {where}: {session.last_error or 'still trying'}")


def _rules(house: House) -> Part:
    """Return by which rules is judged, and why not by newer ones where a reload was refused."""
    present = f"{len(house.rules)} rules judge {len(house.registry)} devices"
    problems = house.reloader.problems
    if not problems:
        return Part("rules", True, present)
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    return Part("rules", False, f"the latest reload was refused, {present} as before: {problems[0]}{more}")


def _losses(house: House) -> Part:
    """Return what the broker could not keep for us: grave for an hour, told for longer."""
    book, now_ms = house.losses, house.now_ms()
    told = [loss for loss in book.found if loss.worth_telling]
    grave = [loss for loss in told if loss.grave(now_ms)]
    zone = ZoneInfo(house.settings.city.timezone)
    says = "; ".join(loss.words(zone) for loss in grave or told[-1:]) or "none known"
    if house.session.connected and house.session.says.dropped is None:
        says += "; what the broker drops is unknown, for it does not tell"
    return Part("losses", not grave, says)


def _journal(house: House) -> Part:
    trouble = house.watch.pulse.journal_trouble
    if trouble:
        return Part("journal", False, f"nothing is acknowledged until the disk takes records again: {trouble}")
    waiting = house.journal.bytes_used / (1 << 20)
    told = house.journal.damage
    damage = f"; set aside: {'; '.join(told)}" if told else ""
    whole = all(TORN in one for one in told)  # a tail tears with a kill: what was under way, not acknowledged
    return Part("journal", whole, f"{waiting:.1f} MB on disk{damage}")


def _operations(house: House) -> list[Part]:
    """Return the operations database, and what is read from it where that can be."""
    trouble = house.watch.pulse.operations_trouble
    try:
        read = [_ledger(house), abuse.quarantine(house), _notices(house)]
    except AWAY as away:
        return [Part("operations", False, f"cannot be read: {trouble or in_words(away)}")]
    if trouble:
        says = f"nothing is acknowledged until the operations database takes decisions again: {trouble}"
        return [Part("operations", False, says), *read]
    return [Part("operations", True, "takes decisions"), *read]


def _ledger(house: House) -> Part:
    ledger = house.ledger()
    return Part("ledger", ledger.balance(), "balances" if ledger.balance() else f"does not balance: {ledger}")


def _store(house: House) -> Part:
    trouble = house.shipper.away or house.timeseries.check()
    kind = house.settings.store.kind
    if not trouble:
        return Part("store", True, f"{kind} takes readings")
    until = "until somebody mends it" if house.shipper.needs_person else "until it is back"
    return Part("store", False, f"{kind} is away, readings wait in the journal {until} and alerts go on: {trouble}")


def _disk(house: House) -> Part:
    if trouble := house.watch.pulse.snapshot_trouble:
        return Part("disk", False, f"no snapshot can be written, a restart will take longer: {trouble}")
    free = shutil.disk_usage(house.settings.data).free
    if free < DISK_FREE_MIN:
        return Part(
            "disk", False, f"{free >> 20} MB free in {house.settings.data}: make room before the journal refuses"
        )
    return Part("disk", True, f"{free >> 30} GB free")


def _notices(house: House) -> Part:
    counts = house.operations.outbox_counts()
    present = f"{counts.get('sent', 0)} delivered, {counts.get('due', 0)} waiting"
    given_up = house.operations.outbox_given_up(house.now_ms() - GIVEN_UP_TOLD_MS)
    if not given_up:
        return Part("notices", True, present)
    other = {one.name: one.fallback for one in house.settings.notify}
    told = [
        f"{one.notices} for {one.receiver} could not be delivered"
        f"{f', passed on to {other[one.receiver]}' if other.get(one.receiver) else ''}: {one.error}"
        for one in given_up
    ]
    return Part("notices", False, "; ".join([*told, present]))


def _clock(house: House) -> Part:
    year = time.gmtime(house.now_ms() / 1000).tm_year
    if not 2024 <= year < 2100:
        return Part("clock", False, f"this machine's clock shows the year {year}")
    return Part("clock", True, "plausible" if house.speed == 1 else f"runs {house.speed:g} times as fast")


def figures(house: House) -> list[Figure]:
    """Return the house's own numbers for /metrics; the ledger is told by the API itself."""
    pulse, session = house.watch.pulse, house.session
    lag = sorted(pulse.lag_ms)
    high = lag[int(len(lag) * 0.99)] if lag else 0.0
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return [
        Figure("groups", "Groups of deliveries taken the whole way.", {(): pulse.groups}, counter=True),
        Figure("readings", "Readings taken the whole way.", {(): pulse.readings}, counter=True),
        Figure("acknowledge_p99_ms", "Receive to acknowledge, 99th percentile of the latest groups.", {(): high}),
        Figure("broker_connected", "1 while connected to the broker.", {(): float(session.connected)}),
        *_loss_figures(house),
        Figure(
            "reloads",
            "Reloads of rules and registry since the start.",
            {("taken",): house.reloader.taken, ("refused",): house.reloader.refused},
            labels=("outcome",),
            counter=True,
        ),
        Figure("journal_bytes", "Bytes of journal on disk.", {(): house.journal.bytes_used}),
        Figure("journal_trouble", "1 while the journal refuses records.", {(): float(bool(pulse.journal_trouble))}),
        Figure("cpu_seconds", "CPU seconds of this process.", {(): usage.ru_utime + usage.ru_stime}, counter=True),
        Figure(
            "shipping_cpu_seconds",
            "CPU seconds of these that shipping to the database took.",
            {(): house.shipper.cpu_s},
            counter=True,
        ),
        Figure("resident_max_bytes", "Largest resident size of this process.", {(): usage.ru_maxrss * 1024}),
        Figure(
            "transitions",
            "Alerts begun and ended.",
            {key: float(count) for key, count in pulse.transitions.items()},
            labels=("rule", "state"),
            counter=True,
        ),
        Figure(
            "notices",
            "Notices by receiver and what became of them since the start.",
            {
                (name, word): float(getattr(tally, word))
                for name, tally in house.notifier.tallies.items()
                for word in ("sent", "retried", "given_up", "timeouts")
            },
            labels=("receiver", "outcome"),
            counter=True,
        ),
        *abuse.figures(house),
        *incident_figures.figures(house),
        *policy_budget.figures(house.budget(policy_budget.DAY_MS), house.operations.policy.marked(house.now_ms())),
        Figure(
            "outbox",
            "Notices by state.",
            {(state,): float(count) for state, count in house.operations.outbox_counts().items()},
            labels=("state",),
        ),
    ]


def _certificate_days(house: House) -> dict[tuple[str, ...], float]:
    ends_s = house.session.certificate_ends_s
    return {} if ends_s is None else {(): days_left(ends_s, time.time())}


def _loss_figures(house: House) -> list[Figure]:
    book, gaps = house.losses, house.gaps
    dropped: dict[tuple[str, ...], float] = {(): float(book.dropped)}
    return [
        Figure(
            "broker_dropped",
            "Messages that the broker says it dropped while we listened or were away, of all its clients.",
            dropped if house.session.says.dropped is not None else {},
            counter=True,
        ),
        Figure("broker_certificate_days", "Days until the broker's certificate ends.", _certificate_days(house)),
        Figure("broker_forgot", "Times that the broker had lost our queue.", {(): float(book.forgotten)}, counter=True),
        Figure(
            "readings_missing",
            "Readings missing by the devices' own counters, and reports missing by their intervals across an absence.",
            {
                (kind, how): float(count)
                for how, counts in (("counted", gaps.counted), ("estimated", gaps.estimated))
                for kind, count in counts.items()
            },
            labels=("kind", "how"),
        ),
    ]
