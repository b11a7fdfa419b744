"""Loop rules: what a feeder carries, against what its commanded lamps should draw together.

Lamps that say themselves that they are out are not expected to draw anything: what is missing beyond them is a stolen
cable, a dead branch, lamps that can no longer speak; what is too much is somebody who takes it. How the sum of the
rated powers and the feeder's meter usually compare is learned night by night, for each feeder.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from alerts.baselines import Baselines, night_of
from alerts.every import Every
from alerts.fleet import NEVER, Fleet
from alerts.judge import State
from alerts.keys import Keys
from alerts.lighting_settings import FRESH
from alerts.messages import transition
from alerts.rules import Rule
from alerts.saved import matching
from alerts.spans import Span, report_s, span
from alerts.standing import IDLE, Standing
from devices.batch import Batch
from devices.kinds import Kind
from devices.registry import Registry
from devices.sky import Sky
from devices.transition import ACTIVE, CLEARED, Transition
from devices.yamlfile import Node

VALUES = ("ratio", "usual", "expected_w", "measured_w", "lamps")
Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]
LIT_SHARE = 0.3
FULL = 100.0


@dataclass(frozen=True, slots=True)
class Params:
    """A loop rule's own keys.

    Attributes:
        low, high: shares below and above what is expected that are an alert.
        off: share within which it is as expected again.
        day_share: of all lamps' rated power, above which a feeder is loaded while it should be dark.
        settle_ms: after a switch, before it is judged.
        level_least: average commanded level, per cent, below which it is not judged.
        lamps_min: feeders of fewer lamps are left out: one of them would be too large a share.
        nights, nights_min: past nights that are learned from, and how many it needs.
        readings_min: a night in which it was compared more rarely is not learned.
        fresh: a reading older than this is not known.
        every_ms: how often it is worked out.
    """

    low: float = 0.15
    high: float = 0.20
    off: float = 0.08
    day_share: float = 0.1
    settle_ms: int = 900_000
    level_least: float = 50.0
    lamps_min: int = 8
    nights: int = 14
    nights_min: int = 2
    readings_min: int = 20
    fresh: Span = FRESH
    every_ms: int = 60_000


def parse(own: Node, kind: Kind, role: str | None) -> Params:  # noqa: ARG001 - every kind of rule is asked alike
    """Check the rule's own keys. Raises ConfigError naming file, line, key and the accepted form."""
    if not {"feeder_power_w", "power_w"} <= set(kind.field_names()):
        raise own.error(f"{kind.name} does not report feeder_power_w and power_w: there is nothing to compare")
    plain = Params()
    keys = Keys(
        own, "low", "high", "off", "day_share", "settle", "level_min", "lamps_min", "nights", "nights_min",
        "readings_min", "fresh", "every",
    )  # fmt: skip
    params = Params(
        low=keys.number("low", plain.low, 0.01, 1),
        high=keys.number("high", plain.high, 0.01, 100),
        off=keys.number("off", plain.off, 0, 1),
        day_share=keys.number("day_share", plain.day_share, 0.001, 1),
        settle_ms=keys.length("settle", plain.settle_ms),
        level_least=keys.number("level_min", plain.level_least, 0, 100),
        lamps_min=keys.whole("lamps_min", plain.lamps_min, 1, 1000),
        nights=keys.whole("nights", plain.nights, 1, 60),
        nights_min=keys.whole("nights_min", plain.nights_min, 1, 60),
        readings_min=keys.whole("readings_min", plain.readings_min, 1, 10_000),
        fresh=keys.read("fresh", plain.fresh, span),
        every_ms=max(keys.length("every", plain.every_ms), 1000),
    )
    if params.off > min(params.low, params.high):
        keys.problem("off", "expected at most 'low' and 'high'")
    keys.done()
    return params


