"""What a city's engine remembers, over all shipped rules: saved once, untouched afterwards, and found again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from alerts.engine import Engine
from alerts.rules import load_rules
from devices.kinds import Catalog
from devices.sky import Sky
from simulators.city import build_city
from simulators.world import World
from storage import snapshot

ZONE = "Asia/Shanghai"
EVENING = 1_781_604_000_000  # 2026-06-16 18:00 in Shanghai
HOUR_MS = 3_600_000
State = Mapping[str, np.ndarray[Any, Any]]


def city(catalog: Catalog) -> tuple[World, Engine]:
    world = World(build_city(7), catalog, ZONE, 7, EVENING, ())
    rules = load_rules(Path("config/rules.yaml"), catalog)
    return world, Engine(rules, world.registry, Sky(world.registry, ZONE, rules.lighting))


def plays(world: World, engine: Engine, hours: float) -> Iterator[None]:
    for now_ms, batches in world.steps(EVENING + int(hours * HOUR_MS)):
        engine.step(batches, now_ms)
        yield


def same(first: State, second: State) -> list[str]:
    """Return the names of arrays that differ."""
    assert first.keys() == second.keys()
    return [name for name, array in first.items() if array.tobytes() != second[name].tobytes()]


@pytest.fixture(scope="module")
def played(catalog: Catalog) -> tuple[State, State, Engine]:
    """Return what was remembered at 20:00, a copy of it made then, and the engine an hour later."""
    world, engine = city(catalog)
    for _ in plays(world, engine, 2):
        pass
    saved = engine.save()
    copied = {name: array.copy() for name, array in saved.items()}
    for _ in plays(world, engine, 3):
        pass
    return saved, copied, engine


def test_what_was_saved_is_not_written_to_by_what_comes_after(played: tuple[State, State, Engine]) -> None:
    saved, copied, engine = played
    assert same(saved, copied) == []
    assert len(same(saved, {name: engine.save()[name] for name in saved})) > 50, "an hour changes much"


def test_an_engine_that_loads_what_was_saved_saves_the_same(
    played: tuple[State, State, Engine], catalog: Catalog, tmp_path: Path
) -> None:
    saved, _, _ = played
    snapshot.Draft(tmp_path, 7, iter(saved.items())).finish()
    found = snapshot.load(tmp_path)
    assert found is not None
    assert same(saved, dict(found[1])) == []
    _, again = city(catalog)
    again.load(found[1])
    assert same(saved, again.save()) == []


def test_ids_of_a_whole_kind_stand_in_a_snapshot_once(played: tuple[State, State, Engine], tmp_path: Path) -> None:
    saved, _, _ = played
    ids = [array for name, array in saved.items() if name.endswith("ids") and len(array) > 50]
    assert len(ids) > 4
    assert len({id(array) for array in ids}) < len(ids)
    snapshot.save(tmp_path, 7, saved)
    unique = {id(array): array.nbytes for array in saved.values()}
    (file,) = tmp_path.iterdir()
    table = 120 * len(saved)
    assert sum(unique.values()) <= file.stat().st_size <= sum(unique.values()) + table
