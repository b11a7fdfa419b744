"""A registry's assets as columns: a city of a million devices in a hundred bytes each, an Asset made when one is asked.

What repeats (roads, districts, owners) is a number into a list of names; what does not (ids, names) lies end to end.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, overload
from zlib import crc32

import numpy as np
import numpy.typing as npt

from devices.asset import PLACES, Asset

Floats = npt.NDArray[np.float64]
Rows = npt.NDArray[np.int32]
Codes = npt.NDArray[np.signedinteger[Any]]

_CODED = ("kind", "role", *PLACES)


@dataclass(frozen=True, slots=True)
class Coded:
    """A column of texts that repeat: ``code`` (n,) into ``names``, -1 where a device has none."""

    code: Codes
    names: list[str]


@dataclass(frozen=True, slots=True)
class Texts:
    """A column of texts that do not repeat: one string, and where each begins; (n + 1,) characters."""

    text: str
    bounds: Rows

    def __getitem__(self, row: int) -> str:
        return self.text[self.bounds[row] : self.bounds[row + 1]]

    def holding(self, part: str) -> npt.NDArray[np.intp]:
        """Return the rows whose text holds ``part``, in whatever case."""
        if not part:
            return np.arange(len(self.bounds) - 1)
        at = np.array([m.start() for m in re.finditer(f"(?={re.escape(part)})", self.text, re.IGNORECASE)], np.int64)
        rows = np.searchsorted(self.bounds, at, side="right") - 1
        return np.unique(rows[at + len(part) <= self.bounds[rows + 1]])


@dataclass(frozen=True, slots=True)
class Sparse:
    """A fact that some devices have: their rows, rising, and its values."""

    row: Rows
    value: Floats


@dataclass(frozen=True, slots=True)
class Columns:
    """Assets by row.

    Attributes:
        ids: (n,) device ids, ASCII.
        coded: kind, role and the places by name.
        name: what people call them.
        lon, lat: (n,) degrees, NaN where unknown.
        pole_index: (n,) place on the circuit, -1 where none.
        facts: by name.
        index: rows in the order of their ids' checksums, and these, (n,) each; None where they are to be worked out.
    """

    ids: npt.NDArray[np.bytes_]
    coded: Mapping[str, Coded]
    name: Texts
    lon: Floats
    lat: Floats
    pole_index: Rows
    facts: Mapping[str, Sparse]
    index: tuple[Rows, npt.NDArray[np.uint32]] | None = None

    def __len__(self) -> int:
        return len(self.ids)

    def text(self, column: str, row: int) -> str:
        """Return a coded column's text, empty where there is none."""
        found = self.coded[column]
        code = int(found.code[row])
        return found.names[code] if code >= 0 else ""

    def holding(self, part: str) -> npt.NDArray[np.intp]:
        """Return the rows whose id or name holds ``part``, in whatever case; rising."""
        rows = self.name.holding(part)
        if not part.isascii():
            return rows
        return np.union1d(rows, np.flatnonzero(np.char.find(self.ids, part.casefold().encode()) >= 0))

    def with_coded(self, column: str, coded: Coded) -> Columns:
        """Return the same with one column exchanged."""
        return replace(self, coded={**self.coded, column: coded})


class Assets(Sequence[Asset]):
    """The assets of columns, each made when it is asked for."""

    def __init__(self, columns: Columns) -> None:
        self._columns = columns

    def __len__(self) -> int:
        return len(self._columns)

    @overload
    def __getitem__(self, row: int) -> Asset: ...
    @overload
    def __getitem__(self, row: slice) -> list[Asset]: ...
    def __getitem__(self, row: int | slice) -> Asset | list[Asset]:
        """Return the asset of a row."""
        if isinstance(row, slice):
            return [self[place] for place in range(*row.indices(len(self)))]
        columns = self._columns
        row = range(len(columns))[row]
        texts = {name: columns.text(name, row) for name in _CODED}
        return Asset(
            id=columns.ids[row].decode(),
            name=columns.name[row],
            lon=float(columns.lon[row]),
            lat=float(columns.lat[row]),
            pole_index=int(columns.pole_index[row]),
            facts=self._facts(row),
            **texts,
        )

    def _facts(self, row: int) -> dict[str, float]:
        found = {}
        for name, fact in self._columns.facts.items():
            # A number of the column's own type: for any other one the whole column would be converted to look for it.
            place = int(np.searchsorted(fact.row, fact.row.dtype.type(row)))
            if place < len(fact.row) and fact.row[place] == row:
                found[name] = float(fact.value[place])
        return found


def _by_checksum(ids: npt.NDArray[np.bytes_]) -> tuple[Rows, npt.NDArray[np.uint32]]:
    sums = np.fromiter(map(crc32, ids.tolist()), np.uint32, len(ids))
    order = np.argsort(sums, kind="stable").astype(np.int32)
    return order, sums[order]


