"""Deliveries become batches: topic and JSON in, columns out; what cannot be read becomes a Reject with its reason.

Decoding is total: every delivery ends in a batch row or in a reject, and the counts say so.
"""

from __future__ import annotations

import math
import struct
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, NamedTuple, Protocol

import msgspec
import numpy as np

from devices import topics
from devices.batch import MARK_FUTURE, Batch, make_batch
from devices.kinds import Field, Kind
from devices.registry import Registry

PAYLOAD_BYTES_MAX = 256 * 1024  # a concentrator's day of 15-minute readings is under 64 kB
READINGS_MAX = 2000  # readings in one message
FUTURE_MS = 120_000  # device clocks further ahead than this are clamped (docs/sources.md)
OLDEST_MS = 946_684_800_000  # 2000-01-01: before this a device's clock was never set
EXACT_MAX = 2**53  # whole numbers beyond it do not fit a column of float64
TOPICS_MAX = 50_000  # topics that are kept at hand; others are looked up anew, which costs a microsecond and a half
NEWEST_MS = 4_102_444_800_000  # 2100-01-01: beyond this the unit is not milliseconds

REASONS = ("topic", "kind", "unknown_device", "too_large", "unreadable", "wrong_form", "clock", "identity", "too_often")


class Delivery(Protocol):
    """A message as the broker handed it over (an mqtt5 PublishPacket is one)."""

    @property
    def topic(self) -> str:
        """Return the topic it was published on."""

    @property
    def payload(self) -> bytes:
        """Return what was published."""


class Reject(NamedTuple):
    """A message that could not be read, kept whole.

    Attributes:
        topic, payload: as received.
        reason: one of REASONS.
        detail: what exactly was wrong, for a person.
        device_id, kind: as the topic says, empty where it says nothing.
        arrival_ms: host time, epoch milliseconds.
    """

    topic: str
    payload: bytes
    reason: str
    detail: str
    device_id: str
    kind: str
    arrival_ms: int


@dataclass(slots=True)
class Decoded:
    """What a group of deliveries held.

    Attributes:
        batches: one a kind, rows in order of arrival.
        rejects: messages kept apart; each counts as one reading received.
        received: readings by kind name (``unknown`` where the topic names no kind): rows plus rejects.
        several: registry row and further readings (all but the first) of every message that held several.
    """

    batches: list[Batch] = field(default_factory=list)
    rejects: list[Reject] = field(default_factory=list)
    received: dict[str, int] = field(default_factory=dict)
    several: list[tuple[int, int]] = field(default_factory=list)


class _Target(NamedTuple):
    row: int
    kind: int


