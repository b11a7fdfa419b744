"""What each fault does to what a cover's sensors say."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from simulators.faults import Fault
from simulators.machine import Floats, Ints, Mask, Rows
from simulators.touches import ramp
from simulators.weather import DAY_MS

RISE_MS = 15 * 60_000  # time in which water and gas reach the magnitude of their fault
BLOW_MS = 30_000  # a stolen cover's blow is felt for so long, then it lies aside
GONE_MS = 150_000  # a stolen cover's sensor has been smashed or carried off by then
UNLOCKED_MS = 20_000  # a crew's key is reported, with the knock on the cover, before the sensor is taken apart
CODE_M = 9.99  # what the level sensor sends when no echo comes back
MONTH_MS = 30 * DAY_MS
WEAK_PERCENT = 20.0  # below this a battery is seen to be low
BLOW_G, KNOCK_G = 1.5, 1.5


class Round:
    """What the covers of one round report, before it is put on paper; each column is (reports,).

    Attributes:
        tilt, shake, level, h2s, ch4, co, o2, battery: as the fields of the catalog.
        opened, unlocked, forced: the cover has left its frame; its lock has been opened with a key; it was torn off,
            so that the lock's bolt still says shut.
        heard: the report comes through.
        random: (reports,) from 0 to 1, for what happens in some reports only.
    """

    tilt: Floats
    shake: Floats
    level: Floats
    h2s: Floats
    ch4: Floats
    co: Floats
    o2: Floats
    battery: Floats
    random: Floats

    def __init__(self, count: int) -> None:
        self.heard = np.ones(count, dtype=np.bool_)
        self.opened = np.zeros(count, dtype=np.bool_)
        self.forced = np.zeros(count, dtype=np.bool_)
        self.unlocked = np.zeros(count, dtype=np.bool_)


Effect = Callable[[Round, Rows, Ints, Fault], "Mask | None"]  # returns which reports show it, None for all


def _open(r: Round, at: Rows, _: Ints, fault: Fault) -> Mask | None:
    r.tilt[at], r.opened[at] = fault.magnitude, True
    return None


def _theft(r: Round, at: Rows, since: Ints, fault: Fault) -> Mask | None:
    r.shake[at[since < BLOW_MS]] = fault.magnitude
    r.tilt[at], r.opened[at], r.forced[at] = 90.0, True, True
    r.heard[at[since >= GONE_MS]] = False
    return None


def _water(r: Round, at: Rows, since: Ints, fault: Fault) -> Mask | None:
    added = fault.magnitude * np.clip(since / RISE_MS, 0.0, 1.0)
    r.level[at] = np.minimum(r.level[at] + added, CODE_M - 0.5)
    return np.asarray(added > 0.1)


def _wave(r: Round, at: Rows, _: Ints, fault: Fault) -> Mask | None:
    r.level[at] += fault.magnitude
    return None


def _code(r: Round, at: Rows, _: Ints, fault: Fault) -> Mask | None:  # noqa: ARG001 - as all effects
    r.level[at] = CODE_M
    return None


def _gas(name: str, plain: float) -> Effect:
    """Return the effect of a gas that comes: the sooner the more at first; seen above ``plain``."""

    def rises(r: Round, at: Rows, since: Ints, fault: Fault) -> Mask | None:
        added = fault.magnitude * ramp(since, RISE_MS)
        column: Floats = getattr(r, name)
        column[at] += added if name != "o2" else -added
        return np.asarray(added > plain)

    return rises


def _puff(r: Round, at: Rows, _: Ints, fault: Fault) -> Mask | None:
    r.h2s[at] += fault.magnitude
    return None


def _drift(r: Round, at: Rows, since: Ints, fault: Fault) -> Mask | None:
    r.h2s[at] += fault.magnitude * since / MONTH_MS
    return None


def _weak(r: Round, at: Rows, _: Ints, fault: Fault) -> Mask | None:  # noqa: ARG001 - as all effects
    r.battery[at] = 8.0
    return None


def _decay(r: Round, at: Rows, since: Ints, fault: Fault) -> Mask | None:
    part = np.clip(since / max(fault.off_ms - fault.on_ms, 1), 0.0, 1.0)
    r.battery[at] -= (r.battery[at] - fault.magnitude) * np.minimum(1.0, 1.25 * part**3)
    return np.asarray(r.battery[at] < WEAK_PERCENT)


def _rattle(r: Round, at: Rows, since: Ints, fault: Fault) -> Mask | None:
    rolling = at[(r.random[at] < 0.5) | (since < 2 * BLOW_MS)]
    r.tilt[rolling] += fault.magnitude
    r.shake[rolling] += 0.3 + 0.6 * r.random[rolling]
    return None


def _swap(r: Round, at: Rows, since: Ints, fault: Fault) -> Mask | None:  # noqa: ARG001 - as all effects
    r.unlocked[at], r.shake[at] = True, KNOCK_G
    r.heard[at[since >= UNLOCKED_MS]] = False
    return None


EFFECTS: dict[str, Effect] = {
    "cover_open": _open,
    "theft": _theft,
    "water_rise": _water,
    "surcharge": _water,
    "wave": _wave,
    "level_code": _code,
    "gas_rise": _gas("h2s", 1.0),
    "methane": _gas("ch4", 1.0),
    "monoxide": _gas("co", 3.0),
    "oxygen": _gas("o2", 0.3),
    "puff": _puff,
    "rattle": _rattle,
    "swap": _swap,
    "drift": _drift,
    "low_battery": _weak,
    "decay": _decay,
}
SLOW = frozenset({"drift", "low_battery", "decay"})  # nothing that wakes a sensor
WAVES = ("surcharge", "wave")  # these travel along the pipe
