"""The form in which a kind of fault is described."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Injector:
    """One kind of fault, or of what looks like one.

    Attributes:
        kind: name of the kind, as faults and truth files carry it.
        effect: what the machine is told; several kinds may share one.
        says: what happens, in a sentence.
        rules: ids of the rules that may say it; the first one must. Empty where nothing may be said.
        magnitude: lowest and highest that a course draws; its meaning stands in ``says``.
        lasts_min: shortest and longest that a course lets it last, minutes.
        confounder: it is no fault: an alert that it causes is a false one.
    """

    kind: str
    effect: str
    says: str
    rules: tuple[str, ...] = ()
    magnitude: tuple[float, float] = (1.0, 1.0)
    lasts_min: tuple[float, float] = (60.0, 240.0)
    confounder: bool = False
