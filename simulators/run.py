"""Play a world to a broker along a clock, and say in the end exactly what was sent."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from simulators.faults import write_truth
from simulators.publish import LEAVING_S, Broker, Counts, Publisher
from simulators.world import World

STEP_S = 0.05  # wall seconds between looks at the clock
PATIENCE_S = 20.0  # wall seconds to wait in the end for the broker's last acknowledgements


@dataclass(frozen=True, slots=True)
class Summary:
    """What a run has sent.

    Attributes:
        messages, readings: acknowledged by the broker, by kind, repeats of the simulated network included.
        again: messages sent once more after a lost connection; received twice at most.
        unsent: messages that the broker had not acknowledged when patience ended.
        lost, repeated, late, garbled, strangers, wild: what happened on the simulated way to the broker.
        until_ms: city time that was reached.
    """

    messages: dict[str, int]
    readings: dict[str, int]
    again: int
    unsent: int
    lost: int
    repeated: int
    late: int
    garbled: int
    strangers: int
    wild: int
    until_ms: int
    refused: int = 0


async def run(
    world: World,
    broker: Broker,
    now_ms: Callable[[], int],
    *,
    stop: asyncio.Event,
    until_ms: int | None = None,
    history_days: float = 0.0,
    truth: Path | None = None,
    progress: Callable[[Counts], None] | None = None,
) -> Summary:
    """Publish the world's messages as city time passes.

    Args:
        world: what happens.
        broker: where it is told.
        now_ms: the city's clock; it may run faster than the wall's, and every process of a demo shares it.
        stop: ends the run.
        until_ms: city time at which it ends by itself.
        history_days: days of pump station logs that are sent first.
        truth: JSON lines of the faults; in the end with the moments at which they showed.
        progress: called with the counts about once a second.
    """
    if truth:
        write_truth(truth, world.truth())
    async with Publisher(broker) as publisher:
        if history_days:
            await publisher.send(world.history(history_days))
        ticks = 0
        while not stop.is_set():
            now = now_ms()
            reached = now if until_ms is None else min(now, until_ms)
            if reached > world.now_ms:
                await publisher.send(world.advance(reached))
            if until_ms is not None and now >= until_ms:
                break
            ticks += 1
            if progress and ticks % round(1.0 / STEP_S) == 0:
                progress(publisher.counts)
            try:
                await asyncio.wait_for(stop.wait(), STEP_S)
            except TimeoutError:
                continue
        await publisher.drained(LEAVING_S if stop.is_set() else PATIENCE_S)
        unsent = publisher.waiting()
        counts = publisher.counts
    if truth:
        write_truth(truth, world.truth())
    link = world.link.counts
    return Summary(
        dict(counts.messages),
        dict(counts.readings),
        counts.again,
        unsent,
        link.lost,
        link.repeated,
        link.late,
        link.garbled,
        link.strangers,
        link.wild,
        world.now_ms,
        counts.refused,
    )
