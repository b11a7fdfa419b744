"""Who is on duty: teams with shifts by the clock on the wall, and days on which somebody else stands in."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from alerts.spans import minute_of_day
from devices.yamlfile import ConfigError, Node

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
DAYS_FORM = "expected days such as mon-fri, sat or all, or a list of them"
DATE_FORM = "expected a day such as 2026-10-01"
DAY_MINUTES = 1440


@dataclass(frozen=True, slots=True)
class Shift:
    """Some hours of some days of the week.

    Attributes:
        who: names of receivers.
        days: numbers of the weekdays on which it begins, Monday is 0.
        begin, end: minutes of the local day; over midnight where ``end`` is not the later, so equal is a whole day.
    """

    who: tuple[str, ...]
    days: frozenset[int]
    begin: int
    end: int


@dataclass(frozen=True, slots=True)
class StandIn:
    """Somebody else on some dates; all shifts that begin on them.

    Attributes:
        first, last: local days, both included.
        who: names of receivers.
    """

    first: date
    last: date
    who: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Team:
    """A team and its hours.

    Attributes:
        name: as receivers call it.
        shifts: several may hold at once; all their people are told.
        stand_ins: the first that holds takes the place of the shifts' people.
        fallback: who is told when nobody is on duty; empty for nobody.
        handover: whether those who come on duty are told what is open.
    """

    name: str
    shifts: tuple[Shift, ...]
    stand_ins: tuple[StandIn, ...] = ()
    fallback: str = ""
    handover: bool = False

    def people(self) -> set[str]:
        """Return everybody's names."""
        groups = [*(shift.who for shift in self.shifts), *(one.who for one in self.stand_ins)]
        return {name for group in groups for name in group} | ({self.fallback} if self.fallback else set())

    def on_duty(self, now_ms: int, zone: ZoneInfo) -> tuple[str, ...]:
        """Return who is on duty, in the order of the shifts; empty where nobody is.

        A shift begins and ends by the clock on the wall: a night in which the clocks change is an hour longer or
        shorter. It belongs to the day on which it begins, and so does a stand-in.
        """
        local = datetime.fromtimestamp(now_ms / 1000, zone)
        minute = local.hour * 60 + local.minute
        found: list[str] = []
        for shift in self.shifts:
            day = _day_of(shift, local.date(), minute)
            if day is not None:
                found += next((one.who for one in self.stand_ins if one.first <= day <= one.last), shift.who)
        return tuple(dict.fromkeys(found))

    def told(self, now_ms: int, zone: ZoneInfo) -> tuple[str, ...]:
        """Return who is to be told now: those on duty, else the fallback."""
        return self.on_duty(now_ms, zone) or ((self.fallback,) if self.fallback else ())

    def gaps(self, now_ms: int, zone: ZoneInfo, days: int = 14) -> list[tuple[int, int]]:
        """Return the stretches of the next days, epoch milliseconds, in which nobody is on duty, to a quarter hour."""
        step = 900_000
        begin = now_ms - now_ms % step
        out: list[tuple[int, int]] = []
        for at in range(begin, begin + days * 86_400_000, step):
            if self.on_duty(at, zone):
                continue
            if out and out[-1][1] == at:
                out[-1] = (out[-1][0], at + step)
            else:
                out.append((at, at + step))
        return out


def _day_of(shift: Shift, today: date, minute: int) -> date | None:
    """Return the day on which a shift began that is under way, None where it is not."""
    yesterday = today - timedelta(days=1)
    if shift.begin < shift.end:
        return today if today.weekday() in shift.days and shift.begin <= minute < shift.end else None
    if minute >= shift.begin and today.weekday() in shift.days:
        return today
    if minute < shift.end and yesterday.weekday() in shift.days:
        return yesterday
    return None


def parse_team(name: str, node: Node) -> Team:
    """Read one team. Raises ConfigError with every problem."""
    node.only("shifts", "overrides", "fallback", "handover")
    problems: list[str] = []
    shifts: list[Shift] = []
    stand_ins: list[StandIn] = []
    overrides = node.get("overrides")
    for one in node.need("shifts").elements():
        try:
            shifts.append(_shift(one))
        except ConfigError as trouble:
            problems += trouble.problems
    for one in overrides.elements() if overrides is not None else []:
        try:
            stand_ins.append(_stand_in(one))
        except ConfigError as trouble:
            problems += trouble.problems
    if problems:
        raise ConfigError(problems)
    fallback, handover = node.get("fallback"), node.get("handover")
    if handover is not None and not isinstance(handover.value, bool):
        raise handover.error("expected true or false")
    return Team(
        name,
        tuple(shifts),
        tuple(stand_ins),
        "" if fallback is None else fallback.text(),
        handover is not None and bool(handover.value),
    )


def names(node: Node) -> tuple[str, ...]:
    """Return one name or several. Raises ConfigError for anything else."""
    found = tuple(one.text() for one in node.elements()) if isinstance(node.value, list) else (node.text(),)
    if not found:
        raise node.error("expected a receiver's name, or a list of them")
    return found


def _shift(node: Node) -> Shift:
    node.only("who", "days", "from", "until")
    days, begin, end = node.get("days"), node.get("from"), node.get("until")
    return Shift(
        names(node.need("who")),
        frozenset(range(7)) if days is None else frozenset(_days(days)),
        0 if begin is None else minute_of_day(begin),
        0 if end is None else minute_of_day(end),
    )


def _days(node: Node) -> Iterator[int]:
    for part in node.elements() if isinstance(node.value, list) else [node]:
        text = part.text().lower()
        if text == "all":
            yield from range(7)
            continue
        first, _, last = text.partition("-")
        if first not in DAYS or (last and last not in DAYS):
            raise part.error(f"{DAYS_FORM}; found '{text}'")
        begin, end = DAYS.index(first), DAYS.index(last or first)
        yield from ((begin + n) % 7 for n in range((end - begin) % 7 + 1))


def _stand_in(node: Node) -> StandIn:
    node.only("date", "from", "until", "who")
    who = names(node.need("who"))
    single = node.get("date")
    if single is not None:
        day = _date(single)
        return StandIn(day, day, who)
    first, last = _date(node.need("from")), _date(node.need("until"))
    if last < first:
        raise node.need("until").error("is before 'from'")
    return StandIn(first, last, who)


def _date(node: Node) -> date:
    value = node.value
    if isinstance(value, date) and not isinstance(value, datetime):
        return value
    try:
        return date.fromisoformat(str(value))
    except ValueError:
        raise node.error(f"{DATE_FORM}; found '{node.plain()}'") from None
