"""A registry in columns answers as one of objects would, and its file is never of another time than its database."""

from __future__ import annotations

import math
import zlib
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import create_engine, text

from devices import assetcolumns
from devices.assetcolumns import Index, columns_of
from devices.kinds import Catalog
from devices.registry import Asset, Registry
from devices.yamlfile import ConfigError
from simulators.megacity import Size, megacity
from storage import assetbook
from storage.operations import REGISTRY_FILE, Operations

SMALL = Size(60, 40, 10, 5)
ASSETS = [
    *megacity(SMALL),
    Asset("lamp-alone", "streetlight", "lamp"),
    Asset("odd", "manhole", "cover", "Ünï 井", grid="E999N999", facts={"depth_m": math.nan}, pole_index=3, lon=121.4),
]


def same(left: Asset, right: Asset) -> bool:
    """Say whether two assets are alike; what is not a number is alike, and facts that are not numbers are none."""

    def plain(asset: Asset) -> list[object]:
        values = [getattr(asset, name) for name in Asset.__slots__ if name not in ("facts", "grid")]
        known = {name: value for name, value in asset.facts.items() if not math.isnan(value)}
        return [None if isinstance(v, float) and math.isnan(v) else v for v in values] + [known]

    return plain(left) == plain(right)


def test_assets_come_out_of_columns_as_they_went_in(catalog: Catalog) -> None:
    registry = Registry(catalog, ASSETS)
    assert len(registry) == len(registry.assets) == len(ASSETS)
    assert all(same(*pair) for pair in zip(registry.assets, ASSETS, strict=True))
    assert [asset.id for asset in registry.assets[3:6]] == [asset.id for asset in ASSETS[3:6]]
    assert same(registry.assets[-1], ASSETS[-1])
    assert registry.assets[-1].grid == "E999N999"
    assert registry.assets[0].grid != ""
    assert registry.assets[-2].grid == ""
    with pytest.raises(IndexError):
        registry.assets[len(ASSETS)]


def test_rows_facts_and_places_are_those_of_the_assets(catalog: Catalog) -> None:
    registry = Registry(catalog, ASSETS)
    assert dict(registry.row) == {asset.id: row for row, asset in enumerate(ASSETS)}
    assert "nobody" not in registry.row
    assert registry.row.get("灯") is None
    depth = registry.fact("depth_m")
    assert [d for d in depth.tolist() if not math.isnan(d)] == [
        a.facts["depth_m"] for a in ASSETS if not math.isnan(a.facts.get("depth_m", math.nan))
    ]
    for place in ("district", "road", "cabinet"):
        group = registry.group(place)
        told = [group.names[code] if code >= 0 else "" for code in group.code]
        assert told == [getattr(asset, place) for asset in ASSETS]
    for kind in ("streetlight", "pump"):
        roles = [catalog[kind].roles[role] for role in registry.role[registry.rows_of(kind)]]
        assert roles == [asset.role for asset in ASSETS if asset.kind == kind]
    with pytest.raises((KeyError, ValueError)):
        Registry(catalog, [Asset("x-1", "streetlight", "gnome")])


def test_ids_are_found_among_many_that_share_their_checksum_s_slot() -> None:
    ids = np.array([f"lamp-{number:06d}".encode() for number in range(30_000)])
    index = Index(ids)
    assert all(index[f"lamp-{number:06d}"] == number for number in range(0, 30_000, 7))
    assert not any(f"lamp-{number:06d}" in index for number in range(30_000, 40_000))
    assert len(Index(ids[:0])) == 0
    assert "lamp-000001" not in Index(ids[:0])


def test_a_part_of_an_id_or_name_is_found_in_whatever_case() -> None:
    columns = columns_of(ASSETS)
    for part in ("lamp-", "LAMP-00", "号灯", "ünï", "x0000", ".*", "", "泵站"):
        wanted = [
            row for row, a in enumerate(ASSETS) if part.casefold() in a.id or part.casefold() in a.name.casefold()
        ]
        assert columns.holding(part).tolist() == wanted, part


def registered(folder: Path) -> Operations:
    operations = Operations(f"sqlite:///{folder}/operations.db")
    operations.import_assets(ASSETS)
    return operations


