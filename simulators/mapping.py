"""Mapping files: what the columns of recorded data mean, in the words of the catalog. Checked before a row is read."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

from devices.kinds import Catalog, Kind
from devices.topics import DEVICE_ID, DEVICE_ID_FORM
from devices.yamlfile import ConfigError, Node, read_yaml
from simulators.mapping_time import Clock, Row, parse_time

FORMATS = ("csv", "jsonl")
_SOURCE = ("file", "format", "delimiter", "kind", "device", "time", "fields", "where", "thin_s", "assets", "permits")
_TEXTS = ("name", "district", "street", "road", "cabinet", "owner", "keeper")


@dataclass(frozen=True, slots=True)
class DeviceName:
    """How a row's device id is found: a constant, or a column made fit for a topic."""

    constant: str = ""
    column: str = ""
    prefix: str = ""

    def of(self, row: Row) -> str:
        """Return the device id of a row. Raises ValueError when the column is missing or yields no id."""
        if self.constant:
            return self.constant
        text = str(row[self.column]).strip().lower()
        name = self.prefix + re.sub(r"[^a-z0-9_-]+", "-", text).strip("-")
        if not text or not DEVICE_ID.match(name):
            raise ValueError(f"'{row[self.column]}' makes no device id ({DEVICE_ID_FORM})")
        return name


@dataclass(frozen=True, slots=True)
class FieldRule:
    """How one field is found: column times ``factor`` plus ``offset``, or a word looked up in ``words``."""

    name: str
    column: str
    factor: float = 1.0
    offset: float = 0.0
    words: dict[str, float] = field(default_factory=dict)
    whole: bool = False


@dataclass(frozen=True, slots=True)
class AssetRule:
    """What is entered in the registry for every device found.

    Attributes:
        role: of the kind.
        texts: place columns and name; ``{device}`` stands for the device id.
        lon, lat: degrees; NaN with ``first_fix`` for the place of the device's first reading.
        facts: numbers.
    """

    role: str
    texts: dict[str, str]
    lon: float
    lat: float
    first_fix: bool
    facts: dict[str, float]


@dataclass(frozen=True, slots=True)
class PermitRule:
    """Where permitted routes stand: a GeoJSON file whose lines name their device in a property."""

    file: str
    property: str
    prefix: str
    corridor_m: float


@dataclass(frozen=True, slots=True)
class Source:
    """One recorded file and its meaning.

    Attributes:
        file: beside the main file; empty for the main file itself.
        format: ``csv`` or ``jsonl``; either may be gzipped.
        kind: whose fields are filled.
        time_ms: row to epoch milliseconds; KeyError or ValueError for rows without a time.
        where: column to the texts of which a row must have one.
        thin_s: a device's readings nearer than this to its last are passed over; 0 keeps all.
    """

    file: str
    format: str
    delimiter: str
    kind: Kind
    device: DeviceName
    time_ms: Clock
    fields: tuple[FieldRule, ...]
    where: dict[str, tuple[str, ...]]
    thin_s: float
    assets: AssetRule | None
    permits: PermitRule | None


def load_mapping(path: Path, catalog: Catalog) -> list[Source]:
    """Read a mapping file; the first source is the file that the user names, the others stand under ``with``.

    Raises:
        ConfigError: naming file, line, key and the accepted form of everything that is wrong.
    """
    root = read_yaml(path)
    root.only(*_SOURCE, "with", "about")
    problems: list[str] = []
    sources: list[Source] = []
    more = root.get("with")
    for number, node in enumerate([root, *(more.elements() if more else [])]):
        if number:
            node.only(*_SOURCE)
        elif node.get("file"):
            problems.append(node.need("file").problem("the first file is named on the command line, not here"))
        try:
            sources.append(_source(node, catalog, named=number > 0))
        except ConfigError as trouble:
            problems.extend(trouble.problems)
    if problems:
        raise ConfigError(problems)
    return sources


