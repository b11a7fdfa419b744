"""Schedule rules: a cabinet that switches at other times than the city's schedule says, or does not switch at all.

What the contactor does is held against the schedule, and what the lamps were commanded tells why: a contactor that is
open while its lamps are called for is broken (that is said by others), one that is open because nobody called is a
clock, a photocell or a programme gone wrong. A contactor that was open by day and is closed again was closed by
somebody (a test, a dark storm) and is not late.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from alerts.every import Every
from alerts.fleet import NEVER, Fleet
from alerts.judge import State
from alerts.keys import Keys
from alerts.lighting_settings import FRESH
from alerts.messages import transition
from alerts.rules import Rule
from alerts.saved import matching, take_over
from alerts.spans import Span, report_s, span
from alerts.standing import Standing
from devices.batch import Batch
from devices.kinds import Kind
from devices.registry import Registry
from devices.sky import Sky
from devices.transition import ACTIVE, CLEARED, Transition
from devices.yamlfile import Node

VALUES = ("late_on", "early_off", "late_off", "early_on", "day_burn", "off_by_min")
WATCHED = ("late_on", "early_off", "late_off", "early_on", "day_burn")
Mask = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Params:
    """A schedule rule's own keys.

    Attributes:
        watch: what is looked for, of WATCHED.
        late_on_ms, early_off_ms, late_off_ms: what a clock may be off.
        early_on_ms: so much earlier than due a contactor may close, for clouds and photocells.
        sun_deg: the sun's altitude above which burning is burning by day.
        share: of the lamps heard, that must be commanded on for the cabinet to count as called for.
        fresh: of cabinet or lamp, silent for longer is unknown.
        every_ms: how often it is worked out.
    """

    watch: tuple[str, ...] = WATCHED[:3]
    late_on_ms: int = 600_000
    early_off_ms: int = 600_000
    late_off_ms: int = 1_800_000
    early_on_ms: int = 2_700_000
    sun_deg: float = 3.0
    share: float = 0.5
    fresh: Span = FRESH
    every_ms: int = 60_000


def parse(own: Node, kind: Kind, role: str | None) -> Params:  # noqa: ARG001 - every kind of rule is asked alike
    """Check the rule's own keys. Raises ConfigError naming file, line, key and the accepted form."""
    if "contactor_on" not in kind.field_names():
        raise own.error(f"{kind.name} does not report contactor_on: nothing says when it switches")
    plain = Params()
    keys = Keys(
        own, "watch", "late_on", "early_off", "late_off", "early_on", "sun_deg", "share", "fresh", "every"
    )  # fmt: skip
    params = Params(
        watch=keys.read("watch", plain.watch, _watched),
        late_on_ms=keys.length("late_on", plain.late_on_ms),
        early_off_ms=keys.length("early_off", plain.early_off_ms),
        late_off_ms=keys.length("late_off", plain.late_off_ms),
        early_on_ms=keys.length("early_on", plain.early_on_ms),
        sun_deg=keys.number("sun_deg", plain.sun_deg, -18, 90),
        share=keys.number("share", plain.share, 0.01, 1),
        fresh=keys.read("fresh", plain.fresh, span),
        every_ms=max(keys.length("every", plain.every_ms), 1000),
    )
    keys.done()
    return params


def _watched(node: Node) -> tuple[str, ...]:
    nodes = node.elements() if isinstance(node.value, list) else [node]
    return tuple(dict.fromkeys(child.text(one_of=WATCHED) for child in nodes))


