"""Readings in turns: the first of every device, then all second ones, and so on, so that in a turn each stands once."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

Places = npt.NDArray[np.intp]
Mask = npt.NDArray[np.bool_]


def begins(values: npt.NDArray[np.integer[Any]]) -> Mask:
    """Return where a value differs from the one before it, (n,); the first always does."""
    out = np.ones(len(values), dtype=np.bool_)
    np.not_equal(values[1:], values[:-1], out=out[1:])
    return out


def in_turns(device: npt.NDArray[np.integer[Any]]) -> tuple[Places | None, list[int]]:
    """Lay readings out in turns, devices with most of them first.

    Args:
        device: (n,) whose each is, those of one device in the order of time.

    Returns:
        their order, None where it is as it was; and where each turn begins, with the number of readings.
    """
    size = len(device)
    by_device = device.argsort(kind="stable")
    ordered = device[by_device]
    first = begins(ordered).nonzero()[0]
    if len(first) == size:
        return None, [0, size]
    count = np.diff(first, append=size)
    lane = np.empty(len(first), dtype=np.intp)
    lane[(-count).argsort(kind="stable")] = np.arange(len(first))
    turn = np.arange(size) - np.repeat(first, count)
    cuts = np.concatenate([[0], np.cumsum(np.bincount(turn))])
    order = np.empty(size, dtype=np.intp)
    order[cuts[turn] + np.repeat(lane, count)] = by_device
    return order, cuts.tolist()


def turns(device: npt.NDArray[np.integer[Any]]) -> Iterator[Places | slice]:
    """Yield the rows of one turn after the other; ``device`` as for :func:`in_turns`."""
    order, cuts = in_turns(device)
    if order is None:
        yield slice(None)
        return
    for first, end in pairwise(cuts):
        yield order[first:end]


def before(device: npt.NDArray[np.integer[Any]], said: Mask, known: Mask) -> Mask:
    """Return what each row's device said the row before, (n,); ``known`` (devices,) is what they said last."""
    order = device.argsort(kind="stable")
    ordered = device[order]
    found = np.empty(len(device), dtype=np.bool_)
    found[order[1:]] = said[order[:-1]]
    first = begins(ordered)
    found[order[first]] = known[ordered[first]]
    return found


def rows_of_any(device: npt.NDArray[np.integer[Any]], chosen: Mask) -> Places:
    """Return all rows of the devices of which some row is chosen, (k,), rising."""
    if not chosen.any():
        return np.zeros(0, dtype=np.intp)
    return (chosen if chosen.all() else np.isin(device, device[chosen])).nonzero()[0]
