"""One asset of a city: what is known of a lamp, a cover, a pump, a truck beforehand."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

PLACES = ("district", "street", "road", "cabinet", "circuit", "grid", "owner", "keeper")


@dataclass(frozen=True, slots=True)
class Asset:
    """What is known of one device.

    Attributes:
        id: device id, as in its topic.
        kind, role: as declared in the catalog.
        name: what people call it.
        lon, lat: WGS-84 degrees; of a truck, its depot.
        district, street, road: where it stands.
        cabinet: id of the streetlight cabinet, or of the pump station, that feeds or holds it.
        circuit: circuit of the cabinet.
        pole_index: place on the circuit, from the cabinet outwards; -1 where that means nothing.
        grid: 100 m cell; computed from the position when empty.
        owner, keeper: the unit that owns it and the one that looks after it.
        facts: numbers by fact name (``rated_power_w``).
    """

    id: str
    kind: str
    role: str
    name: str = ""
    lon: float = float("nan")
    lat: float = float("nan")
    district: str = ""
    street: str = ""
    road: str = ""
    cabinet: str = ""
    circuit: str = ""
    pole_index: int = -1
    grid: str = ""
    owner: str = ""
    keeper: str = ""
    facts: Mapping[str, float] = field(default_factory=dict)
