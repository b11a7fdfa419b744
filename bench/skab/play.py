"""Plays SKAB recordings through rules and holds what they say against the labelled rows."""

from __future__ import annotations

import csv
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from alerts.engine import Engine
from alerts.rules import RuleSet, load_rules
from devices.kinds import Catalog, load_catalog
from devices.registry import Registry
from devices.sky import Sky
from devices.transition import ACTIVE, CLEARED
from simulators.mapping import load_mapping
from simulators.recorded import batches
from simulators.recording import Recording, read_recording

HERE = Path(__file__).parent
CONFIG = HERE.parents[1] / "config"
NOTED_MS = 300_000  # of each recording, for what was usual
USUAL = {
    "usual_flow_lpm": "flow_lpm", "usual_water_c": "water_temp_c",
    "usual_vibration_1_g": "vibration_1_g", "usual_vibration_2_g": "vibration_2_g",
}  # fmt: skip
LOADED = 0.88  # of the rated current that a pump draws at its design point: what was usual is taken for that
SHIPPED = ("pump_underload", "pump_electric")  # those that can hear anything of the rig
HEALTHY = "anomaly-free_anomaly-free"


@dataclass(frozen=True, slots=True)
class Run:
    """One recording.

    Attributes:
        name: of its file; ``tuning`` whether thresholds may be chosen on it.
        label: what was done to the rig.
        recording: its readings, and the rig with what was usual.
        pump: the same as a pump of the shipped kind.
        faults: (begin, end) of each stretch of rows that are labelled, epoch milliseconds.
        hours: of it that are not labelled, behind the noted minutes.
    """

    name: str
    tuning: bool
    label: str
    recording: Recording
    pump: Recording
    faults: tuple[tuple[int, int], ...]
    hours: float


@dataclass(frozen=True, slots=True)
class Heard:
    """One alert: its rule, when it was told and when it ended (0: never)."""

    rule: str
    told_ms: int
    ended_ms: int


@dataclass(frozen=True, slots=True)
class Line:
    """What the rules said of one recording.

    Attributes:
        run: which.
        told: alerts in the order of time.
        delays_s: of each labelled stretch, seconds to the first alert told within it; None where there is none.
        false: alerts told outside of any labelled stretch.
    """

    run: Run
    told: tuple[Heard, ...]
    delays_s: tuple[float | None, ...]
    false: tuple[Heard, ...]


def catalog() -> Catalog:
    """Return the shipped kinds and the rig."""
    return load_catalog(HERE / "pump_rig.yaml")


def runs(folder: Path, known: Catalog) -> list[Run]:
    """Return all recordings of ``folder`` in the order of their names, the sound one last."""
    place = folder / "sewer" / "skab_pump_faults"
    with (place / "index.csv").open(encoding="utf-8") as stream:
        index = {row["file"]: row["label"] for row in csv.DictReader(stream) if row["half"] == "open"}
    names = sorted(name for name in index if not name.startswith(HEALTHY))
    return [
        _run(place / name, index[name], known, tuning=number % 2 == 0)
        for number, name in enumerate([*names, *(name for name in index if name.startswith(HEALTHY))])
    ]


def _run(path: Path, label: str, known: Catalog, *, tuning: bool) -> Run:
    recording = read_recording(path, load_mapping(HERE / "mapping.yaml", known))
    facts = {fact: _noted(recording, name) for fact, name in USUAL.items()}
    recording.assets = [replace(one, facts={**one.facts, **facts}) for one in recording.assets]
    pump = read_recording(path, load_mapping(CONFIG / "mappings" / "skab_pump.yaml", known))
    rated = {"rated_current_a": _noted(pump, "current_a") / LOADED}
    pump.assets = [replace(one, facts={**one.facts, **rated}) for one in pump.assets]
    faults, sound = _labelled(path, [one.time_ms for one in recording.readings])
    hours = max(sound - NOTED_MS, 0) / 3.6e6
    return Run(path.name.partition(".")[0], tuning, label, recording, pump, faults, hours)


def _noted(recording: Recording, field: str) -> float:
    """Return the median of a field over the noted minutes."""
    until_ms = recording.readings[0].time_ms + NOTED_MS
    return float(np.median([one.values[field] for one in recording.readings if one.time_ms < until_ms]))


def _labelled(path: Path, times: list[int]) -> tuple[tuple[tuple[int, int], ...], int]:
    """Return the labelled stretches, and how many milliseconds are not."""
    with path.open(encoding="utf-8") as stream:
        wrong = [float(row.get("anomaly") or 0) > 0 for row in csv.DictReader(stream, delimiter=";")]
    edges = np.flatnonzero(np.diff(np.r_[False, wrong, False].astype(np.int8)))
    spans = tuple((times[a], times[b - 1]) for a, b in zip(edges[::2], edges[1::2], strict=True))
    return spans, times[-1] - times[0] - sum(b - a for a, b in spans)


def hear(recording: Recording, rules: RuleSet, known: Catalog) -> list[Heard]:
    """Return what the rules say of a recording, second by second."""
    registry = Registry(known, recording.assets)
    engine = Engine(rules, registry, Sky(registry, "UTC", rules.lighting))
    open_at: dict[str, int] = {}
    out: list[Heard] = []
    for batch in batches(registry, recording.readings, 16):
        for one in engine.step([batch], batch.arrival_ms):
            if one.state == ACTIVE:
                open_at[one.rule] = one.at_ms
            elif one.state == CLEARED and one.rule in open_at:
                out.append(Heard(one.rule, open_at.pop(one.rule), one.at_ms))
    out += [Heard(rule, told, 0) for rule, told in open_at.items()]
    return sorted(out, key=lambda one: (one.told_ms, one.rule))


def line(run: Run, rules: RuleSet, known: Catalog, recording: Recording | None = None) -> Line:
    """Return what the rules said of a recording, held against its labels; of another form of it where that is given."""
    told = tuple(hear(recording or run.recording, rules, known))
    delays = tuple(
        min(((one.told_ms - a) / 1000.0 for one in told if a <= one.told_ms <= b), default=None) for a, b in run.faults
    )
    false = tuple(one for one in told if not any(a <= one.told_ms <= b for a, b in run.faults))
    return Line(run, told, delays, false)


def shipped_rules(known: Catalog) -> RuleSet:
    """Return the shipped pump rules that can hear anything of the rig."""
    rules = load_rules(CONFIG / "rules.yaml", known)
    return RuleSet(tuple(rules[name] for name in SHIPPED), rules.lighting)


def rig_rules(known: Catalog) -> RuleSet:
    """Return the rules that a city would write for the rig."""
    return load_rules(HERE / "rules.yaml", known)
