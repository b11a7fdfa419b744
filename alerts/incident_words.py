"""What people read of an incident: opened, grown, worse, still there, over; in Chinese and English."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from alerts.incident_state import Incident
from alerts.inhibition import FOUND
from alerts.rules import LANGUAGES
from devices.transition import ACTIVE, CLEARED, Transition

NAMED = 3  # facilities that a notice names one by one
OPENED, GROWN, WORSE, ALSO, STILL = "opened", "grown", "worse", "also", "still"
_BEFORE = {
    OPENED: {"en": "", "zh": ""},
    GROWN: {"en": "Grown to {size}: ", "zh": "【扩大至{size}】"},
    WORSE: {"en": "Worse, now {severity}: ", "zh": "【升级为{severity}】"},
    ALSO: {"en": "Also: ", "zh": "【新增】"},
    STILL: {"en": "Still open: ", "zh": "【持续未恢复】"},
}
_SEVERITY = {
    "en": {"critical": "critical", "major": "major", "minor": "minor", "info": "info"},
    "zh": {"critical": "紧急", "major": "重要", "minor": "一般", "info": "提示"},
}
_MANY = {"en": "{count} times {title}: {names}{more}{place}", "zh": "{count} 处{title}：{names}{more}{place}"}
_MORE = {"en": " and {count} more", "zh": " 等"}
_OVER = {"en": "Cleared: {text}", "zh": "【解除】{text}"}
_PAST = {"en": "{text}; over after {lasted}", "zh": "{text}；已结束，历时 {lasted}"}
_LENGTH = {"en": ("{0:.0f} s", "{0:.0f} min"), "zh": ("{0:.0f} 秒", "{0:.0f} 分钟")}
_ALL_OVER = {"en": "All of it is over. {text}", "zh": "【全部解除】{text}"}
_MIXED = {"en": "{text}; also: {titles}", "zh": "{text}；另有：{titles}"}
_BEHIND = {"en": " ({size} behind it{alerts})", "zh": "（影响{size}{alerts}）"}
_GATHERED = {"en": "; {count} more alerts gathered here", "zh": "；另有 {count} 条告警归并于此"}
_JOIN = {"en": ", ", "zh": "、"}
_BETWEEN = {"en": "; ", "zh": "；"}


def begun(incident: Incident, heads: Sequence[Transition], why: str, lasted_ms: int | None = None) -> Transition:
    """Return the notice that an incident is there.

    Args:
        incident: which.
        heads: its alerts that stand for themselves.
        why: that it is told.
        lasted_ms: how long they lasted at most, where all of them are over again.
    """
    lead = heads[0] if heads else incident.lead
    message = {}
    for language in LANGUAGES:
        before = _BEFORE[why][language].format(size=_size(incident, language), severity=severity(incident, language))
        message[language] = before + sentence(incident, heads, language)
        if lasted_ms is not None:
            message[language] = _PAST[language].format(text=message[language], lasted=_length(lasted_ms, language))
    return replace(
        lead, alert_id=incident.id, incident=incident.id, state=ACTIVE, severity=incident.severity, message=message,
        turn=0 if incident.turns == 0 else incident.turns + 1,
        values={**lead.values, "devices": float(incident.size), "alerts": float(incident.alerts)},
    )  # fmt: skip


def over(incident: Incident, ended: Transition) -> Transition:
    """Return the notice that an incident is over; ``ended`` is the end of the last alert that stood for itself."""
    if incident.mixed:
        text = {one: _ALL_OVER[one].format(text=ended.message.get(one, "")) for one in LANGUAGES}
        ended = replace(ended, message=text)
    if incident.stood <= 1 or incident.mixed:
        return replace(ended, alert_id=incident.id, incident=incident.id, severity=incident.severity)
    message = {one: _OVER[one].format(text=_many(incident, incident.stood, incident.names, one)) for one in LANGUAGES}
    return replace(
        ended, alert_id=incident.id, incident=incident.id, state=CLEARED, severity=incident.severity, message=message
    )


def sentence(incident: Incident, heads: Sequence[Transition], language: str) -> str:
    """Return what an incident is, in one sentence."""
    lead = heads[0] if heads else incident.lead
    if len(heads) <= 1:
        text = lead.message.get(language) or next(iter(lead.message.values()), lead.rule)
        return text + _behind(incident, language)
    if len({head.rule for head in heads}) > 1:
        titles = dict.fromkeys(head.words.get(language, {}).get("rule") or head.rule for head in heads[1:])
        text = lead.message.get(language) or lead.rule
        return _MIXED[language].format(text=text, titles=_JOIN[language].join(titles))
    return _many(incident, len(heads), incident.names, language)


def severity(incident: Incident, language: str) -> str:
    """Return how grave an incident is, in words."""
    return _SEVERITY[language][incident.severity]


def _many(incident: Incident, count: int, names: Sequence[str], language: str) -> str:
    title = incident.lead.words.get(language, {}).get("rule") or incident.lead.rule
    named = names[:NAMED]
    more = _MORE[language].format(count=count - len(named)) if count > len(named) else ""
    place = _BETWEEN[language] + _JOIN[language].join(
        part for part in (incident.lead.district, incident.keeper) if part
    )
    return _MANY[language].format(
        count=count, title=title, names=_JOIN[language].join(named), more=more, place=place.rstrip("; ；")
    )


def _behind(incident: Incident, language: str) -> str:
    gathered = _GATHERED[language].format(count=incident.suppressed) if incident.suppressed else ""
    if incident.size > 1 and incident.lead.rule not in FOUND:  # that says how many itself
        return _BEHIND[language].format(size=_size(incident, language), alerts=gathered)
    return gathered


def _length(length_ms: int, language: str) -> str:
    seconds, minutes = _LENGTH[language]
    return seconds.format(length_ms / 1000) if length_ms < 120_000 else minutes.format(length_ms / 60_000)


def _size(incident: Incident, language: str) -> str:
    return f"{incident.size} devices" if language == "en" else f" {incident.size} 处设施"
