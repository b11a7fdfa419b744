"""A course of four covers and two hours, for the tests of the report card."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from devices.batch import Batch, make_batch
from devices.kinds import Catalog
from devices.registry import Asset, Registry
from devices.sky import Sky
from simulators.faults import Fault

MINUTE, DAY = 60_000, 86_400_000
START = 1_780_000_020_000 // MINUTE * MINUTE
RULES = """
rules:
  - id: gas_h2s
    device: manhole
    on: h2s_ppm > 10
    for: 2m
    off: h2s_ppm < 5
    keep: 2m
    severity: critical
    message: {en: "{name}", zh: "{name}"}
  - id: cover_battery
    device: manhole
    on: battery_percent < 20 and h2s_ppm >= 0
    severity: minor
    message: {en: "{name}", zh: "{name}"}
"""


class Tiny:
    """Four covers that report once a minute for two hours; one breathes gas, one has a spike, one a flat battery."""

    name = "manholes"

    def __init__(self, catalog: Catalog) -> None:
        covers = [Asset(f"cover-{n}", "manhole", "cover", lon=121.4, lat=31.2) for n in range(4)]
        self.registry = Registry(catalog, covers)
        self.sky = Sky(self.registry, "Asia/Shanghai")
        self.start_ms, self.end_ms = START, START + 120 * MINUTE

    def steps(self) -> Iterator[tuple[int, list[Batch]]]:
        kind = self.registry.catalog["manhole"]
        for minute in range(120):
            table = np.full((len(kind.fields), 4), np.nan)
            table[kind.column("h2s_ppm")] = 1.0
            table[kind.column("battery_percent")] = 90.0
            if 30 <= minute < 60:
                table[kind.column("h2s_ppm"), 0] = 30.0
            if minute in (40, 70):
                table[kind.column("h2s_ppm"), 1] = 12.0  # spikes that no patient rule heeds
            if minute >= 80:
                table[kind.column("battery_percent"), 2] = 15.0
            times = START + minute * MINUTE + np.arange(4) * 1000
            yield START + (minute + 1) * MINUTE, [make_batch(kind, times[-1], times, np.arange(4), table)]

    def truth(self) -> Sequence[Fault]:
        gas = Fault(
            "gas", "gas_rise", "gas_h2s", "device:cover-0", START + 29 * MINUTE, START + 60 * MINUTE,
            START + 60 * MINUTE, 30.0, ("cover-0",), START + 30 * MINUTE,
        )  # fmt: skip
        return [gas]
