"""What a finished course came to, kept as JSON: a card that takes a night is not begun anew where it was broken off."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import msgspec

from simulators.card.gains import Gains
from simulators.card.plan import Dealt, Job
from simulators.card.tally import FamilyTally, KindTally, RuleTally, Tally

PLAYED_BY = ("alerts", "devices", "simulators")  # packages whose code decides what a course comes to


def key_of(jobs: Iterable[Job], files: Iterable[Path], texts: Iterable[str] = ()) -> str:
    """Return a digest of everything that decides what the courses come to: plan, rules, floors and the code itself.

    Args:
        jobs: all courses of the card.
        files: rules, floors and what else is read.
        texts: more that counts, such as the rules of included files.
    """
    digest = hashlib.blake2s(digest_size=10)
    for job in jobs:
        digest.update(repr(job).encode())
    for text in texts:
        digest.update(text.encode())
    for path in [*files, *_code()]:
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _code() -> list[Path]:
    found: list[Path] = []
    for name in PLAYED_BY:
        folder = Path(str(import_module(name).__file__)).parent
        found += sorted([*folder.rglob("*.py"), *folder.rglob("*.yaml")])
    return found


def keep(folder: Path, dealt: Dealt) -> None:
    """Write down what a course came to; whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    parts = ("tallies", "gains", "readings", "devices", "days", "generating_s", "judging_s", "naive_kept")
    target = _path(folder, dealt.job)
    part = target.with_suffix(".part")
    part.write_bytes(msgspec.json.encode({name: getattr(dealt, name) for name in parts}))
    part.replace(target)


def kept(folder: Path, job: Job) -> Dealt | None:
    """Return what a course came to, None where it was not played to its end."""
    path = _path(folder, job)
    if not path.is_file():
        return None
    plain: dict[str, Any] = msgspec.json.decode(path.read_bytes())
    won = plain.pop("gains")
    gains = Gains(Counter(won["found"]), Counter(won["lost"]), won["sooner_ms"])
    tallies = {name: _tally(one) for name, one in plain.pop("tallies").items()}
    return Dealt(job, tallies, **plain, gains=gains)


def _path(folder: Path, job: Job) -> Path:
    return folder / f"{job.family}-{job.seed}.json"


def _tally(plain: Mapping[str, Mapping[str, Any]]) -> Tally:
    out = Tally()
    for name, one in plain["kinds"].items():
        missed = [tuple(each) for each in one["missed"]]
        out.kinds[name] = KindTally(**one | {"rules": Counter(one["rules"]), "missed": missed})
    for name, one in plain["rules"].items():
        examples = [tuple(each) for each in one["examples"]]
        out.rules[name] = RuleTally(**one | {"beside": Counter(one["beside"]), "examples": examples})
    out.families = {name: FamilyTally(**one) for name, one in plain["families"].items()}
    return out
