"""Forwards alerts to Prometheus Alertmanager (API v2), for cities whose crews are told by it already.

``alertmanager+http://host:9093`` or ``alertmanager+https://…``, with a path where it stands behind one. An alert is
told when it begins and when it ends like any notice, and while it is open again and again: Alertmanager forgets what is
not repeated. Each telling says until when it holds, so that nothing depends on Alertmanager's own resolve_timeout.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from alerts import webhook
from alerts.webhook import Webhook
from devices.transition import CLEARED, Transition

PREFIX = "alertmanager"
FORM = "alertmanager+http[s]://[user:password@]host[:port][/path]"
PATH = "/api/v2/alerts"
LASTS_MS = 300_000  # an alert that is not repeated for so long is over for Alertmanager, as its own default has it
LONGEST_REPEAT_MS = LASTS_MS // 2  # one telling may be lost
AT_ONCE = 200  # alerts in one request; 100 kB


def parse(url: str, *, allow_private: bool = False) -> Webhook:
    """Read an address as FORM says. Raises ValueError with a sentence that does not show the address."""
    scheme, mark, rest = url.partition("://")
    if not mark or scheme not in (f"{PREFIX}+http", f"{PREFIX}+https"):
        raise ValueError(f"expected {FORM}")
    if "?" in rest or "#" in rest:
        raise ValueError(f"takes no questions or fragments; expected {FORM}")
    base = rest.rstrip("/").removesuffix(PATH)
    form = "jsons" if scheme.endswith("https") else "json"
    return webhook.parse(f"{form}://{base}{PATH}", allow_private=allow_private)


def post(hook: Webhook, notices: Sequence[Transition], now_ms: int, console: str = "") -> None:
    """Tell what has begun, is open or has ended. Blocks. Raises WebhookError unless all of it was taken.

    Args:
        hook: where to, as :func:`parse` gives it.
        notices: what to tell; the latest of each alert.
        now_ms: the present, epoch milliseconds.
        console: address of the console, for ``generatorURL``; empty for none.
    """
    for start in range(0, len(notices), AT_ONCE):
        part = notices[start : start + AT_ONCE]
        webhook.post(hook, [postable(one, now_ms, console) for one in part], {})


def postable(notice: Transition, now_ms: int, console: str = "") -> dict[str, Any]:
    """Return one alert as Alertmanager's API v2 wants it (postableAlert of its openapi.yaml).

    Labels name the alert and stay the same from its beginning to its end; what changes stands in annotations.
    """
    over = notice.state == CLEARED
    ends_ms = max(notice.at_ms, notice.onset_ms + 1) if over else now_ms + LASTS_MS
    labels = {
        "alertname": notice.rule,
        "alert_id": notice.alert_id,
        "entity": notice.entity,
        "kind": notice.kind,
        "district": notice.district,
        "severity": notice.severity,
    }
    words = notice.words.get("en", {})
    annotations = {
        "summary": notice.message.get("en", ""),
        "summary_zh": notice.message.get("zh", ""),
        "title": words.get("rule", ""),
        "place": words.get("place", ""),
        "reason": notice.reason,
        **{f"value_{name}": f"{value:g}" for name, value in notice.values.items()},
    }
    body: dict[str, Any] = {
        "labels": {name: value for name, value in labels.items() if value},
        "annotations": {name: value for name, value in annotations.items() if value},
        "startsAt": _time(notice.onset_ms),
        "endsAt": _time(ends_ms),
    }
    if console:
        sort, _, name = notice.entity.partition(":")
        page = f"/#asset={quote(name, safe='')}" if sort == "device" else "/"
        body["generatorURL"] = f"{console.rstrip('/')}{page}"
    return body


def _time(at_ms: int) -> str:
    """Return a time as RFC 3339 has it, to the millisecond."""
    return datetime.fromtimestamp(at_ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
