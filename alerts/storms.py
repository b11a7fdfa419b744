"""Storm rules: a condition over what each storm brings for a millimetre of rain, against the station's storms before.

Roofs that somebody joined to the sewer, or a manhole that lets in a ditch, show in every storm as the same too much.
What flows in beyond the same hour of like dry days, and beyond what did so before, is the storm's; it ends with so many
hours without rain. The volume for a millimetre is R times the catchment's area, which nobody has to know: it is held
against the station's own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from alerts.figures import figures_condition, figures_kind
from alerts.inflow_hours import HOUR_MS, RAIN_MM, InflowHoursJudge, Places
from alerts.inflow_hours import Params as HourParams
from alerts.keys import Keys
from alerts.rules import Rule
from alerts.verdicts import IDLE
from devices.batch import Floats, Ints
from devices.kinds import Kind
from devices.registry import Registry
from devices.sky import Sky
from devices.transition import Transition
from devices.yamlfile import Node

STORMS, YEAR_MS = 48, 366 * 24 * HOUR_MS  # storms kept of a station, and how long they count
CALM_HOURS = 24.0  # dry hours over which it is smoothed what flows in beyond the usual before a storm
KNOWN = 0.7  # share of a storm's hours of which the inflow must be known
FIGURES: dict[str, str] = {
    "rain_mm": "rain of the storm, mm",
    "storm_m3": "inflow of the storm beyond that of a dry day, m3",
    "m3_mm": "the one for a millimetre of the other",
    "usual_m3_mm": "median of that over the storms of the last year",
    "storm_ratio": "the storm over that",
    "storm_trend": "the same, smoothed over the storms",
    "storms": "storms of the last year",
}
VALUES = (*FIGURES, "value", "threshold", "storms_in_a_row")


@dataclass(frozen=True)
class Params(HourParams):
    """A storm rule's own keys beside those of hours; ``hours`` and ``off_hours`` count storms here.

    Attributes:
        least_mm: smaller storms say nothing.
        after_ms: a storm is over after so long without rain.
        weight: of the newest storm in the trend.
        least: so many storms before make a usual.
    """

    least_mm: float
    after_ms: int
    weight: float
    least: int


def parse(own: Node, kind: Kind, role: str | None) -> Params:
    """Check the rule's own keys. Raises ConfigError naming file, line, key and the accepted form."""
    if not set(kind.field_names()) & {"inflow_lps", "level_m"} or "rain_mm" not in kind.field_names():
        raise own.error(f"{kind.name} does not report inflow_lps or level_m, and rain_mm: its storms are not known")
    keys = Keys(
        own, "on", "off", "storms", "off_storms", "dry", "coverage", "hold", "least_mm", "after", "weight", "usual_of"
    )
    known = figures_kind(kind, FIGURES, ())
    off = own.get("off")
    params = Params(
        figures_condition(own.need("on"), known, role),
        figures_condition(off, known, role) if off is not None else None,
        keys.whole("storms", 1, 1, 12),
        keys.whole("off_storms", 1, 1, 12),
        keys.length("dry", 48 * HOUR_MS),
        keys.number("coverage", 0.4, 0.05, 1),
        keys.length("hold", 14 * 24 * HOUR_MS),
        keys.number("least_mm", 10.0, 0.5, 200),
        keys.length("after", 24 * HOUR_MS),
        keys.number("weight", 0.3, 0.01, 1),
        keys.whole("usual_of", 4, 2, STORMS),
    )
    keys.done()
    return params


def message_names(kind: Kind, role: str | None) -> frozenset[str]:  # noqa: ARG001 - every kind of rule is asked alike
    """Return the names that a message may use beyond the common ones."""
    return frozenset(VALUES)


