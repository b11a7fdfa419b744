"""Six hours of a small city's readings with three faults in them, for the tests of what is read back."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import numpy as np

from alerts.rules import RuleSet, load_rules, parse_rules
from devices.batch import MARK_LATE, Batch, make_batch
from devices.kinds import Catalog
from devices.registry import Asset, Registry
from devices.yamlfile import parse_yaml
from tests.shipped_rules import one_text

RULES = Path(__file__).parents[2] / "config" / "rules.yaml"
START = round(datetime.fromisoformat("2026-03-01T20:00:00+08:00").timestamp() * 1000)
END = START + 6 * 3_600_000
ZONE = "Asia/Shanghai"
LAMPS = 30
MINUTE = 60_000


def city(catalog: Catalog) -> Registry:
    lamps = [
        Asset(
            f"lamp-{n:02d}", "streetlight", "lamp", lon=121.47, lat=31.23, road="Elm Road", facts={"rated_power_w": 120}
        )
        for n in range(LAMPS)
    ]
    box = Asset(
        "box-1", "streetlight", "cabinet", lon=121.47, lat=31.23, road="Elm Road", facts={"rated_power_w": 4000}
    )
    cover = Asset("cover-1", "manhole", "cover", lon=121.47, lat=31.23, facts={"depth_m": 3})
    return Registry(catalog, [*lamps, box, cover])


def readings(catalog: Catalog, registry: Registry) -> list[Batch]:
    """Return batches as they arrived: lamp-03 goes out for two hours, the box's door stands open for ten minutes."""
    kind, out = catalog["streetlight"], []
    rows = np.arange(LAMPS)
    for minute in range(0, 360, 15):
        values = np.full((len(kind.fields), LAMPS), np.nan)
        values[kind.column("power_w")] = 118.0
        values[kind.column("voltage_v")] = 220.0
        if 60 <= minute < 180:
            values[kind.column("power_w"), 3] = 1.0
        out.append(make_batch(kind, 0, START + minute * MINUTE + rows * 1000, rows, values))
    for minute in range(360):
        if 200 <= minute < 212:
            continue  # silent for twelve minutes
        values = np.full((len(kind.fields), 1), np.nan)
        values[kind.column("contactor_on")] = 1.0
        values[kind.column("door_open")] = float(30 <= minute < 40)
        values[kind.column("feeder_power_w")] = 3500.0
        out.append(make_batch(kind, 0, [START + minute * MINUTE + 500], [registry.row["box-1"]], values))
    cover = catalog["manhole"]
    for minute, tilt, late in (
        (0, 1.0, False),
        (30, 80.0, True),
        (60, 1.0, False),
        (100, 80.0, False),
        (120, 1.0, False),
    ):
        values = np.full((len(cover.fields), 1), np.nan)
        values[cover.column("tilt_deg")] = tilt
        batch = make_batch(cover, 0, [START + minute * MINUTE], [registry.row["cover-1"]], values)
        batch.marks = np.array([MARK_LATE if late else 0], dtype=np.uint8)
        out.append(batch)
    return out


def rules_of(catalog: Catalog, changed: Sequence[tuple[str, str]] = ()) -> RuleSet:
    """Return the shipped rules, with pieces of their text changed."""
    if not changed:
        return load_rules(RULES, catalog)
    text = one_text()
    for old, new in changed:
        assert old in text
        text = text.replace(old, new, 1)
    return parse_rules(parse_yaml(text, "rules.yaml"), catalog)
