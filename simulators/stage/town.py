"""The staged town: a dozen devices, a few rules of several kinds, and a script of what happens and must be told.

What each device says is drawn beforehand from the seed, with what goes wrong on the way: repetition, delay, clocks,
nonsense, strangers. The world does not change any more when the faults have ended, so that what must be open then is
known without any rule engine.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from devices.registry import Asset
from devices.topics import up
from simulators.stage.dice import Dice
from simulators.stage.store import UNWANTED, UNWANTED_FIELD

CITY, ZONE = "linjiang", "Asia/Shanghai"
START_MS = 1_781_553_600_000  # 2026-06-16 04:00 in Shanghai
HOUR_MS, DAY_MS = 3_600_000, 86_400_000
REST_S = 3.0  # before the faults end, nothing in the town changes any more
TOGETHER_S = 0.5  # messages come in bursts this far apart
CALM_REPORT_S = 2.0  # how often everybody reports then

RULES = """
rules:
  - id: cover_open
    device: manhole
    on: cover_open == 1
    severity: critical
    message: {en: "{name} is open", zh: "{name} 已打开"}
  - id: cover_tilted
    device: manhole
    on: tilt_deg > 10
    for: 5s
    samples: 2
    off: tilt_deg < 5
    keep: 3s
    hold: 60s
    severity: major
    message: {en: "{name}: {value}", zh: "{name}: {value}"}
  - id: cover_silent
    kind: offline
    device: manhole
    after: 15s
    reports: 2
    severity: minor
    message: {en: "{id} is silent", zh: "{id} 无信号"}
  - id: lamp_dark
    device: streetlight
    role: lamp
    on: power_w < 5 and voltage_v > 180
    for: 6s
    samples: 2
    hold: 40s
    keep: 2s
    severity: minor
    message: {en: "{name} dark", zh: "{name} 灭灯"}
  - id: door_open
    device: streetlight
    role: cabinet
    on: door_open == 1
    severity: minor
    message: {en: "{name} stands open", zh: "{name} 箱门打开"}
  - id: well_high
    device: pump
    role: station
    on: level_m > 3
    for: 8s
    hold: 60s
    carry: true
    severity: major
    message: {en: "{name}: {value} m", zh: "{name}: {value} 米"}
  - id: truck_fast
    device: truck
    on: speed_kmh > 90
    keep: 3s
    hold: 30s
    event: true
    severity: info
    message: {en: "{name}: {value}", zh: "{name}: {value}"}
"""
EVENTS = ("truck_fast",)  # rules whose alerts are told even when they are over before the wait ends
INHIBITION = """
never: [well_high]
inhibit:
  - {by: [cover_open], suppress: [cover_tilted], where: same}
  - {by: [door_open], suppress: [lamp_dark], where: below, ahead: 10s}
"""
# Which state of a device is behind which rule, and the field that shows it: value when well, value when not.
SIGNS: dict[str, dict[str, tuple[str, float, float]]] = {
    "cover": {"cover_open": ("cover_open", 0, 1), "cover_tilted": ("tilt_deg", 1, 30)},
    "lamp": {"lamp_dark": ("power_w", 90, 1)},
    "cabinet": {"door_open": ("door_open", 0, 1)},
    "station": {"well_high": ("level_m", 1.5, 3.8)},
    "truck": {"truck_fast": ("speed_kmh", 40, 120)},
}
MORE = {
    "cover": (("battery_percent", 20, 99), ("temperature_c", 5, 30)),
    "lamp": (("voltage_v", 215, 235), ("energy_kwh", 20, 900)),
    "cabinet": (("phase_a_v", 215, 235), ("energy_kwh", 20, 900)),
    "station": (("rain_mm", 20, 90), ("inflow_lps", 5, 60)),
    "truck": (("fuel_percent", 20, 99), ("lon_deg", 121, 122), ("lat_deg", 31, 32)),
}
NONSENSE = (
    b"nonsense",
    b"[]",
    b"",
    b'{"ts": "yesterday"}',
    b'{"power_w": 12}',
    b'{"ts": 12}',
    b"\xff\xfe\x00",
    b"[" * 3000,
    b'{"ts": 1e999}',
    b'{"ts": 1781553600000, "power_w": "12,5", "tilt_deg": "x", "level_m": [], "speed_kmh": {}, "door_open": ""}',
)


def assets() -> list[Asset]:
    """Return the town's devices."""
    named = [("lamp", "streetlight", 4), ("cabinet", "streetlight", 1), ("cover", "manhole", 4)]
    named += [("station", "pump", 2), ("truck", "truck", 2)]
    return [
        Asset(
            f"{role}-{n:03d}",
            kind,
            role,
            f"{role} {n}",
            121.46 + n / 1000,
            31.02,
            "东区",
            road="人民路",
            cabinet="cabinet-001" if role == "lamp" else "",
        )
        for role, kind, count in named
        for n in range(1, count + 1)
    ]