class LoopJudge:
    """A loop rule over all cabinets with enough lamps; worked out on ticks, from what was last heard."""

    def __init__(self, rule: Rule, registry: Registry, sky: Sky) -> None:
        self.rule_id, self.kinds, self.fingerprint = rule.id, (rule.device,), rule.fingerprint
        self._rule, self._registry, self._sky = rule, registry, sky
        params = rule.params
        assert isinstance(params, Params)  # noqa: S101 - the table of rule kinds pairs parse and judge
        self._params = params
        kind = registry.catalog[rule.device]
        role = rule.role or "cabinet"
        boxes, every = registry.rows_of(kind.name, role), registry.rows_of(kind.name)
        lamps = every[registry.role[every] != kind.roles.index(role)]
        lamps = lamps[registry.fact("rated_power_w", lamps) > 0]
        group = registry.group("cabinet")
        code = {name: k for k, name in enumerate(group.names)}
        number = np.array([code.get(registry.id_of(row), -1) for row in boxes], dtype=np.intp)
        fed = np.bincount(group.code[lamps] + 1, minlength=len(group.names) + 1)[number + 1]
        kept = (number >= 0) & (fed >= params.lamps_min)
        self._boxes = boxes[kept]
        of = np.full(len(group.names) + 1, -1, dtype=np.intp)
        of[number[kept]] = np.arange(int(kept.sum()))
        feeds = of[group.code[lamps]]
        self._lamps, self._feeds = lamps[feeds >= 0], feeds[feeds >= 0]
        self._rated = registry.fact("rated_power_w", self._lamps)
        size = len(self._boxes)
        self._load = np.bincount(self._feeds, self._rated, size)
        self._fresh_ms = [
            params.fresh.of(report_s(kind, one)) for one in (role, next(r for r in kind.roles if r != role))
        ]
        entities = [f"device:{registry.id_of(row)}" for row in self._boxes]
        self._standing = Standing(entities, rule.for_ms, rule.keep_ms)
        self.baselines = Baselines(size, 1, params.nights, params.nights_min, params.readings_min)
        self._pace = Every(params.every_ms)

    def readings(self, fleet: Fleet, batch: Batch, now_ms: int) -> list[Transition]:  # noqa: ARG002 - judged on ticks only
        """Do nothing: the fleet keeps the readings, the tick adds them up."""
        return []

    @property
    def due_ms(self) -> int:
        """Return when the feeders are looked at again."""
        return self._pace.next_ms

    def tick(self, fleet: Fleet, now_ms: int) -> list[Transition]:
        """Compare every feeder with its lamps, at most once in ``every``."""
        p = self._params
        if not self._pace.due(now_ms):
            return []
        if not len(self._boxes):
            return []
        live = fleet.live[self._rule.device]
        at = live.local[self._boxes]
        measured = live.column("feeder_power_w")[at]
        measured = np.where(now_ms - live.seen_ms[at] < self._fresh_ms[0], measured, np.nan)
        due, called = self._due(fleet, now_ms)
        on_for = self._sky.switched_on_for_ms(self._boxes, now_ms)
        off_for = self._sky.switched_off_for_ms(self._boxes, now_ms)
        ratio = np.divide(measured, due, out=np.full(len(due), np.nan), where=due > 0)
        closed = live.column("contactor_on")[at]
        night = (on_for >= p.settle_ms) & (called >= p.level_least) & ~np.isnan(measured)
        night &= closed != 0.0  # an open contactor explains what is missing, and is told by others
        bad, good = self._by_night(ratio, night, now_ms)
        day = (off_for >= 2 * p.settle_ms) & ~np.isnan(measured) & (closed != 1.0)
        bad |= day & (measured > p.day_share * self._load)
        told = []
        figures = {
            "ratio": ratio, "usual": self.baselines.usual[:, 0], "expected_w": due, "measured_w": measured,
            "lamps": np.bincount(self._feeds, minlength=len(self._boxes)).astype(np.float64),
        }  # fmt: skip
        for state, places in zip((ACTIVE, CLEARED), self._standing.judge(now_ms, bad, good), strict=True):
            for k in places.tolist():
                values = {name: float(column[k]) for name, column in figures.items() if not np.isnan(column[k])}
                values["value"] = float(measured[k])
                values["threshold"] = float(p.day_share * self._load[k] if off_for[k] >= 0 else due[k])
                about = (self._rule, self._registry, self._sky, self._standing.entities[k], state, now_ms)
                told.append(transition(*about, int(self._standing.onset_ms[k]), values))
        return told

    def _by_night(self, ratio: Floats, night: Mask, now_ms: int) -> tuple[Mask, Mask]:
        """Return which feeders carry what they should not, and which do; learn from those that do."""
        p = self._params
        here = np.flatnonzero(night & ~np.isnan(ratio))
        bad, good = np.zeros(len(ratio), dtype=bool), np.zeros(len(ratio), dtype=bool)
        if not len(here):
            return bad, good
        self.baselines.turn(here, night_of(self._sky, np.full(len(here), now_ms)))
        usual = self.baselines.usual[here, 0]
        share = ratio[here] / usual - 1.0
        bad[here] = (share < -p.low) | (share > p.high)
        good[here] = np.abs(share) < p.off
        learn = here[(np.isnan(usual) | good[here]) & (self._standing.phase[here] == IDLE)]
        self.baselines.learn(learn, np.zeros(len(learn), dtype=np.intp), ratio[learn])
        return bad, good

    def _due(self, fleet: Fleet, now_ms: int) -> tuple[Floats, Floats]:
        """Return what each feeder's lamps should draw, watts, and the level that they are commanded to, per cent.

        Lamps that nothing is known of are taken to burn as their neighbours on the feeder are commanded to.
        """
        live, size = fleet.live[self._rule.device], len(self._boxes)
        at = live.local[self._lamps]
        seen, power = live.seen_ms[at], live.column("power_w")[at]
        on_for = self._sky.switched_on_for_ms(self._lamps, now_ms)
        known = (seen != NEVER) & (now_ms - seen < self._fresh_ms[1]) & (now_ms - live.time_ms[at] <= on_for)
        level = live.column("command_percent")[at]
        level = np.where(np.isnan(level), FULL, level)
        heard = np.bincount(self._feeds[known], minlength=size)
        sums = np.bincount(self._feeds[known], level[known], size)
        called = np.divide(sums, heard, out=np.full(size, FULL), where=heard > 0)
        level = np.where(known, level, called[self._feeds]) / FULL
        out = known & (power < LIT_SHARE * self._rated * level)
        due = np.bincount(self._feeds, np.where(out, 0.0, self._rated * level), size).astype(np.float64)
        return due, called

    def open(self) -> Mapping[str, int]:
        """Return the cabinets with an open alert, with the onset of each."""
        return self._standing.open()

    def pending(self) -> Mapping[str, int]:
        """Return the cabinets whose feeder is off, not yet for long enough."""
        return self._standing.pending()

    def save(self) -> State:
        """Return the whole state, by cabinet."""
        kept: State = self._pace.save()
        return (
            kept | self._standing.save() | {"boxes": np.array(self._standing.entities, np.str_)} | self.baselines.save()
        )

    def load(self, state: State) -> None:
        """Take over a saved state; cabinets that are gone are let go."""
        self._pace.load(state)
        self._standing.load(state)
        at, place = matching(self._standing.entities, state["boxes"])
        self.baselines.load(state, at, place)