class Index(Mapping[str, int]):
    """Device id to row, by checksums in order: thirteen bytes a device and half a microsecond a question.

    Attributes:
        sorted: as :attr:`Columns.index`.
    """

    def __init__(self, ids: npt.NDArray[np.bytes_], known: tuple[Rows, npt.NDArray[np.uint32]] | None = None) -> None:
        self._ids = ids
        self.sorted = order, sums = known or _by_checksum(ids)
        bits = min(24, max(1, len(order).bit_length()))
        self._shift = 32 - bits
        bounds = np.searchsorted(sums >> np.uint32(self._shift), np.arange((1 << bits) + 1)).astype(np.int32)
        self._order, self._sums, self._bounds = order.data, sums.data, bounds.data

    def __getitem__(self, device_id: str) -> int:
        key = device_id.encode("utf-8", "replace")
        total = crc32(key)
        slot = total >> self._shift
        for place in range(self._bounds[slot + 1] - 1, self._bounds[slot] - 1, -1):
            if self._sums[place] == total and self._ids[self._order[place]] == key:
                return self._order[place]
        raise KeyError(device_id)

    def find(self, ids: npt.NDArray[np.generic]) -> npt.NDArray[np.intp]:
        """Return the row of each of many device ids, -1 for unknown ones; a fifth of a microsecond each."""
        order = np.asarray(self._order)
        if not len(ids) or not len(order):
            return np.full(len(ids), -1, dtype=np.intp)
        sums = np.fromiter(map(crc32, ids.tolist()), np.uint32, len(ids))
        place = np.searchsorted(np.asarray(self._sums), sums)  # the first of those with the same checksum
        row = order[np.minimum(place, len(order) - 1)].astype(np.intp)
        for k in np.flatnonzero(self._ids[row] != ids).tolist():  # unknown, or not the first
            row[k] = self.get(ids[k].decode("utf-8", "replace"), -1)
        return row

    def __iter__(self) -> Iterator[str]:
        return (name.decode() for name in self._ids.tolist())

    def __len__(self) -> int:
        return len(self._ids)


@dataclass(slots=True)
class _Names:
    """Gives each text of a column its number as it comes."""

    numbers: dict[str, int] = field(default_factory=dict)
    codes: list[Codes] = field(default_factory=list)

    def add(self, texts: Sequence[str]) -> None:
        numbers = self.numbers
        for text in dict.fromkeys(texts):  # in their order, so that the same registry has the same numbers
            if text:
                numbers.setdefault(text, len(numbers))
        found = np.fromiter((numbers.get(text, -1) for text in texts), np.int32, len(texts))
        self.codes.append(_small(found, len(numbers)))

    def column(self) -> Coded:
        return Coded(_small(_joined(self.codes, np.int8), len(self.numbers)), list(self.numbers))


class Builder:
    """Columns from assets that come piece by piece.

    Raises:
        ValueError: by :meth:`add`, when an id is not ASCII.
    """

    def __init__(self) -> None:
        self._rows = 0
        self._ids: list[npt.NDArray[np.bytes_]] = []
        self._coded = {name: _Names() for name in _CODED}
        self._texts: list[str] = []
        self._bounds: list[Rows] = [np.zeros(1, np.int32)]
        self._numbers: dict[str, list[npt.NDArray[Any]]] = {"lon": [], "lat": [], "pole_index": []}
        self._facts: dict[str, tuple[list[int], list[float]]] = {}

    def add(self, columns: Mapping[str, Sequence[Any]]) -> None:
        """Take in some assets as columns of Asset's fields; facts are mappings, lon and lat None or NaN if unknown."""
        ids = columns["id"]
        self._ids.append(np.array(ids, dtype=np.bytes_))
        for name, names in self._coded.items():
            names.add(columns[name])
        lengths = np.fromiter(map(len, columns["name"]), np.int32, len(ids))
        self._texts.append("".join(columns["name"]))
        self._bounds.append((np.cumsum(lengths) + self._bounds[-1][-1]).astype(np.int32))
        for name, kind in (("lon", np.float64), ("lat", np.float64), ("pole_index", np.int32)):
            self._numbers[name].append(np.array(columns[name], dtype=kind))
        for row, facts in enumerate(columns["facts"], self._rows):
            for name, value in facts.items():
                rows, values = self._facts.setdefault(name, ([], []))
                rows.append(row)
                values.append(value)
        self._rows += len(ids)

    def columns(self) -> Columns:
        """Return everything that was taken in."""
        ids = np.concatenate(self._ids) if self._ids else np.zeros(0, "S1")
        facts = {}
        for name, (rows, values) in sorted(self._facts.items()):
            value = np.array(values, dtype=np.float64)
            known = ~np.isnan(value)
            facts[name] = Sparse(np.array(rows, np.int32)[known], value[known])
        return Columns(
            ids,
            {name: names.column() for name, names in self._coded.items()},
            Texts("".join(self._texts), np.concatenate(self._bounds)),
            _joined(self._numbers["lon"], np.float64),
            _joined(self._numbers["lat"], np.float64),
            _joined(self._numbers["pole_index"], np.int32),
            facts,
        )


def columns_of(assets: Iterable[Asset]) -> Columns:
    """Return assets as columns."""
    given = list(assets)
    builder = Builder()
    if given:
        builder.add({name: [getattr(asset, name) for asset in given] for name in Asset.__slots__})
    return builder.columns()


def _joined(parts: Sequence[npt.NDArray[Any]], kind: type[Any]) -> npt.NDArray[Any]:
    return np.concatenate(parts) if parts else np.zeros(0, kind)


def _small(codes: npt.NDArray[Any], names: int) -> Codes:
    """Return codes in the smallest numbers that hold them."""
    for kind in (np.int8, np.int16, np.int32):
        if names <= np.iinfo(kind).max:
            return codes.astype(kind, copy=False)
    raise AssertionError(f"{names} names")
