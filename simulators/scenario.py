"""Scenario files: a city, its weather, what goes wrong in it, and what the house must say of it and nothing else.

Everything is checked before anything is played; a mistake names file, line, key and the accepted form.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from alerts.spans import duration_ms
from devices.yamlfile import ConfigError, Node, read_yaml
from simulators.faults import KINDS
from simulators.scenario_choice import CHOICE_FORM, Choice, choice

SIZES = ("lamps", "covers", "stations", "trucks")
USUAL_SIZES = {"lamps": 240, "covers": 60, "stations": 4, "trucks": 0}
MOST = {"lamps": 50_000, "covers": 50_000, "stations": 500, "trucks": 2_000}
LONGEST_MS = 60 * 86_400_000
ALERT_FORM = "expected an entity such as device:cover-012, cover-012, road:…, cabinet:… or city:*; * stands for any"
_LONG = re.compile(r"^(?:\d+(?:\.\d+)?(?:ms|s|m|h|d))+$")
_PART = re.compile(r"\d+(?:\.\d+)?(?:ms|s|m|h|d)")


@dataclass(frozen=True, slots=True)
class Storm:
    """Rain: so many millimetres, from and for how long; milliseconds after the start."""

    at_ms: int
    lasts_ms: int
    rain_mm: float


@dataclass(frozen=True, slots=True)
class Mischief:
    """A fault as written.

    Attributes:
        kind: one of :data:`simulators.faults.KINDS`.
        of: whom it befalls.
        at_ms, lasts_ms: after the start; ``lasts_ms`` 0 for the rest of the scenario.
        magnitude: how much; None for the middle of what the kind allows.
        each: seconds from one device to the next, in the order in which they are chosen.
        place: where it stands, for people.
    """

    kind: str
    of: Choice
    at_ms: int
    lasts_ms: int
    magnitude: float | None
    each_ms: int
    place: str


@dataclass(frozen=True, slots=True)
class Telling:
    """What must, or may, be told.

    Attributes:
        rule, entity: of the alert; both may hold ``*``.
        from_ms, by_ms: after the start, when it must be told.
        times: how many alerts of that form; None for at least one.
        ends_ms: by when all of them must be over; 0 for never.
        place: where it stands.
    """

    rule: str
    entity: str
    from_ms: int
    by_ms: int
    times: int | None
    ends_ms: int
    place: str


@dataclass(frozen=True, slots=True)
class Scenario:
    """One scenario, checked.

    Attributes:
        file: where it was read from.
        title, about: by language.
        seed: of the city and of all noise.
        sizes: lamps, covers, stations, trucks.
        local_start: year, month, day, hour and minute by the city's clock.
        lasts_ms: how long it is.
        history_days: of the pump stations' logs that rules may learn from.
        storms, faults, expect, allow: as written.
    """

    file: Path
    title: dict[str, str]
    about: dict[str, str]
    seed: int
    sizes: dict[str, int]
    local_start: datetime
    lasts_ms: int
    history_days: float
    storms: tuple[Storm, ...]
    faults: tuple[Mischief, ...]
    expect: tuple[Telling, ...]
    allow: tuple[Telling, ...]

    @property
    def name(self) -> str:
        """Return the file's name without its ending, by which people call it."""
        return self.file.stem


def load_scenario(path: Path, rule_ids: Sequence[str] = ()) -> Scenario:
    """Read and check a scenario file.

    Args:
        path: a YAML file.
        rule_ids: the rules that expectations may name; empty to take any.

    Raises:
        ConfigError: with every problem of the file.
    """
    root = read_yaml(path)
    root.only("title", "about", "city", "start", "lasts", "history", "weather", "faults", "expect", "allow")
    problems: list[str] = []

    def each(key: str, read: Callable[[Node], object]) -> list[object]:
        found = []
        node = root.get(key)
        for one in node.elements() if node is not None else ():
            try:
                found.append(read(one))
            except ConfigError as trouble:
                problems.extend(trouble.problems)
        return found

    lasts_ms = length(root.need("lasts"))
    if not 60_000 <= lasts_ms <= LONGEST_MS:
        raise root.need("lasts").error("expected from one minute to 60 days")
    seed, sizes = _city(root.get("city"))
    history = root.get("history")
    storms = each("weather", _storm)
    faults = each("faults", lambda node: _fault(node, lasts_ms))
    expect = each("expect", lambda node: _telling(node, rule_ids, lasts_ms, needed=True))
    allow = each("allow", lambda node: _telling(node, rule_ids, lasts_ms, needed=False))
    about = root.get("about")
    if problems:
        raise ConfigError(problems)
    return Scenario(
        path, _words(root.need("title")), _words(about) if about is not None else {}, seed, sizes,
        _start(root.need("start")), lasts_ms, length(history) / 86_400_000 if history is not None else 0.0,
        tuple(storms), tuple(faults), tuple(expect), tuple(allow),  # type: ignore[arg-type]  # each gives its own
    )  # fmt: skip