class Decoder:
    """Turns deliveries into batches, for one catalog and one registry.

    Args:
        registry: who is known; a device outside it is rejected as ``unknown_device``, a payload that names another
            device than its topic as ``identity``.
        city: deliveries of another city are rejected as ``topic``.

    Attributes:
        set_back_ms: by how much the host's clock was set back while the house ran; so much further ahead a device's
            clock may seem to be before its readings are clamped.
    """

    def __init__(self, registry: Registry, city: str) -> None:
        self.registry = registry
        self.city = city
        self.set_back_ms = 0
        self._prefix = f"{topics.PREFIX}/{city}/"
        self._targets: dict[str, _Target] = {}
        self._kinds: list[Kind] = list(registry.catalog)
        self._one: list[Callable[[bytes], Any]] = []
        self._many: list[Callable[[bytes], Any]] = []
        self._packed: list[Callable[..., bytes]] = []  # a reading's time, fields and name as float64
        for kind in self._kinds:
            shape = reading_type(kind)
            self._one.append(msgspec.json.Decoder(shape, dec_hook=self._named).decode)
            self._many.append(msgspec.json.Decoder(list[shape], dec_hook=self._named).decode)  # type: ignore[valid-type]  # made at run time
            self._packed.append(struct.Struct(f"{1 + len(kind.fields) + 1}d").pack)

    def decode(self, deliveries: Sequence[Delivery], now_ms: int) -> Decoded:
        """Read ``deliveries`` that arrived at ``now_ms`` (epoch milliseconds)."""
        out = Decoded()
        rows: list[list[bytes]] = [[] for _ in self._kinds]
        devices: list[list[int]] = [[] for _ in self._kinds]
        targets, one, many, packed = self._targets, self._one, self._many, self._packed
        astuple = msgspec.structs.astuple
        for delivery in deliveries:
            payload = delivery.payload
            target = targets.get(delivery.topic)
            if target is None:
                found = self._resolve(delivery, now_ms)
                if isinstance(found, Reject):
                    out.rejects.append(found)
                    continue
                target = found
            row, kind = target
            try:
                if payload[:1] == b"{" and len(payload) <= PAYLOAD_BYTES_MAX:
                    reading = one[kind](payload)
                    try:
                        rows[kind].append(packed[kind](*astuple(reading)))
                    except struct.error:
                        rows[kind].append(packed[kind](*_without_nulls(reading)))
                    devices[kind].append(row)
                else:
                    readings = self._several(payload, many[kind])
                    try:
                        rows[kind].extend([packed[kind](*astuple(reading)) for reading in readings])
                    except struct.error:
                        rows[kind].extend([packed[kind](*_without_nulls(reading)) for reading in readings])
                    devices[kind].extend([row] * len(readings))
                    out.several.append((row, len(readings) - 1))
            except (msgspec.MsgspecError, ValueError, RecursionError) as trouble:
                out.rejects.append(self._refuse(delivery, trouble, now_ms))
        if not self._finish(out, rows, devices, now_ms):
            return self._apart(deliveries, now_ms)
        return out

    def _named(self, _: type, name: object) -> _Named:
        """Return the registry row of the device that a payload names; called only where one does."""
        return _Named(self.registry.row.get(name.strip().lower(), -1) if isinstance(name, str) else -1)

    def _apart(self, deliveries: Sequence[Delivery], now_ms: int) -> Decoded:
        """Decode again without the messages that name another device than their topic: they are rejected."""
        strangers = [self._misnamed(delivery) for delivery in deliveries]
        out = self.decode([d for d, stranger in zip(deliveries, strangers, strict=True) if not stranger], now_ms)
        for delivery, stranger in zip(deliveries, strangers, strict=True):
            if stranger and (address := topics.parse(delivery.topic)) is not None:
                detail = f"sent on the topic of '{address.device_id}', but names another device as device_id"
                who = (address.device_id, address.kind)
                out.rejects.append(Reject(delivery.topic, delivery.payload, "identity", detail, *who, now_ms))
                out.received[address.kind] = out.received.get(address.kind, 0) + 1
        return out

    def _misnamed(self, delivery: Delivery) -> bool:
        target = self._targets.get(delivery.topic)
        if target is None:
            return False
        one = delivery.payload[:1] == b"{"
        try:
            found = (self._one if one else self._many)[target.kind](delivery.payload)
        except (msgspec.MsgspecError, ValueError, RecursionError):
            return False
        named = (reading.device_id for reading in ([found] if one else found))
        return any(isinstance(name, _Named) and float(name) != target.row for name in named)

    def _several(self, payload: bytes, decode: Callable[[bytes], Any]) -> list[Any]:
        if len(payload) > PAYLOAD_BYTES_MAX:
            raise _TooLargeError(f"{len(payload)} bytes; at most {PAYLOAD_BYTES_MAX} are read")
        readings: list[Any] = decode(payload)
        if not readings:
            raise ValueError("an empty list of readings")
        if len(readings) > READINGS_MAX:
            raise _TooLargeError(f"{len(readings)} readings in one message; at most {READINGS_MAX} are read")
        return readings

    def _resolve(self, delivery: Delivery, now_ms: int) -> _Target | Reject:
        target = self._known(delivery.topic)
        if target is not None:
            return target
        address = topics.parse(delivery.topic)
        if address is None or address.city != self.city:
            detail = f"expected {topics.up(self.city, '{kind}', '{device_id}')}"
            return Reject(delivery.topic, delivery.payload, "topic", detail, "", "", now_ms)
        kind = self.registry.catalog.kinds.get(address.kind)
        if kind is None:
            detail = f"no kind '{address.kind}'; known: {', '.join(self.registry.catalog.kinds)}"
            return Reject(delivery.topic, delivery.payload, "kind", detail, address.device_id, "", now_ms)
        detail = f"no {kind.name} '{address.device_id}' in the registry"
        who = (address.device_id, kind.name)
        return Reject(delivery.topic, delivery.payload, "unknown_device", detail, *who, now_ms)

    def _known(self, topic: str) -> _Target | None:
        """Return who a topic belongs to when it is one of ours, and remember it; None for everything else."""
        if not topic.startswith(self._prefix) or not topic.endswith("/up"):
            return None
        name, _, device_id = topic[len(self._prefix) : -3].partition("/")
        kind, row = self.registry.catalog.kinds.get(name), self.registry.row.get(device_id)
        if kind is None or row is None or self.registry.kind[row] != kind.index:
            return None
        if len(self._targets) >= TOPICS_MAX:
            self._targets.clear()
        target = self._targets[topic] = _Target(row, kind.index)
        return target

    def _refuse(self, delivery: Delivery, trouble: Exception, now_ms: int) -> Reject:
        if isinstance(trouble, _TooLargeError):
            reason = "too_large"
        elif isinstance(trouble, msgspec.ValidationError) and str(trouble).endswith(".ts`"):
            reason = "clock"
        elif isinstance(trouble, msgspec.ValidationError):
            reason = "wrong_form"
        else:
            reason = "unreadable"
        address = topics.parse(delivery.topic)
        device_id, kind = (address.device_id, address.kind) if address else ("", "")
        return Reject(delivery.topic, delivery.payload, reason, str(trouble)[:300], device_id, kind, now_ms)

    def _finish(self, out: Decoded, rows: list[list[bytes]], devices: list[list[int]], now_ms: int) -> bool:
        """Make the batches; return False where a payload names another device than its topic."""
        counts: dict[str, int] = defaultdict(int)
        for reject in out.rejects:
            counts[reject.kind or "unknown"] += 1
        for kind, table, device in zip(self._kinds, rows, devices, strict=True):
            if not table:
                continue
            block = np.frombuffer(b"".join(table), np.float64).reshape(len(device), 1 + len(kind.fields) + 1)
            told = ~np.isnan(block[:, -1])
            if told.any() and (block[told, -1] != np.array(device)[told]).any():
                return False
            counts[kind.name] += len(device)
            out.batches.append(_batch(kind, block, device, now_ms, FUTURE_MS + self.set_back_ms))
        out.received = dict(counts)
        return True


