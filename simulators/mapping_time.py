"""Times of recorded data: the three forms in which a mapping may say where a row's moment stands."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from devices.yamlfile import Node

UNITS = {"ms": 1, "s": 1_000, "min": 60_000, "h": 3_600_000, "d": 86_400_000}
_LEAP = re.compile(r"^(.*\d:\d\d:)60(?!\d)")  # a leap second: epoch time knows none, it is the second after
PARTS = ("year", "month", "day", "hour", "minute", "second")
Row = dict[str, object]
Clock = Callable[[Row], int]


def parse_time(node: Node) -> Clock:
    """Return what reads a row's epoch milliseconds: from formatted text, calendar parts, or numbers since a moment.

    The reader raises KeyError for a missing column and ValueError for what is no time.
    """
    node.only("column", "format", "parts", "since", "add", "timezone")
    forms = [key for key in ("column", "parts", "add") if node.get(key)]
    if len(forms) != 1:
        raise node.error("expected one of 'column' with 'format', 'parts', or 'add' with 'since'")
    node.only(forms[0], "timezone", *{"column": ("format",), "parts": (), "add": ("since",)}[forms[0]])
    zone = _zone(node)
    if forms == ["column"]:
        form = node.get("format")
        return _text_time(node.need("column").text(), form.text() if form else "iso", zone)
    if forms == ["parts"]:
        return _parts_time(node.need("parts"), zone)
    since = node.get("since")
    base = _moment(since, zone) if since else 0
    units = {column: UNITS[child.text(one_of=tuple(UNITS))] for column, child in node.need("add").items()}
    return lambda row: base + round(sum(float(str(row[column])) * unit for column, unit in units.items()))


def _parts_time(node: Node, zone: ZoneInfo) -> Clock:
    columns = {key: child.text() for key, child in node.items()}
    if not set(columns) <= set(PARTS) or not set(PARTS[:3]) <= set(columns):
        raise node.error(f"expected columns for {', '.join(PARTS)}; the first three are needed")

    def read(row: Row) -> int:
        year, month, day, *rest = (int(str(row[columns[part]])) for part in PARTS if part in columns)
        hour, minute, second = (*rest, 0, 0, 0)[:3]
        return _ms(datetime(year, month, day, hour, minute, second, tzinfo=zone))

    return read


def _text_time(column: str, form: str, zone: ZoneInfo) -> Clock:
    def read(row: Row) -> int:
        text, leap = _LEAP.subn(r"\g<1>59", str(row[column]))
        moment = datetime.fromisoformat(text) if form == "iso" else datetime.strptime(text, form)  # noqa: DTZ007
        return _ms(moment if moment.tzinfo else moment.replace(tzinfo=zone)) + 1000 * leap

    return read


def _moment(node: Node, zone: ZoneInfo) -> int:
    try:
        moment = datetime.fromisoformat(str(node.value))
    except ValueError as trouble:
        raise node.error("expected a moment such as 2015-06-01T08:00:00") from trouble
    return _ms(moment if moment.tzinfo else moment.replace(tzinfo=zone))


def _ms(moment: datetime) -> int:
    return round(moment.astimezone(UTC).timestamp() * 1000)


def _zone(node: Node) -> ZoneInfo:
    zone = node.get("timezone")
    if zone is None:
        return ZoneInfo("UTC")
    try:
        return ZoneInfo(zone.text())
    except (ZoneInfoNotFoundError, OSError, ValueError) as trouble:
        raise zone.error(f"expected an IANA name such as Asia/Shanghai, found '{zone.value}'") from trouble
