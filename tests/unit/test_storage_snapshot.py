"""Snapshots: old or new, never a mixture; a damaged one is passed over."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from storage import snapshot


def arrays(number: int) -> dict[str, np.ndarray[tuple[int, ...], np.dtype[np.generic]]]:
    return {"rule/onset_ms": np.arange(number), "names": np.array(["lamp-1", "灯"])}


def test_the_newest_snapshot_is_read_and_two_are_kept(tmp_path: Path) -> None:
    assert snapshot.load(tmp_path / "s") is None
    for number in (30, 10, 20):
        snapshot.save(tmp_path / "s", number, arrays(number))
    found = snapshot.load(tmp_path / "s")
    assert found is not None
    assert found[0] == 20
    assert found[1]["rule/onset_ms"].tolist() == list(range(20))
    assert found[1]["names"].tolist() == ["lamp-1", "灯"]
    assert len(list((tmp_path / "s").iterdir())) == 2


def test_a_damaged_or_unfinished_snapshot_falls_back_on_the_one_before(tmp_path: Path) -> None:
    snapshot.save(tmp_path, 1, arrays(1))
    snapshot.save(tmp_path, 2, arrays(2))
    newest = max(tmp_path.iterdir())
    whole = newest.read_bytes()
    for place in range(0, len(whole), 11):
        newest.write_bytes(whole[:place] + bytes([whole[place] ^ 4]) + whole[place + 1 :])
        found = snapshot.load(tmp_path)
        assert found is not None
        assert found[0] == 1
        newest.write_bytes(whole[:place])
        found = snapshot.load(tmp_path)
        assert found is not None
        assert found[0] == 1
    (tmp_path / "snapshot-000000000009.draft").write_bytes(whole[:50])
    snapshot.save(tmp_path, 3, arrays(3))
    found = snapshot.load(tmp_path)
    assert found is not None
    assert found[0] == 3
