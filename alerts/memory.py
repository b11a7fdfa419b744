"""The engine's memory as named arrays: written into snapshots, and taken over by whoever comes after.

Everything is kept by device id, field name and rule fingerprint, so that it survives a changed registry, catalog or
rules file. An alert whose rule or entity is gone is closed, never forgotten.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from alerts.fleet import Fleet, Live
from alerts.judge import Judge
from alerts.places import ids_of, places_of
from alerts.rules import LANGUAGES, Rule, RuleSet

Arrays = dict[str, npt.NDArray[np.generic]]


class Orphan(NamedTuple):
    """An open alert that nobody watches over any more.

    Attributes:
        rule: as it was when the alert was saved; enough of it to tell people.
        entity, onset_ms: of the alert.
        reason: ``rule_changed``, or ``data_lost`` when the entity is gone.
    """

    rule: Rule
    entity: str
    onset_ms: int
    reason: str


class Opened(Protocol):
    """An alert as it was written down when it began."""

    @property
    def rule(self) -> str:
        """Return the id of its rule."""

    @property
    def entity(self) -> str:
        """Return what it is about."""

    @property
    def onset_ms(self) -> int:
        """Return when its condition first held."""

    @property
    def kind(self) -> str:
        """Return the kind of facility."""

    @property
    def severity(self) -> str:
        """Return how grave it is."""


def save_fleet(fleet: Fleet) -> Iterator[tuple[str, npt.NDArray[np.generic]]]:
    """Yield the live columns of all kinds, by device id and field names; some as they stand, and not to be kept.

    Fields that nobody has sent are left out, and of those that few send only these few are kept.
    """
    for name, live in fleet.live.items():
        prefix = f"fleet.{name}."
        yield f"{prefix}ids", ids_of(fleet.registry, live.rows)
        yield f"{prefix}time_ms", live.time_ms
        yield f"{prefix}seen_ms", live.seen_ms
        for first, end, at in live.runs():
            run = f"{prefix}run.{first}."
            yield f"{run}fields", np.array(live.kind.field_names()[first:end])
            if at is not None:
                yield f"{run}at", at.astype(np.int32)
            yield f"{run}values", live.cells(first, end, at)


def load_fleet(fleet: Fleet, arrays: Mapping[str, npt.NDArray[np.generic]]) -> None:
    """Take over saved live columns; devices and fields that no longer exist are let go."""
    for name, live in fleet.live.items():
        if f"fleet.{name}.ids" in arrays:
            _load_live(fleet, live, arrays, f"fleet.{name}.")


def _load_live(fleet: Fleet, live: Live, arrays: Mapping[str, npt.NDArray[np.generic]], prefix: str) -> None:
    found = places_of(fleet.registry, live.rows, arrays[prefix + "ids"])
    here = found >= 0
    live.time_ms[found[here]] = arrays[prefix + "time_ms"][here]
    live.seen_ms[found[here]] = arrays[prefix + "seen_ms"][here]
    for name in arrays:
        if name.startswith(f"{prefix}run.") and name.endswith(".fields"):
            run = name.removesuffix("fields")
            places = found[arrays[f"{run}at"]] if f"{run}at" in arrays else found
            live.fill([str(field) for field in arrays[name]], places, arrays[f"{run}values"])


def save_judge(rule: Rule, judge: Judge) -> Arrays:
    """Return one judge's state with its open alerts and what is needed to close them without it."""
    prefix = f"rule.{rule.id}."
    out: Arrays = {f"{prefix}state.{name}": array for name, array in judge.save().items()}
    opened = dict(judge.open())
    out[prefix + "fingerprint"] = np.array(judge.fingerprint)
    out[prefix + "about"] = np.array([rule.kind, rule.device, rule.severity, *(rule.title[one] for one in LANGUAGES)])
    out[prefix + "open"] = np.array(list(opened), dtype=np.str_)
    out[prefix + "onset_ms"] = np.array(list(opened.values()), dtype=np.int64)
    return out


def load_judge(judge: Judge, arrays: Mapping[str, npt.NDArray[np.generic]]) -> None:
    """Hand a judge its saved state, unless the rule's meaning has changed since."""
    prefix = f"rule.{judge.rule_id}."
    saved = arrays.get(prefix + "fingerprint")
    if saved is None or str(saved) != judge.fingerprint:
        return
    start = prefix + "state."
    judge.load({name.removeprefix(start): arrays[name] for name in arrays if name.startswith(start)})


def orphans(arrays: Mapping[str, npt.NDArray[np.generic]], judges: Mapping[str, Judge]) -> list[Orphan]:
    """Return the saved open alerts that no judge has taken over."""
    out: list[Orphan] = []
    for name in arrays:
        if not (name.startswith("rule.") and name.endswith(".about")):
            continue
        rule_id = name.removeprefix("rule.").removesuffix(".about")
        prefix = f"rule.{rule_id}."
        judge = judges.get(rule_id)
        kept = judge.open() if judge is not None else {}
        same = judge is not None and str(arrays[prefix + "fingerprint"]) == judge.fingerprint
        rule = _remembered(rule_id, [str(word) for word in arrays[name]])
        for entity, onset in zip(arrays[prefix + "open"], arrays[prefix + "onset_ms"], strict=True):
            if kept.get(str(entity)) != int(onset):
                out.append(Orphan(rule, str(entity), int(onset), "data_lost" if same else "rule_changed"))
    return out


def disowned(opened: Iterable[Opened], rules: RuleSet, judges: Mapping[str, Judge]) -> list[Orphan]:
    """Return the alerts among ``opened``, as they were written down, that no judge watches over."""
    out: list[Orphan] = []
    held: dict[str, Mapping[str, int]] = {}
    for one in opened:
        if one.rule not in held and one.rule in judges:
            held[one.rule] = judges[one.rule].open()
        if one.rule not in held:
            titles = [one.rule] * len(LANGUAGES)
            rule = _remembered(one.rule, ["expression", one.kind, one.severity, *titles])
            out.append(Orphan(rule, one.entity, one.onset_ms, "rule_changed"))
        elif held[one.rule].get(one.entity) != one.onset_ms:
            out.append(Orphan(rules[one.rule], one.entity, one.onset_ms, "data_lost"))
    return out


def _remembered(rule_id: str, about: list[str]) -> Rule:
    kind, device, severity, *titles = about
    return Rule(
        id=rule_id, kind=kind, device=device, role=None, severity=severity, message={}, for_ms=0, keep_ms=0,
        params=None, fingerprint="", title=dict(zip(LANGUAGES, titles, strict=True)),
    )  # fmt: skip
