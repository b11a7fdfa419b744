"""MQTT 5 PUBLISH frames for many devices at once: bytes laid side by side, in which a few columns are overwritten.

Devices whose frames have the same length stand in one group. A frame is the group's template with device id, packet id,
times and values put in; a hundred frames cost hardly more than one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from devices.registry import Registry
from devices.topics import up
from simulators.load_speech import LOOP_M, LOOP_POINTS, TRUCK_KMH, Facts, Pools, pools, rounds

CHUNK_BYTES = 1 << 17  # frames that are made at a time, at most
FACTS = ("rated_power_w", "depth_m", "stop_level_m", "start_level_m", "rated_current_a")
STEP = 1.25  # devices whose facts differ by less than this factor share a pool
SLACK = 0.9  # of the time between messages is filled by the readings of one
_TS = 13  # digits of epoch milliseconds until the year 2286
_STEPS_A_MS = TRUCK_KMH / 3600 * LOOP_POINTS / (2 * np.pi * LOOP_M)  # places passed by a truck in a millisecond

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault that a rule must tell of.

    Attributes:
        device, rule: who, and the rule's id in the shipped rules.
        ts_ms: time of the first reading that shows it, epoch milliseconds: when it was published.
    """

    device: str
    rule: str
    ts_ms: int


@dataclass(slots=True)
class Faults:
    """Which rows of a group are to go wrong, and since when they have said so.

    Attributes:
        row: (f,) rows of the group.
        from_ms: (f,) epoch milliseconds from which on they are at fault.
        since_ms: (f,) time of the first reading that told it, 0 before.
    """

    row: Ints
    from_ms: Ints
    since_ms: Ints


