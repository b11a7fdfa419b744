"""Killed at every system call of writing a snapshot: the next start reads the old one whole, or the new one whole."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from storage import snapshot
from tests.real.processes import need

CALLS = ("mkdir", "openat", "flock", "pwrite64", "ftruncate", "fsync", "close", "rename")
SAVE = """
import sys
from pathlib import Path
import numpy as np
from storage import snapshot
snapshot.save(Path(sys.argv[1]), 300, {"state": np.full(5000, 3.0), "words": np.array(["new"])})
"""


def _save_killed_at(folder: Path, call: str, number: int) -> bool:
    """Save the fourth snapshot, over the file of the first, in a process that dies as it enters its n-th such call.

    Return whether it did.
    """
    (strace,) = need("strace")
    paths = [folder, *(folder / f"snapshot-{n:012d}.{end}" for n in (2, 3, 4, 5) for end in ("snap", "draft"))]
    words = [strace, "-f", "-qq", "-o", "/dev/null", *(word for path in paths for word in ("-P", str(path)))]
    words += ["-e", f"trace={call}", "-e", f"inject={call}:signal=SIGKILL:when={number}"]
    done = subprocess.run([*words, sys.executable, "-c", SAVE, str(folder)], check=False)
    assert done.returncode in (0, -signal.SIGKILL, 128 + signal.SIGKILL)
    return done.returncode != 0


@pytest.mark.mosquitto  # asks for strace as others ask for servers: may be absent, must not be where servers are
def test_a_kill_at_any_call_leaves_the_old_snapshot_or_the_new_one(tmp_path: Path) -> None:
    kills: list[tuple[str, int, int]] = []
    for call in CALLS:
        for number in range(1, 20):
            folder = tmp_path / f"{call}-{number}"
            snapshot.save(folder, 50, {"state": np.full(6000, 0.5), "words": np.array(["oldest"])})
            snapshot.save(folder, 100, {"state": np.full(5000, 1.0), "words": np.array(["older"])})
            snapshot.save(folder, 200, {"state": np.full(5000, 2.0), "words": np.array(["old"])})
            killed = _save_killed_at(folder, call, number)
            position = _whole(folder)
            snapshot.save(folder, 400, {"state": np.full(5000, 4.0), "words": np.array(["later"])})
            assert _whole(folder) == 400
            left = sorted(path.name for path in folder.iterdir())
            assert sum(name.endswith(".snap") for name in left) == snapshot.KEPT
            assert len(left) == snapshot.KEPT + 1, f"what a kill left lying about is written over by the next: {left}"
            if not killed:
                assert position == 300
                break
            kills.append((call, number, position))
    print(f"{len(kills)} kills: {kills}")
    assert {call for call, _, _ in kills} == set(CALLS), "each of these calls is made, and was died at"
    assert {position for _, _, position in kills} == {200, 300}
    assert all(position == 200 for call, _, position in kills if call in ("mkdir", "pwrite64", "ftruncate"))
    assert [position for call, _, position in kills if call == "rename"] == [200, 300]


def _whole(folder: Path) -> int:
    """Return the position of the snapshot that a start would read, all of whose parts belong together."""
    read = snapshot.load(folder)
    assert read is not None
    position, arrays = read
    assert (arrays["state"] == position / 100).all()
    assert arrays["words"][0] == {200: "old", 300: "new", 400: "later"}[position]
    return position
