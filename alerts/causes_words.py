"""What a cause found in the tree is called, and how it is told in Chinese and English."""

from __future__ import annotations

from typing import Any

import numpy as np

from alerts.inhibition import COMMON_CAUSE, common_cause_rule
from alerts.messages import subject
from devices.registry import Registry
from devices.sky import Sky
from devices.transition import ACTIVE, CLEARED, Transition, alert_id

NAMES: dict[str, dict[str, str]] = {
    "breaker": {"en": "breaker tripped", "zh": "断路器跳闸"},
    "supply": {"en": "supply lost", "zh": "供电中断"},
    "contactor": {"en": "contactor open", "zh": "接触器断开"},
    "cable": {"en": "no load: breaker of the circuit or stolen cable", "zh": "回路无负荷：支路跳闸或电缆被盗"},
    "cable_cut": {"en": "cable cut before pole {pole}", "zh": "{pole} 号杆前电缆断开"},
    "phase_loss": {"en": "one phase lost, every third lamp is dark", "zh": "缺相，每三盏灭一盏"},
    "communications": {"en": "communications lost, no sign of a power cut", "zh": "通信中断，无停电迹象"},
    "dark": {"en": "lamps dark together, cause not known", "zh": "成片灭灯，原因不明"},
}
_WHERE = {"en": {"circuit": "circuit {circuit} of {name}"}, "zh": {"circuit": "{name} {circuit} 回路"}}
_TEXT = {
    "en": "{where}: {cause}. {count} of {of} lamps out{boxes} since {since}",
    "zh": "{where}：{cause}。{since} 起 {of} 盏灯中 {count} 盏不亮或失联{boxes}",
}
_BOXES = {"en": " at {count} cabinets", "zh": "，涉及配电箱 {count} 台"}
_OVER = {"en": "Cleared: {where}, {cause}; lasted {minutes} min", "zh": "【解除】{where}：{cause}；历时{minutes}分钟"}
_CITY = {"en": "the whole city", "zh": "全市"}
_PARTS = {"en": "several districts", "zh": "多个辖区"}
WHOLE = 0.9  # so much of the city is all of it


def severity_of(node: str) -> str:
    """Return how grave a cause at a node is: a district or the city is critical."""
    return "critical" if node.startswith(("district:", "city:")) else "major"


def told(
    registry: Registry, sky: Sky, node: str, onset_ms: int, cause: str, about: dict[str, Any], at_ms: int, *,
    over: str = "",
) -> Transition:  # fmt: skip
    """Return the alert on a node of the tree, begun or ended.

    Args:
        registry, sky: for names, places and local time.
        node: ``circuit:…``, ``cabinet:…``, ``district:…`` or ``city:*``.
        onset_ms: when it must have begun, epoch milliseconds.
        cause: one of NAMES.
        about: ``count`` lamps out ``of`` so many, at so many ``boxes``, and the first dark ``pole``.
        at_ms: when this was found.
        over: why it has ended; empty for begun.
    """
    sort, _, name = node.partition(":")
    place = "cabinet" if sort == "circuit" else sort
    box, _, circuit = name.rpartition("/") if sort == "circuit" else (name, "", "")
    where = subject(registry, f"{place}:{box}", "streetlight")
    message: dict[str, str] = {}
    words: dict[str, dict[str, str]] = {}
    since = f"{sky.local_time(onset_ms):%Y-%m-%d %H:%M}"
    for language in ("en", "zh"):
        all_ = about["count"] >= WHOLE * about["of"]
        named = (_CITY if all_ else _PARTS)[language] if sort == "city" else where.name
        if sort == "circuit":
            named = _WHERE[language]["circuit"].format(circuit=circuit, name=where.name)
        known = where.place[language] if sort in ("circuit", "cabinet") and not np.isnan(where.lon) else ""
        full = f"{named} ({known})" if known and language == "en" else f"{known} {named}".strip()
        why = NAMES[cause][language].format(pole=about.get("pole", 0))
        boxes = _BOXES[language].format(count=about["boxes"]) if about.get("boxes", 0) > 1 else ""
        minutes = max(round((at_ms - onset_ms) / 60_000), 0)
        text = _OVER[language] if over else _TEXT[language]
        message[language] = text.format(
            where=full, cause=why, count=about["count"], of=about["of"], boxes=boxes, since=since, minutes=minutes
        )
        title = common_cause_rule().title[language]
        words[language] = {"rule": title, "name": named, "place": known or named, "since": since, "cause": cause}
    values = {"devices": float(about["count"]), "lamps": float(about["of"]), "cabinets": float(about.get("boxes", 0))}
    return Transition(
        alert_id(COMMON_CAUSE, node, onset_ms), COMMON_CAUSE, node, CLEARED if over else ACTIVE, at_ms, onset_ms,
        severity_of(node), message, values, over, "streetlight", where.lon, where.lat,
        name if sort == "district" else where.district, words,
    )  # fmt: skip