def _batch(
    kind: Kind, block: np.ndarray[Any, np.dtype[np.float64]], device: list[int], now_ms: int, future_ms: int
) -> Batch:
    sent = block[:, 0].astype(np.int64)  # epoch milliseconds stay exact in float64 until the year 287396
    batch = make_batch(kind, now_ms, sent, device, np.ascontiguousarray(block[:, 1:-1].T))
    ahead = sent > now_ms + future_ms
    if ahead.any():
        batch.time_ms = np.where(ahead, now_ms, sent)  # several of one device are set apart by the sieve
        batch.marks = np.where(ahead, MARK_FUTURE, 0).astype(np.uint8)
    return batch


def _without_nulls(reading: msgspec.Struct) -> list[float]:
    """Return a reading's time and fields; JSON's null is a missing value, as an absent key is."""
    return [math.nan if value is None else value for value in msgspec.structs.astuple(reading)]


class _TooLargeError(ValueError):
    pass


class _Named(float):
    """What a payload calls its device: the registry row of that name, -1 where nobody is called so."""


def reading_type(kind: Kind) -> type[msgspec.Struct]:
    """Return the JSON form of one reading: ``ts`` in epoch milliseconds and the kind's fields, each optional.

    Unknown keys are passed over: devices send more than a city asked for. ``device_id`` is no field: where a payload
    has it, it must name the device of the topic.
    """
    columns: list[tuple[str, Any, Any]] = [(f.name, _json_type(f), math.nan) for f in kind.fields]

    epoch_ms = Annotated[int, msgspec.Meta(ge=OLDEST_MS, le=NEWEST_MS)]
    name = f"{kind.name.title()}Reading"
    return msgspec.defstruct(name, [("ts", epoch_ms), *columns, ("device_id", _Named | None, math.nan)], gc=False)


def _json_type(declared: Field) -> Any:  # noqa: ANN401 - a type made at run time
    exact = Annotated[int, msgspec.Meta(ge=-EXACT_MAX, le=EXACT_MAX)]
    if declared.type == "bool":
        return bool | exact | None
    if declared.type in ("int", "code"):
        return exact | None
    return float | None
