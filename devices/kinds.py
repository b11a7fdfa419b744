"""Kinds of facilities: each a declared table of fields, the one source for everything that needs to know them.

Decoding, validation, the database schema, dashboards, the console and the documentation all read these tables.
The four shipped kinds stand in ``devices/catalog/*.yaml``; a fifth is one more file.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt

from devices.yamlfile import ConfigError, Node, read_yaml

CATALOG = Path(__file__).parent / "catalog"
NAME = re.compile(r"^[a-z][a-z0-9_]{0,47}$")
CODE = re.compile(r"-?[0-9]{1,9}")
FIELD_TYPES = ("float", "int", "bool", "code")
SEQUENCE_MIN = 16  # numbers of a counter; with fewer a gap could not be told from a counter that begins again
# Tags and columns of our own; the last four are what stores write beside a reading's fields (storage/timeseries.py).
RESERVED = (
    "time",
    "time_ms",
    "ts",
    "device",
    "device_id",
    "role",
    "district",
    "road",
    "cabinet",
    "heard",
    "suspect",
    "marks",
    "sent_ms",
)


@dataclass(frozen=True, slots=True)
class Field:
    """One measured quantity of a kind, or one numeric fact of its assets.

    Attributes:
        name: snake_case, ending in its unit where it has one (``power_w``).
        unit: as shown to people; empty for pure numbers and states.
        type: ``float``, ``int``, ``bool`` (0 or 1) or ``code`` (a whole number with a meaning in ``codes``).
        low, high: physical range, inclusive; a value outside is kept, flagged and judged by no value rule.
        en, zh: what people call it.
        roles: roles that report it; empty means all.
        codes: meaning of each number of a ``code``.
        sequence: the device's own counter: one more a message, beginning again after ``high``.
    """

    name: str
    unit: str
    type: str
    low: float
    high: float
    en: str
    zh: str
    roles: tuple[str, ...] = ()
    codes: dict[int, str] = field(default_factory=dict)
    sequence: bool = False


@dataclass(frozen=True)
class Kind:
    """A kind of facility with its roles, fields and facts.

    Attributes:
        name: also the topic level and the measurement name (``streetlight``).
        roles: the shapes it comes in (``lamp``, ``cabinet``); the first is the default of an asset.
        fields: what it reports, in column order.
        facts: what is known of an asset beforehand (``rated_power_w``), numbers only.
        report_s: usual seconds between reports of each role, in the order of ``roles``.
    """

    name: str
    en: str
    zh: str
    roles: tuple[str, ...]
    fields: tuple[Field, ...]
    facts: tuple[Field, ...]
    report_s: tuple[float, ...]
    index: int = 0

    def column(self, name: str) -> int:
        """Return the column number of a field. Raises KeyError with the known names."""
        for number, candidate in enumerate(self.fields):
            if candidate.name == name:
                return number
        raise KeyError(f"{self.name} has no field '{name}'; it has {', '.join(f.name for f in self.fields)}")

    @cached_property
    def sequence(self) -> int | None:
        """Return the column number of the device's own counter, None where the kind has none."""
        return next((number for number, one in enumerate(self.fields) if one.sequence), None)

    @cached_property
    def limits(self) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Return the lowest and highest physical values of the fields, as (fields, 1) columns."""
        return np.array([[f.low] for f in self.fields]), np.array([[f.high] for f in self.fields])

    def field_names(self) -> tuple[str, ...]:
        """Return the names of the fields in column order."""
        return tuple(f.name for f in self.fields)


class Catalog:
    """All kinds that this installation knows, by name and by index."""

    def __init__(self, kinds: Iterable[Kind]) -> None:
        self.kinds: dict[str, Kind] = {}
        for kind in kinds:
            if kind.name in self.kinds:
                raise ConfigError([f"the kind '{kind.name}' is declared twice"])
            self.kinds[kind.name] = Kind(
                kind.name, kind.en, kind.zh, kind.roles, kind.fields, kind.facts, kind.report_s, len(self.kinds)
            )

    def __getitem__(self, name: str) -> Kind:
        """Return the kind of that name. Raises KeyError with the known names."""
        if name not in self.kinds:
            raise KeyError(f"no kind '{name}'; known: {', '.join(self.kinds)}")
        return self.kinds[name]

    def __iter__(self) -> Iterator[Kind]:
        return iter(self.kinds.values())

    def __len__(self) -> int:
        return len(self.kinds)


def load_catalog(*extra: Path) -> Catalog:
    """Load the shipped kinds and then the declarations in ``extra`` files or folders.

    Raises:
        ConfigError: naming file, line and key of everything that is wrong.
    """
    files: list[Path] = sorted(CATALOG.glob("*.yaml"), key=lambda p: _ORDER.get(p.stem, 99))
    for place in extra:
        files.extend(sorted(place.glob("*.yaml")) if place.is_dir() else [place])
    return Catalog(parse_kind(read_yaml(path)) for path in files)


_ORDER = {"streetlight": 0, "manhole": 1, "pump": 2, "truck": 3}


def parse_kind(root: Node) -> Kind:
    """Read one declaration. Raises ConfigError naming file, line and key."""
    root.only("kind", "en", "zh", "roles", "fields", "facts")
    name = _name(root.need("kind"))
    roles: list[str] = []
    report_s: list[float] = []
    for role, node in root.need("roles").items():
        roles.append(role)
        report_s.append(node.number(low=0.1, high=7 * 86400))
    if not roles:
        raise root.need("roles").error("a kind needs at least one role, as 'role: usual seconds between reports'")
    problems: list[str] = []
    fields = _fields(root.need("fields"), tuple(roles), problems)
    facts_node = root.get("facts")
    facts = _fields(facts_node, tuple(roles), problems) if facts_node else []
    seen: set[str] = set()
    for item in [*fields, *facts]:
        if item.name in seen:
            problems.append(root.problem(f"the name '{item.name}' stands twice among fields and facts"))
        seen.add(item.name)
    if sum(item.sequence for item in fields) > 1:
        problems.append(root.problem("a kind has one sequence number at most"))
    problems += [root.problem(f"the fact '{item.name}' cannot be a sequence number") for item in facts if item.sequence]
    if problems:
        raise ConfigError(problems)
    return Kind(
        name, root.need("en").text(), root.need("zh").text(), tuple(roles), tuple(fields), tuple(facts), tuple(report_s)
    )


def _fields(table: Node, roles: tuple[str, ...], problems: list[str]) -> list[Field]:
    found: list[Field] = []
    for name, node in table.items():
        try:
            found.append(_field(name, node, roles))
        except ConfigError as trouble:
            problems.extend(trouble.problems)
    return found


def _field(name: str, node: Node, roles: tuple[str, ...]) -> Field:
    node.only("unit", "type", "range", "en", "zh", "roles", "codes", "sequence")
    if not NAME.fullmatch(name) or name in RESERVED:
        raise node.error(f"a field name is snake_case, up to 48 letters and not one of {', '.join(RESERVED)}")
    kind_node = node.get("type")
    kind = kind_node.text(one_of=FIELD_TYPES) if kind_node else "float"
    unit = node.get("unit")
    codes_node = node.get("codes")
    codes = _codes(codes_node) if codes_node else {}
    if kind == "bool":
        low, high = 0.0, 1.0
    elif codes:
        low, high = float(min(codes)), float(max(codes))
    else:
        bounds = node.need("range").elements()
        if len(bounds) != 2:
            raise node.need("range").error("expected [lowest, highest]")
        low, high = bounds[0].number(), bounds[1].number()
        if low >= high:
            raise node.need("range").error("the lowest value must lie below the highest")
    roles_node = node.get("roles")
    of = tuple(child.text(one_of=roles) for child in roles_node.elements()) if roles_node else ()
    shown = str(unit.value or "") if unit else ""
    en, zh = node.need("en").text(), node.need("zh").text()
    sequence_node = node.get("sequence")
    sequence = sequence_node is not None and sequence_node.value is True
    if sequence_node is not None and (not sequence or kind != "int" or high - low + 1 < SEQUENCE_MIN):
        words = f"expected true, on a field of type int with {SEQUENCE_MIN} numbers or more in its range"
        raise sequence_node.error(words)
    return Field(name, shown, kind, low, high, en, zh, of, codes, sequence)


def _codes(node: Node) -> dict[int, str]:
    codes: dict[int, str] = {}
    for key, child in node.items():
        if not CODE.fullmatch(key):
            raise child.error("a code is a whole number of up to nine digits, and its meaning")
        codes[int(key)] = child.text()
    if not codes:
        raise node.error("expected whole numbers and their meanings")
    return codes


def _name(node: Node) -> str:
    text = node.text()
    if not NAME.fullmatch(text):
        raise node.error("a kind's name is snake_case, up to 48 letters")
    return text
