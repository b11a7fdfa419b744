"""The registry's columns in one file beside the data, so that a restart need not ask the database a million times.

The file carries the stamp of the import that made it, a number drawn anew whenever an import changes anything and kept
in the database; a file with another stamp, of another form, or damaged, is made anew. Losing it costs seconds.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from devices.assetcolumns import Coded, Columns, Sparse, Texts
from storage import arrayfile

_MARK = b"LLR3"  # the digit is of the file's form


def read(path: Path, stamp: int) -> Columns | None:
    """Return the columns of a stamp, None where the file has others, none, or is damaged."""
    if arrayfile.number_of(path, _MARK) != stamp:
        return None
    found = arrayfile.read(path, _MARK)
    return _unpacked(found[1]) if found is not None and found[0] == stamp else None


def write(path: Path, stamp: int, columns: Columns) -> bool:
    """Write columns under a stamp, whole or not at all; return False where the disk has no room or no leave."""
    draft = path.with_name(f"{path.name}.{os.getpid()}.draft")
    try:
        arrayfile.write(draft, _MARK, stamp, _packed(columns))
        draft.replace(path)
    except OSError:
        draft.unlink(missing_ok=True)
        return False
    return True


def _packed(columns: Columns) -> dict[str, npt.NDArray[Any]]:
    out: dict[str, npt.NDArray[Any]] = {
        "ids": columns.ids,
        "lon": columns.lon,
        "lat": columns.lat,
        "pole_index": columns.pole_index,
        "name": _bytes(columns.name.text),
        "name_bounds": columns.name.bounds,
    }
    if columns.index is not None:
        out["index.rows"], out["index.sums"] = columns.index
    for name, column in columns.coded.items():
        out[f"code.{name}"] = column.code
        out[f"names.{name}"] = _bytes("".join(column.names))
        out[f"ends.{name}"] = np.cumsum([len(each) for each in column.names], dtype=np.int64)
    for name, fact in columns.facts.items():
        out[f"rows.{name}"], out[f"values.{name}"] = fact.row, fact.value
    return out


def _unpacked(found: Mapping[str, npt.NDArray[Any]]) -> Columns:
    coded = {}
    for name in (key.removeprefix("code.") for key in found if key.startswith("code.")):
        ends = found[f"ends.{name}"].tolist()
        text = _text(found[f"names.{name}"])
        coded[name] = Coded(found[f"code.{name}"], [text[a:b] for a, b in itertools.pairwise([0, *ends])])
    facts = {
        name: Sparse(found[f"rows.{name}"], found[f"values.{name}"])
        for name in (key.removeprefix("rows.") for key in found if key.startswith("rows."))
    }
    return Columns(
        found["ids"],
        coded,
        Texts(_text(found["name"]), found["name_bounds"]),
        found["lon"],
        found["lat"],
        found["pole_index"],
        facts,
        (found["index.rows"], found["index.sums"]) if "index.rows" in found else None,
    )


def _bytes(text: str) -> npt.NDArray[np.uint8]:
    return np.frombuffer(text.encode("utf-8", "surrogatepass"), np.uint8)


def _text(data: npt.NDArray[np.uint8]) -> str:
    return data.tobytes().decode("utf-8", "surrogatepass")
