"""The lighting rate on the streetlights' board, from Lamplighter's own series ``lighting_rate``.

Own points carry the tags scope (road, cabinet or grid), name and district, and the fields rate, rate_low, rate_high,
coverage (shares from 0 to 1), lit, known and expected (lamps).
"""

from __future__ import annotations

from grafanalib.core import Template

from dashboards.influxql import ident, literal, matches, newest, select
from dashboards.panels import Shelf, chosen_from, colored, lines, number, table
from dashboards.words import Words

MEASUREMENT = "lighting_rate"
GOOD = 0.98  # first-class roads, CJJ 89; the rule file decides what alerts, this only colours
FAIR = 0.95  # secondary roads, CJJ 89
_STEPS = ((None, "red"), (FAIR, "yellow"), (GOOD, "green"))


def scope_variable(words: Words) -> Template:
    """Return the choice of road, cabinet or grid cell."""
    return chosen_from("scope", words("scope"), {scope: words(scope) for scope in ("road", "cabinet", "grid")})


def lighting_panels(shelf: Shelf, words: Words) -> None:
    """Place the city's rate, its course by district, and the lowest places now."""
    shelf.row(words("lighting"))
    here = [f"{ident('scope')} = {literal('cabinet')}", matches("district", "district"), "$timeFilter"]
    counts = select(newest("lit", "known"), MEASUREMENT, here, ["name", "district"], stepped=True)
    rate = f'sum("lit") / sum("known") AS {ident(words("lighting_city"))}'
    city = select([rate], f"({counts})", ["$timeFilter"], stepped=True)
    dial = number(words("lighting_city"), city, kind="gauge", unit="share", steps=_STEPS, low=0.8, high=1, step="15m")
    shelf.put(dial, 5, 8)
    trend = select(['sum("lit") / sum("known")'], f"({counts})", ["$timeFilter"], ["district"], stepped=True)
    shelf.put(lines(words("lighting_trend"), trend, unit="share", alias="$tag_district", step="15m", high=1), 10, 8)
    scope = [f"{ident('scope')} = '${{scope}}'", matches("district", "district"), "$timeFilter"]
    fields = newest("rate", "rate_low", "rate_high", "coverage", "lit", "expected")
    lowest = select(fields, MEASUREMENT, scope, ["name", "district"])
    heads = {key: words(key) for key in ("name", "district", "rate", "rate_low", "coverage", "lit", "expected")}
    share = {"unit": "percentunit", "decimals": 1}
    overrides = [colored(words("rate"), _STEPS, **share)]
    overrides += [
        {"matcher": {"id": "byName", "options": words(key)}, "properties": [{"id": "unit", "value": "percentunit"}]}
        for key in ("rate_low", "coverage")
    ]
    shelf.put(table(words("lighting_table"), lowest, heads, sort="rate", descending=False, overrides=overrides), 9, 8)
