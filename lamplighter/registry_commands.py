"""The commands that read and write the registry."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from alerts.maps import wgs84
from devices.importing import Imported, read_assets_csv, read_geojson
from devices.kinds import Catalog, load_catalog
from devices.registry import Registry
from devices.yamlfile import ConfigError
from lamplighter.output import make_console
from lamplighter.settings import Settings
from lamplighter.wiring import make_store
from storage.operations import Operations
from storage.timeseries import History, StoreAway, TimeSeries

HOUR_MS = 3_600_000
POINTS = 5_000  # a reading a second for an hour, and more
DEGREES = {"wgs84": None, "gcj02": wgs84}  # what a file's positions may be, and what makes WGS-84 of them


def read_registry_files(files: list[Path], catalog: Catalog, crs: str = "wgs84") -> list[Imported]:
    """Read every file, with positions in ``crs``; raises one ConfigError with the problems of all of them."""
    if crs not in DEGREES:
        raise ConfigError([f"--crs: expected one of {', '.join(DEGREES)}; found '{crs}'"])
    problems: list[str] = []
    found: list[Imported] = []
    for path in files:
        try:
            if "json" in path.suffix:
                found.append(read_geojson(path, catalog, DEGREES[crs]))
            elif DEGREES[crs] is not None:
                problems.append(f"{path}: --crs: {crs} is understood of GeoJSON alone")
            else:
                found.append(read_assets_csv(path, catalog))
        except ConfigError as trouble:
            problems.extend(trouble.problems)
    if problems:
        raise ConfigError(problems)
    return found


def import_files(settings: Settings, files: list[Path], crs: str = "wgs84") -> str:
    """Take files into the registry in one transaction; return one sentence about it."""
    catalog = load_catalog(*settings.kinds)
    parts = read_registry_files(files, catalog, crs)
    settings.data.mkdir(parents=True, exist_ok=True)
    operations = Operations(settings.operations_url())
    try:
        summary = operations.import_assets(
            [asset for part in parts for asset in part.assets],
            [road for part in parts for road in part.roads],
            [permit for part in parts for permit in part.permits],
            [fence for part in parts for fence in part.fences],
        )
    finally:
        operations.close()
    fences = len({fence.id for part in parts for fence in part.fences})
    return (
        f"{summary.added} added, {summary.changed} changed, {summary.unchanged} as before"
        f"{f'; {fences} fences taken up' if fences else ''}. "
        "A running Lamplighter takes the new registry at its next start, or with `lamplighter reload`, "
        "and with it the quarantined messages of devices that are new."
    )


def list_devices(settings: Settings, kind: str, road: str, limit: int) -> None:
    """Print the registry as a table."""
    registry = _registry(settings)
    kinds = [one.name for one in registry.catalog]
    if kind and kind not in kinds:
        raise ConfigError([f"--kind: expected one of {', '.join(kinds)}; found '{kind}'"])
    rows = registry.rows_of(kind) if kind else np.arange(len(registry))
    if road:
        roads = registry.group("road")
        rows = rows[roads.code[rows] == (roads.names.index(road) if road in roads.names else -2)]
    table = Table("id", "kind", "role", "name", "district", "road", "cabinet", "grid")
    for asset in (registry.assets[row] for row in rows[:limit]):
        table.add_row(
            asset.id, asset.kind, asset.role, asset.name, asset.district, asset.road, asset.cabinet, asset.grid
        )
    console = make_console()
    console.print(table)
    console.print(f"{min(limit, len(rows))} of {len(rows)} devices")


def list_fences(settings: Settings) -> None:
    """Print the areas that vehicles must keep out of."""
    fences = _registry(settings).fences
    names = list(dict.fromkeys(fence.id for fence in fences))
    table = Table("fence", "kind", "hours", "pieces", "corners")
    for name in names:
        parts = [fence for fence in fences if fence.id == name]
        hours = "-".join(f"{minute // 60:02d}:{minute % 60:02d}" for minute in parts[0].hours)
        corners = sum(len(set(part.ring)) for part in parts)
        table.add_row(escape(name), escape(parts[0].kind), hours, str(len(parts)), str(corners))
    console = make_console()
    console.print(table)
    console.print(f"{len(names)} fences")


def drop_fences(settings: Settings, names: list[str]) -> str:
    """Let fences go; return one sentence about it. Raises ConfigError where there is none of a name."""
    known = {fence.id for fence in _registry(settings).fences}
    if strange := [name for name in names if name not in known]:
        raise ConfigError([f"no fence '{name}'; known: {', '.join(sorted(known)) or 'none'}" for name in strange])
    operations = Operations(settings.operations_url())
    try:
        operations.import_assets([], without=names)
    finally:
        operations.close()
    gone = len(set(names))
    return f"{gone} fences gone. A running Lamplighter hears of it at its next start, or with `lamplighter reload`."


def show_device(settings: Settings, device_id: str) -> int:
    """Print one device's file, last values and open alerts; 1 when there is none of that id."""
    console = make_console()
    registry = _registry(settings)
    row = registry.row.get(device_id)
    if row is None:
        console.print(f"no device '{device_id}' in the registry")
        return 1
    asset = registry.assets[row]
    for name in (
        "id",
        "kind",
        "role",
        "name",
        "district",
        "street",
        "road",
        "cabinet",
        "circuit",
        "grid",
        "owner",
        "keeper",
    ):
        if value := getattr(asset, name):
            console.print(f"{name:<12} {value}")
    if not math.isnan(asset.lon):
        console.print(f"{'position':<12} {asset.lon:.6f}, {asset.lat:.6f}")
    for name, number in asset.facts.items():
        console.print(f"{name:<12} {number:g}")
    _show_last(console, settings, registry, row)
    return 0


