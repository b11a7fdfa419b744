"""What an InfluxDB's answer means for the readings: whose fault it is, and whether waiting helps.

Only what the database itself says about the data counts against the data; whatever else goes wrong, readings wait.
The table of statuses follows the sources of InfluxDB 1.6 and 2.7 (handler.go, write_handler.go).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import NamedTuple, NoReturn

from storage.timeseries import StoreAway

RETRY_AFTER_MAX_S = 600.0
REASON_MAX = 300  # letters of a reason kept; InfluxDB repeats the line in it

# A limit of the database that comes as a partial write: held, for the data are good.
_LIMIT = re.compile(r"max-(values-per-tag|series-per-database) limit exceeded")
# How InfluxDB 1, 2 and 3 begin to say that lines are at fault.
_DATA = re.compile(
    r"partial write|unable to parse|field type conflict|failure writing points|points beyond retention|"
    r"unprocessable entity|invalid (line|field|number|boolean|timestamp|tag|point)|missing (fields|tag|measurement)|"
    r"time outside range|max key size exceeded|bad timestamp|write buffer error: (parse|invalid)",
    re.IGNORECASE,
)
_STARTED = re.compile(
    r"^(process_start_time_seconds|influxdb_uptime_seconds)(?:\{[^}]*\})? (\d[\d.eE+]*)", re.MULTILINE
)
_DROPPED = re.compile(r"dropped=(\d+)\s*$")


class Answer(NamedTuple):
    """An answer that is no success: status, body, headers, and the address that gave it."""

    status: int
    text: str
    headers: Mapping[str, str]
    url: str


class DataFault(ValueError):  # noqa: N818 - whose fault it is, not an error of ours
    """The database refuses a line, or some of several, and always will.

    Attributes:
        dropped: how many it says it refused; short by those that it could not parse.
    """

    def __init__(self, said: str) -> None:
        found = _DROPPED.search(said)
        self.dropped = int(found.group(1)) if found else 0
        super().__init__(said[:REASON_MAX])


class TooLarge(ValueError):  # noqa: N818 - a measure, not an error of ours
    """The request has more bytes than the server or a proxy before it lets through."""


def judge(answer: Answer) -> NoReturn:
    """Raise what an answer means.

    Raises:
        DataFault: 400 or 422 in the database's own words about the data.
        TooLarge: 413.
        StoreAway: everything else; the readings wait.
    """
    said, by_database = _message(answer.text)
    status, url = answer.status, answer.url
    if status in (400, 422) and by_database and _DATA.match(said) and not _LIMIT.search(said):
        raise DataFault(said)
    if status == 413:
        raise TooLarge(f"{url} takes no request of that size")
    if status in (401, 403):
        raise StoreAway(f"{url} refuses the token ({status}): {said[:REASON_MAX]}", needs_person=True)
    if status == 404:
        raise StoreAway(f"{url} does not know the database or address: {said[:REASON_MAX]}", needs_person=True)
    if status == 429 or status >= 500:
        raise StoreAway(f"{url} cannot just now ({status}): {said[:REASON_MAX]}", retry_after_s(answer.headers))
    raise StoreAway(f"{url} answers {status}: {said[:REASON_MAX]}", needs_person=True)


def retry_after_s(headers: Mapping[str, str]) -> float:
    """Return the seconds that Retry-After asks for, at most ten minutes; 0 where it is absent or no sense.

    A date in it is taken against the answer's own Date, so that the two machines' clocks need not agree.
    """
    named = {name.lower(): value for name, value in headers.items()}
    asked = named.get("retry-after", "").strip()
    if re.fullmatch(r"\d{1,30}(\.\d*)?", asked):
        return min(float(asked), RETRY_AFTER_MAX_S)
    try:
        wait_s = (parsedate_to_datetime(asked) - parsedate_to_datetime(named.get("date", ""))).total_seconds()
    except (ValueError, TypeError):
        return 0.0
    return min(max(wait_s, 0.0), RETRY_AFTER_MAX_S)


def since_ms(text: str) -> int | None:
    """Return an RFC 3339 moment with up to nine decimals as epoch milliseconds, None where it is none."""
    try:
        moment = datetime.fromisoformat(re.sub(r"(\.\d{6})\d+", r"\1", text.strip()))
    except ValueError:
        return None
    return round(moment.timestamp() * 1000) if moment.tzinfo else None


def started_of(metrics: str, headers: Mapping[str, str]) -> int | None:
    """Return since when a server runs, as its metrics in the form of Prometheus tell; None where they do not.

    ``process_start_time_seconds`` is what the clients of Prometheus call it; InfluxDB 2 tells its uptime, which is
    taken from the answer's own Date.
    """
    told = {name: float(value) for name, value in _STARTED.findall(metrics)}
    if "process_start_time_seconds" in told:
        return round(told["process_start_time_seconds"] * 1000)
    named = {name.lower(): value for name, value in headers.items()}
    try:
        date = parsedate_to_datetime(named.get("date", ""))
    except (ValueError, TypeError):
        return None
    uptime = told.get("influxdb_uptime_seconds")
    return None if uptime is None else round((date.timestamp() - uptime) * 1000)


def _message(text: str) -> tuple[str, bool]:
    """Return what a body says, and whether it is a database that says it rather than a proxy before it."""
    try:
        body = json.loads(text)
    except ValueError:
        return " ".join(text.split()), False
    if isinstance(body, dict):
        said = body.get("error") or body.get("message")
        if isinstance(said, str):
            return said, True
    return text, False