def length(node: Node) -> int:
    """Return a length of time such as 40m or 1h30m in milliseconds."""
    text = node.value.replace(" ", "") if isinstance(node.value, str) else ""
    if not _LONG.fullmatch(text):
        return duration_ms(node)
    return sum(duration_ms(Node(part, node.file, node.line, node.path)) for part in _PART.findall(text))


def _words(node: Node) -> dict[str, str]:
    node.only("en", "zh")
    return {language: node.need(language).text() for language in ("en", "zh")}


def _city(node: Node | None) -> tuple[int, dict[str, int]]:
    if node is None:
        return 1, dict(USUAL_SIZES)
    node.only("seed", *SIZES)
    seed = node.get("seed")
    sizes = dict(USUAL_SIZES)
    for name in SIZES:
        one = node.get(name)
        if one is not None:
            sizes[name] = _whole(one, MOST[name])
    return (1 if seed is None else _whole(seed, 2**31)), sizes


def _whole(node: Node, most: int) -> int:
    number = node.number(low=0, high=most)
    if number != int(number):
        raise node.error(f"expected a whole number, found {node.value}")
    return int(number)


def _start(node: Node) -> datetime:
    value = node.value
    try:
        found = value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
    except ValueError as trouble:
        raise node.error(f"expected local time such as \"2026-06-16T22:00\"; found '{value}'") from trouble
    if found.tzinfo is not None:
        raise node.error("expected local time of the city, without a zone")
    return found


def _storm(node: Node) -> Storm:
    node.only("at", "lasts", "rain_mm")
    lasts_ms = length(node.need("lasts"))
    if lasts_ms < 60_000:
        raise node.need("lasts").error("expected a minute at least")
    return Storm(length(node.need("at")), lasts_ms, node.need("rain_mm").number(low=0, high=1000))


def _fault(node: Node, lasts_ms: int) -> Mischief:
    node.only("kind", "of", "at", "lasts", "magnitude", "each")
    kind = node.need("kind").text()
    if kind not in KINDS:
        raise node.need("kind").error(f"no kind of fault '{kind}'; known: {', '.join(sorted(KINDS))}")
    at_ms = length(node.need("at"))
    if at_ms >= lasts_ms:
        raise node.need("at").error("the scenario is over by then, see 'lasts'")
    lasts, size, each = node.get("lasts"), node.get("magnitude"), node.get("each")
    return Mischief(
        kind,
        choice(node.need("of")),
        at_ms,
        0 if lasts is None else length(lasts),
        None if size is None else size.number(),
        0 if each is None else length(each),
        f"{node.file}:{node.line}",
    )


def _telling(node: Node, rule_ids: Sequence[str], lasts_ms: int, *, needed: bool) -> Telling:
    node.only("rule", "entity", "from", "by", "times", "ends")
    rule, entity = node.need("rule").text(), node.need("entity").text()
    if rule_ids and "*" not in rule and rule not in (*rule_ids, "common_cause", "same_place"):
        raise node.need("rule").error(f"no rule '{rule}'; known: {', '.join(rule_ids)}")
    if ":" not in entity and entity != "*":
        entity = f"device:{entity}"
    if entity.endswith(":"):
        raise node.need("entity").error(ALERT_FORM)
    begin, by, times, ends = (node.get(key) for key in ("from", "by", "times", "ends"))
    if needed and by is None:
        raise node.error("the key 'by' is missing: until when it must have been told")
    by_ms = lasts_ms if by is None else length(by)
    from_ms = 0 if begin is None else length(begin)
    if from_ms > by_ms:
        raise node.need("from").error("'from' lies after 'by'")
    return Telling(
        rule,
        entity,
        from_ms,
        by_ms,
        None if times is None else _whole(times, 100_000),
        0 if ends is None else length(ends),
        f"{node.file}:{node.line}",
    )


__all__ = ["CHOICE_FORM", "Mischief", "Scenario", "Storm", "Telling", "length", "load_scenario"]
