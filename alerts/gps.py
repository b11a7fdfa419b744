"""Positions that cannot be true: a receiver that jumps, rides elsewhere, or stands still while its truck drives.

Speed comes from the Doppler shift or the wheels, position from the ranges; what is said of the one is tested by the
other: step by step, and by dead reckoning over minutes, which finds a position that is led away bit by bit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from alerts.keys import Keys
from alerts.reckoning import Fixes, GateParams, Reckoning
from alerts.rules import Rule
from alerts.truckwatch import Floats, Mask, Sight, TruckJudge
from devices.kinds import Kind
from devices.registry import Registry
from devices.sky import Sky
from devices.yamlfile import Node

VALUES = ("step_m", "driven_m", "repeats")
_LEAST_S = 15.0  # two fixes nearer in time than this say little of speed: a corner's extra report
_KMH = 3.6
# Wider and slower to follow than the route's: what is sought is half a kilometre, not a street's width.
_GATE = GateParams(gate_m=120.0, blend=0.15, blend_away=0.15)


@dataclass(frozen=True, slots=True)
class GpsParams:
    """Settings of the rule.

    Attributes:
        wild_kmh: a step that differs so much from the reported speed is a jump,
        jump_m: if it is this long at least; bursts of bias between houses are shorter.
        within_ms: two jumps within so long are trouble.
        far_m, max_kmh: one step this long, and quicker than any truck, is enough.
        repeats, driven_m: the very same position so often again while so many metres were driven.
        misled_m, misled_ms: dead reckoning contradicts the position by so much, for so long: it is led away.
        clean_ms: trouble is over when there was none for so long.
    """

    wild_kmh: float = 60.0
    jump_m: float = 250.0
    within_ms: int = 600_000
    far_m: float = 1_000.0
    max_kmh: float = 160.0
    repeats: int = 3
    driven_m: float = 200.0
    misled_m: float = 250.0
    misled_ms: int = 120_000
    clean_ms: int = 600_000


def parse(own: Node, kind: Kind, role: str | None) -> GpsParams:  # noqa: ARG001 - every kind of rule is asked alike
    """Check the rule's own keys. Raises ConfigError naming file, line, key and the accepted form."""
    missing = [name for name in ("lon_deg", "lat_deg", "speed_kmh") if name not in kind.field_names()]
    if missing:
        raise own.error(f"{kind.name} reports no {' and no '.join(missing)}: its positions cannot be tested")
    plain = GpsParams()
    keys = Keys(
        own,
        "wild_kmh",
        "jump_m",
        "within",
        "far_m",
        "max_kmh",
        "repeats",
        "driven_m",
        "misled_m",
        "misled_for",
        "clean",
    )
    params = GpsParams(
        keys.number("wild_kmh", plain.wild_kmh, 1, 1000),
        keys.number("jump_m", plain.jump_m, 1, 100_000),
        keys.length("within", plain.within_ms),
        keys.number("far_m", plain.far_m, 1, 1_000_000),
        keys.number("max_kmh", plain.max_kmh, 10, 2000),
        keys.whole("repeats", plain.repeats, 1, 1000),
        keys.number("driven_m", plain.driven_m, 0, 100_000),
        keys.number("misled_m", plain.misled_m, 1, 100_000),
        keys.length("misled_for", plain.misled_ms),
        keys.length("clean", plain.clean_ms),
    )
    keys.done()
    return params


