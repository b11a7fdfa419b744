"""Registry files: what is accepted, what is refused and how it is said, and that writing and reading agree."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from devices.importing import read_assets_csv, read_geojson, write_assets_csv, write_geojson
from devices.kinds import load_catalog
from devices.registry import Asset, Permit, Registry, Road
from devices.yamlfile import ConfigError

CATALOG = load_catalog()
HEADER = "id,kind,role,name,lon,lat,district,street,road,cabinet,circuit,pole_index,grid,owner,keeper,rated_power_w"


def csv_file(folder: Path, *rows: str, header: str = HEADER, encoding: str = "utf-8", newline: str = "\n") -> Path:
    path = folder / "assets.csv"
    path.write_bytes((newline.join([header, *rows]) + newline).encode(encoding))
    return path


def problems_of(path: Path) -> list[str]:
    read = read_geojson if path.suffix == ".geojson" else read_assets_csv
    with pytest.raises(ConfigError) as caught:
        read(path, CATALOG)
    return [problem.removeprefix(f"{path}:") for problem in caught.value.problems]


def geojson_file(folder: Path, *features: dict[str, Any], **members: object) -> Path:
    path = folder / "city.geojson"
    document = {"type": "FeatureCollection", "features": list(features), **members}
    path.write_text(json.dumps(document, ensure_ascii=False), encoding="utf-8")
    return path


def feature(shape: str, coordinates: object, **properties: object) -> dict[str, Any]:
    return {"type": "Feature", "geometry": {"type": shape, "coordinates": coordinates}, "properties": properties}


LAMP = "lamp-0001,streetlight,lamp,一号灯,116.30,39.98,海淀,中关村街道,中关村大街,cab-01,A,3,,市政,甲公司,60"


def test_a_row_becomes_an_asset_with_all_it_says(tmp_path: Path) -> None:
    (asset,) = read_assets_csv(csv_file(tmp_path, LAMP), CATALOG).assets
    assert asset == Asset(
        "lamp-0001",
        "streetlight",
        "lamp",
        "一号灯",
        116.30,
        39.98,
        "海淀",
        "中关村街道",
        "中关村大街",
        "cab-01",
        "A",
        3,
        "",
        "市政",
        "甲公司",
        {"rated_power_w": 60.0},
    )


@pytest.mark.parametrize(("encoding", "newline"), [("utf-8-sig", "\n"), ("utf-8", "\r\n"), ("utf-8-sig", "\r\n")])
def test_a_byte_order_mark_and_windows_line_ends_change_nothing(tmp_path: Path, encoding: str, newline: str) -> None:
    plain = read_assets_csv(csv_file(tmp_path, LAMP, ""), CATALOG)
    assert read_assets_csv(csv_file(tmp_path, LAMP, "", encoding=encoding, newline=newline), CATALOG) == plain


def test_an_empty_role_is_the_first_of_its_kind_and_an_empty_position_is_unknown(tmp_path: Path) -> None:
    (asset,) = read_assets_csv(csv_file(tmp_path, "stn-1,pump", header="id,kind"), CATALOG).assets
    assert asset.role == "station"
    assert math.isnan(asset.lon)
    assert asset.pole_index == -1


def test_every_mistake_of_a_file_is_told_at_once_with_line_column_and_accepted_form(tmp_path: Path) -> None:
    rows = [
        LAMP,
        LAMP,
        "Lamp 2,streetlight,lamp,,116.30,39.98,,,,,,,,,,",
        "lamp-0003,gauge,,,,,,,,,,,,,,",
        "lamp-0004,streetlight,mast,,39.98,116.30,,,,,,,,,,",
        "lamp-0005,streetlight,lamp,,116.30,,,,,,,x,,,,",
        'lamp-0006,streetlight,lamp,"two\nlines",,,,,,,,,,,,60W',
        "lamp-0007,streetlight,lamp,,116.30,39.98,,,,,,-7,,,,-1",
        "lamp-0008,streetlight,lamp",
    ]
    found = problems_of(csv_file(tmp_path, *rows))
    assert [p.split(": ")[:2] for p in found] == [
        ["4", "id"],
        ["5", "kind"],
        ["6", "lat"],
        ["6", "role"],
        ["7", "lat"],
        ["7", "pole_index"],
        ["8", "name"],
        ["8", "rated_power_w"],
        ["10", "pole_index"],
        ["10", "rated_power_w"],
        ["11", "row"],
        ["3", "id"],
    ]
    text = "\n".join(found)
    assert "expected one of streetlight, manhole, pump, truck; found 'gauge'" in text
    assert "lon and lat look swapped" in text
    assert "expected a number such as 12.5, found '60W'" in text
    assert "expected 0 to 500000 W, found -1" in text
    assert f"'lamp-0001' stands at {tmp_path / 'assets.csv'}:2 already" in text
    assert "expected 16 cells as in the header, found 3" in text


def test_an_unknown_column_names_the_accepted_ones(tmp_path: Path) -> None:
    found = problems_of(csv_file(tmp_path, "lamp-0001,streetlight,5", header="id,kind,wattage"))
    assert len(found) == 1
    assert found[0].startswith("1: wattage: unknown column; accepted: id, kind, role, name, lon, lat,")
    assert "rated_power_w" in found[0]


def test_a_column_that_stands_twice_or_is_missing_is_told(tmp_path: Path) -> None:
    found = problems_of(csv_file(tmp_path, "lamp-0001,a,b", header="id,name,name"))
    assert found[0] == "1: name: the column stands 2 times"
    assert found[1].startswith("1: kind: the column is missing")


def test_a_fact_of_another_kind_or_role_is_refused(tmp_path: Path) -> None:
    found = problems_of(
        csv_file(tmp_path, "cab-01,streetlight,cabinet,8", header="id,kind,role,pole_height_m"),
    )
    assert found == [
        "2: pole_height_m: no fact of a streetlight cabinet; its facts: rated_power_w, gateway, out_of_service"
    ]


def test_a_position_swapped_among_others_is_found_where_both_numbers_would_pass(tmp_path: Path) -> None:
    rows = [f"cover-{n:03d},manhole,{55.1 + n / 1000},{25.2}" for n in range(5)]
    found = problems_of(csv_file(tmp_path, *rows, "cover-900,manhole,25.2,55.1", header="id,kind,lon,lat"))
    assert found == ["7: lon: 25.2, 55.1 lies far from all others: lon and lat look swapped"]


def test_the_sea_off_africa_is_no_position(tmp_path: Path) -> None:
    assert "0, 0 lies in the sea" in problems_of(csv_file(tmp_path, "abc,manhole,0,0", header="id,kind,lon,lat"))[0]


@pytest.mark.parametrize(
    ("encoding", "advice"),
    [("gbk", "looks like GBK"), ("utf-16", "found UTF-16")],
)
def test_a_file_that_is_not_utf8_says_what_it_looks_like(tmp_path: Path, encoding: str, advice: str) -> None:
    (found,) = problems_of(csv_file(tmp_path, LAMP, encoding=encoding))
    assert "encoding: expected UTF-8" in found
    assert advice in found


def test_semicolons_an_empty_file_and_an_open_quote_are_told(tmp_path: Path) -> None:
    assert (
        problems_of(csv_file(tmp_path, "a;b", header="id;kind"))[0] == "1: header: expected commas between the columns"
    )
    (tmp_path / "assets.csv").write_bytes(b"")
    assert problems_of(tmp_path / "assets.csv")[0].startswith("1: id: the column is missing")
    assert "not CSV" in problems_of(csv_file(tmp_path, 'lamp-0001,"streetlight', header="id,kind"))[-1]


def test_an_absent_file_is_told(tmp_path: Path) -> None:
    assert "cannot be read" in problems_of(tmp_path / "nowhere.csv")[0]


def test_a_thousand_mistakes_are_counted_and_not_all_told(tmp_path: Path) -> None:
    found = problems_of(csv_file(tmp_path, *["x,manhole"] * 1000, header="id,kind"))
    assert len(found) == 101
    assert found[-1].endswith("and 900 more problems")


def test_geojson_gives_assets_roads_permits_and_their_sites(tmp_path: Path) -> None:
    ring = [[116.3, 39.9], [116.31, 39.9], [116.31, 39.91], [116.3, 39.9]]
    found = read_geojson(
        geojson_file(
            tmp_path,
            feature("Point", [116.3, 39.9, 45.0], id="truck-01", kind="truck", max_load_t=31),
            {"type": "Feature", "geometry": None, "properties": {"id": "truck-02", "kind": "truck"}},
            feature("LineString", [[116.3, 39.9], [116.4, 39.9]], road="长安街", rank="main"),
            feature(
                "LineString",
                [[116.3, 39.9], [116.4, 39.9]],
                permit="P-7",
                truck="truck-01",
                hours="22:00-06:00",
                valid_from="2026-05-01T00:00+08:00",
                valid_until=1_790_000_000_000,
                corridor_m=40,
            ),
            feature("Polygon", [ring], permit="P-7"),
            crs={"type": "name", "properties": {"name": "urn:ogc:def:crs:OGC:1.3:CRS84"}},
        ),
        CATALOG,
    )
    assert [a.id for a in found.assets] == ["truck-01", "truck-02"]
    assert found.assets[0].facts == {"max_load_t": 31.0}
    assert found.roads == [Road("长安街", ((116.3, 39.9), (116.4, 39.9)), "main")]
    (permit,) = found.permits
    assert permit.hours == (1320, 360)
    assert permit.valid_from_ms == 1_777_564_800_000
    assert permit.valid_until_ms == 1_790_000_000_000
    assert permit.corridor_m == 40.0
    assert permit.sites == (tuple((lon, lat) for lon, lat in ring),)


def test_every_mistake_of_a_geojson_names_its_feature(tmp_path: Path) -> None:
    line = [[116.3, 39.9], [116.4, 39.9]]
    found = problems_of(
        geojson_file(
            tmp_path,
            feature("Point", [116.3, 39.9], id="truck-01", kind="truck", wheels=6),
            feature("LineString", line, name="nameless"),
            feature("LineString", [[116.3, 39.9]], road="short"),
            feature("LineString", line, permit="P-1", truck="T 1", hours="all night", valid_from="2026-05-01"),
            feature("LineString", line, permit="P-1", truck="truck-01"),
            feature("Polygon", [[[1, 2], [3, 4], [5, 6], [7, 8]]], permit="P-1"),
            feature("Polygon", [[[1, 2], [3, 4], [5, 6], [1, 2]]], permit="P-9"),
            feature("LineString", [[39.9, 116.3], [39.9, 116.4]], road="swapped"),
            feature("Point", ["116.3", 39.9], id="truck-03", kind="truck"),
            feature("GeometryCollection", []),
            crs={"type": "name", "properties": {"name": "EPSG:3857"}},
        )
    )
    told = {(p.split(": ")[0], p.split(": ")[1]) for p in found}
    assert told == {
        (
            " crs",
            "expected WGS-84 degrees, found 'EPSG:3857'; convert the file, or say --crs gcj02 where it is of that",
        ),
        ("feature 1", "wheels"),
        ("feature 2", "properties"),
        ("feature 3", "coordinates"),
        ("feature 4", "truck"),
        ("feature 4", "hours"),
        ("feature 4", "valid_from"),
        ("feature 5", "permit"),
        ("feature 6", "geometry"),
        ("feature 7", "permit"),
        ("feature 8", "lat"),
        ("feature 9", "coordinates"),
        ("feature 10", "geometry"),
    }


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{", "1: document: not JSON"),
        ("[]", " type: expected a FeatureCollection"),
        ('{"type": "FeatureCollection", "features": [3]}', "feature 1: type: expected a Feature"),
        ('{"type": "FeatureCollection", "features": [{"type": "Feature", "geometry": 3}]}', "feature 1: geometry"),
        ('{"type": "FeatureCollection", "features": NaN}', "document: not JSON"),
        ("[" * 100_000, "document: not GeoJSON: nested too deeply"),
    ],
)
def test_what_is_no_feature_collection_is_refused(tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / "city.geojson"
    path.write_text(text, encoding="utf-8")
    assert told in problems_of(path)[0]


words = st.text(st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"]), max_size=12).map(str.strip)
degrees = st.tuples(st.floats(115, 116, allow_subnormal=False), st.floats(39, 40, allow_subnormal=False))


@st.composite
def lamps(draw: st.DrawFn) -> list[Asset]:
    found = []
    for number in range(draw(st.integers(0, 5))):
        lon, lat = draw(st.one_of(degrees, st.just((math.nan, math.nan))))
        facts = draw(st.dictionaries(st.sampled_from(["rated_power_w", "pole_height_m"]), st.floats(0, 60), max_size=2))
        places = [draw(words) for _ in range(8)]
        pole = draw(st.integers(-1, 400))
        found.append(
            Asset(
                f"lamp-{number:04d}",
                "streetlight",
                "lamp",
                draw(words),
                lon,
                lat,
                *places[:5],
                pole,
                *places[5:],
                facts,
            )
        )
    return found


def same(left: list[Asset], right: list[Asset]) -> bool:
    return repr(left) == repr(right)  # NaN is the same as NaN here


@settings(max_examples=60, deadline=None)
@given(lamps())
def test_assets_written_as_csv_or_geojson_read_back_as_they_were(
    tmp_path_factory: pytest.TempPathFactory, assets: list[Asset]
) -> None:
    folder = tmp_path_factory.mktemp("round")
    write_assets_csv(folder / "a.csv", assets, CATALOG)
    write_geojson(folder / "a.geojson", assets)
    expected = [Asset(**{**{n: getattr(a, n) for n in Asset.__slots__}, "facts": dict(a.facts)}) for a in assets]
    by_fact = [Asset(**{**{n: getattr(a, n) for n in Asset.__slots__}, "facts": sort_facts(a)}) for a in expected]
    assert same([with_sorted(a) for a in read_assets_csv(folder / "a.csv", CATALOG).assets], by_fact)
    assert same([with_sorted(a) for a in read_geojson(folder / "a.geojson", CATALOG).assets], by_fact)


def sort_facts(asset: Asset) -> dict[str, float]:
    return {name: asset.facts[name] for name in sorted(asset.facts)}


def with_sorted(asset: Asset) -> Asset:
    return Asset(**{**{n: getattr(asset, n) for n in Asset.__slots__}, "facts": sort_facts(asset)})


def test_roads_and_permits_written_as_geojson_read_back_as_they_were(tmp_path: Path) -> None:
    roads = [Road("a", ((115.0, 39.0), (115.1, 39.1)), "main"), Road("a", ((115.2, 39.0), (115.1, 39.1)), "branch")]
    site = ((115.0, 39.0), (115.1, 39.0), (115.1, 39.1), (115.0, 39.0))
    permits = [
        Permit("P-1", "truck-01", roads[0].line, (site, site), (1320, 360), 1_777_564_800_123, 1_790_000_000_000, 40.0),
        Permit("P-2", "truck-01", roads[1].line),
    ]
    write_geojson(tmp_path / "a.geojson", (), roads, permits)
    found = read_geojson(tmp_path / "a.geojson", CATALOG)
    assert found.roads == roads
    assert found.permits == permits


def test_an_imported_registry_can_be_built(tmp_path: Path) -> None:
    registry = Registry(CATALOG, read_assets_csv(csv_file(tmp_path, LAMP), CATALOG).assets)
    assert registry.fact("rated_power_w")[0] == 60
    assert registry.assets[0].grid == "E000N000"
