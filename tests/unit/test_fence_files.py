"""Forbidden areas as GeoJSON: what is accepted, how mistakes are named, and that trucks are told of by them."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from alerts.engine import Engine
from alerts.maps import gcj02, wgs84
from alerts.rules import RuleSet, load_rules
from devices.batch import make_batch
from devices.importing import read_geojson, write_geojson
from devices.kinds import load_catalog
from devices.registry import Asset, Fence, Registry
from devices.sky import Sky
from devices.yamlfile import ConfigError
from lamplighter.__main__ import app
from storage.operations import Operations

CATALOG = load_catalog()
RULES = load_rules(Path(__file__).parents[2] / "config" / "rules.yaml", CATALOG)
T0 = 1_781_553_600_000
YARD = [[121.400, 31.000], [121.404, 31.000], [121.404, 31.004], [121.400, 31.004], [121.400, 31.000]]
PARK = [[121.410, 31.000], [121.412, 31.000], [121.412, 31.002], [121.410, 31.000]]
RING, PARK_RING = tuple(map(tuple, YARD)), tuple(map(tuple, PARK))


def area(shape: str, coordinates: object, **properties: object) -> dict[str, Any]:
    return {"type": "Feature", "geometry": {"type": shape, "coordinates": coordinates}, "properties": properties}


def written(folder: Path, *features: dict[str, Any], **more: object) -> Path:
    path = folder / "areas.geojson"
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features, **more}), encoding="utf-8")
    return path


def test_polygons_and_several_pieces_become_fences_with_kind_and_hours(tmp_path: Path) -> None:
    file = written(
        tmp_path,
        area("Polygon", [YARD], fence="No. 3 school", kind="school", hours="07:00-19:00"),
        area("MultiPolygon", [[YARD], [PARK]], fence="内环", kind="inner_ring", hours="22:00-06:00"),
        area("Polygon", [PARK], fence="yard"),
    )
    assert read_geojson(file, CATALOG).fences == [
        Fence("No. 3 school", RING, (420, 1140), "school"),
        Fence("内环", RING, (1320, 360), "inner_ring"),
        Fence("内环", PARK_RING, (1320, 360), "inner_ring"),
        Fence("yard", PARK_RING),
    ]


def test_fences_written_as_geojson_read_back_as_they_were(tmp_path: Path) -> None:
    fences = [Fence("a", RING, (420, 1140), "school"), Fence("b", RING), Fence("b", PARK_RING)]
    write_geojson(tmp_path / "out.geojson", fences=fences)
    assert read_geojson(tmp_path / "out.geojson", CATALOG).fences == fences


def test_every_mistake_names_its_file_its_feature_and_its_key(tmp_path: Path) -> None:
    file = written(
        tmp_path,
        area("Polygon", [YARD], name="school"),
        area("Polygon", [YARD], fence="school", permit="P-1"),
        area("Polygon", [YARD], fence=""),
        area("Polygon", [YARD], fence="a", kind=7, hours="all day", color="red"),
        area("Polygon", [YARD, PARK], fence="hole"),
        area("Polygon", [YARD[:-1]], fence="open"),
        area("MultiPolygon", [[YARD], [[[1, 1], [1, 1], [1, 1], [1, 1]]]], fence="flat"),
        area("MultiPolygon", [], fence="nothing"),
        area("Polygon", [[[31.0, 121.4]] * 5], fence="swapped"),
        area("Polygon", [YARD], fence="a"),
    )
    with pytest.raises(ConfigError) as caught:
        read_geojson(file, CATALOG)
    found = [problem.removeprefix(f"{file}:").split(": ")[:2] for problem in caught.value.problems]
    assert found == [
        ["feature 1", "properties"],
        ["feature 2", "properties"],
        ["feature 3", "fence"],
        ["feature 4", "color"],
        ["feature 4", "kind"],
        ["feature 4", "hours"],
        ["feature 5", "geometry"],
        ["feature 6", "geometry"],
        ["feature 7", "geometry"],
        ["feature 8", "geometry"],
        ["feature 9", "lat"],
        ["feature 10", "fence"],
    ]
    assert all(problem.startswith(f"{file}:feature ") for problem in caught.value.problems)


@given(st.floats(73.5, 135.0), st.floats(18.0, 53.5))
@settings(max_examples=200, deadline=None)
def test_a_place_of_a_chinese_map_is_found_again_to_a_millimetre(lon: float, lat: float) -> None:
    back = wgs84(*gcj02(lon, lat))
    assert math.dist(back, (lon, lat)) < 1e-8
    assert wgs84(2.2945, 48.8584) == (2.2945, 48.8584)


@pytest.fixture
def house(tmp_path: Path) -> Path:
    (tmp_path / "assets.csv").write_text("id,kind,lon,lat\ntruck-1,truck,121.3,31.1\n", encoding="utf-8")
    run("init", str(tmp_path / "house"), "--city", "mycity", "--registry", str(tmp_path / "assets.csv"))
    return tmp_path / "house" / "lamplighter.yaml"


def run(*words: str) -> str:
    done = CliRunner().invoke(app, list(words), terminal_width=140)
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == 0, done.output
    return str(done.output)


def registry_of(house: Path) -> Registry:
    opened = Operations(f"sqlite:///{house.parent / 'data' / 'operations.db'}")
    try:
        return opened.load_registry(CATALOG)
    finally:
        opened.close()


def test_a_city_imports_lists_replaces_and_drops_its_fences(house: Path, tmp_path: Path) -> None:
    first = written(tmp_path, area("MultiPolygon", [[YARD], [PARK]], fence="school", kind="school"))
    assert "1 fences taken up" in run("devices", "import", str(first), "-c", str(house))
    assert registry_of(house).fences == [
        Fence("school", RING, kind="school"),
        Fence("school", PARK_RING, kind="school"),
    ]
    second = written(
        tmp_path, area("Polygon", [PARK], fence="school", hours="07:00-19:00"), area("Polygon", [YARD], fence="depot")
    )
    run("devices", "import", str(second), "-c", str(house))
    assert registry_of(house).fences == [Fence("depot", RING), Fence("school", PARK_RING, (420, 1140))]
    said = run("devices", "fences", "-c", str(house))
    assert "07:00-19:00" in said
    assert "2 fences" in said
    run("devices", "fences", "--drop", "school", "-c", str(house))
    assert registry_of(house).fences == [Fence("depot", RING)]
    with pytest.raises(ConfigError, match="no fence 'school'; known: depot"):
        run("devices", "fences", "--drop", "school", "-c", str(house))


def test_positions_of_a_chinese_map_are_taken_as_such_where_that_is_said(house: Path, tmp_path: Path) -> None:
    shifted = [list(gcj02(lon, lat)) for lon, lat in YARD]
    crs = {"type": "name", "properties": {"name": "GCJ-02"}}
    file = written(tmp_path, area("Polygon", [shifted], fence="school"), crs=crs)
    with pytest.raises(ConfigError, match="found 'GCJ-02'; convert the file, or say --crs gcj02"):
        run("devices", "import", str(file), "-c", str(house))
    run("devices", "import", str(file), "--crs", "gcj02", "-c", str(house))
    (fence,) = registry_of(house).fences
    assert np.abs(np.array(fence.ring) - np.array(YARD)).max() < 1e-8
    assert np.abs(np.array(shifted) - np.array(YARD)).max() > 1e-3
    with pytest.raises(ConfigError, match="expected one of wgs84, gcj02; found 'bd09'"):
        run("devices", "import", str(file), "--crs", "bd09", "-c", str(house))
    table = tmp_path / "assets.csv"
    with pytest.raises(ConfigError, match="gcj02 is understood of GeoJSON alone"):
        run("devices", "import", str(table), "--crs", "gcj02", "-c", str(house))


def test_a_truck_inside_an_imported_fence_is_told_of(tmp_path: Path) -> None:
    fences = read_geojson(written(tmp_path, area("Polygon", [YARD], fence="school")), CATALOG).fences
    opened = Operations(f"sqlite:///{tmp_path / 'operations.db'}")
    before = opened.registry_version()
    opened.import_assets([Asset("truck-1", "truck", "truck", lon=121.4, lat=31.0)], fences=fences)
    assert opened.registry_version() > before
    registry = opened.load_registry(CATALOG)
    opened.close()
    engine = Engine(RuleSet((RULES["truck_in_fence"],), RULES.lighting), registry, Sky(registry, "Asia/Shanghai"))
    kind, told = CATALOG["truck"], []
    for number in range(6):
        values = np.full((len(kind.fields), 1), np.nan)
        for name, value in {"lon_deg": 121.402, "lat_deg": 31.002, "speed_kmh": 20.0, "hdop": 1.0}.items():
            values[kind.column(name), 0] = value
        now = T0 + number * 15_000
        told += engine.step([make_batch(kind, now, [now], [0], values)], now)
    assert [one.rule for one in told] == ["truck_in_fence"]
