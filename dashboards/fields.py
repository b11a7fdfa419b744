"""The reference page of all kinds and fields, written from the catalog so that it cannot disagree with it."""

from __future__ import annotations

from devices.kinds import Catalog, Field, Kind

_HEAD = """# Kinds and their fields

This page is written by `python -m dashboards fields` from `devices/catalog/*.yaml`; a test fails when it is stale.

A reading is a JSON object with `ts` (device time, epoch milliseconds) and any of its kind's fields, published to
`lamplighter/v1/{city}/{kind}/{device_id}/up`; several readings go in an array. A value outside its range is stored as
received, flagged, and judged by no value rule. Facts come with the registry, not over MQTT.
"""


def fields_page(catalog: Catalog) -> str:
    """Return the page as Markdown."""
    return "\n".join([_HEAD, *(_kind(kind) for kind in catalog)])


def _kind(kind: Kind) -> str:
    roles = ", ".join(
        f"`{role}` (every {seconds:g} s)" for role, seconds in zip(kind.roles, kind.report_s, strict=True)
    )
    lines = [f"## `{kind.name}` – {kind.en} {kind.zh}", "", f"Roles and their usual report period: {roles}.", ""]
    lines += ["| field | unit | type | range | English | 中文 | roles |", "|---|---|---|---|---|---|---|"]
    lines += [_row(item) for item in kind.fields]
    if kind.facts:
        lines += ["", "| fact | unit | type | range | English | 中文 | roles |", "|---|---|---|---|---|---|---|"]
        lines += [_row(item) for item in kind.facts]
    return "\n".join([*lines, ""])


def _row(item: Field) -> str:
    if item.type == "bool":
        span = "0 or 1"
    elif item.codes:
        span = ", ".join(f"{number} {text}" for number, text in item.codes.items())
    else:
        span = f"{item.low:g} … {item.high:g}"
    roles = ", ".join(item.roles) or "all"
    return f"| `{item.name}` | {item.unit} | {item.type} | {span} | {item.en} | {item.zh} | {roles} |"
