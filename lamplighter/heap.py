"""How the C library keeps memory for a process that lives for months and now and then needs much for a moment."""

from __future__ import annotations

import ctypes

_ARENA_MAX, _MMAP_THRESHOLD = -8, -3  # of mallopt(3)
_ARENAS = 2  # the loop's and one for the worker threads
_BLOCK_BYTES = 2 << 20  # above it a block is given back to the system as soon as it is free


def settle() -> bool:
    """Have large blocks given back at once, and threads share their heaps; False where the C library is not glibc.

    Left alone, glibc raises the size from which blocks are given back to 32 MB as soon as one is freed, and gives every
    thread a heap of its own: after the first snapshot of a large city its holes stay for ever.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    return bool(mallopt(_ARENA_MAX, _ARENAS)) and bool(mallopt(_MMAP_THRESHOLD, _BLOCK_BYTES))
