"""Whom a fault befalls, as a person writes it: one device, the third cabinet, a tenth of a road's lamps, everybody."""

from __future__ import annotations

import re
from dataclasses import dataclass

from devices.registry import Asset, Registry
from devices.yamlfile import Node

ROLES = ("lamp", "cabinet", "cover", "station", "pump", "well", "truck")
PLACES = ("road", "district", "grid", "cabinet", "circuit", "station", "gateway")
CHOICE_FORM = (
    "expected a device's id, 'cabinet 3', 'everybody', or such as 'lamps of cabinet 3', '10% of lamps of road …', "
    "'5 covers of gateway …'"
)
_NUMBERED = re.compile(rf"^({'|'.join(ROLES)}) (\d+)$")
_SEVERAL = re.compile(
    rf"^(?:(\d+)(%)? (?:of )?)?({'|'.join(f'{role}s' for role in ROLES)})(?: of ({'|'.join(PLACES)}) (.+))?$"
)
_ID = re.compile(r"^[a-z0-9][a-z0-9_-]{2,63}$")


@dataclass(frozen=True, slots=True)
class Choice:
    """Whom a fault befalls.

    Attributes:
        text: as written.
        place: file, line and key, for errors that only the city shows.
    """

    text: str
    place: Node

    def of(self, registry: Registry) -> list[str]:
        """Return the ids of the chosen devices. Raises ConfigError where the city has none such."""
        found = _chosen(self.text, registry)
        if not found:
            raise self.place.error(f"nobody in this city is '{self.text}'; {CHOICE_FORM}")
        return found


def choice(node: Node) -> Choice:
    """Check the form of a choice. Raises ConfigError naming file, line and key."""
    text = " ".join(node.text().split())
    if not (text == "everybody" or _NUMBERED.match(text) or _SEVERAL.match(text) or _ID.match(text)):
        raise node.error(f"{CHOICE_FORM}; found '{text}'")
    several = _SEVERAL.match(text)
    if several and several[1] and int(several[1]) < 1:
        raise node.error("expected one device at least")
    return Choice(text, node)


def _chosen(text: str, registry: Registry) -> list[str]:
    if text in registry.row:
        return [text]
    assets = list(registry.assets)
    if text == "everybody":
        return [asset.id for asset in assets]
    numbered, several = _NUMBERED.match(text), _SEVERAL.match(text)
    if numbered:
        of_role = [asset.id for asset in assets if asset.role == numbered[1]]
        return of_role[int(numbered[2]) - 1 : int(numbered[2])] if int(numbered[2]) > 0 else []
    if not several:
        return []
    there = [asset.id for asset in assets if asset.role == several[3][:-1] and _stands(asset, several[4], several[5])]
    if several[1] is None:
        return there
    count = round(int(several[1]) / 100 * len(there)) if several[2] else int(several[1])
    count = min(max(count, 1), len(there))
    return [there[int((k + 0.5) * len(there) / count)] for k in range(count)]  # evenly spread


def _stands(asset: Asset, place: str | None, name: str | None) -> bool:
    """Return whether an asset stands at a place; cabinets and stations may be called by their number."""
    if place is None or name is None:
        return True
    if place == "gateway":
        return f"{asset.facts.get('gateway', float('nan')):g}" == name
    if place == "circuit":  # cabinet-003/2
        return f"{asset.cabinet}/{asset.circuit}" == name
    at = asset.cabinet if place == "station" else getattr(asset, place)
    if place in ("cabinet", "station") and name.isdigit():
        kind, _, number = at.rpartition("-")
        return kind == place and number.isdigit() and int(number) == int(name)
    return bool(at == name)