def _show_last(console: Console, settings: Settings, registry: Registry, row: int) -> None:
    asset = registry.assets[row]
    kind = registry.catalog[asset.kind]
    store = make_store(settings, registry.catalog)
    operations = Operations(settings.operations_url())
    try:
        history = _latest(store, asset.kind, asset.id, kind.field_names())
        if history.time_ms:
            when = datetime.fromtimestamp(history.time_ms[-1] / 1000, ZoneInfo(settings.city.timezone))
            console.print(f"{'last reading':<18} {when:%Y-%m-%d %H:%M:%S}")
        for field in kind.fields:
            known = [v for v in history.values.get(field.name, []) if v is not None and not math.isnan(v)]
            if known:
                console.print(f"{field.name:<18} {known[-1]:g} {field.unit}")
        if not history.time_ms:
            console.print("no reading in the last day")
    except StoreAway as trouble:
        console.print(escape(f"its last values cannot be read: {trouble}"), soft_wrap=True)
    finally:
        store.close()
    try:
        for alert in operations.alerts(state="open", limit=1000):
            if alert.entity == f"device:{asset.id}":
                console.print(escape(f"{alert.severity}: {alert.message_en}"), soft_wrap=True)
    finally:
        operations.close()


def _latest(store: TimeSeries, kind: str, device_id: str, fields: Sequence[str]) -> History:
    """Return the last hour, which no store thins, or where that is empty the last day."""
    now_ms = int(datetime.now(UTC).timestamp() * 1000)
    found = store.history(kind, device_id, fields, now_ms - HOUR_MS, now_ms, POINTS)
    return found if found.time_ms else store.history(kind, device_id, fields, now_ms - 24 * HOUR_MS, now_ms, POINTS)


def _registry(settings: Settings) -> Registry:
    settings.data.mkdir(parents=True, exist_ok=True)
    operations = Operations(settings.operations_url())
    try:
        return operations.load_registry(load_catalog(*settings.kinds))
    finally:
        operations.close()
