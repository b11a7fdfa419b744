"""Snapshots: old or new, never a mixture; a damaged one is passed over."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

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
    assert len(list((tmp_path / "s").glob("*.snap"))) == 2
    assert len(list((tmp_path / "s").iterdir())) == 3, "and the one before, to be written over"


def test_the_file_of_an_older_snapshot_is_written_over_by_a_smaller_one(tmp_path: Path) -> None:
    for number in (3000, 200, 10):
        snapshot.save(tmp_path, number, arrays(number))
    (spare,) = tmp_path.glob("*.draft")
    inode = spare.stat().st_ino
    snapshot.save(tmp_path, 20, arrays(20))
    newest = max(tmp_path.glob("*.snap"))
    assert newest.stat().st_ino == inode
    found = snapshot.load(tmp_path)
    assert found is not None
    assert (found[0], len(found[1]["rule/onset_ms"])) == (20, 20)


def test_a_damaged_or_unfinished_snapshot_falls_back_on_the_one_before(tmp_path: Path) -> None:
    snapshot.save(tmp_path, 1, arrays(1))
    snapshot.save(tmp_path, 2, arrays(2))
    newest = max(tmp_path.glob("*.snap"))
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


def test_a_snapshot_that_was_replaced_can_still_be_read_by_whoever_has_it(tmp_path: Path) -> None:
    snapshot.save(tmp_path, 1, arrays(1000))
    found = snapshot.load(tmp_path)
    assert found is not None
    for number in (2, 3, 4):
        snapshot.save(tmp_path, number, arrays(number))
    assert found[1]["rule/onset_ms"].tolist() == list(range(1000))
    assert "names" in found[1]
    with pytest.raises(KeyError):
        found[1]["other"]


def test_what_changes_while_a_snapshot_goes_to_the_disk_is_not_in_it(tmp_path: Path) -> None:
    state = {
        "counts": np.zeros((700, 1300)),
        "empty": np.zeros((0, 3)),
        "one": np.array(4.5),
        "lamps": np.array(["灯"]),
    }
    draft = snapshot.Draft(tmp_path, 9, iter(state.items()))
    state["counts"] += 1
    assert snapshot.load(tmp_path) is None
    draft.finish()
    found = snapshot.load(tmp_path)
    assert found is not None
    assert found[0] == 9
    assert not found[1]["counts"].any()
    assert found[1]["empty"].shape == (0, 3)
    assert found[1]["one"] == 4.5
    assert found[1]["lamps"].tolist() == ["灯"]
