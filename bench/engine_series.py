"""Cities, rules and readings for the engine's bench: lamps that are well, and lamps of which one in twenty is not."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from alerts.rules import RuleSet, parse_rules
from devices.batch import Batch, make_batch
from devices.kinds import load_catalog
from devices.registry import Asset, Registry
from devices.yamlfile import parse_yaml

CATALOG = load_catalog()
LAMPS = CATALOG["streetlight"]
START_MS = 1_772_370_000_000  # 2026-03-01 21:00 in Shanghai: the lamps burn
TURN_MS = 300_000  # every lamp reports every five minutes
WRONG = 0.055  # of the values of each field are too low, and as many too high: a tenth of all pairs changes
CONDITIONS = (  # id, on, off
    (
        "out",
        "expected_on and on_for_min > 15 and voltage_v > 150 and power_w < 0.3 * rated_power_w",
        "power_w > 0.6 * rated_power_w",
    ),
    ("overdraw", "power_w > 1.25 * rated_power_w", "power_w < 1.1 * rated_power_w"),
    ("volts_high", "voltage_v > 235.4", "voltage_v < 231.9"),
    ("volts_low", "50 < voltage_v < 198", "201 < voltage_v"),
    ("amps_high", "current_a > 0.8", "current_a < 0.7"),
    ("amps_low", "expected_on and current_a < 0.1", "current_a > 0.2"),
    ("factor", "power_factor < 0.85 and voltage_v > 150", "power_factor > 0.9"),
    ("dimmed", "dim_percent < 10 and expected_on", "dim_percent > 20"),
    ("sent_dark", "command_percent < 5 and expected_on", "command_percent > 10 or not expected_on"),
    ("hot", "driver_temp_c > 85", "driver_temp_c < 75"),
    ("cold", "driver_temp_c < -25", "driver_temp_c > -20"),
    ("leakage", "leakage_ma >= 30", "leakage_ma < 20"),
    ("tilted", "tilt_deg > 8", "tilt_deg < 5"),
    ("flag", "lamp_failure", "not lamp_failure"),
    ("worn", "operating_h > 60000", "operating_h < 50000"),
    ("switching", "switch_count > 40000", "switch_count < 30000"),
    ("meter", "energy_kwh > 500000", "energy_kwh < 400000"),
    ("draw", "abs(power_w / rated_power_w - 1) > 0.7", "abs(power_w / rated_power_w - 1) < 0.3"),
    ("strain", "voltage_v * current_a > 180 and dim_percent >= 5", "voltage_v * current_a < 150"),
    (
        "by_day",
        "not expected_on and sun_altitude_deg > 3 and power_w > 0.3 * rated_power_w",
        "expected_on or power_w < 0.1 * rated_power_w",
    ),
)
SAYS = {  # what a healthy lamp reports, what an ailing one does on either side
    "power_w": (100.0, 20.0, 180.0),
    "voltage_v": (221.0, 190.0, 240.0),
    "current_a": (0.48, 0.05, 0.9),
    "power_factor": (0.95, 0.6, 0.95),
    "dim_percent": (100.0, 5.0, 100.0),
    "command_percent": (100.0, 2.0, 100.0),
    "energy_kwh": (812.0, 812.0, 900_000.0),
    "operating_h": (4100.0, 4100.0, 70_000.0),
    "switch_count": (900.0, 900.0, 50_000.0),
    "driver_temp_c": (46.0, -40.0, 99.0),
    "leakage_ma": (0.6, 0.6, 40.0),
    "tilt_deg": (0.8, 0.8, 12.0),
    "lamp_failure": (0.0, 0.0, 1.0),
}


def twenty_rules(count: int = len(CONDITIONS)) -> RuleSet:
    """Return so many rules with ``on``, ``for``, ``off`` and ``keep``."""
    text = "rules:\n"
    for name, on, off in CONDITIONS[:count]:
        text += f"  - {{id: {name}, device: streetlight, role: lamp, on: '{on}', for: 15m, off: '{off}', keep: 10m, "
        text += 'severity: minor, message: {en: "{name} {value}", zh: "{name} {value}"}}\n'
    return parse_rules(parse_yaml(text), CATALOG)


def lamps(count: int) -> Registry:
    """Return a registry of so many lamps."""
    facts = {"rated_power_w": 100.0}
    place = {"lon": 120.0, "lat": 30.0, "grid": "E000N000"}
    assets = [Asset(f"lamp-{n:07d}", "streetlight", "lamp", facts=facts, **place) for n in range(count)]
    return Registry(CATALOG, assets)


def _table(rows: int, rng: np.random.Generator, *, noisy: bool) -> np.ndarray:
    table = np.full((len(LAMPS.fields), rows), np.nan)
    for name, (fine, low, high) in SAYS.items():
        drawn = rng.random(rows)
        wrong = np.where(drawn < WRONG, low, np.where(drawn > 1 - WRONG, high, fine))
        table[LAMPS.column(name)] = wrong if noisy else fine
    return table


def series(
    lamps: int, rows: int, *, noisy: bool, start_ms: int = START_MS, turn_ms: int = TURN_MS, seed: int = 7
) -> Iterator[Batch]:
    """Yield batches without end: every lamp once in ``turn_ms``, each time in another order."""
    rng = np.random.default_rng(seed)
    tables = [_table(rows, rng, noisy=noisy) for _ in range(3)]
    waiting = rng.permutation(lamps).astype(np.int32)
    now_ms = start_ms
    number = 0
    while True:
        while len(waiting) < rows:
            waiting = np.concatenate((waiting, rng.permutation(lamps).astype(np.int32)))
        device, waiting = waiting[:rows], waiting[rows:]
        now_ms += max(1, turn_ms * rows // lamps)
        time_ms = np.sort(now_ms - rng.integers(0, 1000, rows))
        yield make_batch(LAMPS, now_ms, time_ms, device, tables[number % len(tables)])
        number += 1
