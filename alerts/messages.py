"""What a crew is told: an alert's beginning or end put into words, with the place, the reason and the numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from alerts.rules import LANGUAGES, Rule
from alerts.templates import render
from devices.registry import PLACES, Asset, Registry
from devices.sky import Sky
from devices.transition import ACTIVE, CLEARED, Transition, alert_id

_REASONS = {
    "recovered": {"en": "recovered", "zh": "已恢复"},
    "data_lost": {"en": "no more data", "zh": "数据中断"},
    "rule_changed": {"en": "the rule was changed", "zh": "规则已变更"},
    "permit_ended": {"en": "its permit has ended", "zh": "许可已到期"},
    "schedule_off": {"en": "switched off by schedule", "zh": "按时关灯"},
}
_NOWHERE = {"en": "place unknown", "zh": "位置未知"}
_OVER = {
    "en": ("Cleared: {0}, {1}; {2}, lasted {3}", ", "),
    "zh": ("【解除】{0}：{1}；{2}，历时{3}", "，"),
}


_STAYS = {"en": "; the alert stays until somebody resets it", "zh": "；告警保持，须人工复位"}


@dataclass(frozen=True, slots=True)
class Subject:
    """What an alert is about, in words and on the map.

    Attributes:
        name, id: what people call it and what the system calls it.
        place: by language, from the small to the large.
        lon, lat: degrees, NaN where unknown; of a road, cabinet or cell the middle of its members.
    """

    name: str
    id: str
    place: dict[str, str]
    district: str
    street: str
    road: str
    cabinet: str
    lon: float
    lat: float


def subject(registry: Registry, entity: str, kind: str) -> Subject:
    """Return what is known of ``entity`` (``device:…``, or ``road:…`` and the like, a place column of ``kind``)."""
    sort, _, label = entity.partition(":")
    if sort == "device":
        row = registry.row.get(label)
        return _of_asset(registry.assets[row], label) if row is not None else _unknown(label)
    if sort not in PLACES:
        return _unknown(label)
    members = _members(registry, sort, label, kind)
    if not len(members):
        return _unknown(label)
    lon, lat = registry.lon[members], registry.lat[members]
    known = ~(np.isnan(lon) | np.isnan(lat))
    middle = (float(lon[known].mean()), float(lat[known].mean())) if known.any() else (float("nan"), float("nan"))
    like = {place: _most(registry, place, members) for place in PLACES}
    like[sort] = label
    name = label
    if sort == "cabinet" and label in registry.row:
        name = registry.assets[registry.row[label]].name or label
    words = [like["street"], like["district"]] if sort == "road" else [like["road"], like["district"]]
    places = (like["district"], like["street"], like["road"], like["cabinet"])
    return Subject(name, label, _place(words), *places, *middle)


def compose(
    rule: Rule,
    registry: Registry,
    entity: str,
    values: Mapping[str, float],
    onset_ms: int,
    sky: Sky,
    *,
    cleared_ms: int | None = None,
    reason: str = "",
) -> dict[str, str]:
    """Return the message by language.

    Args:
        rule: whose template is filled in.
        registry: where names and places stand.
        entity: what the alert is about.
        values: numbers for the template; ``value`` and ``threshold`` among them where the rule has such.
        onset_ms: when the condition first held, epoch milliseconds.
        sky: for local time.
        cleared_ms: when it ended, epoch milliseconds; the message then says that it is over.
        reason: why it ended.
    """
    return _compose(
        rule, subject(registry, entity, rule.device), values, onset_ms, sky, cleared_ms=cleared_ms, reason=reason
    )


def transition(
    rule: Rule,
    registry: Registry,
    sky: Sky,
    entity: str,
    state: str,
    at_ms: int,
    onset_ms: int,
    values: Mapping[str, float],
    reason: str = "",
    where: tuple[float, float] | None = None,
) -> Transition:
    """Return the transition of ``rule`` on ``entity`` with everything that storage and people want to know.

    Args:
        rule, registry, sky, entity, values: as for :func:`compose`.
        state: ACTIVE or CLEARED.
        at_ms: event time of the transition, epoch milliseconds.
        onset_ms: event time at which the condition first held.
        reason: why it cleared; ``recovered`` when left empty.
        where: (lon, lat) in degrees where it is known better than from the registry, as of a truck.
    """
    about = subject(registry, entity, rule.device)
    if state == CLEARED and not reason:
        reason = "recovered"
    cleared_ms = at_ms if state == CLEARED else None
    lon, lat = where if where is not None and not np.isnan(where).any() else (about.lon, about.lat)
    return Transition(
        alert_id=alert_id(rule.id, entity, onset_ms),
        rule=rule.id,
        entity=entity,
        state=state,
        at_ms=at_ms,
        onset_ms=onset_ms,
        severity=rule.severity,
        message=_compose(rule, about, values, onset_ms, sky, cleared_ms=cleared_ms, reason=reason),
        values={name: float(value) for name, value in values.items()},
        reason="" if state == ACTIVE else reason,
        kind=rule.device,
        lon=lon,
        lat=lat,
        district=about.district,
        words=_words(rule, about, onset_ms, sky),
        latch=rule.latch,
        event=rule.event,
    )


def _compose(
    rule: Rule,
    about: Subject,
    values: Mapping[str, float],
    onset_ms: int,
    sky: Sky,
    *,
    cleared_ms: int | None,
    reason: str,
) -> dict[str, str]:
    told = {}
    for language in LANGUAGES:
        title = rule.title.get(language, rule.id)
        place = about.place[language]
        if cleared_ms is not None:
            why = _REASONS.get(reason, {}).get(language, reason)
            lasted = _length((cleared_ms - onset_ms) / 60_000, language)
            text, comma = _OVER[language]
            where = comma.join([about.name, place] if place != _NOWHERE[language] else [about.name])
            told[language] = text.format(title, where, why, lasted) + (_STAYS[language] if rule.latch else "")
            continue
        words = {
            "name": about.name,
            "id": about.id,
            "place": place,
            "road": about.road,
            "street": about.street,
            "district": about.district,
            "cabinet": about.cabinet,
            "since": f"{sky.local_time(onset_ms):%Y-%m-%d %H:%M}",
            "rule": title,
        }
        told[language] = render(rule.message[language], words, values)
    return told


def _words(rule: Rule, about: Subject, onset_ms: int, sky: Sky) -> dict[str, dict[str, str]]:
    since = f"{sky.local_time(onset_ms):%Y-%m-%d %H:%M}"
    return {
        language: {
            "rule": rule.title.get(language, rule.id),
            "name": about.name,
            "place": about.place[language],
            "since": since,
        }
        for language in LANGUAGES
    }


def _length(minutes: float, language: str) -> str:
    minutes = max(minutes, 0.0)
    units = {"zh": ("分钟", "小时", "天"), "en": (" min", " h", " d")}[language]
    if minutes < 100:
        return f"{minutes:.0f}{units[0]}"
    return f"{minutes / 60:.1f}{units[1]}" if minutes < 48 * 60 else f"{minutes / 1440:.1f}{units[2]}"


def _of_asset(asset: Asset, label: str) -> Subject:
    words = [asset.road or asset.street, asset.street if asset.road else "", asset.district]
    further = [word for word in words if word not in asset.name]  # "Binhe Road cabinet 2" says its road already
    words = further or words
    places = (asset.district, asset.street, asset.road, asset.cabinet)
    return Subject(asset.name or label, label, _place(words), *places, float(asset.lon), float(asset.lat))


def _unknown(label: str) -> Subject:
    return Subject(label, label, _place([]), "", "", "", "", float("nan"), float("nan"))


def _place(words: list[str]) -> dict[str, str]:
    """Return a place by language: English from the small to the large, Chinese the other way round."""
    known = list(dict.fromkeys(word for word in words if word))
    return {"en": ", ".join(known) or _NOWHERE["en"], "zh": " ".join(reversed(known)) or _NOWHERE["zh"]}


def _members(registry: Registry, place: str, label: str, kind: str) -> np.ndarray[tuple[int], np.dtype[np.intp]]:
    group = registry.group(place)
    if label not in group.names:
        return np.zeros(0, dtype=np.intp)
    of_kind = registry.kind == registry.catalog[kind].index
    return np.flatnonzero((group.code == group.names.index(label)) & of_kind)


def _most(registry: Registry, place: str, members: np.ndarray[tuple[int], np.dtype[np.intp]]) -> str:
    group = registry.group(place)
    codes = group.code[members]
    codes = codes[codes >= 0]
    return group.names[int(np.bincount(codes).argmax())] if len(codes) else ""