@dataclass(frozen=True, slots=True)
class Reading:
    """One reading as a device means it: epoch milliseconds by its own clock, and what it says."""

    kind: str
    device: str
    ts: int
    values: tuple[tuple[str, float], ...]

    @property
    def unwanted(self) -> bool:
        """Whether the store will refuse it."""
        return (UNWANTED_FIELD[self.kind], UNWANTED) in self.values


@dataclass(frozen=True, slots=True)
class Spoken:
    """One message on its way: when, where to, what, and the readings in it; none where it is nonsense."""

    at_s: float
    topic: str
    payload: bytes
    readings: tuple[Reading, ...] = ()


@dataclass
class Town:
    """The script of one rehearsal.

    Attributes:
        spoken: all messages in order of time.
        must_be_open: (rule, entity) that must be open in the end, and no others.
    """

    spoken: list[Spoken] = field(default_factory=list)
    must_be_open: set[tuple[str, str]] = field(default_factory=set)


def write_script(dice: Dice, calm_s: float, end_s: float, *, ahead: bool) -> Town:
    """Draw what happens in the town until the faults end at ``calm_s``, and until everything ends at ``end_s``.

    Args:
        dice: where from.
        calm_s, end_s: virtual seconds.
        ahead: whether some readings come from devices whose clock is ahead by hours. Where the host's clock is wrong
            as well, nobody can tell afterwards what was newer.
    """
    town = Town()
    for asset in assets():
        player = _Player(asset, dice, calm_s, (3 * HOUR_MS, DAY_MS) if ahead else ())
        town.spoken += player.speak(end_s)
        town.must_be_open |= player.open_in_the_end()
    town.spoken += _strangers(dice, calm_s)
    town.spoken = [replace(one, at_s=round(one.at_s / TOGETHER_S) * TOGETHER_S) for one in town.spoken]
    town.spoken.sort(key=lambda one: (one.at_s, one.topic, one.payload))
    return town


