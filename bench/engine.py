"""How many readings a second one core judges: ten expression rules on lamps, quiet and noisy signals.

    python -m bench.engine            100,000 lamps, batches of 4,096 and 16,384
    python -m bench.engine --small    the same in a moment, for the test suite

Prints a table and a digest of the transitions, which is the same on every machine.
"""

from __future__ import annotations

import hashlib
import sys
import time
from dataclasses import dataclass

import numpy as np

from alerts.engine import Engine
from alerts.rules import RuleSet, parse_rules
from devices.batch import Batch, make_batch
from devices.kinds import load_catalog
from devices.registry import Asset, Registry
from devices.sky import Sky
from devices.yamlfile import parse_yaml

START_MS = 1_772_370_000_000  # 2026-03-01 21:00 in Shanghai: lamps burn
CATALOG = load_catalog()
CONDITIONS = (
    ("lamp_out", "expected_on and on_for_min > 15 and voltage_v > 150 and power_w < 0.3 * rated_power_w"),
    ("day_burn", "not expected_on and sun_altitude_deg > 3 and power_w > 0.3 * rated_power_w"),
    ("volts", "voltage_v > 235.4 or 50 < voltage_v < 198"),
    ("volts_severe", "voltage_v > 264 or 50 < voltage_v < 176"),
    ("leakage", "leakage_ma >= 30"),
    ("hot", "driver_temp_c > 85"),
    ("tilted", "tilt_deg > 8"),
    ("factor", "power_factor < 0.85 and power_w > 0.7 * rated_power_w"),
    ("flag", "lamp_failure"),
    ("draw", "abs(power_w / rated_power_w - 1) > 0.25 and dim_percent >= 99 and on_for_min > 15"),
)
SAYS = {  # what a healthy lamp reports
    "power_w": 100.0,
    "voltage_v": 221.0,
    "current_a": 0.48,
    "power_factor": 0.95,
    "dim_percent": 100.0,
    "command_percent": 100.0,
    "energy_kwh": 812.0,
    "operating_h": 4100.0,
    "driver_temp_c": 46.0,
    "leakage_ma": 0.6,
    "tilt_deg": 0.8,
    "lamp_failure": 0.0,
}


@dataclass(frozen=True)
class Result:
    """One run: readings judged, seconds of CPU, transitions and their digest."""

    signal: str
    rows: int
    readings: int
    seconds: float
    transitions: int
    digest: str

    @property
    def rate(self) -> float:
        return self.readings / self.seconds


def ten_rules() -> RuleSet:
    text = "rules:\n"
    for name, condition in CONDITIONS:
        text += f"  - {{id: {name}, device: streetlight, role: lamp, on: '{condition}', for: 10m, keep: 10m, "
        text += 'severity: minor, message: {en: "{name} {value}", zh: "{name} {value}"}}\n'
    return parse_rules(parse_yaml(text), CATALOG)


def city(lamps: int) -> Registry:
    facts = {"rated_power_w": 100.0}
    return Registry(
        CATALOG,
        [Asset(f"lamp-{n:06d}", "streetlight", "lamp", lon=120.0, lat=30.0, facts=facts) for n in range(lamps)],
    )


def series(lamps: int, rows: int, batches: int, *, noisy: bool, seed: int = 7) -> list[Batch]:
    """Every lamp in turn, every five minutes; noisy: one reading in a hundred says something wrong."""
    rng = np.random.default_rng(seed)
    kind = CATALOG["streetlight"]
    out = []
    for number in range(batches):
        device = (np.arange(rows) + number * rows) % lamps
        turn = (np.arange(rows) + number * rows) // lamps
        time_ms = START_MS + turn * 300_000 + rng.integers(0, 1000, rows)
        table = np.full((len(kind.fields), rows), np.nan)
        for name, value in SAYS.items():
            table[kind.column(name)] = value * (1 + rng.normal(0.0, 0.005, rows)) if value else 0.0
        table[kind.column("dim_percent")] = 100.0
        if noisy:
            for name, wrong in (("power_w", 1.0), ("voltage_v", 240.0), ("leakage_ma", 40.0), ("driver_temp_c", 99.0)):
                table[kind.column(name), rng.random(rows) < 0.01] = wrong
        out.append(make_batch(kind, int(time_ms.max()), time_ms, device, table))
    return out


def measure(lamps: int, rows: int, batches: int, *, noisy: bool) -> Result:
    registry, rules = city(lamps), ten_rules()
    engine = Engine(rules, registry, Sky(registry, "Asia/Shanghai"), away_ms=3_600_000)
    warm, *rest = series(lamps, rows, batches + 1, noisy=noisy)
    engine.step([warm], warm.arrival_ms)
    digest, told = hashlib.blake2s(digest_size=6), 0
    began = time.process_time()
    for batch in rest:
        for change in engine.step([batch], batch.arrival_ms):
            digest.update(f"{change.alert_id}{change.state}{change.at_ms}".encode())
            told += 1
    seconds = time.process_time() - began
    return Result("noisy" if noisy else "quiet", rows, rows * batches, seconds, told, digest.hexdigest())


def run(*, small: bool) -> list[Result]:
    lamps, total = (2_000, 40_000) if small else (100_000, 2_000_000)
    sizes = (1_024,) if small else (4_096, 16_384)
    return [measure(lamps, rows, total // rows, noisy=noisy) for rows in sizes for noisy in (False, True)]


def main() -> None:
    print(f"{'signal':>8} {'rows a batch':>13} {'readings':>10} {'M readings/s':>13} {'transitions':>12}  digest")
    for result in run(small="--small" in sys.argv):
        print(
            f"{result.signal:>8} {result.rows:>13,} {result.readings:>10,} {result.rate / 1e6:>13.2f} "
            f"{result.transitions:>12,}  {result.digest}"
        )


if __name__ == "__main__":
    main()
