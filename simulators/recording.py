"""Recorded data read through its mapping: readings in the order of time, and the assets and permits they speak of."""

from __future__ import annotations

import csv
import gzip
import io
import json
import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, NamedTuple

import msgspec

from devices.registry import Asset, Permit
from devices.topics import DEVICE_ID
from devices.yamlfile import ConfigError
from simulators.mapping import AssetRule, FieldRule, Source
from simulators.mapping_time import Row


class Reading(NamedTuple):
    """One recorded reading in the words of the catalog."""

    time_ms: int
    kind: str
    device: str
    values: dict[str, float | int]


@dataclass(slots=True)
class Recording:
    """Everything that one replay plays.

    Attributes:
        readings: in the order of time; what a second source says of the same device at the same moment is joined into
            one reading, while repeats within one source stay, as devices and feeds do repeat themselves.
        assets, permits: for the registry.
        rows: rows read.
        passed_over: rows not played, by reason: ``where`` (the mapping leaves them out), ``thinned``, ``empty`` (no
            value at all) and ``unreadable``.
        first_trouble: place and reason of the first unreadable row.
    """

    readings: list[Reading] = field(default_factory=list)
    assets: list[Asset] = field(default_factory=list)
    permits: list[Permit] = field(default_factory=list)
    rows: int = 0
    passed_over: Counter[str] = field(default_factory=Counter)
    first_trouble: str = ""


def read_recording(path: Path, sources: list[Source]) -> Recording:
    """Read a recorded file and those that its mapping names beside it; all readings are held in memory.

    Raises:
        ConfigError: for a file that cannot be read, or that lacks a column which the mapping names.
    """
    out = Recording()
    first: dict[str, tuple[Source, Reading]] = {}
    for source in sources:
        held = {(r.time_ms, r.kind, r.device): r for r in out.readings}
        last: dict[str, int] = {}
        for reading in _readings(path.parent / source.file if source.file else path, source, out):
            if source.thin_s and reading.time_ms - last.get(reading.device, -(1 << 62)) < source.thin_s * 1000:
                out.passed_over["thinned"] += 1
                continue
            last[reading.device] = reading.time_ms
            same = held.get((reading.time_ms, reading.kind, reading.device))
            if same:
                same.values.update(reading.values)
            else:
                out.readings.append(reading)
            first.setdefault(reading.device, (source, reading))
    out.readings.sort(key=lambda r: r.time_ms)
    rules = {source.kind.name: source.assets for source in reversed(sources) if source.assets}
    for device, (source, reading) in first.items():
        rule = source.assets or rules.get(source.kind.name)
        if rule:
            out.assets.append(_asset(device, source, rule, reading))
    for source in sources:
        out.permits += _permits(path.parent, source, set(first))
    return out


def _readings(place: Path, source: Source, out: Recording) -> Iterator[Reading]:
    try:
        with _open(place) as stream:
            rows = _rows(stream, place, source)
            for line, row in rows:
                out.rows += 1
                if any(str(row.get(column)) not in texts for column, texts in source.where.items()):
                    out.passed_over["where"] += 1
                    continue
                try:
                    time_ms, device = source.time_ms(row), source.device.of(row)
                    values = _values(source.fields, row)
                except (KeyError, ValueError, OverflowError) as trouble:
                    out.passed_over["unreadable"] += 1
                    what = f"no column {trouble}" if isinstance(trouble, KeyError) else str(trouble)
                    out.first_trouble = out.first_trouble or f"{place}:{line}: {what}"
                    continue
                if not values:
                    out.passed_over["empty"] += 1
                    continue
                yield Reading(time_ms, source.kind.name, device, values)
    except (OSError, EOFError, UnicodeDecodeError, csv.Error) as trouble:
        why = "expected text in UTF-8" if isinstance(trouble, UnicodeDecodeError) else str(trouble)
        why = trouble.strerror if isinstance(trouble, OSError) and trouble.strerror else why
        raise ConfigError([f"{place}: cannot be read: {why}"]) from trouble


