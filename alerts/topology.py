"""The tree that a city hangs on: city, district, cabinet, circuit, pole; station and pumps; gateway. As columns.

A node is named as entities are: ``cabinet:cabinet-003``, ``circuit:cabinet-003/2``, ``district:东区``, ``city:*``. A
device that others hang on (a cabinet, a station) is the node that they name as theirs.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from devices.registry import PLACES, Registry

CITY = "city:*"
GROUPS = ("road", "grid", "cabinet")  # entities of rules that count lamps together
FEEDS = (
    0.1  # a circuit that feeds so much of a road explains the road's lighting rate: a long road is low by a few lamps
)
Rows = npt.NDArray[np.intp]
_ALONG = ("cabinet", "road", "street", "grid", "district")  # of PLACES, those that nodes are named after


class Topology:
    """Who hangs on what. Immutable, of one registry.

    Attributes:
        registry: whose.
        lamps: (n,) rows that hang on a cabinet's circuit.
        circuit, cabinet, district: (n,) number of each lamp's node, -1 where it has none.
        circuits, cabinets, districts: the nodes' names by number.
        cabinet_of: (circuits,) number of each circuit's cabinet.
        district_of: (cabinets,) number of each cabinet's district, -1 where its lamps say nothing.
        cabinet_row: (cabinets,) registry row of the cabinet itself, -1 where the registry has none.
    """

    def __init__(self, registry: Registry, device: str = "streetlight", role: str = "lamp") -> None:
        self.registry = registry
        self.row = registry.row
        self._gateway = registry.fact("gateway") if "gateway" in registry.columns.facts else None
        known = device in registry.catalog.kinds and role in registry.catalog[device].roles
        rows = registry.rows_of(device, role) if known else np.zeros(0, dtype=np.intp)
        cabinet = registry.group("cabinet")
        self.lamps: Rows = rows[cabinet.code[rows] >= 0]
        self._number(registry)
        self._chains: dict[str, tuple[str, ...]] = {}
        self._box = {name: number for number, name in enumerate(self.cabinets)}

    def _number(self, registry: Registry) -> None:
        lamps = self.lamps
        box, line, area = (registry.group(place) for place in ("cabinet", "circuit", "district"))
        used, self.cabinet = np.unique(box.code[lamps], return_inverse=True)
        self.cabinets = [f"cabinet:{box.names[code]}" for code in used]
        names = ["", *line.names]
        pairs, circuit = np.unique(self.cabinet * len(names) + line.code[lamps] + 1, return_inverse=True)
        self.circuit: Rows = circuit
        self.cabinet_of: Rows = pairs // len(names)
        number = pairs % len(names)
        boxes = [name.partition(":")[2] for name in self.cabinets]
        self.circuits = [f"circuit:{boxes[c]}/{names[k]}" for c, k in zip(self.cabinet_of, number, strict=True)]
        self.district = area.code[lamps].astype(np.intp)
        self.districts = [f"district:{name}" for name in area.names]
        self.district_of = np.full(len(self.cabinets), -1, dtype=np.intp)
        self.district_of[self.cabinet[::-1]] = self.district[::-1]  # the district of each cabinet's first lamp
        found = [self.row.get(name.partition(":")[2], -1) for name in self.cabinets]
        self.cabinet_row = np.array(found, dtype=np.intp)
        self.pole = registry.pole_index[lamps]
        self.size_of_circuit = np.bincount(self.circuit, minlength=len(self.circuits))
        self.size_of_cabinet = np.bincount(self.cabinet, minlength=len(self.cabinets))

    def upwards(self, node: str) -> Iterator[str]:
        """Yield a circuit, cabinet or district and the nodes above it, up to the city."""
        sort, _, name = node.partition(":")
        yield node
        if sort == "circuit":
            yield from self.upwards(f"cabinet:{name.rpartition('/')[0]}")
            return
        if sort == "cabinet" and node in self._box:
            district = int(self.district_of[self._box[node]])
            if district >= 0:
                yield self.districts[district]
        if node != CITY:
            yield CITY

    def inside(self, node: str) -> npt.NDArray[np.bool_]:
        """Return which cabinets lie below a node or are it, (cabinets,)."""
        if node == CITY:
            return np.ones(len(self.cabinets), dtype=bool)
        if node.startswith("district:"):
            number = self.districts.index(node) if node in self.districts else -2
            return np.equal(self.district_of, number)
        return np.equal(np.arange(len(self.cabinets)), self._box.get(node, -1))

    def knows(self, node: str) -> bool:
        """Return whether a node is one of the lamps' tree."""
        return node == CITY or node in self._box or node in self.districts or node in self.circuits

    def node_of(self, entity: str) -> str:
        """Return the node that an entity is for those below it: a cabinet or station is the one they name."""
        sort, _, name = entity.partition(":")
        if sort == "device":
            return f"cabinet:{name}"
        return CITY if sort in ("city", "broker", "source") else entity

    def hub_of(self, entity: str) -> str:
        """Return the cabinet or station that a device belongs to, which may be itself; empty for other entities."""
        sort, _, name = entity.partition(":")
        row = self.row.get(name) if sort == "device" else None
        return "" if row is None else self._name("cabinet", row) or name

    def chain(self, entity: str) -> tuple[str, ...]:
        """Return the nodes that an entity lies below or is, itself first; remembered."""
        found = self._chains.get(entity)
        if found is None:
            if len(self._chains) > 200_000:
                self._chains.clear()
            found = self._chains[entity] = tuple(dict.fromkeys(self._chain(entity)))
        return found

    def _chain(self, entity: str) -> Iterator[str]:
        yield entity
        sort, _, name = entity.partition(":")
        if sort == "device":
            yield f"cabinet:{name}"
            row = self.row.get(name)
            if row is not None:
                yield from self._above(row)
        elif sort == "circuit":
            yield from self._gateways(self.below(entity))
            yield from self.chain(f"cabinet:{name.rpartition('/')[0]}")
        elif sort in GROUPS:
            yield from self._above_group(sort, name)
        yield CITY

    def _above(self, row: int) -> Iterator[str]:
        coded = {place: self._name(place, row) for place in _ALONG}
        line = self._name("circuit", row)
        if coded["cabinet"]:
            yield f"circuit:{coded['cabinet']}/{line}"
            yield from self._row_of_cabinet(coded["cabinet"])
        for place, name in coded.items():
            if name:
                yield f"{place}:{name}"
        if self._gateway is not None and not np.isnan(self._gateway[row]):
            yield f"gateway:{self._gateway[row]:g}"

    def _gateways(self, rows: Rows) -> Iterator[str]:
        """Yield the gateway that carries the messages of most of these devices."""
        if self._gateway is None or not len(rows):
            return
        numbers, count = np.unique(self._gateway[rows], return_counts=True)
        best = int(count.argmax())
        if not np.isnan(numbers[best]) and count[best] > len(rows) / 2:
            yield f"gateway:{numbers[best]:g}"

    def _row_of_cabinet(self, cabinet: str) -> Iterator[str]:
        yield f"device:{cabinet}"
        row = self.row.get(cabinet)
        if row is not None and (district := self._name("district", row)):
            yield f"district:{district}"

    def _above_group(self, sort: str, name: str) -> Iterator[str]:
        """Yield circuits and cabinets that feed much of a road, cabinet or grid cell, and its districts."""
        group = self.registry.group(sort)
        if sort == "cabinet" and name in self.row:
            yield f"device:{name}"
            yield from self._above(self.row[name])
        if name not in group.names:
            return
        inside = np.flatnonzero(group.code[self.lamps] == group.names.index(name))
        if not len(inside):
            return
        yield from self._gateways(self.lamps[inside])
        for number, names in ((self.circuit, self.circuits), (self.cabinet, self.cabinets)):
            count = np.bincount(number[inside])
            yield from (names[k] for k in np.flatnonzero(count >= max(1.0, FEEDS * len(inside))).tolist())
        count = np.bincount(self.district[inside][self.district[inside] >= 0])
        yield from (self.districts[k] for k in np.flatnonzero(count).tolist())

    def _name(self, place: str, row: int) -> str:
        group = self.registry.group(place)
        code = int(group.code[row])
        return group.names[code] if code >= 0 else ""

    def keeper(self, entity: str) -> str:
        """Return the unit that looks after an entity: of a device its own, of a node the one of most of its devices."""
        sort, _, name = entity.partition(":")
        if sort == "device":
            row = self.row.get(name)
            return self._name("keeper", row) if row is not None else ""
        rows = self.below(entity)
        codes = self.registry.group("keeper").code[rows]
        codes = codes[codes >= 0]
        return self.registry.group("keeper").names[int(np.bincount(codes).argmax())] if len(codes) else ""

    def rows_of(self, entity: str) -> Rows:
        """Return the registry row of a device, or those of the devices below another entity."""
        sort, _, name = entity.partition(":")
        if sort == "device":
            return np.array([self.row[name]] if name in self.row else [], dtype=np.intp)
        return self.below(entity)

    def below(self, node: str) -> Rows:
        """Return the registry rows of the devices below a node, the node's own device not among them."""
        sort, _, name = node.partition(":")
        everything = np.arange(len(self.registry), dtype=np.intp)
        if node == CITY or sort in ("city", "broker", "source"):
            return everything
        if sort == "circuit":
            return self.lamps[self.circuit == self.circuits.index(node)] if node in self.circuits else everything[:0]
        if sort == "gateway" and self._gateway is not None:
            return np.flatnonzero(np.char.mod("%g", self._gateway) == name)
        if sort == "device":
            sort = "cabinet"
        if sort not in PLACES:
            return everything[:0]
        group = self.registry.group(sort)
        return np.flatnonzero(group.code == group.names.index(name)) if name in group.names else everything[:0]
