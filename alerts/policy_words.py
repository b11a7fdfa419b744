"""What people are told beyond an alert's beginning and end: nobody took it on, it flaps, so much came in so long."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

from devices.transition import ACTIVE, CLEARED, SEVERITIES, Transition

SUMMARY, HANDOVER, FLAPS, STEADY, PROFILE = "summary", "handover", "flapping", "steady", "profile"
UNSHELVED = "unshelved"
PLACES_TOLD, RULES_TOLD = 3, 5
_TITLES: Mapping[str, Mapping[str, str]] = {
    SUMMARY: {"en": "Summary", "zh": "告警汇总"},
    HANDOVER: {"en": "Hand-over", "zh": "交接班"},
    PROFILE: {"en": "Profile switched", "zh": "切换预案"},
}
_LEVEL = {"none": "无", "blue": "蓝色", "yellow": "黄色", "orange": "橙色", "red": "红色"}
_SEVERITY = {
    "critical": {"en": "critical", "zh": "紧急"},
    "major": {"en": "major", "zh": "重要"},
    "minor": {"en": "minor", "zh": "一般"},
    "info": {"en": "info", "zh": "提示"},
}


def escalated(notice: Transition, label: str, minutes: int) -> Transition:
    """Return the notice for the next person of the chain."""
    before = {
        "en": f"Nobody has taken this on for {minutes} min. ",
        "zh": f"已 {minutes} 分钟无人确认。",
    }
    return _with(notice, label, before)


def again(notice: Transition, label: str, minutes: int) -> Transition:
    """Return the notice that an alert is open still."""
    return _with(notice, label, {"en": f"Still open after {minutes} min. ", "zh": f"已持续 {minutes} 分钟，仍未解除。"})


def flaps(notice: Transition, percent: float, changes: int) -> Transition:
    """Return the one notice that stands for all those that flapping would make."""
    after = {
        "en": f" It comes and goes: {changes} changes lately, {percent:.0f} % of change. "
        "No more of it is told until it is steady.",
        "zh": f" 频繁抖动：近期变化 {changes} 次，变化率 {percent:.0f}%。恢复稳定前不再逐条通知。",
    }
    told = {language: text + after.get(language, "") for language, text in notice.message.items()}
    return replace(notice, state=FLAPS, message=told, turn=0)


def steady(notice: Transition, percent: float, *, still_open: bool) -> Transition:
    """Return the notice that flapping has ended."""
    now = ("the alert is open", "告警仍在") if still_open else ("all clear", "已解除")
    words = {
        "en": f"Steady again, {now[0]}: {{rule}}, {{name}} ({percent:.0f} % of change).",
        "zh": f"已恢复稳定，{now[1]}：{{rule}}，{{name}}（变化率 {percent:.0f}%）。",
    }
    told = {}
    for language, text in words.items():
        known = notice.words.get(language, {})
        name = known.get("name") or notice.entity.partition(":")[2]
        told[language] = text.format(rule=known.get("rule") or notice.rule, name=name)
    return replace(notice, state=STEADY, message=told, turn=0)


def unshelved(notice: Transition, until_ms: int) -> Transition:
    """Return the notice that an alert is open when its shelf has ended."""
    before = {"en": "Its time on the shelf is over, and it is still open. ", "zh": "搁置已到期，告警仍在。"}
    return replace(_with(notice, UNSHELVED, before), turn=until_ms // 1000)


def _with(notice: Transition, label: str, before: Mapping[str, str]) -> Transition:
    told = {language: before.get(language, "") + text for language, text in notice.message.items()}
    return replace(notice, state=label, message=told, turn=0)


def summary(
    receiver: str, notices: Sequence[Transition], from_ms: int, now_ms: int, why: str, *, sort: str = SUMMARY
) -> Transition:
    """Return one notice in place of many: how many, of which rules, and the worst places; nothing is left out of it.

    Args:
        receiver: to whom.
        notices: what it stands for; not empty.
        from_ms, now_ms: the time that it is about, epoch milliseconds.
        why: ``flood`` or ``summary``.
        sort: SUMMARY or HANDOVER.
    """
    began = [one for one in notices if one.state != CLEARED]
    over = len(notices) - len(began)
    worst = min((one.severity for one in notices), key=SEVERITIES.index)
    minutes = max(round((now_ms - from_ms) / 60_000), 1)
    message = {
        "en": _english(notices, len(began), over, minutes, why, sort),
        "zh": _chinese(notices, len(began), over, minutes, why, sort),
    }
    named = f"{sort}|{receiver}|{from_ms}|{now_ms}"
    return Transition(
        alert_id=hashlib.blake2s(named.encode(), digest_size=10).hexdigest(),
        rule=sort,
        entity=f"receiver:{receiver}",
        state=sort,
        at_ms=now_ms,
        onset_ms=from_ms,
        severity=worst,
        message=message,
        values={"notices": float(len(notices)), "began": float(len(began)), "ended": float(over)},
        kind=notices[0].kind if len({one.kind for one in notices}) == 1 else "",
        district=notices[0].district if len({one.district for one in notices}) == 1 else "",
        words={language: {"rule": title} for language, title in _TITLES[sort].items()},
    )


def _english(notices: Sequence[Transition], began: int, over: int, minutes: int, why: str, sort: str) -> str:
    if sort == HANDOVER:
        head = f"You are on duty. {began} alerts are open"
    else:
        flood = "A flood of alarms: " if why == "flood" else ""
        head = f"{flood}{began} began and {over} ended within {minutes} min"
    rules, places = _counted(notices, "en")
    grave = "; ".join(f"{number} {_SEVERITY[name]['en']}" for name, number in _severities(notices))
    return f"{head} ({grave}). {rules}. Most at: {places}."


def _chinese(notices: Sequence[Transition], began: int, over: int, minutes: int, why: str, sort: str) -> str:
    if sort == HANDOVER:
        head = f"您已接班。未解除告警 {began} 条"
    else:
        head = f"{'告警风暴：' if why == 'flood' else ''}{minutes} 分钟内新增 {began} 条，解除 {over} 条"
    rules, places = _counted(notices, "zh")
    grave = "，".join(f"{_SEVERITY[name]['zh']} {number}" for name, number in _severities(notices))
    return f"{head}（{grave}）。{rules}。集中于：{places}。"


def _severities(notices: Sequence[Transition]) -> list[tuple[str, int]]:
    found = Counter(one.severity for one in notices if one.state != CLEARED)
    return [(name, found[name]) for name in SEVERITIES if found[name]] or [("info", 0)]


def _counted(notices: Sequence[Transition], language: str) -> tuple[str, str]:
    began = [one for one in notices if one.state != CLEARED] or list(notices)
    titles = Counter(one.words.get(language, {}).get("rule") or one.rule for one in began)
    places = Counter(one.words.get(language, {}).get("place") or one.district or "?" for one in began)
    comma = "、" if language == "zh" else ", "
    return _listed(titles, RULES_TOLD, comma, language), _listed(places, PLACES_TOLD, comma, language)


def _listed(counts: Counter[str], most: int, comma: str, language: str) -> str:
    ranked = sorted(counts.items(), key=lambda one: (-one[1], one[0]))
    told = [f"{name} {number}" for name, number in ranked[:most]]
    rest = sum(number for _, number in ranked[most:])
    if rest:
        told.append(f"其他 {rest}" if language == "zh" else f"others {rest}")
    return comma.join(told)


def switched(name: str, on: bool, level: str, now_ms: int) -> Transition:  # noqa: FBT001 - on or off
    """Return the notice that a profile has come on or gone off; ``level`` is the weather warning's."""
    text = {
        "en": f"Profile {name} is {'on' if on else 'off'}; rules are other from now on. Weather warning: {level}.",
        "zh": f"预案 {name} 已{'启用' if on else '停用'}，规则参数随之切换。气象预警：{_LEVEL.get(level, level)}。",
    }
    named = f"{PROFILE}|{name}|{on}|{now_ms}"
    return Transition(
        alert_id=hashlib.blake2s(named.encode(), digest_size=10).hexdigest(),
        rule=PROFILE,
        entity=f"profile:{name}",
        state=ACTIVE if on else CLEARED,
        at_ms=now_ms,
        onset_ms=now_ms,
        severity="info",
        message=text,
        reason="" if on else "recovered",
        words={language: {"rule": title} for language, title in _TITLES[PROFILE].items()},
    )
