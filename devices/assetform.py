"""What one row of a registry file must look like; every mistake is named with place, key and accepted form."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from devices.kinds import Catalog, Field, Kind
from devices.registry import PLACES, Asset
from devices.topics import DEVICE_ID, DEVICE_ID_FORM
from devices.yamlfile import ConfigError

TEXT_MAX = 200  # letters in a name or place
PROBLEMS_MAX = 100  # sentences in one error; the rest is counted
POLE_MAX = 100_000
NEAR_DEG, FAR_DEG = 1.0, 5.0  # a position this far from all others whose swap lies this near them was swapped
BASE = ("id", "kind", "role", "name", "lon", "lat", *PLACES[:5], "pole_index", *PLACES[5:])

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_CONTROL = re.compile(r"[\x00-\x1f\x7f\u2028\u2029]")


@dataclass(slots=True)
class Problems:
    """Everything that is wrong with one file.

    Attributes:
        file: as errors name it.
        found: sentences, in the order in which they were found.
    """

    file: str
    found: list[str] = field(default_factory=list)

    def add(self, where: object, key: str, text: str) -> None:
        """Remember one mistake: ``where`` is a line or ``feature 3``."""
        place = f"{self.file}:{where}" if where else self.file
        self.found.append(f"{place}: {key}: {text}")

    def check(self) -> None:
        """Raise a ConfigError of all that was found, if anything was."""
        if not self.found:
            return
        told = self.found[:PROBLEMS_MAX]
        if len(self.found) > PROBLEMS_MAX:
            told.append(f"{self.file}: and {len(self.found) - PROBLEMS_MAX} more problems")
        raise ConfigError(told)


@dataclass(slots=True)
class Placed:
    """An asset with the place in its file where it was read."""

    where: object
    asset: Asset


class AssetForm:
    """Reads rows of a registry file as assets of one catalog's kinds."""

    def __init__(self, catalog: Catalog, problems: Problems) -> None:
        self.catalog = catalog
        self.problems = problems
        facts = dict.fromkeys(fact.name for kind in catalog for fact in kind.facts)
        self.columns = (*BASE, *(name for name in facts if name not in BASE))

    def read(self, row: Mapping[str, Any], where: object) -> Asset | None:
        """Return the asset of one row, None where something is wrong with it; values are text, numbers or None."""
        before = len(self.problems.found)
        values = {key: value for key, value in row.items() if value is not None and value != ""}
        kind = self._kind(values, where)
        texts = {name: self._text(values, name, where) for name in ("name", *PLACES)}
        lon, lat = self._position(values, where)
        asset_id = self._id(values, where)
        role = self._role(kind, values, where)
        pole_index = self._pole(values, where)
        facts = self._facts(kind, role, values, where)
        if len(self.problems.found) > before or kind is None:
            return None
        return Asset(
            id=asset_id, kind=kind.name, role=role, lon=lon, lat=lat, pole_index=pole_index, facts=facts, **texts
        )

    def finish(self, placed: Sequence[Placed]) -> list[Asset]:
        """Return the assets after what only the whole file can show: repeated ids, swapped coordinates."""
        first: dict[str, object] = {}
        for each in placed:
            if each.asset.id in first:
                text = f"'{each.asset.id}' stands at {self.problems.file}:{first[each.asset.id]} already"
                self.problems.add(each.where, "id", f"{text}; ids are given once")
            first.setdefault(each.asset.id, each.where)
        self._swapped(placed)
        return [each.asset for each in placed]

    def _id(self, values: Mapping[str, Any], where: object) -> str:
        text = str(values.get("id", ""))
        if not DEVICE_ID.fullmatch(text):
            self.problems.add(where, "id", f"expected {DEVICE_ID_FORM}; found '{text}'")
        return text

    def _kind(self, values: Mapping[str, Any], where: object) -> Kind | None:
        text = str(values.get("kind", ""))
        kind = self.catalog.kinds.get(text)
        if kind is None:
            self.problems.add(where, "kind", f"expected one of {', '.join(self.catalog.kinds)}; found '{text}'")
        return kind

    def _role(self, kind: Kind | None, values: Mapping[str, Any], where: object) -> str:
        if kind is None:
            return ""
        text = str(values.get("role", kind.roles[0]))
        if text not in kind.roles:
            self.problems.add(where, "role", f"a {kind.name} is one of {', '.join(kind.roles)}; found '{text}'")
        return text

    def _text(self, values: Mapping[str, Any], key: str, where: object) -> str:
        value = values.get(key, "")
        if isinstance(value, bool) or not isinstance(value, str | int):
            self.problems.add(where, key, f"expected text, found {value!r}")
            return ""
        text = str(value).strip()
        if len(text) > TEXT_MAX or _CONTROL.search(text):
            self.problems.add(where, key, f"expected one line of at most {TEXT_MAX} letters")
        return text

    def _position(self, values: Mapping[str, Any], where: object) -> tuple[float, float]:
        if "lon" not in values and "lat" not in values:
            return math.nan, math.nan
        for key in ("lon", "lat"):
            if key not in values:
                self.problems.add(where, key, "missing; give both lon and lat in WGS-84 degrees, or neither")
                return math.nan, math.nan
        lon, lat = self.number(values["lon"], "lon", where), self.number(values["lat"], "lat", where)
        if lon is not None and lat is not None and self.on_earth(lon, lat, where):
            return lon, lat
        return math.nan, math.nan

    def on_earth(self, lon: float, lat: float, where: object) -> bool:
        """Return whether a position lies on the earth and was measured; say what is wrong where it does not."""
        if abs(lon) <= 90 < abs(lat) <= 180:
            self.problems.add(where, "lat", f"expected -90 to 90, found {lat:g}: lon and lat look swapped")
        elif not -180 <= lon <= 180:
            self.problems.add(where, "lon", f"expected WGS-84 degrees from -180 to 180, found {lon:g}")
        elif not -90 <= lat <= 90:
            self.problems.add(where, "lat", f"expected WGS-84 degrees from -90 to 90, found {lat:g}")
        elif lon == 0 and lat == 0:
            self.problems.add(where, "lon", "0, 0 lies in the sea: leave lon and lat empty where they are not known")
        else:
            return True
        return False

    def number(self, value: object, key: str, where: object) -> float | None:
        """Return a value as a number, None (and a problem) where it is none."""
        if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
            return float(value)
        if isinstance(value, str) and _NUMBER.fullmatch(value.strip()):
            found = float(value)
            if math.isfinite(found):
                return found
        self.problems.add(where, key, f"expected a number such as 12.5, found '{value}'")
        return None

    def _pole(self, values: Mapping[str, Any], where: object) -> int:
        if "pole_index" not in values:
            return -1
        found = self.number(values["pole_index"], "pole_index", where)
        if found is None:
            return -1
        if not found.is_integer() or not -1 <= found <= POLE_MAX:
            form = f"expected a whole number from 0 to {POLE_MAX}, counted from the cabinet outwards"
            self.problems.add(where, "pole_index", f"{form}; found {found:g}")
        return int(found)

    def _facts(self, kind: Kind | None, role: str, values: Mapping[str, Any], where: object) -> dict[str, float]:
        if kind is None:
            return {}
        declared = {fact.name: fact for fact in kind.facts if not fact.roles or role in fact.roles}
        facts: dict[str, float] = {}
        for key in values:
            if key in BASE or key not in self.columns:
                continue
            if key not in declared:
                known = ", ".join(declared) or "none"
                self.problems.add(where, key, f"no fact of a {kind.name} {role}; its facts: {known}")
                continue
            found = self.number(values[key], key, where)
            if found is not None:
                facts[key] = self._within(declared[key], found, where)
        return facts

    def _within(self, fact: Field, value: float, where: object) -> float:
        if not fact.low <= value <= fact.high:
            unit = f" {fact.unit}" if fact.unit else ""
            self.problems.add(where, fact.name, f"expected {fact.low:g} to {fact.high:g}{unit}, found {value:g}")
        return value

    def _swapped(self, placed: Sequence[Placed]) -> None:
        """Find positions far from all others that would lie among them the other way round."""
        known = [each for each in placed if not math.isnan(each.asset.lon)]
        if len(known) < 3:
            return
        lon0, lat0 = median(e.asset.lon for e in known), median(e.asset.lat for e in known)
        for each in known:
            lon, lat = each.asset.lon, each.asset.lat
            far = max(abs(lon - lon0), abs(lat - lat0)) > FAR_DEG
            if far and max(abs(lat - lon0), abs(lon - lat0)) < NEAR_DEG:
                self.problems.add(
                    each.where, "lon", f"{lon:g}, {lat:g} lies far from all others: lon and lat look swapped"
                )


def unknown_columns(names: Iterable[str], accepted: Sequence[str]) -> list[str]:
    """Return the names that are not accepted."""
    return [name for name in names if name not in accepted]
