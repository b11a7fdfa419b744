"""Registry files: CSV of assets, GeoJSON of assets, roads, permits and fences. A file is taken whole or not at all."""

from __future__ import annotations

import csv
import io
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from devices.assetform import AssetForm, Placed, Problems, unknown_columns
from devices.exporting import write_assets_csv, write_geojson
from devices.geojson import FeatureReader, Shift
from devices.kinds import Catalog
from devices.registry import Asset, Fence, Permit, Road
from devices.yamlfile import ConfigError

__all__ = ["Imported", "read_assets_csv", "read_geojson", "write_assets_csv", "write_geojson"]

FILE_BYTES_MAX = 1 << 30


@dataclass(frozen=True, slots=True)
class Imported:
    """What a registry file holds, in its order."""

    assets: list[Asset] = field(default_factory=list)
    roads: list[Road] = field(default_factory=list)
    permits: list[Permit] = field(default_factory=list)
    fences: list[Fence] = field(default_factory=list)


def read_assets_csv(path: Path, catalog: Catalog) -> Imported:
    """Read assets from CSV: a header of column names, then one asset a line, commas between, UTF-8.

    Columns are those of ``Asset`` and the facts of the catalog's kinds; ``id`` and ``kind`` must be there, a role left
    empty is the kind's first. A byte order mark and Windows line ends are accepted.

    Raises:
        ConfigError: with every mistake as ``file:line: column: accepted form``.
    """
    problems = Problems(str(path))
    form = AssetForm(catalog, problems)
    rows = csv.reader(io.StringIO(_text_of(path), newline=""), strict=True)
    placed: list[Placed] = []
    try:
        header = _header(next(rows, []), form, problems)
        problems.check()
        line = rows.line_num + 1
        for row in rows:
            if any(cell.strip() for cell in row):
                if len(row) != len(header):
                    problems.add(line, "row", f"expected {len(header)} cells as in the header, found {len(row)}")
                else:
                    cells = dict(zip(header, map(str.strip, row), strict=True))
                    asset = form.read(cells, line)
                    if asset is not None:
                        placed.append(Placed(line, asset))
            line = rows.line_num + 1
    except csv.Error as trouble:
        problems.add(rows.line_num, "row", f"not CSV: {trouble}; expected commas between cells, quotes around text")
    assets = form.finish(placed)
    problems.check()
    return Imported(assets)


def read_geojson(path: Path, catalog: Catalog, shift: Shift | None = None) -> Imported:
    """Read a GeoJSON FeatureCollection (RFC 7946, WGS-84, or what ``shift`` makes WGS-84 of).

    Points, and features without geometry, are assets with the CSV's columns as properties. Lines with the property
    ``road`` (and ``rank``) are roads. Lines with ``permit``, ``truck``, ``hours``, ``valid_from``, ``valid_until`` and
    ``corridor_m`` are permits, polygons with ``permit`` the sites of that permit. Polygons with ``fence`` (a name),
    ``kind`` and ``hours`` are areas that vehicles must keep out of.

    Raises:
        ConfigError: with every mistake as ``file:feature number: property: accepted form``.
    """
    problems = Problems(str(path))
    reader = FeatureReader(catalog, problems, shift)
    reader.read(_text_of(path))
    found = Imported(reader.assets(), reader.roads, reader.permits(), reader.fences)
    problems.check()
    return found


def _header(cells: list[str], form: AssetForm, problems: Problems) -> list[str]:
    header = [cell.strip() for cell in cells]
    if len(header) == 1 and any(mark in header[0] for mark in ";\t|"):
        problems.add(1, "header", "expected commas between the columns")
        return header
    for name, count in Counter(header).items():
        if count > 1:
            problems.add(1, name or "header", f"the column stands {count} times")
    for name in unknown_columns(header, form.columns):
        problems.add(1, name or "header", f"unknown column; accepted: {', '.join(form.columns)}")
    for name in ("id", "kind"):
        if name not in header:
            problems.add(1, name, f"the column is missing; accepted: {', '.join(form.columns)}")
    return header


def _text_of(path: Path) -> str:
    """Return a file's text. Raises ConfigError where it cannot be read or is not UTF-8."""
    try:
        if path.stat().st_size > FILE_BYTES_MAX:
            raise ConfigError([f"{path}: file: larger than {FILE_BYTES_MAX >> 20} MB: split it"])
        data = path.read_bytes()
    except OSError as trouble:
        raise ConfigError([f"{path}: file: cannot be read: {trouble.strerror}"]) from trouble
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as trouble:
        line = data.count(b"\n", 0, trouble.start) + 1
        raise ConfigError([f"{path}:{line}: encoding: {_encoding_advice(data)}"]) from trouble
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise ConfigError([f"{path}:{line}: encoding: expected UTF-8 text, found a NUL character"])
    return text


def _encoding_advice(data: bytes) -> str:
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return "expected UTF-8, found UTF-16: save the file as UTF-8"
    try:
        data.decode("gb18030")
    except UnicodeDecodeError:
        return "expected UTF-8: save the file as UTF-8"
    return "expected UTF-8, this looks like GBK: save the file as UTF-8 (in Excel: 'CSV UTF-8'; 另存为 UTF-8)"