class GpsJudge(TruckJudge):
    """The rule over all trucks."""

    WANTED: ClassVar[tuple[str, ...]] = ("heading_deg",)
    COLUMNS: ClassVar[dict[str, tuple[type, float]]] = {
        "last_e": (float, np.nan), "last_n": (float, np.nan), "last_kmh": (float, np.nan), "fix_ms": (int, 0),
        "jump_ms": (int, 0), "same": (int, 0), "same_m": (float, 0.0), "event_ms": (int, 0),
    }  # fmt: skip

    def __init__(self, rule: Rule, registry: Registry, sky: Sky) -> None:
        super().__init__(rule, registry, sky)
        self.params: GpsParams = rule.params
        self.reckoning = Reckoning(len(self.rows), _GATE)
        self.state.update({f"gate_{name}": column for name, column in self.reckoning.state.items()})

    def look(self, sight: Sight) -> tuple[Mask, Mask, dict[str, Floats]]:
        """Return which trucks' positions cannot be true, and which have been believable for long enough."""
        p, s, truck, now = self.params, self.state, sight.truck, sight.time_ms
        known = ~np.isnan(sight.east) & ~np.isnan(sight.speed)
        before = s["fix_ms"][truck]
        dt = np.where(known & (before > 0), (now - before) / 1000.0, np.nan)
        step_e, step_n = sight.east - s["last_e"][truck], sight.north - s["last_n"][truck]
        step = np.sqrt(step_e**2 + step_n**2)
        driven = (s["last_kmh"][truck] + sight.speed) / 2 / _KMH * dt
        least = np.maximum(dt, _LEAST_S)
        with np.errstate(invalid="ignore"):
            jump = (step > p.jump_m) & (step - driven > p.wild_kmh / _KMH * least) & (dt <= 300.0)
            far = (step > p.far_m) & (step > p.max_kmh / _KMH * least)
            same = known & (step == 0.0) & (sight.speed > 10.0)
        stays = known & (step == 0.0)
        s["same"][truck] = np.where(same, s["same"][truck] + 1, np.where(known & ~stays, 0, s["same"][truck]))
        s["same_m"][truck] = np.where(stays, s["same_m"][truck] + driven, np.where(known, 0.0, s["same_m"][truck]))
        twice = jump & (now - s["jump_ms"][truck] <= p.within_ms)
        s["jump_ms"][truck[jump]] = now[jump]
        frozen = same & (s["same"][truck] >= p.repeats) & (s["same_m"][truck] >= p.driven_m)
        holds = far | twice | frozen | self._misled(sight, known)
        s["event_ms"][truck[holds]] = now[holds]
        self._remember(sight, known)
        over = known & ~holds & (now - s["event_ms"][truck] >= p.clean_ms)
        figures = {
            "value": step, "threshold": np.full(len(sight), p.jump_m), "step_m": step, "driven_m": driven,
            "repeats": s["same"][truck].astype(np.float64),
        }  # fmt: skip
        return holds, over, figures

    def _misled(self, sight: Sight, known: Mask) -> Mask:
        """Return where dead reckoning has contradicted the position for long, and now contradicts it by far."""
        found = np.zeros(len(sight), dtype=np.bool_)
        rows = (known & ~np.isnan(sight.more["heading_deg"])).nonzero()[0]
        if not len(rows):
            return found
        truck, p, state = sight.truck[rows], self.params, self.reckoning.state
        away = (sight.time_ms[rows], sight.east[rows], sight.north[rows], sight.speed[rows] / _KMH)
        fixes = Fixes(truck, *away, np.radians(sight.more["heading_deg"][rows]))
        believed, _, _ = self.reckoning.judge(fixes, np.zeros(len(rows), dtype=np.bool_))
        since = state["reject_ms"][truck]
        off = np.sqrt((fixes.east - state["ref_e"][truck]) ** 2 + (fixes.north - state["ref_n"][truck]) ** 2)
        long = (since > 0) & (fixes.time_ms - since >= p.misled_ms)
        found[rows] = ~believed & long & (off > p.misled_m)
        return found

    def _remember(self, sight: Sight, known: Mask) -> None:
        s, rows = self.state, sight.truck[known]
        s["last_e"][rows], s["last_n"][rows] = sight.east[known], sight.north[known]
        s["last_kmh"][rows], s["fix_ms"][rows] = sight.speed[known], sight.time_ms[known]
