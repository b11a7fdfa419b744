"""A notice as every channel tells it: headline, sentence, facts and links, in the receiver's language."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import quote

from alerts.maps import map_link
from alerts.templates import number
from devices.transition import CLEARED, Transition

_URGENCY = {"critical": "紧急", "major": "重要", "minor": "一般", "info": "提示"}
_LABELS: Mapping[str, Mapping[str, str]] = {
    "en": {
        "place": "Place",
        "name": "Facility",
        "rule": "Rule",
        "value": "Value",
        "threshold": "Threshold",
        "since": "Since",
        "map": "Map",
        "trend": "Trend",
        "console": "Console",
    },
    "zh": {
        "place": "地点",
        "name": "设施",
        "rule": "规则",
        "value": "数值",
        "threshold": "阈值",
        "since": "开始时间",
        "map": "地图",
        "trend": "趋势",
        "console": "控制台",
    },
}


@dataclass(frozen=True, slots=True)
class Notice:
    """What a receiver is told. All words are as the registry and the rules have them: each channel escapes its own way.

    Attributes:
        key: the idempotency key.
        title: how grave, or that it is over.
        headline: the title and the rule's.
        text: the rule's sentence.
        facts: what is known, by its name.
        links: address by name; addresses are made of settings and numbers only.
        mood: ``critical``, ``major``, ``minor``, ``info`` or ``cleared``.
        colon: between a name and what it names.
    """

    key: str
    title: str
    headline: str
    text: str
    facts: tuple[tuple[str, str], ...]
    links: tuple[tuple[str, str], ...]
    mood: str
    colon: str


def title_of(transition: Transition, language: str) -> str:
    """Return the headline: how grave, or that it is over."""
    if language == "zh":
        return "【已解除】点灯人" if transition.state == CLEARED else f"【{_URGENCY[transition.severity]}】点灯人告警"
    return (
        "Cleared · Lamplighter" if transition.state == CLEARED else f"{transition.severity.capitalize()} · Lamplighter"
    )


def text_of(transition: Transition, language: str) -> str:
    """Return the sentence: in the receiver's language, else in any."""
    return transition.message.get(language) or next(iter(transition.message.values()), transition.rule)


def notice_of(transition: Transition, language: str, key: str, maps: str = "osm", console: str = "") -> Notice:
    """Return what a receiver is told of a transition.

    Args:
        transition: what has changed.
        language: ``en`` or ``zh``.
        key: the idempotency key.
        maps: as alerts.maps.map_template takes it.
        console: where people find the console; empty for nowhere.
    """
    words = transition.words.get(language, {})
    label = _LABELS[language]
    values: dict[str, str] = {}
    for name in ("value", "threshold"):
        if name in transition.values:
            values[name] = number(transition.values[name])
    known: dict[str, str] = {
        "place": words.get("place") or transition.district,
        "name": words.get("name") or transition.entity.partition(":")[2],
        "rule": words.get("rule") or transition.rule,
        **values,
        "since": words.get("since", ""),
    }
    title = title_of(transition, language)
    links = {"map": map_link(maps, transition.lon, transition.lat), **_console(transition, console)}
    return Notice(
        key=key,
        title=title,
        headline=f"{title} · {known['rule']}",
        text=text_of(transition, language),
        facts=tuple((label[name], value) for name, value in known.items() if value),
        links=tuple((label[name], address) for name, address in links.items() if address),
        mood="cleared" if transition.state == CLEARED else transition.severity,
        colon="：" if language == "zh" else ": ",
    )


def _console(transition: Transition, console: str) -> dict[str, str]:
    """Return the link into the console: to a device with its curves, else to the city."""
    sort, _, name = transition.entity.partition(":")
    if console and sort == "device":
        return {"trend": f"{console.rstrip('/')}/#asset={quote(name, safe='')}"}
    return {"console": console}


def clean(text: str, longest: int) -> str:
    """Return text on one line, without characters that are no writing, and of at most so many characters."""
    shown = "".join(
        " " if unicodedata.category(char) in ("Cc", "Cf", "Cs", "Co", "Zl", "Zp") else char for char in text
    )
    line = " ".join(shown.split())
    return line if len(line) <= longest else f"{line[: longest - 1]}…"
