"""How long one input may take, and where the harnesses keep their files."""

from __future__ import annotations

import atexit
import gc
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

LIMIT_S = 0.05  # processor time that one input may cost, whatever is in it
TRIES = 3  # the best of so many counts: a collection of garbage or a cold cache is nobody's fault

Check = Callable[[bytes], None]


def within_limit(check: Check, data: bytes) -> None:
    """Run a harness on one input. AssertionError where it takes more than LIMIT_S of processor time."""
    took = _measured(check, data)
    tries = 1
    while took > LIMIT_S and tries < TRIES:
        gc.collect()
        took = min(took, _measured(check, data))
        tries += 1
    assert took <= LIMIT_S, f"{took * 1000:.1f} ms of processor time for {len(data)} bytes"


def memory_folder(prefix: str) -> Path:
    """Make a folder for this process, in memory where there is one: hundreds of journals are opened a second."""
    memory = Path("/dev/shm")
    folder = Path(tempfile.mkdtemp(prefix=prefix, dir=memory if os.access(memory, os.W_OK) else None))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def _measured(check: Check, data: bytes) -> float:
    began = time.thread_time()
    check(data)
    return time.thread_time() - began