def _source(node: Node, catalog: Catalog, *, named: bool) -> Source:
    kind = catalog[node.need("kind").text(one_of=tuple(catalog.kinds))]
    problems: list[str] = []
    fields: list[FieldRule] = []
    for name, child in node.need("fields").items():
        try:
            fields.append(_field(name, child, kind))
        except ConfigError as trouble:
            problems.extend(trouble.problems)
    if problems:
        raise ConfigError(problems)
    if not fields:
        raise node.need("fields").error("expected at least one 'field: column'")
    form, mark, thin = node.get("format"), node.get("delimiter"), node.get("thin_s")
    assets, permits, where = node.get("assets"), node.get("permits"), node.get("where")
    return Source(
        node.need("file").text() if named else "",
        form.text(one_of=FORMATS) if form else "",
        mark.text() if mark else ",",
        kind,
        _device(node.need("device")),
        parse_time(node.need("time")),
        tuple(fields),
        {column: _choices(child) for column, child in where.items()} if where else {},
        thin.number(low=0) if thin else 0.0,
        _assets(assets, kind) if assets else None,
        _permits(permits) if permits else None,
    )


def _choices(node: Node) -> tuple[str, ...]:
    children = node.elements() if isinstance(node.value, list) else [node]
    return tuple(str(child.value) for child in children)


def _device(node: Node) -> DeviceName:
    if isinstance(node.value, str):
        if not DEVICE_ID.match(node.value):
            raise node.error(f"expected a device id ({DEVICE_ID_FORM}) or 'column: …'")
        return DeviceName(constant=node.value)
    node.only("column", "prefix")
    prefix = node.get("prefix")
    return DeviceName(column=node.need("column").text(), prefix=prefix.text() if prefix else "")


def _field(name: str, node: Node, kind: Kind) -> FieldRule:
    if name not in kind.field_names():
        raise node.error(f"{kind.name} has no field '{name}'; it has {', '.join(kind.field_names())}")
    whole = kind.fields[kind.column(name)].type != "float"
    if isinstance(node.value, str):
        return FieldRule(name, node.text(), whole=whole)
    node.only("column", "factor", "offset", "words")
    factor, offset, words = node.get("factor"), node.get("offset"), node.get("words")
    return FieldRule(
        name,
        node.need("column").text(),
        factor.number() if factor else 1.0,
        offset.number() if offset else 0.0,
        {word: child.number() for word, child in words.items()} if words else {},
        whole,
    )


def _assets(node: Node, kind: Kind) -> AssetRule:
    node.only("role", "lon", "lat", "position", "facts", *_TEXTS)
    role, lon, lat, position = node.get("role"), node.get("lon"), node.get("lat"), node.get("position")
    if position and position.text() != "first_fix":
        raise position.error("expected first_fix, or lon and lat instead")
    facts: dict[str, float] = {}
    known = {fact.name: fact for fact in kind.facts}
    for name, child in node.need("facts").items() if node.get("facts") else ():
        if name not in known:
            raise child.error(f"{kind.name} has no fact '{name}'; it has {', '.join(known)}")
        facts[name] = child.number(low=known[name].low, high=known[name].high)
    return AssetRule(
        role.text(one_of=kind.roles) if role else kind.roles[0],
        {key: node.need(key).text() for key in _TEXTS if node.get(key)},
        lon.number(low=-180, high=180) if lon else float("nan"),
        lat.number(low=-90, high=90) if lat else float("nan"),
        position is not None,
        facts,
    )


def _permits(node: Node) -> PermitRule:
    node.only("file", "property", "prefix", "corridor_m")
    prefix, corridor = node.get("prefix"), node.get("corridor_m")
    return PermitRule(
        node.need("file").text(),
        node.need("property").text(),
        prefix.text() if prefix else "",
        corridor.number(low=0, high=10_000) if corridor else 0.0,
    )