class ScheduleJudge:
    """A schedule rule over all cabinets; worked out on ticks, from what was last heard."""

    def __init__(self, rule: Rule, registry: Registry, sky: Sky) -> None:
        self.rule_id, self.kinds, self.fingerprint = rule.id, (rule.device,), rule.fingerprint
        self._rule, self._registry, self._sky = rule, registry, sky
        params = rule.params
        assert isinstance(params, Params)  # noqa: S101 - the table of rule kinds pairs parse and judge
        self._params = params
        kind = registry.catalog[rule.device]
        role = rule.role or "cabinet"
        self._boxes = registry.rows_of(kind.name, role)
        every = registry.rows_of(kind.name)
        lamps = every[registry.role[every] != kind.roles.index(role)]
        names = {name: k for k, name in enumerate(registry.id_of(row) for row in self._boxes)}
        group = registry.group("cabinet")
        of = np.array([*(names.get(name, -1) for name in group.names), -1], dtype=np.intp)
        feeds = of[group.code[lamps]]
        self._lamps, self._feeds = lamps[feeds >= 0], feeds[feeds >= 0]
        self._fresh_ms = [
            params.fresh.of(report_s(kind, one)) for one in (role, next(r for r in kind.roles if r != role))
        ]
        self._standing = Standing([f"device:{name}" for name in names], rule.for_ms, rule.keep_ms)
        self._pace = Every(params.every_ms)
        self._seen_ms = {state: np.zeros(len(self._boxes), dtype=np.int64) for state in ("closed", "open", "shut")}

    def readings(self, fleet: Fleet, batch: Batch, now_ms: int) -> list[Transition]:  # noqa: ARG002 - judged on ticks only
        """Do nothing: the fleet keeps the readings, the tick looks at the contactors."""
        return []

    @property
    def due_ms(self) -> int:
        """Return when the contactors are looked at again."""
        return self._pace.next_ms

    def tick(self, fleet: Fleet, now_ms: int) -> list[Transition]:
        """Look at every contactor, at most once in ``every``."""
        p = self._params
        if not self._pace.due(now_ms):
            return []
        if not len(self._boxes):
            return []
        live = fleet.live[self._rule.device]
        at = live.local[self._boxes]
        closed = live.column("contactor_on")[at]
        closed = np.where(now_ms - live.seen_ms[at] < self._fresh_ms[0], closed, np.nan)
        self._look(closed, now_ms)
        wrong, off_by = self._compare(closed, self._called(fleet, now_ms), now_ms)
        bad = np.any([wrong[name] for name in p.watch], axis=0)
        good = ~np.isnan(closed) & ~bad
        if "day_burn" in p.watch:  # by night nobody can tell whether the contactor would open
            good &= (closed == 0.0) & (self._sky.switched_off_for_ms(self._boxes, now_ms) >= 0)
        told = []
        for state, places in zip((ACTIVE, CLEARED), self._standing.judge(now_ms, bad, good), strict=True):
            for k in places.tolist():
                values = {name: float(mask[k]) for name, mask in wrong.items()}
                values |= {"off_by_min": float(off_by[k]), "value": float(off_by[k]), "threshold": self._limit(values)}
                about = (self._rule, self._registry, self._sky, self._standing.entities[k], state, now_ms)
                told.append(transition(*about, int(self._standing.onset_ms[k]), values))
        return told

    def _look(self, closed: Floats, now_ms: int) -> None:
        """Note who was seen closed and open, and since when those that are closed have been: at first sight of it."""
        shut, seen = closed == 1.0, self._seen_ms
        fresh = shut & (seen["open"] >= seen["closed"])
        seen["shut"][fresh] = now_ms
        seen["closed"][shut], seen["open"][closed == 0.0] = now_ms, now_ms

    def _limit(self, values: Mapping[str, float]) -> float:
        p = self._params
        limits = {"late_on": p.late_on_ms, "early_off": p.early_off_ms, "early_on": p.early_on_ms}
        return next((limit for name, limit in limits.items() if values[name]), p.late_off_ms) / 60_000

    def _called(self, fleet: Fleet, now_ms: int) -> Floats:
        """Return whether the cabinet's lamps say that they are commanded on, NaN where none is heard."""
        live = fleet.live[self._rule.device]
        at = live.local[self._lamps]
        seen = live.seen_ms[at]
        command = live.column("command_percent")[at]
        known = (seen != NEVER) & (now_ms - seen < self._fresh_ms[1]) & ~np.isnan(command)
        size = len(self._boxes)
        heard = np.bincount(self._feeds[known], minlength=size)
        on = np.bincount(self._feeds[known & (command > 0)], minlength=size)
        share = np.divide(on, heard, out=np.full(size, np.nan), where=heard > 0)
        return np.where(np.isnan(share), np.nan, (share >= self._params.share).astype(np.float64))

    def _compare(self, closed: Floats, called: Floats, now_ms: int) -> tuple[dict[str, Mask], Floats]:
        """Return what is wrong with each cabinet, and by how many minutes."""
        p = self._params
        began, ended, _ = self._sky.nights(self._boxes, np.full(len(self._boxes), now_ms, dtype=np.int64))
        began, ended = (np.broadcast_to(one, len(self._boxes)) for one in (began, ended))
        night = (now_ms >= began) & (now_ms < ended)
        on_for, off_for, left = now_ms - began, now_ms - ended, ended - now_ms
        dark, burns = closed == 0.0, closed == 1.0
        high = float(self._sky.sun_altitude_deg(np.array([now_ms]))[0]) > p.sun_deg
        late = night & dark & (on_for > p.late_on_ms)
        wrong = {
            "late_on": late & (called != 1.0) & (self._seen_ms["closed"] < began),
            "early_off": late & (called == 0.0) & (self._seen_ms["closed"] >= began) & (left > p.early_off_ms),
            "late_off": ~night & burns & (called != 0.0) & (off_for > p.late_off_ms) & (self._seen_ms["open"] < ended),
            "day_burn": ~night & burns & (called != 1.0) & (off_for > p.late_off_ms // 2) & high,
        }
        early = self._early(~night & burns & (called != 0.0) & (self._seen_ms["open"] >= ended), closed, now_ms)
        wrong["early_on"] = early > 0
        off_by = np.where(wrong["late_on"], on_for, np.where(wrong["early_off"], left, off_for))
        return wrong, np.where(early > 0, early, off_by) / 60_000.0

    def _early(self, on_by_day: Mask, closed: Floats, now_ms: int) -> Ints:
        """Return by how much each contactor that is on by day is closed too early, milliseconds; 0 for no such.

        Where half of the others are closed too, somebody has switched the city on, for the sky is dark.
        """
        soon_ms = now_ms + self._params.early_on_ms
        begins, _, _ = self._sky.nights(self._boxes, np.full(len(self._boxes), soon_ms, dtype=np.int64))
        begins = np.broadcast_to(begins, len(self._boxes))
        shut, known = closed == 1.0, ~np.isnan(closed)
        alone = 2 * (np.count_nonzero(shut) - shut) < np.maximum(np.count_nonzero(known) - known, 1)
        early = begins - self._seen_ms["shut"]
        told = on_by_day & (begins > now_ms) & (early > self._params.early_on_ms) & alone
        return np.where(told, early, 0)

    def open(self) -> Mapping[str, int]:
        """Return the cabinets with an open alert, with the onset of each."""
        return self._standing.open()

    def pending(self) -> Mapping[str, int]:
        """Return the cabinets that do not keep to the schedule, not yet for long enough."""
        return self._standing.pending()

    def save(self) -> State:
        """Return the whole state, by cabinet."""
        kept: State = self._pace.save() | self._standing.save()
        kept |= {f"seen.{name}": column.copy() for name, column in self._seen_ms.items()}
        return kept | {"boxes": np.array(self._standing.entities, dtype=np.str_)}

    def load(self, state: State) -> None:
        """Take over a saved state; cabinets that are gone are let go."""
        self._pace.load(state)
        self._standing.load(state)
        take_over(self._seen_ms, state, "seen.", *matching(self._standing.entities, state["boxes"]))
