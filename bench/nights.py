"""What the rules of dry nights find, and what they cost in false alerts, over years of simulated nights.

Run as ``python -m bench.nights``; some minutes. Only nights are made, not readings: the least inflow of each night as
the catchments bring it, with a meter's 2 % of noise, judged by the rules' own classes. So two hundred thousand
station-days take minutes, where the report card plays thousands.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt

from alerts.dry_nights import Params
from alerts.night_figures import NightFigures
from alerts.nights import NightParams, Nights
from alerts.rules import load_rules
from devices.kinds import load_catalog
from simulators.catchment import CELL_MS, Catchments
from simulators.weather import DAY_MS, seeded_rain

Floats = npt.NDArray[np.float64]
RULES = ("seepage", "seep_cusum", "seep_year")
DAYS, FROM_DAY = 3 * 365, 365 + 60  # how many are made, and from which on faults begin and alerts count
CELLS = DAY_MS // CELL_MS
WINDOW = slice(2 * 6, 5 * 6)  # two to five o'clock, in cells of ten minutes
NOISE = 0.02
STATIONS = 24


@dataclass(frozen=True, slots=True)
class Case:
    """Groundwater inflow that grows to a multiple, at once or within some days."""

    name: str
    times: float
    ramp_days: float = 0.0

    def factor(self, since: Floats) -> Floats:
        """Return the factor so many days after it has begun."""
        part = np.clip(since / self.ramp_days, 0, 1) if self.ramp_days else (since >= 0).astype(np.float64)
        return np.asarray(np.where(since >= 0, 1 + (self.times - 1) * part, 1.0))


CASES = (
    Case("sound", 1.0),
    Case("times 1.2", 1.2),
    Case("times 1.4", 1.4),
    Case("times 1.8", 1.8),
    Case("times 2.5", 2.5),
    Case("times 2.5 within 20 days", 2.5, 20),
    Case("times 2 within 120 days", 2.0, 120),
    Case("times 2 within 300 days", 2.0, 300),
)


def made(seed: int) -> tuple[Floats, Floats, npt.NDArray[np.bool_]]:
    """Return what flows in at night besides groundwater and as groundwater, (days, cells, n), and dry days."""
    rng = np.random.default_rng([seed, 9])
    rate = rng.choice([45.0, 60.0, 75.0], STATIONS)
    start_ms = int(datetime(2024, 1 + seed % 12, 1, tzinfo=ZoneInfo("Asia/Shanghai")).timestamp() * 1000)
    rain = seeded_rain(seed, start_ms - 20 * DAY_MS, start_ms + DAYS * DAY_MS)
    water = Catchments(rate, rain, rng, start_ms)
    cells = range(WINDOW.start, WINDOW.stop)
    rest, ground = (np.empty((DAYS, len(cells), STATIONS)) for _ in range(2))
    for day in range(DAYS):
        for cell in range(CELLS):
            found = water.cell(start_ms // CELL_MS + day * CELLS + cell, cell * 10.0 + 5, (day + 3) % 7)
            if cell in cells:
                rest[day, cell - WINDOW.start] = found.sewage + found.storm
                ground[day, cell - WINDOW.start] = found.ground
    fallen = [rain.depth_mm(start_ms + d * DAY_MS, start_ms + (d + 1) * DAY_MS) for d in range(DAYS)]
    dry = np.array([day >= 3 and max(fallen[day - 3 : day + 1]) <= 0.5 for day in range(DAYS)])
    return rest, ground, dry


def judge(params: NightParams | Params, nights: Floats, dry: npt.NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Return (station, day) of every alert that a rule raises over nights, (days, n)."""
    if isinstance(params, Params):
        book: Nights = NightFigures(STATIONS, params.nights, params.on, params.off, params.allowance)
    else:
        book = Nights(STATIONS, params)
    s, told = book.state, list[tuple[int, int]]()
    for day in np.flatnonzero(dry).tolist():
        place = day % s["day"].shape[1]
        s["day"][:, place], s["q"][:, place], s["covered"][:, place], s["use"][:, place] = day, nights[day], 1.0, 0
        for station in range(STATIONS):
            night = book.judge(station, day, wet=False)
            if night is not None and night.active:
                told.append((station, day))
    return told


def row(case: Case, rule: str, seeds: range, worlds: dict[int, tuple[Floats, Floats, npt.NDArray[np.bool_]]]) -> str:
    """Return a line: alerts of a sound station, or faults found within 60 and 300 days and the median delay."""
    catalog = load_catalog()
    params = load_rules(Path(__file__).parents[1] / "config" / "rules.yaml", catalog)[rule].params
    delays: list[float] = []
    alerts = 0
    for seed in seeds:
        rest, ground, dry = worlds[seed]
        rng = np.random.default_rng([seed, 10])
        begins = rng.integers(FROM_DAY, FROM_DAY + 180, STATIONS)
        since = np.arange(DAYS)[:, np.newaxis] - begins[np.newaxis]
        water = rest + ground * case.factor(since.astype(np.float64))[:, np.newaxis, :]
        nights = np.percentile(water, 10, axis=1) * (1 + NOISE * rng.standard_normal((DAYS, STATIONS)))
        told = judge(params, nights, dry)
        alerts += sum(day >= FROM_DAY for _, day in told)
        for station in range(STATIONS):
            after = [day - begins[station] for one, day in told if one == station and day >= begins[station]]
            delays.append(float(min(after, default=np.inf)))
    if case.times == 1.0:
        days = (DAYS - FROM_DAY) * STATIONS * len(seeds)
        each = alerts / days * 1e4
        return f"| `{rule}` | {case.name} | {alerts} false in {days:,} station-days, {each:.1f} in 10,000 | |"
    soon, late = (sum(one <= limit for one in delays) / len(delays) for limit in (60, 300))
    middle = f"{np.median([one for one in delays if one <= 300]):.0f} days" if late else "–"
    return f"| `{rule}` | {case.name} | {soon:.2f} within 60 days, {late:.2f} within 300 | {middle} |"


def main() -> None:
    """Print the table over some seeds, 1000 and on unless another is given."""
    first = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    seeds = range(first, first + (int(sys.argv[2]) if len(sys.argv) > 2 else 8))
    worlds = {seed: made(seed) for seed in seeds}
    print("| rule | groundwater inflow | found | half of those after |\n|---|---|---|---|")
    for rule in RULES:
        for case in CASES:
            print(row(case, rule, seeds, worlds), flush=True)


if __name__ == "__main__":
    main()
