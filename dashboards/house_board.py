"""The watcher's own board: is anything lost, late or piling up, and who watches the watcher.

It reads Lamplighter's own series ``ledger`` (tag kind; cumulative readings received, stored, quarantined, duplicate,
and pending now), ``house`` (lag_ms, batch_rows, rss_mb, outbox_due, journal_bytes), ``incident`` (open, by severity),
``budget`` (what each receiver was told) and ``alarms`` (alerts that are explained, standing, older than a day).
"""

from __future__ import annotations

from dashboards.influxql import ident, newest, select
from dashboards.native import Json
from dashboards.panels import Shelf, colored, lines, native, number, over_time, table
from dashboards.words import Words

COUNTED = ("received", "stored", "quarantined", "duplicate", "pending")
_NONE_WELCOME = ((None, "green"), (1, "orange"))
_BALANCE = ((None, "red"), (0, "green"), (1, "red"))
TOLD_STEPS = ((None, "green"), (2, "yellow"), (10, "red"))  # EEMUA 191: one in ten minutes; ten are a flood
HOUR_STEPS = ((None, "green"), (6, "yellow"), (60, "red"))
FLOOD_STEPS = ((None, "green"), (0.01, "red"))  # ISA-18.2: below one per cent of the time
LAG_STEPS = ((None, "green"), (2000, "yellow"), (10_000, "red"))  # p99 goals live and while catching up (ms)


def house_panels(shelf: Shelf, words: Words) -> None:
    """Place the house's figures, the ledger and its alarms."""
    _figures(shelf, words)
    _budget(shelf, words)
    _ledger(shelf, words)
    shelf.line()
    for name, title, unit in (
        ("lag_ms", "lag", "ms"),
        ("journal_bytes", "journal", "bytes"),
        ("outbox_due", "outbox", "count"),
        ("batch_rows", "batch", "count"),
        ("rss_mb", "memory", "MB"),
    ):
        query = over_time("house", [f"max({ident(name)}) AS {ident(words(title))}"])
        limits = LAG_STEPS if name == "lag_ms" else ()
        shelf.put(lines(words(title), query, unit=unit, low=0, limits=limits), 8, 7)
    options: Json = {
        "viewMode": "list",
        "groupMode": "default",
        "maxItems": 20,
        "sortOrder": 1,
        "dashboardAlerts": False,
        "alertName": "",
        "alertInstanceLabelFilter": "",
        "datasource": "-- Grafana --",
        "folder": {"title": "Lamplighter", "uid": "lamplighter"},
        "stateFilter": {"firing": True, "pending": True, "noData": True, "normal": True, "error": True},
    }
    shelf.put(native("alertlist", words("own_alerts"), [], options, {}), 8, 7)


def _figures(shelf: Shelf, words: Words) -> None:
    lag = over_time("house", [f'max("lag_ms") AS {ident(words("lag"))}'])
    shelf.put(number(words("lag"), lag, unit="ms", steps=LAG_STEPS, step="10s"), 4, 5)
    summed = over_time("ledger", ['non_negative_derivative(last("received"), 1s) AS "rate"'], by=["kind"])
    total = select([f'sum("rate") AS {ident(words("in"))}'], f"({summed})", ["$timeFilter"], stepped=True)
    shelf.put(number(words("in"), total, unit="rate"), 4, 5)
    for key, title in (("pending", "pending_short"), ("quarantined", "quarantine"), ("duplicate", "duplicate")):
        steps = _NONE_WELCOME if key == "quarantined" else ((None, "text"),)
        shelf.put(number(words(title), _total(f"last({ident(key)})", words(title)), steps=steps), 4, 5)
    shelf.put(number(words("imbalance"), _total(difference(), words("imbalance")), steps=_BALANCE), 4, 5)


def _budget(shelf: Shelf, words: Words) -> None:
    """Place incidents, and what people were told against what they can bear."""
    shelf.row(words("budget"))
    busiest = over_time("budget", [f'max("last_10_min") AS {ident(words("told_10"))}'])
    shelf.put(number(words("told_10"), busiest, steps=TOLD_STEPS, step="15s", text=words("eemua")), 4, 5)
    hourly = over_time("budget", [f'max("per_hour") AS {ident(words("told_hour"))}'])
    shelf.put(number(words("told_hour"), hourly, unit="", steps=HOUR_STEPS, step="15s"), 4, 5)
    flood = over_time("budget", [f'max("flood_share") AS {ident(words("flood_share"))}'])
    shelf.put(number(words("flood_share"), flood, unit="share", steps=FLOOD_STEPS, step="15s"), 4, 5)
    every = select(['last("open") AS "n"'], "incident", ["$timeFilter"], ["severity"])
    opened = select([f'sum("n") AS {ident(words("incidents"))}'], f"({every})")
    shelf.put(number(words("incidents"), opened), 4, 5)
    for key in ("explained", "stale"):
        query = over_time("alarms", [f"last({ident(key)}) AS {ident(words(key))}"])
        steps = _NONE_WELCOME if key == "stale" else ((None, "text"),)
        shelf.put(number(words(key), query, steps=steps, step="15s"), 4, 5)
    told = over_time("budget", ['max("last_10_min")'], by=["receiver"])
    shelf.put(lines(words("told_10"), told, unit="count", alias="$tag_receiver", low=0, limits=TOLD_STEPS), 12, 7)
    by_severity = over_time("incident", ['last("open")'], by=["severity"])
    shelf.put(lines(words("incidents"), by_severity, unit="count", alias="$tag_severity", low=0), 12, 7)


def _ledger(shelf: Shelf, words: Words) -> None:
    shelf.row(words("ledger"))
    newest_counts = select([*newest(*COUNTED), f'{difference()} AS "off"'], "ledger", ["$timeFilter"], ["kind"])
    heads = {"kind": words("kind"), "received": words("received"), "stored": words("stored")}
    heads |= {"quarantined": words("quarantine"), "duplicate": words("duplicate"), "pending": words("pending_short")}
    heads["off"] = words("imbalance")
    overrides = [colored(words("imbalance"), _BALANCE), colored(words("quarantine"), _NONE_WELCOME)]
    shelf.put(table(words("ledger"), newest_counts, heads, sort="kind", descending=False, overrides=overrides), 12, 8)
    received = over_time("ledger", ['non_negative_derivative(last("received"), 1s)'], by=["kind"])
    shelf.put(lines(words("in"), received, unit="rate", alias="$tag_kind", low=0), 12, 8)
    shelf.line()
    pending = over_time("ledger", ['last("pending")'], by=["kind"])
    shelf.put(lines(words("pending"), pending, unit="count", alias="$tag_kind", low=0), 8, 7)
    for key, title in (("quarantined", "quarantined"), ("duplicate", "duplicates")):
        query = over_time("ledger", [f"non_negative_difference(last({ident(key)}))"], by=["kind"])
        shelf.put(lines(words(title), query, unit="count", alias="$tag_kind", low=0), 8, 7)


def difference() -> str:
    """Return received less what became of it: zero for as long as no reading is lost or counted twice."""
    received, *rest = (f"last({ident(name)})" for name in COUNTED)
    return " - ".join([received, *rest])


def _total(column: str, title: str) -> str:
    """Return a query that adds the newest figure of every kind."""
    each = select([f'{column} AS "n"'], "ledger", ["$timeFilter"], ["kind"])
    return select([f'sum("n") AS {ident(title)}'], f"({each})")
