"""Native topics: ``lamplighter/v1/{city}/{kind}/{device_id}/up``, and ``…/down`` for commands.

Identity comes from the topic, which the broker's access list binds to the credential; a payload has no say in it.
"""

from __future__ import annotations

import re
from typing import NamedTuple

PREFIX = "lamplighter/v1"
DEVICE_ID = re.compile(r"^[a-z0-9][a-z0-9_-]{2,63}$")
CITY = re.compile(r"^[a-z0-9][a-z0-9-]{0,31}$")
DEVICE_ID_FORM = "3 to 64 of a-z, 0-9, _ and -, beginning with a letter or digit"


class Address(NamedTuple):
    """Who a topic belongs to."""

    city: str
    kind: str
    device_id: str


def up(city: str, kind: str, device_id: str) -> str:
    """Return the topic on which a device reports."""
    return f"{PREFIX}/{city}/{kind}/{device_id}/up"


def down(city: str, kind: str, device_id: str) -> str:
    """Return the topic on which a device is commanded."""
    return f"{PREFIX}/{city}/{kind}/{device_id}/down"


def subscription(city: str) -> str:
    """Return the filter that covers every report of a city."""
    return f"{PREFIX}/{city}/+/+/up"


def parse(topic: str) -> Address | None:
    """Return the address that an up topic names, or None when it is not one of ours."""
    parts = topic.split("/")
    if len(parts) != 6 or parts[0] != "lamplighter" or parts[1] != "v1" or parts[5] != "up":
        return None
    if not CITY.fullmatch(parts[2]) or not DEVICE_ID.fullmatch(parts[4]):
        return None
    return Address(parts[2], parts[3], parts[4])