class _Player:
    """One device: its states over time and what it says of them."""

    def __init__(self, asset: Asset, dice: Dice, calm_s: float, ahead_ms: tuple[int, ...]) -> None:
        self.asset, self.dice, self.calm_s = asset, dice, calm_s
        self.off_ms = (*ahead_ms, -365 * DAY_MS)
        self.topic = up(CITY, asset.kind, asset.id)
        self.skew_ms = dice.whole(-400, 400)
        self.every_s = dice.between(1.2, 4.0)
        self.newest = 0
        self.turns = {rule: self._turns() for rule in SIGNS[asset.role]}
        begins = dice.between(1, max(2.0, calm_s - 15)) if dice.chance(0.2) else calm_s
        self.silent_s = (begins, begins + 18)

    def _turns(self) -> list[float]:
        """Return the moments at which a state changes from well to bad and back."""
        count = self.dice.pick((0, 0, 0, 1, 1, 2, 3, 4))
        return sorted(self.dice.between(1, self.calm_s - REST_S) for _ in range(count))

    def bad(self, rule: str, at_s: float) -> bool:
        """Return whether a state is bad at a moment."""
        return sum(turn <= at_s for turn in self.turns[rule]) % 2 == 1

    def open_in_the_end(self) -> set[tuple[str, str]]:
        """Return the alerts on this device that must stand in the end."""
        return {(rule, f"device:{self.asset.id}") for rule in self.turns if self.bad(rule, self.calm_s)}

    def speak(self, end_s: float) -> Iterator[Spoken]:
        """Yield everything that it says."""
        at_s = self.dice.between(0.2, self.every_s)
        while at_s < self.calm_s - 0.5:
            if not self.silent_s[0] <= at_s < self.silent_s[1]:
                yield from self._message(at_s)
            at_s += self.every_s * self.dice.between(0.8, 1.2)
        at_s = self.calm_s + self.dice.between(0.1, CALM_REPORT_S)
        while at_s < end_s:
            yield self._spoken(at_s, [self._reading(at_s)])
            at_s += CALM_REPORT_S

    def _message(self, at_s: float) -> Iterator[Spoken]:
        dice = self.dice
        draw = dice.number()
        if draw < 0.02:
            yield Spoken(at_s, self.topic, dice.pick(NONSENSE))
            return
        readings = [self._reading(at_s)]
        if draw < 0.08:
            readings = [self._reading(at_s - back) for back in (0.9, 0.6, 0.3)] + readings
        elif draw < 0.10:
            readings = [self._reading(at_s, off_ms=dice.pick(self.off_ms))]
        message = self._spoken(at_s, readings)
        late_s = dice.between(0.1, min(12.0, self.calm_s - at_s - 0.2)) if dice.chance(0.06) else 0.0
        yield Spoken(at_s + late_s, message.topic, message.payload, message.readings)
        if dice.chance(0.08):  # a device sends again what it believes lost
            again_s = at_s + late_s + dice.between(0.05, 3.0)
            yield Spoken(again_s, message.topic, message.payload, message.readings)

    def _reading(self, at_s: float, off_ms: int = 0) -> Reading:
        ts = START_MS + round(at_s * 1000) + self.skew_ms + off_ms
        if not off_ms:
            ts = self.newest = max(ts, self.newest + 1)
        role = self.asset.role
        values = {name: bad if self.bad(rule, at_s) else well for rule, (name, well, bad) in SIGNS[role].items()}
        for name, low, high in MORE[role]:
            values[name] = round(self.dice.between(low, high), 3)
        if self.dice.chance(0.01) and at_s < self.calm_s:
            values[UNWANTED_FIELD[self.asset.kind]] = UNWANTED
        return Reading(self.asset.kind, self.asset.id, ts, tuple(sorted(values.items())))

    def _spoken(self, at_s: float, readings: list[Reading]) -> Spoken:
        forms = [{"ts": one.ts, **dict(one.values)} for one in readings]
        text = json.dumps(forms[0] if len(forms) == 1 and self.dice.chance(0.9) else forms)
        return Spoken(at_s, self.topic, text.encode(), tuple(readings))


def _strangers(dice: Dice, calm_s: float) -> Iterator[Spoken]:
    """Yield what devices say that nobody registered, or on topics that mean nothing."""
    for n in range(dice.whole(0, 6)):
        ts = START_MS + n
        topic = dice.pick((
            up(CITY, "manhole", "cover-999"), up(CITY, "fountain", "fountain-1"), up(CITY, "manhole", "lamp-001"),
            up(CITY, "manhole", "X"),
        ))  # fmt: skip
        yield Spoken(dice.between(1, calm_s - 1), topic, json.dumps({"ts": ts, "tilt_deg": 3}).encode())
