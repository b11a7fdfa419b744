"""What several trucks in the same trouble at one place are told as: how near, how many, how soon, in which words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf
from typing import Protocol

from alerts.rules import LANGUAGES, Rule
from alerts.spans import duration_ms
from devices.transition import SEVERITIES
from devices.yamlfile import Node

SAME_PLACE = "same_place"  # the rule that alerts on such a place bear (alerts/causes_places.py)
_KEYS = ("cause", "rules", "above", "devices", "times", "within_m", "window", "severity", "title", "message", "source")


class Means(Protocol):
    """Rules as a file names them."""

    def matches(self, rule: Rule) -> bool:
        """Return whether a rule is meant."""


@dataclass(frozen=True, slots=True)
class PlaceCause:
    """What several trucks in the same trouble at one place are told as, once.

    Attributes:
        name: of the cause.
        rules: whose alerts are looked at.
        above: figures that such an alert must have above these.
        devices, times: so many different trucks, and so many alerts of theirs, are one cause.
        within_m, window_ms: when they begin so near each other, within so long; it is over when none has for as long.
        severity, title, message: as people are told; ``{count}``, ``{names}`` and ``{since}`` are filled in.
    """

    name: str
    rules: Sequence[Means]
    above: dict[str, float]
    devices: int
    times: int
    within_m: float
    window_ms: int
    severity: str
    title: dict[str, str]
    message: dict[str, str]

    def fits(self, values: Mapping[str, float]) -> bool:
        """Return whether an alert with these figures is one of those that are looked at."""
        return all(values.get(name, -inf) > least for name, least in self.above.items())


def place_cause(node: Node, rules: Sequence[Means]) -> PlaceCause:
    """Check one entry of ``places``. Raises ConfigError naming file, line and key."""
    node.only(
        "cause", "rules", "above", "devices", "times", "within_m", "window", "severity", "title", "message", "source"
    )
    source, above = node.get("source"), node.get("above")
    if source is not None:
        source.text()
    devices, times = (_whole(node, name, usual) for name, usual in (("devices", 3), ("times", 0)))
    message = {language: node.need("message").need(language) for language in LANGUAGES}
    for text in message.values():
        try:
            text.text().format(count=0, names="", since="")
        except (KeyError, IndexError, ValueError):
            raise text.error("only {count}, {names} and {since} are filled in") from None
    return PlaceCause(
        node.need("cause").text(),
        rules,
        {} if above is None else {name: one.number() for name, one in above.items()},
        devices,
        max(times, devices),
        node.need("within_m").number(low=1, high=100_000),
        duration_ms(node.need("window")),
        node.need("severity").text(one_of=SEVERITIES),
        {language: node.need("title").need(language).text() for language in LANGUAGES},
        {language: text.text() for language, text in message.items()},
    )


def _whole(node: Node, key: str, usual: int) -> int:
    found = node.get(key)
    if found is None:
        return usual
    number = found.number(low=2, high=1000)
    if number != int(number):
        raise found.error(f"expected a whole number, found {number:g}")
    return int(number)


def same_place_rule() -> Rule:
    """Return the rule that alerts on a place bear, at which several trucks are in the same trouble."""
    title = {"en": "Several at one place", "zh": "同地多发"}
    return Rule(SAME_PLACE, "same_place", "truck", None, SEVERITIES[1], {}, 0, 0, None, "", title)