class StormsJudge(InflowHoursJudge):
    """One storm rule over all stations that can tell their inflow and have a rain gauge.

    Attributes:
        storm: arrays (m,) of the storm that is under way, and (m, STORMS) of those before.
    """

    told, counted = "m3_mm", "storms_in_a_row"

    def __init__(self, rule: Rule, registry: Registry, sky: Sky) -> None:
        super().__init__(rule, registry, sky)
        self.own: Params = rule.params
        m = len(self.rows)
        self.storm: dict[str, npt.NDArray[Any]] = {
            "open": np.zeros(m, np.bool_),
            **{name: np.zeros(m) for name in ("mm", "litres", "known", "before_lps")},
            "trend": np.ones(m),
            "begin": np.zeros(m, np.int64),  # hour in which it began
            "rained": np.zeros(m, np.int64),  # hour with rain last
            "next": np.zeros(m, np.int64),
            "past": np.full((m, STORMS), np.nan),
            "past_ms": np.zeros((m, STORMS), np.int64),
        }

    def _judge(self, at: Places) -> list[Transition]:
        s, hour, fallen = self.storm, self.hours.state["hour"][at], self.hours.state["rain_mm"][at]
        figures = self.hours.finish(at)
        self.verdicts.state["last_ms"][at] = (hour + 1) * HOUR_MS
        wet = fallen >= RAIN_MM
        begins = at[wet & ~s["open"][at]]
        s["open"][begins], s["begin"][begins] = True, hour[wet & ~s["open"][at]]
        s["rained"][at[wet]] = hour[wet]
        under = s["open"][at]
        s["mm"][at[under]] += fallen[under]
        known, beyond = ~np.isnan(figures["residual_lps"]), figures["residual_lps"]
        told, calm = under & known, ~under & known & (figures["dry"] > 0)
        # What flows in too much already, as seepage does, is no storm's.
        s["before_lps"][at[calm]] += (beyond[calm] - s["before_lps"][at[calm]]) / CALM_HOURS
        s["litres"][at[told]] += 3600.0 * (beyond[told] - s["before_lps"][at[told]])
        s["known"][at[told]] += 1.0
        over = under & ((hour + 1 - s["rained"][at]) * HOUR_MS > self.own.after_ms)
        return self._ended(at[over], hour[over]) if over.any() else []

    def _ended(self, at: Places, hour: Ints) -> list[Transition]:
        """Judge the storms that have ended with these hours."""
        s, p = self.storm, self.own
        begin_ms, end_ms = s["begin"][at] * HOUR_MS, (hour + 1) * HOUR_MS
        figures = self._figures(at, hour, end_ms)
        told: list[Transition] = []
        says = np.flatnonzero(~np.isnan(figures["m3_mm"]))
        if len(says):
            place = at[says]
            figures = {name: column[says] for name, column in figures.items()}

            def columns(name: str) -> Floats:
                return figures[name] if name in figures else self._facts[name][place]

            yes, no = p.on(columns)
            over, lasts = p.off(columns) if p.off is not None else (no, yes)
            calm = (self.verdicts.state["phase"][place] == IDLE) & ~yes
            self._learn(place[calm], figures["m3_mm"][calm], end_ms[says][calm])
            changes = self.verdicts.take(place, begin_ms[says], end_ms[says], yes, no, over, lasts)
            told = [self._tell(one, int(end_ms[says][one.row]), figures) for one in changes]
        s["open"][at] = False
        for name in ("mm", "litres", "known"):
            s[name][at] = 0.0
        return told

    def _figures(self, at: Places, hour: Ints, end_ms: Ints) -> dict[str, Floats]:
        """Return the figures of ended storms, (k,) each; a storm that says nothing has NaN for its ``m3_mm``."""
        s, p = self.storm, self.own
        hours = hour - s["begin"][at] + 1
        sound = (s["mm"][at] >= p.least_mm) & (s["known"][at] >= KNOWN * hours)
        volume = np.maximum(s["litres"][at], 0.0) / 1000.0
        with np.errstate(invalid="ignore", divide="ignore"):
            share = np.where(sound, volume / s["mm"][at], np.nan)
        usual, count = np.full(len(at), np.nan), np.zeros(len(at))
        for k, one in enumerate(at.tolist()):
            held = s["past"][one][(s["past_ms"][one] > 0) & (end_ms[k] - s["past_ms"][one] <= YEAR_MS)]
            count[k] = len(held)
            usual[k] = np.median(held) if len(held) >= p.least else np.nan
        ratio = np.where(usual > 0, share / np.where(usual > 0, usual, 1.0), np.nan)
        told = ~np.isnan(ratio)
        s["trend"][at[told]] += p.weight * (ratio[told] - s["trend"][at[told]])
        return {
            "rain_mm": s["mm"][at].copy(), "storm_m3": volume, "m3_mm": share, "usual_m3_mm": usual,
            "storm_ratio": ratio, "storm_trend": np.where(told, s["trend"][at], np.nan), "storms": count,
        }  # fmt: skip

    def _learn(self, at: Places, share: Floats, end_ms: Ints) -> None:
        s = self.storm
        place = s["next"][at] % STORMS
        s["past"][at, place], s["past_ms"][at, place] = share, end_ms
        s["next"][at] += 1

    def _parts(self) -> tuple[tuple[str, dict[str, npt.NDArray[Any]]], ...]:
        return (*super()._parts(), ("storm", self.storm))
