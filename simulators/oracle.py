"""The slow twin of the engine: expression and offline rules, one reading at a time, in plain ifs.

It shares nothing with the engine but the rules as read: expressions are walked anew for every reading, and each device
has a small record instead of a place in columns. Tests hold the two together.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from alerts.rules import Rule, RuleSet
from devices.kinds import Kind
from devices.payloads import FUTURE_MS
from devices.registry import Asset, Registry
from devices.sky import Sky
from simulators.plain_expressions import Value, truth_of


class Told(NamedTuple):
    """One transition, as far as the twin is concerned with it."""

    rule: str
    entity: str
    state: str
    at_ms: int
    onset_ms: int
    reason: str


@dataclass
class _Device:
    row: int
    asset: Asset
    report_ms: float
    time_ms: int | None = None
    seen_ms: int | None = None
    last: dict[str, float] = field(default_factory=dict)


@dataclass
class _Case:
    """One expression rule on one device."""

    state: str = "rest"
    pend_ms: int = 0
    clear_ms: int = 0
    last_ms: int = 0
    heard_ms: int = 0
    seen: int = 0


@dataclass
class _Silence:
    """One offline rule on one device."""

    offline: bool = False
    onset_ms: int = 0
    heard: int = 0
    since_ms: int | None = None
    known_ms: int | None = None
    looked_ms: int | None = None


class Oracle:
    """Judges readings one at a time.

    Args:
        rules, registry, sky, away_ms: as the engine takes them; rules of other kinds are passed over.
    """

    def __init__(self, rules: RuleSet, registry: Registry, sky: Sky, away_ms: int = 60_000) -> None:
        self._registry, self._sky, self._away_ms = registry, sky, away_ms
        self._rules = list(rules)
        self._now_ms: int | None = None
        self._resumed_ms = 0
        self._devices: dict[int, _Device] = {}
        for row, asset in enumerate(registry.assets):
            kind = registry.catalog[asset.kind]
            self._devices[row] = _Device(row, asset, kind.report_s[kind.roles.index(asset.role)] * 1000)
        self._cases: dict[tuple[str, int], _Case] = {}
        self._silences: dict[tuple[str, int], _Silence] = {}

    def begin(self, now_ms: int) -> None:
        """A step begins: look at the clock."""
        before = self._now_ms
        if before is None or now_ms < before or now_ms - before > self._away_ms:
            self._resumed_ms = now_ms
            for device in self._devices.values():
                if device.seen_ms is not None and device.seen_ms > now_ms:
                    device.seen_ms = now_ms
                if device.time_ms is not None and device.time_ms > now_ms + FUTURE_MS:
                    device.time_ms = now_ms - FUTURE_MS
        self._now_ms = now_ms

    def reading(
        self, row: int, time_ms: int, values: Mapping[str, float], now_ms: int, *, late: bool, ahead: bool = False
    ) -> list[Told]:
        """Judge one reading of the device at registry row ``row``; ``values`` holds what it reports.

        One whose own clock was too far ahead is judged as of its arrival, whatever the device said before.
        """
        device = self._devices[row]
        device.seen_ms = now_ms
        out: list[Told] = []
        for rule in self._rules:
            if rule.kind == "offline" and rule.device == device.asset.kind and rule.role in (None, device.asset.role):
                out += self._heard_again(rule, device, now_ms)
        if late or (device.time_ms is not None and time_ms <= device.time_ms and not ahead):
            return out
        device.time_ms = time_ms
        kind = self._registry.catalog[device.asset.kind]
        trusted = {}
        for one in kind.fields:
            value = values.get(one.name)
            if value is not None and value == value and one.low <= value <= one.high:  # noqa: PLR0124 - NaN
                trusted[one.name] = value
        device.last.update(trusted)
        for rule in self._rules:
            if rule.device == kind.name and rule.kind == "expression" and device.asset.role in rule.params.roles:
                seen = dict(device.last) if rule.params.carry else trusted
                out += self._judge(rule, device, kind, seen, time_ms, now_ms)
        return out

    def _judge(  # noqa: PLR0911 - plain ifs are the point
        self, rule: Rule, device: _Device, kind: Kind, seen: dict[str, float], time_ms: int, now_ms: int
    ) -> list[Told]:
        case = self._cases.setdefault((rule.id, device.row), _Case())
        look = self._look_up(device, kind, seen, time_ms)
        yes = truth_of(rule.params.on.text, look, kind)
        hold_ms = rule.params.hold.of(device.report_ms / 1000)
        apart = not 0 <= time_ms - case.last_ms <= hold_ms
        if case.state in ("rest", "waiting"):
            if yes is None:
                return []
            if yes is False:
                case.state = "rest"
                return []
            if case.state == "rest" or apart:
                case.state, case.pend_ms, case.seen = "waiting", time_ms, 1
            else:
                case.seen += 1
            case.last_ms, case.heard_ms = time_ms, now_ms
            if time_ms - case.pend_ms >= rule.for_ms and case.seen >= rule.params.samples:
                case.state = "firing"
                return [self._told(rule, device, "active", time_ms, case.pend_ms)]
            return []
        if rule.params.off is None:
            over = None if yes is None else not yes
        else:
            over = truth_of(rule.params.off.text, look, kind)
        if over is None:
            return []
        case.last_ms, case.heard_ms = time_ms, now_ms
        if over is False:
            case.state = "firing"
            return []
        if case.state == "firing" or apart:
            case.state, case.clear_ms = "clearing", time_ms
        if time_ms - case.clear_ms >= rule.keep_ms:
            case.state = "rest"
            return [self._told(rule, device, "cleared", time_ms, case.pend_ms, "recovered")]
        return []

    def tick(self, now_ms: int) -> list[Told]:
        """Let time pass."""
        out: list[Told] = []
        for rule in self._rules:
            for device in self._devices.values():
                if device.asset.kind != rule.device:
                    continue
                if rule.kind == "expression" and (rule.id, device.row) in self._cases:
                    out += self._wait(rule, device, self._cases[rule.id, device.row], now_ms)
                elif rule.kind == "offline" and rule.role in (None, device.asset.role):
                    out += self._miss(rule, device, now_ms)
        return out

    def _wait(self, rule: Rule, device: _Device, case: _Case, now_ms: int) -> list[Told]:
        if case.state == "rest":
            return []
        if self._resumed_ms == now_ms and case.heard_ms > now_ms:
            case.heard_ms = now_ms
        silent = max(now_ms - max(case.heard_ms, self._resumed_ms), 0)
        lost_ms = rule.params.lost_after.of(device.report_ms / 1000)
        if silent <= rule.params.hold.of(device.report_ms / 1000):
            reached = case.last_ms + silent
            if case.state == "waiting" and reached - case.pend_ms >= rule.for_ms and case.seen >= rule.params.samples:
                case.state = "firing"
                at_ms = max(case.pend_ms + rule.for_ms, case.last_ms)
                return [self._told(rule, device, "active", at_ms, case.pend_ms)]
            if case.state == "clearing" and reached - case.clear_ms >= rule.keep_ms:
                case.state = "rest"
                at_ms = max(case.clear_ms + rule.keep_ms, case.last_ms)
                return [self._told(rule, device, "cleared", at_ms, case.pend_ms, "recovered")]
        if silent > lost_ms:
            was, case.state = case.state, "rest"
            if was != "waiting":
                return [self._told(rule, device, "cleared", now_ms, case.pend_ms, "data_lost")]
        return []

    def _heard_again(self, rule: Rule, device: _Device, now_ms: int) -> list[Told]:
        silence = self._silences.get((rule.id, device.row))
        if silence is None or not silence.offline:
            return []
        silence.heard += 1
        if silence.heard < rule.params.reports:
            return []
        silence.offline = False
        return [self._told(rule, device, "cleared", now_ms, silence.onset_ms, "recovered")]

    def _miss(self, rule: Rule, device: _Device, now_ms: int) -> list[Told]:
        silence = self._silences.setdefault((rule.id, device.row), _Silence())
        if silence.known_ms is None:
            silence.known_ms = now_ms
        if rule.params.while_ is not None and not self._looks(silence, now_ms):
            return []
        after = rule.params.after.of(device.report_ms / 1000)
        held = True
        start = self._resumed_ms if device.seen_ms is None else max(device.seen_ms, self._resumed_ms)
        if rule.params.while_ is not None:
            kind = self._registry.catalog[rule.device]
            held = truth_of(rule.params.while_.text, self._look_up(device, kind, device.last, now_ms), kind) is True
            if not held:
                silence.since_ms = None
            else:
                if silence.since_ms is None:
                    silence.since_ms = now_ms
                start = max(start, silence.since_ms)
        if device.seen_ms is None or start > device.seen_ms:
            after = max(after, round(2 * device.report_ms))
        if device.seen_ms is None and rule.params.never_heard_after_ms:
            after = max(after, rule.params.never_heard_after_ms)
            start = max(start, silence.known_ms)
        if silence.offline:
            if silence.heard > 0 and now_ms - start > after:
                silence.heard = 0
            return []
        if not held or now_ms - start < after:
            return []
        if device.seen_ms is None and not rule.params.never_heard_after_ms:
            return []
        silence.offline, silence.heard = True, 0
        silence.onset_ms = silence.known_ms if device.seen_ms is None else device.seen_ms
        return [self._told(rule, device, "active", start + after, silence.onset_ms)]

    def _looks(self, silence: _Silence, now_ms: int) -> bool:
        """Return whether the rule's condition is looked at now: every ten seconds, and after a pause."""
        rested = silence.looked_ms is not None and now_ms < silence.looked_ms + 10_000
        if rested and now_ms != self._resumed_ms:
            return False
        silence.looked_ms = now_ms
        return True

    def _look_up(
        self, device: _Device, kind: Kind, values: Mapping[str, float], time_ms: int
    ) -> Callable[[str], Value]:
        sky, row = self._sky, device.row
        fields = {one.name for one in kind.fields}

        def look(name: str) -> Value:  # noqa: PLR0911 - plain ifs are the point
            if name in fields:
                return values.get(name)
            if name == "expected_on":
                return float(sky.expected_on([row], time_ms)[0])
            if name == "on_for_min":
                burning = int(sky.switched_on_for_ms([row], time_ms)[0])
                return -1.0 if burning < 0 else burning / 60_000
            if name == "off_for_min":
                dark = int(sky.switched_off_for_ms([row], time_ms)[0])
                return -1.0 if dark < 0 else dark / 60_000
            if name == "sun_altitude_deg":
                return float(sky.sun_altitude_deg(time_ms))
            if name == "local_hour":
                return int(sky.local_minute(time_ms)) / 60
            return device.asset.facts.get(name)

        return look

    def _told(self, rule: Rule, device: _Device, state: str, at_ms: int, onset_ms: int, reason: str = "") -> Told:
        return Told(rule.id, f"device:{device.asset.id}", state, at_ms, onset_ms, reason)
