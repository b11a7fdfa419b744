"""How a common cause is found among lamps: shares, windows, and the conditions that say dark, powerless, closed."""

from __future__ import annotations

from dataclasses import dataclass

from alerts.expressions import Condition, condition
from alerts.spans import duration_ms
from devices.kinds import Catalog
from devices.yamlfile import ConfigError, Node


@dataclass(frozen=True, slots=True)
class Sign:
    """What a cabinet's own telemetry says: the cause that it names, when, and in which words."""

    cause: str
    when: Condition
    words: dict[str, str]


@dataclass(frozen=True, slots=True)
class Watched:
    """Devices of one role, over their latest values.

    Attributes:
        device, role: which.
        while_: judged only while this holds.
        out: of lamps, dark although they should burn; None for cabinets.
        fed: of lamps, they have supply all the same; None where nothing says so.
        signs: of cabinets, in the order in which they are looked at.
    """

    device: str
    role: str
    while_: Condition
    out: Condition | None = None
    fed: Condition | None = None
    signs: tuple[Sign, ...] = ()


@dataclass(frozen=True, slots=True)
class CauseSettings:
    """How causes are looked for.

    Attributes:
        every_ms: how often, in host time.
        least, share: a node explains when at least ``least`` of its lamps and at least this share are out together.
        window_ms: together means within this span.
        hold_ms: how long it must explain before people hear of it.
        restrike_ms: how long where most of its dark lamps have supply: after a dip discharge lamps must cool down.
        clear_share, keep_ms: it is over when less than this share has been out for so long.
        lamp, cabinet: who is looked at.
    """

    every_ms: int
    least: int
    share: float
    window_ms: int
    hold_ms: int
    restrike_ms: int
    clear_share: float
    keep_ms: int
    lamp: Watched
    cabinet: Watched


def cause_settings(node: Node, catalog: Catalog) -> CauseSettings:
    """Check the section ``causes``. Raises ConfigError naming file, line and key."""
    node.only("every", "least", "share", "window", "hold", "restrike", "clear_share", "keep", "lamp", "cabinet")
    least, share = _number(node, "least", 3, 2, 1000), _number(node, "share", 0.3, 0.01, 1.0)
    clear_share = _number(node, "clear_share", 0.1, 0.0, 1.0)
    if clear_share >= share:
        raise (node.get("clear_share") or node).error(f"must lie below share, {share:g}; found {clear_share:g}")
    if least != int(least):
        raise (node.get("least") or node).error(f"expected a whole number of lamps, found {least:g}")
    return CauseSettings(
        _duration(node, "every", 10_000),
        int(least),
        share,
        _duration(node, "window", 120_000),
        _duration(node, "hold", 60_000),
        _duration(node, "restrike", 1_320_000),
        clear_share,
        _duration(node, "keep", 120_000),
        _watched(node.need("lamp"), catalog, lamp=True),
        _watched(node.need("cabinet"), catalog, lamp=False),
    )


def _watched(node: Node, catalog: Catalog, *, lamp: bool) -> Watched:
    node.only("device", "role", "while", *(("out", "fed") if lamp else ("signs",)))
    device = node.need("device").text(one_of=tuple(catalog.kinds))
    kind = catalog[device]
    role = node.need("role").text(one_of=kind.roles)
    while_ = condition(node.need("while"), kind, role)
    if lamp:
        fed = node.get("fed")
        supply = None if fed is None else condition(fed, kind, role)
        return Watched(device, role, while_, condition(node.need("out"), kind, role), supply)
    signs, problems = [], []
    for one in node.need("signs").elements():
        try:
            one.only("cause", "when", "en", "zh")
            words = {language: one.need(language).text() for language in ("en", "zh")}
            signs.append(Sign(one.need("cause").text(), condition(one.need("when"), kind, role), words))
        except ConfigError as trouble:
            problems += trouble.problems
    if problems:
        raise ConfigError(problems)
    return Watched(device, role, while_, signs=tuple(signs))


def _number(node: Node, key: str, usual: float, low: float, high: float) -> float:
    found = node.get(key)
    return usual if found is None else found.number(low=low, high=high)


def _duration(node: Node, key: str, usual: int) -> int:
    found = node.get(key)
    return usual if found is None else duration_ms(found)
