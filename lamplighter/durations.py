"""Durations as people write them on a command line: 60s, 5m, 2h."""

from __future__ import annotations

import re

from devices.yamlfile import ConfigError

_UNITS = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def seconds(text: str) -> float:
    """Return the seconds of ``60s``, ``5m``, ``2h`` or a plain number. Raises ConfigError with the accepted form."""
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([smhd]?)\s*", text)
    if match is None or float(match[1]) <= 0:
        raise ConfigError([f"'{text}': expected a duration such as 60s, 5m or 2h"])
    return float(match[1]) * _UNITS[match[2]]