class Group:
    """Frames of devices of one kind, role and length of id.

    Args:
        city, kind, role: as in topic and registry.
        ids: (n,) device ids of one length.
        spoken: what they say.
        qos: 0 or 1.
        readings: in one message; more than one stand in an array, evenly spaced since the message before.
        spacing_ms: between readings of one message.
        where: depots as (lon, lat) of devices that move, None for those that do not.

    Attributes:
        frame_bytes: of one message.
        span_ms: from a device's message to its next, at least: no two readings of one device have the same time.
        chunk: messages made at a time, at most.
    """

    def __init__(
        self,
        city: str,
        kind: str,
        role: str,
        ids: npt.NDArray[np.bytes_],
        spoken: Pools,
        *,
        qos: int,
        readings: int = 1,
        spacing_ms: int = 1,
        where: tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]] | None = None,
    ) -> None:
        self.kind, self.role, self.ids, self.spoken, self.readings = kind, role, ids, spoken, readings
        self._names = ids.view(np.uint8).reshape(len(ids), -1)
        self._faults: Faults | None = None
        self._fault_of = np.zeros(0, np.int32)
        self.span_ms = 1 + (readings - 1) * spacing_ms
        self._spacing_ms = spacing_ms * np.arange(readings - 1, -1, -1)
        self._round = rounds(*where) if where is not None else None
        self._turn = 0
        id_bytes = ids.dtype.itemsize
        moving = self._round.shape[2] if self._round is not None else 0
        first, id_at, packet_at, body_at = _template(
            city, kind, id_bytes, qos, readings, b" " * moving + bytes(spoken.lit[0])
        )
        self.frame_bytes = len(first)
        self.chunk = max(1, min(1024, CHUNK_BYTES // len(first)))
        self._frames = np.tile(np.frombuffer(first, np.uint8), (self.chunk, 1))
        self._ids = self._frames[:, id_at : id_at + id_bytes]
        self._packets = self._frames[:, packet_at : packet_at + 2] if qos else None
        body = _READING + moving + spoken.lit.shape[1] + 1
        width = readings * body + (readings - 1)
        columns = self._frames[:, body_at : body_at + width]
        step = columns.strides[1]
        shape, strides = (self.chunk, readings, body), (columns.strides[0], step * (body + 1), step)
        each = np.lib.stride_tricks.as_strided(columns, shape, strides)
        self._ts = each[:, :, _TS_AT : _TS_AT + _TS]
        self._place = each[:, :, _READING : _READING + moving]
        self._values = each[:, :, _READING + moving : body - 1]

    def __len__(self) -> int:
        return len(self.ids)

    def frames(self, rows: Ints, packet_ids: Ints, ts_ms: int, *, lit: bool) -> bytes:
        """Return the frames of the devices in ``rows``, at most :attr:`chunk` of them.

        Args:
            rows: (k,) of this group.
            packet_ids: (k,) MQTT packet ids; not looked at for QoS 0.
            ts_ms: device time of the newest reading, epoch milliseconds.
            lit: whether the city's lamps are meant to burn.
        """
        count = len(rows)
        self._ids[:count] = self._names[rows]
        if self._packets is not None:
            self._packets[:count, 0] = packet_ids >> 8
            self._packets[:count, 1] = packet_ids & 0xFF
        times = ts_ms - self._spacing_ms
        text = b"%d" % ts_ms if self.readings == 1 else b"".join(b"%d" % each for each in times.tolist())
        self._ts[:count] = np.frombuffer(text, np.uint8).reshape(self.readings, _TS)
        pool = self.spoken.lit if lit else self.spoken.dark
        self._turn += count * self.readings
        lines = (self._turn + np.arange(count * self.readings)) % len(pool)
        self._values[:count] = pool[lines].reshape(count, self.readings, -1)
        if self._round is not None:
            steps = (times * _STEPS_A_MS).astype(np.int64)
            self._place[:count] = self._round[rows[:, None], (steps[None, :] + rows[:, None] * 7) % LOOP_POINTS]
        if self._faults is not None:
            self._disturb(rows, self._faults, ts_ms)
        return self._frames[:count].tobytes()

    def _disturb(self, rows: Ints, faults: Faults, ts_ms: int) -> None:
        """Let the newest reading of devices at fault show it."""
        number = self._fault_of[rows]
        places = np.flatnonzero(number >= 0)
        if len(places):
            places = places[faults.from_ms[number[places]] <= ts_ms]
            number, pool = number[places], self.spoken.fault
            self._values[places, -1] = pool[(self._turn + places) % len(pool)]
            faults.since_ms[number[faults.since_ms[number] == 0]] = ts_ms

    def break_down(self, faults: Faults) -> None:
        """Let these devices go wrong, each from its time on."""
        self._faults = faults
        self._fault_of = np.full(len(self), -1, np.int32)
        self._fault_of[faults.row] = np.arange(len(faults.row))

    def told(self) -> list[Fault]:
        """Return the faults that have been told so far, with the time of their first reading."""
        out = self._faults
        if out is None:
            return []
        return [
            Fault(self.ids[out.row[k]].decode(), self.spoken.rule, int(out.since_ms[k]))
            for k in np.flatnonzero(out.since_ms)
        ]


_TS_AT = len('{"ts":')
_READING = _TS_AT + _TS + 1  # '{"ts":' digits ','


def _template(
    city: str, kind: str, id_bytes: int, qos: int, readings: int, values: bytes
) -> tuple[bytes, int, int, int]:
    """Return one frame, and where device id, packet id and the first reading stand in it (MQTT 5, 3.3)."""
    topic = up(city, kind, "#" * id_bytes).encode()
    reading = b'{"ts":' + b"0" * _TS + b"," + values + b"}"
    payload = reading if readings == 1 else b"[" + b",".join([reading] * readings) + b"]"
    head = len(topic).to_bytes(2) + topic
    rest = head + bytes(2 if qos else 0) + b"\0" + payload  # no properties
    size, length = bytearray(), len(rest)
    while True:
        length, low = divmod(length, 128)
        size.append(low | (0x80 if length else 0))
        if not length:
            break
    start = 1 + len(size)
    frame = bytes([0x30 | qos << 1]) + bytes(size) + rest
    body_at = len(frame) - len(payload) + (readings > 1)
    return frame, start + 2 + topic.index(b"#"), start + len(head), body_at


def groups_of(
    registry: Registry,
    city: str,
    *,
    seed: int,
    qos: int = 1,
    readings: Mapping[str, int] | None = None,
    stretch: float = 1.0,
    rows: Sequence[int] | Ints | None = None,
) -> list[Group]:
    """Return a registry's devices as groups, those left out that nobody has taught to speak.

    Args:
        readings: in one message, by kind; 1 where not named.
        stretch: seconds of this load for one of the catalog's: several readings of one message lie as far apart as
            the role's usual reports, times this.
        rows: only these; all by default.
    """
    chosen = np.arange(len(registry)) if rows is None else np.asarray(rows, dtype=np.int64)
    ids = registry.columns.ids[chosen]
    facts = np.stack([registry.fact(name)[chosen] for name in FACTS])
    with np.errstate(divide="ignore", invalid="ignore"):
        coarse = np.nan_to_num(np.round(np.log(facts) / np.log(STEP)), nan=999.0, neginf=999.0).astype(np.int64)
    keys = np.vstack([registry.kind[chosen], registry.role[chosen], np.char.str_len(ids), coarse])
    found, member = np.unique(keys, axis=1, return_inverse=True)
    member = member.reshape(-1)
    out = []
    for number in range(found.shape[1]):
        mine = np.flatnonzero(member == number)
        kind = list(registry.catalog)[found[0, number]]
        role = kind.roles[found[1, number]]
        shared: Facts = {
            name: float(np.median(facts[place, mine]))
            for place, name in enumerate(FACTS)
            if not np.isnan(facts[place, mine]).any()
        }
        spoken = pools(kind.name, role, shared, seed)
        if spoken is None:
            continue
        moves = "lon_deg" in kind.field_names()
        where = (registry.lon[chosen[mine]], registry.lat[chosen[mine]]) if moves else None
        count = (readings or {}).get(kind.name, 1)
        names = ids[mine].astype(f"S{found[2, number]}")
        spacing_ms = max(1, int(SLACK * 1000 * kind.report_s[found[1, number]] * stretch))
        out.append(
            Group(city, kind.name, role, names, spoken, qos=qos, readings=count, spacing_ms=spacing_ms, where=where)
        )
    return out
