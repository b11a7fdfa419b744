"""No device may speak without end: a token bucket for each, so that one that runs wild does not hold up the others.

What a device sends beyond its bucket goes to quarantine with the reason ``too_often``, is journaled and acknowledged
like any message, and its readings are not judged.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import structlog

from devices import topics
from devices.payloads import Decoded, Decoder, Delivery, Reject

log = structlog.get_logger("ingest")

TOO_OFTEN = "too_often"
ROUNDING = 1e-6  # of a message: what sums of floats may be off
FURTHER = 0.1  # tokens for each further reading of a message: of one device they are judged one after the other


class Limiter:
    """Decodes groups of deliveries and holds back what comes too often.

    Kept as the virtual time at which a device's bucket is full again (the generic cell rate algorithm, ITU-T I.371
    annex A): one number a device, and one group costs a few array operations. Only devices that have run dry are looked
    at message by message, before their payloads are decoded.

    Args:
        decoder: reads what passes.
        per_s: messages that a device may send a second in the long run; 0 lets everything pass.
        burst: messages that it may send at once after a rest.

    Attributes:
        held_back: messages sent to quarantine since the start.
    """

    def __init__(self, decoder: Decoder, per_s: float, burst: float) -> None:
        self.decoder = decoder
        self.held_back = 0
        self._step_s = 1 / per_s if per_s else 0.0
        self._depth_s = burst * self._step_s
        self._full_at: npt.NDArray[np.float64] = np.full(len(decoder.registry) if per_s else 0, -np.inf)
        self._dry: dict[str, int] = {}  # topic to row, of devices whose bucket is or was just empty

    @property
    def dry(self) -> list[str]:
        """Return the ids of the devices that are held back just now."""
        return [self.decoder.registry.id_of(row) for row in self._dry.values()]

    def take_up(self, decoder: Decoder) -> None:
        """Go on with a decoder whose registry has grown; nobody's bucket is filled by it."""
        self.decoder = decoder
        if self._step_s:
            grown = len(decoder.registry) - len(self._full_at)
            self._full_at = np.pad(self._full_at, (0, grown), constant_values=-np.inf)

    def decode(self, deliveries: Sequence[Delivery], now_ms: int, at_s: float) -> Decoded:
        """Read deliveries that arrived at ``now_ms``, but for those that come too often.

        Args:
            deliveries: in order of arrival.
            now_ms: host time, epoch milliseconds.
            at_s: seconds on a clock that never jumps, running as fast as the devices'.
        """
        if not self._step_s or not deliveries:
            return self.decoder.decode(deliveries, now_ms)
        self._forget_the_calm(at_s)
        passing, refused = self._split(deliveries, at_s)
        decoded = self.decoder.decode(passing, now_ms)
        if fresh := self._charge(decoded, at_s):
            self._dry.update(fresh)
            log.warning("sends too often: held back", devices=len(fresh), topic=next(iter(fresh)))
            passing, refused = self._split(deliveries, at_s)
            decoded = self.decoder.decode(passing, now_ms)
            self._charge(decoded, at_s)
        if refused:
            self._refuse(decoded, refused, now_ms)
        return decoded

    def _charge(self, decoded: Decoded, at_s: float) -> dict[str, int]:
        """Take tokens for what was read; where that empties a bucket, take none and return the devices by topic."""
        full_at, step_s = self._full_at, self._step_s
        limit_s = at_s + self._depth_s + ROUNDING * step_s
        before = [full_at[batch.device] for batch in decoded.batches]
        for batch, full in zip(decoded.batches, before, strict=True):
            full_at[batch.device] = np.maximum(full, at_s)
            np.add.at(full_at, batch.device, step_s)
        if decoded.several:
            rows, further = np.array(decoded.several).T
            np.add.at(full_at, rows, further * (step_s * (FURTHER - 1)))
        over = [batch.device[full_at[batch.device] > limit_s] for batch in decoded.batches]
        known = self._dry.values()
        fresh = {int(row) for rows in over if len(rows) for row in np.unique(rows)}.difference(known)
        if not fresh:
            return {}
        for batch, full in zip(decoded.batches, before, strict=True):
            full_at[batch.device] = full
        assets, city = self.decoder.registry.assets, self.decoder.city
        return {topics.up(city, assets[row].kind, assets[row].id): row for row in fresh}

    def _forget_the_calm(self, at_s: float) -> None:
        """Take off the list whose bucket is half full again."""
        for topic, row in list(self._dry.items()):
            if self._full_at[row] <= at_s + self._depth_s / 2:
                del self._dry[topic]

    def _split(self, deliveries: Sequence[Delivery], at_s: float) -> tuple[Sequence[Delivery], list[Delivery]]:
        """Return what may pass and what may not: of a device that ran dry, as many messages as it has tokens again."""
        if not self._dry:
            return deliveries, []
        passing: list[Delivery] = []
        refused: list[Delivery] = []
        left: dict[int, int] = {}
        for delivery in deliveries:
            row = self._dry.get(delivery.topic, -1)
            if row >= 0:
                if row not in left:
                    free_s = at_s + self._depth_s - max(self._full_at[row], at_s)
                    left[row] = int(free_s / self._step_s + ROUNDING)
                left[row] -= 1
                if left[row] < 0:
                    refused.append(delivery)
                    continue
            passing.append(delivery)
        return passing, refused

    def _refuse(self, decoded: Decoded, refused: Sequence[Delivery], now_ms: int) -> None:
        detail = (
            f"more than {1 / self._step_s:g} messages a second in the long run, "
            f"or {self._depth_s / self._step_s:g} at once"
        )
        assets = self.decoder.registry.assets
        for delivery in refused:
            asset = assets[self._dry[delivery.topic]]
            reject = Reject(delivery.topic, delivery.payload, TOO_OFTEN, detail, asset.id, asset.kind, now_ms)
            decoded.rejects.append(reject)
            decoded.received[asset.kind] = decoded.received.get(asset.kind, 0) + 1
        self.held_back += len(refused)
