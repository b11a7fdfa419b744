"""Dry night rules: a condition over what the dead of a dry night tells of a station or a well, against its own past.

Where the seepage rule asks one question (a quarter more on three dry nights), these ask what a city writes: a sum over
many nights, last year's season, groundwater's share of the flow, the level in a manhole that has no meter.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from alerts.columns import Looked
from alerts.expressions import Condition
from alerts.figures import figures_condition, figures_kind
from alerts.inflow_book import LEVEL, VELOCITY, Heard
from alerts.keys import Keys
from alerts.night_figures import FIGURES, NightFigures
from alerts.nights import Night, NightParams, Places
from alerts.rules import Rule
from alerts.seepage import SeepageJudge
from alerts.seepage_settings import SHARED, night_params
from devices.batch import Floats, Ints
from devices.kinds import Kind
from devices.registry import Registry
from devices.sky import Sky
from devices.yamlfile import Node

GAP_MS = 1_800_000  # a level stands for so long at most
VALUES = (*FIGURES, "value", "threshold", "nights")


@dataclass(frozen=True, slots=True)
class Params:
    """A dry night rule's own keys.

    Attributes:
        nights: which nights, which of them are dry, and how many in a row it takes.
        on, off: over the figures of one night; ``off`` is None for the contrary of ``on``.
        by_level: the night's figure is the level, not the inflow.
        allowance: of the running sum, in spreads of a night.
    """

    nights: NightParams
    on: Condition
    off: Condition | None
    by_level: bool
    allowance: float

    @property
    def off_nights(self) -> int:
        """Return how many nights in a row end it."""
        return self.nights.off_nights


def parse(own: Node, kind: Kind, role: str | None) -> Params:
    """Check the rule's own keys. Raises ConfigError naming file, line, key and the accepted form."""
    keys = Keys(own, "on", "off", "measure", "allowance", *SHARED)
    by_level = keys.text("measure", "inflow", ("inflow", "level")) == "level"
    needed = {"level_m"} if by_level else {"inflow_lps", "level_m"}
    if not set(kind.field_names()) & needed:
        raise own.error(f"{kind.name} reports neither of {', '.join(sorted(needed))}: its nights tell nothing")
    known = figures_kind(kind, FIGURES, ())
    off = own.get("off")
    on = figures_condition(own.need("on"), replace(known, facts=()), role)
    params = Params(
        night_params(keys),
        on,
        figures_condition(off, replace(known, facts=()), role) if off is not None else None,
        by_level,
        keys.number("allowance", 1.0, 0.0, 5.0),
    )
    keys.done()
    return params


def message_names(kind: Kind, role: str | None) -> frozenset[str]:  # noqa: ARG001 - every kind of rule is asked alike
    """Return the names that a message may use beyond the common ones."""
    return frozenset(VALUES)


class DryNightsJudge(SeepageJudge):
    """One dry night rule over all stations or wells that can tell their inflow or level."""

    def __init__(self, rule: Rule, registry: Registry, sky: Sky) -> None:
        self.own: Params = rule.params
        super().__init__(rule, registry, sky)
        self._heard: dict[str, npt.NDArray[Any]] = {"level_ms": np.zeros(len(self.rows), np.int64)}

    def _night_params(self) -> NightParams:
        return self.own.nights

    def _make_nights(self) -> NightFigures:
        self.book = NightFigures(len(self.rows), self.params, self.own.on, self.own.off, self.own.allowance)
        return self.book

    def _gather(self, heard: Heard, day: Ints, minute: Ints) -> None:
        row, time_ms, values, litres, seconds, _ = heard
        if self.own.by_level:
            litres, seconds = self._levels(row, time_ms, values[LEVEL])
        mine = np.flatnonzero(self.watched[row])
        row, time_ms, day, minute = row[mine], time_ms[mine], day[mine], minute[mine]
        self.book.days.take(row, day, litres[mine], seconds[mine])
        self.book.gather(row, time_ms, day, minute, litres[mine], seconds[mine], values[VELOCITY][mine])

    def _levels(self, row: Places, time_ms: Ints, level: Floats) -> tuple[Floats, Floats]:
        """Return level times seconds, and the seconds for which each level stands: since the one before."""
        amount, seconds = np.zeros(len(row)), np.zeros(len(row))
        has = np.flatnonzero(~np.isnan(level))
        at, when = row[has], time_ms[has]
        first = np.r_[True, at[1:] != at[:-1]] if len(at) else np.zeros(0, np.bool_)
        last = np.where(first, self._heard["level_ms"][at], np.r_[0, when[:-1]] if len(at) else when)
        seconds[has] = np.where(last > 0, np.minimum(when - last, GAP_MS), 0) / 1000.0
        amount[has] = level[has] * seconds[has]
        self._heard["level_ms"][at] = when
        return amount, seconds

    def _values(self, night: Night) -> dict[str, float]:
        figures = {} if night.reason == "data_lost" else self.book.figures
        values = {name: number for name, number in figures.items() if not np.isnan(number)}
        values["nights"] = float(night.nights)
        for one in self.own.on.comparisons[:1]:
            sheet = Looked(lambda name: np.array([figures.get(name, np.nan)]))
            for name, number in (("value", one.value.of(sheet)), ("threshold", one.threshold.of(sheet))):
                if number is not None and not np.isnan(np.ravel(number)[0]):
                    values[name] = float(np.ravel(number)[0])
        return values

    def _worse(self, night: Night) -> bool:  # noqa: ARG002 - a condition has one severity
        return False

    def _parts(self) -> tuple[tuple[str, dict[str, npt.NDArray[Any]]], ...]:
        return (*super()._parts(), ("days", self.book.days.state), ("levels", self._heard))