def _open(place: Path) -> IO[str]:
    if place.suffix == ".gz":
        return io.TextIOWrapper(gzip.open(place), encoding="utf-8-sig")
    return place.open(encoding="utf-8-sig")


def _rows(stream: IO[str], place: Path, source: Source) -> Iterator[tuple[int, Row]]:
    """Yield line numbers and rows; unreadable JSON lines come as empty rows."""
    name = place.name.removesuffix(".gz")
    form = source.format or ("csv" if name.endswith(".csv") else "jsonl")
    if form == "csv":
        reader = csv.DictReader(stream, delimiter=source.delimiter, skipinitialspace=True)
        head = reader.fieldnames or []
        wanted = [rule.column for rule in source.fields] + [source.device.column, *source.where]
        missing = sorted({column for column in wanted if column and column not in head})
        if missing:
            raise ConfigError([f"{place}:1: no column {', '.join(missing)}; it has {', '.join(head)}"])
        for row in reader:
            yield reader.line_num, dict(row)
        return
    for line, text in enumerate(stream, 1):
        if not text.strip():
            continue
        try:
            found = json.loads(text)
        except json.JSONDecodeError:
            found = None
        yield line, found if isinstance(found, dict) else {}


def _values(rules: tuple[FieldRule, ...], row: Row) -> dict[str, float | int]:
    """Return the fields that a row has. Raises ValueError for what is neither a number, a known word nor nothing."""
    values: dict[str, float | int] = {}
    for rule in rules:
        raw = row.get(rule.column)
        if raw is None or raw == "":
            continue
        if rule.words:
            if str(raw) not in rule.words:
                raise ValueError(f"{rule.column}: '{raw}' is none of {', '.join(rule.words)}")
            number = rule.words[str(raw)]
        else:
            number = float(str(raw)) * rule.factor + rule.offset
        if math.isnan(number):
            continue
        values[rule.name] = round(number) if rule.whole else round(number, 7)
    return values


def _asset(device: str, source: Source, rule: AssetRule, first: Reading) -> Asset:
    texts = {key: text.replace("{device}", device) for key, text in rule.texts.items()}
    lon, lat = rule.lon, rule.lat
    if rule.first_fix:
        lon, lat = float(first.values.get("lon_deg", lon)), float(first.values.get("lat_deg", lat))
    texts.setdefault("name", device)
    return Asset(device, source.kind.name, rule.role, lon=lon, lat=lat, facts=rule.facts, **texts)  # type: ignore[arg-type]


def _permits(folder: Path, source: Source, devices: set[str]) -> Iterator[Permit]:
    """Yield one permit for every line of a route; a route in several pieces is several permits of one truck."""
    rule = source.permits
    if rule is None:
        return
    place = folder / rule.file
    try:
        features = json.loads(place.read_text(encoding="utf-8"))["features"]
        for feature in features:
            device = rule.prefix + str(feature["properties"][rule.property]).lower()
            if device not in devices or not DEVICE_ID.match(device):
                continue
            shape = feature["geometry"]
            lines = shape["coordinates"] if shape["type"] == "MultiLineString" else [shape["coordinates"]]
            for number, line in enumerate(lines, 1):
                route = tuple((float(point[0]), float(point[1])) for point in line)
                yield Permit(f"{device}-{number}", device, route, corridor_m=rule.corridor_m)
    except (OSError, ValueError, KeyError, TypeError) as trouble:
        raise ConfigError(
            [f"{place}: expected GeoJSON lines with the property '{rule.property}': {trouble!r}"]
        ) from trouble


def payload(reading: Reading, shift_ms: int = 0) -> bytes:
    """Return a reading as the JSON that a device would send, its time moved by ``shift_ms``."""
    return msgspec.json.encode({"ts": reading.time_ms + shift_ms, **reading.values})