def test_the_file_is_read_instead_of_the_database_and_says_the_same(
    tmp_path: Path, catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(assetbook, "CACHED_FROM", 1)
    operations = registered(tmp_path)
    first = operations.load_registry(catalog)
    assert (tmp_path / REGISTRY_FILE).exists()
    monkeypatch.setattr(assetbook, "_read", None)  # the database's rows are not asked any more
    monkeypatch.setattr(assetcolumns, "_by_checksum", None)  # nor are checksums worked out again
    again = operations.load_registry(catalog)
    assert list(again.assets) == list(first.assets) or all(
        same(*pair) for pair in zip(again.assets, first.assets, strict=True)
    )
    assert [a.grid for a in again.assets] == [a.grid for a in first.assets]
    assert np.array_equal(again.fact("rated_power_w"), first.fact("rated_power_w"), equal_nan=True)
    assert again.row == first.row
    operations.close()


def test_the_file_of_another_time_is_never_believed(
    tmp_path: Path, catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(assetbook, "CACHED_FROM", 1)
    operations = registered(tmp_path)
    operations.load_registry(catalog)
    old = (tmp_path / REGISTRY_FILE).read_bytes()
    operations.import_assets([Asset("lamp-alone", "streetlight", "lamp", "moved", road="新路")])
    assert operations.load_registry(catalog).assets[len(ASSETS) - 2].road == "新路"
    (tmp_path / REGISTRY_FILE).write_bytes(old)  # a backup of the file alone
    assert operations.load_registry(catalog).assets[len(ASSETS) - 2].road == "新路"
    other = tmp_path / "other"
    other.mkdir()
    copy = registered(other)  # another database of the same city after as many imports
    (other / REGISTRY_FILE).write_bytes((tmp_path / REGISTRY_FILE).read_bytes())
    assert copy.load_registry(catalog).assets[len(ASSETS) - 2].road == ""
    copy.close()
    operations.close()


def test_a_damaged_file_is_made_anew(tmp_path: Path, catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(assetbook, "CACHED_FROM", 1)
    operations = registered(tmp_path)
    operations.load_registry(catalog)
    path = tmp_path / REGISTRY_FILE
    whole = path.read_bytes()
    for place in range(0, len(whole), len(whole) // 60):
        for broken in (whole[:place], whole[:place] + bytes([whole[place] ^ 16]) + whole[place + 1 :]):
            path.write_bytes(broken)
            assert [a.id for a in operations.load_registry(catalog).assets] == [a.id for a in ASSETS]
    path.unlink()
    path.mkdir()  # where nothing can be written, it goes on without
    assert len(operations.load_registry(catalog)) == len(ASSETS)
    operations.close()


def test_a_missing_row_is_told_and_a_small_registry_needs_no_file(tmp_path: Path, catalog: Catalog) -> None:
    operations = registered(tmp_path)
    assert len(operations.load_registry(catalog)) == len(ASSETS)
    assert not (tmp_path / REGISTRY_FILE).exists()
    engine = create_engine(f"sqlite:///{tmp_path}/operations.db")
    with engine.begin() as connection:
        connection.execute(text("DELETE FROM assets WHERE row = 7"))
    engine.dispose()
    with pytest.raises(ConfigError, match="row 7 is missing"):
        operations.load_registry(catalog)
    operations.close()


def test_a_megacity_is_the_same_for_the_same_seed_and_as_large_as_asked(catalog: Catalog) -> None:
    assert list(megacity(SMALL)) == list(megacity(SMALL))
    registry = Registry(catalog, list(megacity(SMALL)))
    counts = [len(registry.rows_of(kind)) for kind in ("streetlight", "manhole", "pump", "truck")]
    assert counts == [60, 40, 10, 5]
    assert Size().devices() == 815_000


def test_many_rows_are_found_by_their_ids_at_once_and_unknown_ones_are_not(catalog: Catalog) -> None:
    assets = [Asset(f"lamp-{n:05}", "streetlight", "lamp") for n in range(3000)]
    registry = Registry(catalog, assets)
    rows = np.array([2999, 0, 17, 1500])
    asked = np.array([*registry.ids_of(rows), "lamp-3000", "lamp-000", "lamp-00000x"], dtype=np.bytes_)
    assert registry.rows_named(asked).tolist() == [2999, 0, 17, 1500, -1, -1, -1]
    assert registry.rows_named(np.array([], dtype="S5")).tolist() == []
    empty = Registry(catalog, [])
    assert empty.rows_named(asked).tolist() == [-1] * 7


def test_ids_with_the_same_checksum_are_told_apart(catalog: Catalog) -> None:
    """CRC32 of both is 0x4DDB0C25; the index has to look at the names."""
    names = ("plumless", "buckeroo")
    registry = Registry(catalog, [Asset(name, "streetlight", "lamp") for name in names])
    assert zlib.crc32(b"plumless") == zlib.crc32(b"buckeroo")
    assert registry.rows_named(np.array(names, dtype=np.bytes_)).tolist() == [0, 1]
    assert registry.rows_named(np.array(names[::-1], dtype=np.bytes_)).tolist() == [1, 0]


def test_those_who_ask_alike_share_one_index_and_one_column_of_ids(catalog: Catalog) -> None:
    kinds = ["streetlight" if n % 3 else "manhole" for n in range(90)]
    roles = {"streetlight": "lamp", "manhole": "cover"}
    registry = Registry(catalog, [Asset(f"x-{n}", kind, roles[kind]) for n, kind in enumerate(kinds)])
    rows = registry.rows_of("manhole")
    places = registry.places_in(rows)
    assert places[rows].tolist() == list(range(30))
    assert (places[registry.rows_of("streetlight")] == -1).all()
    assert registry.places_in(rows.copy()) is places
    assert registry.id_column(rows.copy()) is registry.id_column(rows)
    assert registry.id_column(rows[:7]).tolist() == [f"x-{3 * n}".encode() for n in range(7)]
    with pytest.raises(ValueError, match="read-only"):
        places[0] = 5
