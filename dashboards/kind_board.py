"""The board of one kind of facility, made from the catalog alone, so that a fifth kind has its board at once.

Whole-fleet panels group by district and never by device, and lie in folded rows: over fifty thousand lamps each costs
seconds (decision 0007). Single devices appear only where one is chosen, alerts only from the alerts' own measurement.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

from grafanalib.core import Panel, Template

from dashboards.influxql import ident, literal, matches, newest, select
from dashboards.limits import COLORS, Limit, RuleLike, limits_of, steps_of
from dashboards.native import Json, geomap_options, marker_layer, thresholds, value_mapping
from dashboards.panels import (
    Shelf,
    chosen_values,
    lines,
    native,
    number,
    one_value,
    over_time,
    states,
    step_of,
    table,
    targets,
    typed_in,
)
from dashboards.words import Words
from devices.kinds import Field, Kind

DEVICES_MAX = 2000  # names in the device list; the text box beside it narrows a larger fleet
_ALERT_STEPS = ((None, "green"), (1, "red"))
_HIDDEN_POSITION = ("lon_deg", "lat_deg")  # shown as a track


class KindBoard:
    """Builds the panels and variables of one kind.

    Args:
        kind: whose board it is.
        words: the language.
        rules: whose constant limits are drawn.
        tiles: address of map tiles, or empty.
    """

    def __init__(self, kind: Kind, words: Words, rules: Iterable[RuleLike] = (), tiles: str = "") -> None:
        self.kind = kind
        self.words = words
        self.tiles = tiles
        self.limits: Mapping[str, list[Limit]] = limits_of(rules, kind)
        self.moves = {"lon_deg", "lat_deg"} <= set(kind.field_names())
        self.places = ["district"] if self.moves else ["district", "road"]
        if len(kind.roles) > 1:
            self.places.append("cabinet")  # what feeds or holds the devices of the other roles

    def variables(self) -> list[Template]:
        """Return the choices at the head of the board: places, then one device."""
        words, kind = self.words, ident(self.kind.name)
        chosen = []
        for place in self.places:
            query = f"SHOW TAG VALUES FROM {kind} WITH KEY = {ident(place)}"
            if place != "district":
                query += f" WHERE {matches('district', 'district')}"
            chosen.append(chosen_values(place, words(place), words("all"), query))
        devices = (
            f"SHOW TAG VALUES FROM {kind} WITH KEY = {ident('device')} WHERE {' AND '.join(self._here())} "
            f"AND {ident('device')} =~ /${{find:regex}}/ LIMIT {DEVICES_MAX}"
        )
        return [*chosen, typed_in("find", words("find")), one_value("device", words("device"), devices)]

    def alerts(self, shelf: Shelf) -> None:
        """Place what is wrong now: how many, where, which, since when."""
        words = self.words
        own = [f"{ident('kind')} = {literal(self.kind.name)}", matches("district", "district")]
        who = ["rule", "severity", "entity"]
        latest = select(newest("active", "lat", "lon"), "alert", [*own, "$timeFilter"], who)
        now = select(['"active"', '"lat"', '"lon"'], f"({latest})", ['"active" = 1'], who)
        count = select([f'sum("active") AS {ident(words("active"))}'], f"({latest})")
        shelf.put(number(words("active"), count, steps=_ALERT_STEPS, empty="0"), 4, 4)
        received = over_time(
            "ledger",
            [f'non_negative_derivative(last("received"), 1s) AS {ident(words("in"))}'],
            [f"{ident('kind')} = {literal(self.kind.name)}"],
        )
        shelf.put(number(words("in"), received, unit="rate"), 4, 4)
        by_rule = over_time("alert", ['max("active")'], own, ["rule"])
        bands = value_mapping({1: (words("active"), "red"), 0: ("–", "green")})
        shelf.put(states(words("active_by_rule"), by_rule, mappings=bands, alias="$tag_rule"), 16, 4)
        layer = marker_layer(words("alerts"), "lat", "lon", "active")
        options = geomap_options([layer], self.tiles)
        colors: Json = {"thresholds": thresholds(*_ALERT_STEPS), "color": {"mode": "thresholds"}}
        shelf.put(native("geomap", words("alert_map"), targets(now, table=True), options, colors), 12, 11)
        heads = {"rule": words("rule"), "severity": words("severity"), "entity": words("entity")}
        severities = [
            {"type": "value", "options": {name: {"text": name, "color": color} for name, color in COLORS.items()}}
        ]
        shelf.put(
            table(words("alert_table"), now, heads, sort="entity", descending=False, defaults={"mappings": severities}),
            12,
            11,
        )

    def fleet(self, shelf: Shelf) -> None:
        """Place each role's fields over the chosen places: one panel a unit, one of its own under a rule's limit."""
        for role, report_s in zip(self.kind.roles, self.kind.report_s, strict=True):
            groups = self._groups(role)
            if not groups:
                continue
            shelf.row(f"{self.words.of(self.kind)} · {role}", folded=True)
            here = [f"{ident('role')} = {literal(role)}", *self._here()]
            for fields in groups:
                shelf.put(self._over_fleet(fields, role, here, step_of(report_s)), 8, 7)

    def device(self, shelf: Shelf) -> None:
        """Place one chosen device: measured values, states, and its track where it moves."""
        words = self.words
        here = [f"{ident('device')} = '${{device}}'"]
        step = step_of(min(self.kind.report_s))
        shelf.row(f"{words('of_one')} · $device")
        if self.moves:
            track = over_time(self.kind.name, ['last("lat_deg") AS "lat"', 'last("lon_deg") AS "lon"'], here)
            options = geomap_options([marker_layer(words("track"), "lat", "lon", "")], self.tiles)
            shelf.put(native("geomap", words("track"), targets(track, table=True), options, {}, step=step), 8, 7)
        for fields in self._groups(None):
            if fields[0].type in ("bool", "code"):
                continue
            columns = [f"mean({ident(f.name)}) AS {ident(words.of(f))}" for f in fields]
            limits = [limit for f in fields for limit in self.limits.get(f.name, []) if limit.role in (None, *f.roles)]
            query = over_time(self.kind.name, columns, here)
            shelf.put(self._lines(fields, query, limits, step=step), 8, 7)
        flags = [f for f in self.kind.fields if f.type == "bool"]
        if flags:
            columns = [f"last({ident(f.name)}) AS {ident(words.of(f))}" for f in flags]
            yes, no = words.yes_no()
            bands = value_mapping({1: (yes, "orange"), 0: (no, "green")})
            query = over_time(self.kind.name, columns, here)
            shelf.put(states(words("states"), query, mappings=bands, step=step), 12, 7)
        for code in (f for f in self.kind.fields if f.type == "code"):
            colors = ("green", "blue", "orange", "purple", "yellow", "red")
            meaning = {n: (text, colors[place % len(colors)]) for place, (n, text) in enumerate(code.codes.items())}
            query = over_time(self.kind.name, [f"last({ident(code.name)}) AS {ident(words.of(code))}"], here)
            shelf.put(states(words.of(code), query, mappings=value_mapping(meaning), step=step), 12, 4)

    def _here(self) -> list[str]:
        """Return the conditions of the chosen places; a chosen cabinet or station itself belongs to them."""
        here = [matches(place, place) for place in self.places if place != "cabinet"]
        if "cabinet" in self.places:
            here.append(f"({matches('cabinet', 'cabinet')} OR {matches('device', 'cabinet')})")
        return here

    def _groups(self, role: str | None) -> list[list[Field]]:
        """Return the fields of a role that share a panel: the same unit and form, and no limit of their own."""
        groups: dict[tuple[str, ...], list[Field]] = {}
        for declared in self.kind.fields:
            mine = role is None or not declared.roles or role in declared.roles
            hidden = declared.sequence or declared.name in _HIDDEN_POSITION
            if not mine or hidden or (declared.type == "code" and role):
                continue
            form = declared.type if declared.type in ("bool", "code") else "number"
            alone = declared.name in self.limits or (form == "number" and not declared.unit)
            groups.setdefault((form, declared.unit, declared.name if alone else ""), []).append(declared)
        return list(groups.values())

    def _over_fleet(self, fields: Sequence[Field], role: str, here: Sequence[str], step: str) -> Panel:
        """Return a panel of the chosen places: means, or the extremes by district where a rule has a limit."""
        first, words = fields[0], self.words
        limits = [limit for limit in self.limits.get(first.name, []) if limit.role in (None, role)]
        if limits:
            ends = [("max", "highest", any(math.isinf(limit.high) for limit in limits))]
            ends += [("min", "lowest", any(math.isinf(limit.low) for limit in limits) or not ends[0][2])]
            columns = [f"{how}({ident(first.name)}) AS {ident(words(key))}" for how, key, wanted in ends if wanted]
            query = over_time(self.kind.name, columns, here, ["district"])
            return self._lines(fields, query, limits, alias="$tag_district $col", step=step)
        if len(fields) == 1:
            query = over_time(self.kind.name, [f"mean({ident(first.name)})"], here, ["district"])
            return self._lines(fields, query, (), alias="$tag_district", step=step)
        columns = [f"mean({ident(f.name)}) AS {ident(words.of(f))}" for f in fields]
        return self._lines(fields, over_time(self.kind.name, columns, here), (), step=step)

    def _lines(
        self, fields: Sequence[Field], query: str, limits: Sequence[Limit], *, step: str, alias: str = "$col"
    ) -> Panel:
        share = fields[0].type == "bool"
        names = self.words.join([self.words.of(f) for f in fields[:3]]) + (" …" if len(fields) > 3 else "")
        return lines(
            names,
            query,
            unit="share" if share else fields[0].unit,
            alias=alias,
            step=step,
            limits=steps_of(limits) if limits else (),
            low=0 if share else None,
            high=1 if share else None,
            text=self.words.join([str(limit) for limit in limits]),
        )
