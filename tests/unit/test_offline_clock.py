"""A device whose clock was set back is heard all the same: its silence ends when it speaks again."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from alerts.engine import Engine
from alerts.rules import RuleSet, load_rules
from devices.batch import Batch, make_batch
from devices.kinds import load_catalog
from devices.registry import Asset, Registry
from devices.sky import Sky

CATALOG = load_catalog()
RULES = load_rules(Path(__file__).parents[2] / "config" / "rules.yaml", CATALOG)
START = 1_772_370_000_000
MIN, HOUR = 60_000, 3_600_000


def report(now_ms: int, dated_ms: int) -> Batch:
    kind = CATALOG["streetlight"]
    values = np.full((len(kind.fields), 1), np.nan)
    values[kind.column("door_open")] = 0.0
    return make_batch(kind, now_ms, [dated_ms], [0], values)


def test_two_reports_end_it_though_they_are_dated_before_the_silence() -> None:
    registry = Registry(CATALOG, [Asset("box-1", "streetlight", "cabinet")], centre=(114.3, 30.6))
    engine = Engine(RuleSet((RULES["cabinet_offline"],), RULES.lighting), registry, Sky(registry, "Asia/Shanghai"))
    told = []
    for minute in range(30):
        now = START + minute * MIN
        if minute < 5:
            told += engine.step([report(now, now)], now)
        elif minute < 20:
            told += engine.step([], now)
        else:
            told += engine.step([report(now, now - 8 * HOUR)], now)
    assert [(one.state, (one.at_ms - START) // MIN) for one in told] == [("active", 9), ("cleared", 21)]
