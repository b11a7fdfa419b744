"""The plots of a report card: what was found, how soon, and how often for nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from simulators.card.card import Card, KindFigures, Rate, Share, TotalFigures
from simulators.card.floors import Floors
from simulators.card.plots import Axis, Dot, Line, plot

_SHARES = Axis(0.5, 1.0, (0.5, 0.6, 0.7, 0.8, 0.9, 1.0), ("≤ 50 %", "60 %", "70 %", "80 %", "90 %", "100 %"))
_SPANS = Axis(
    1.0, 40 * 86_400.0,
    (1, 10, 60, 600, 3_600, 6 * 3_600, 86_400, 10 * 86_400),
    ("1 s", "10 s", "1 min", "10 min", "1 h", "6 h", "1 d", "10 d"), log=True,
)  # fmt: skip
_RATES = Axis(
    0.01, 100_000.0, (0.01, 0.1, 1, 10, 100, 1_000, 10_000, 100_000),
    ("≤ 0.01", "0.1", "1", "10", "100", "1,000", "10,000", "100,000"), log=True,
)  # fmt: skip


def pictures(card: Card, baselines: Mapping[str, Card], floors: Floors) -> dict[str, str]:
    """Return the plots as SVG by file name."""
    return {
        "report-card-found.svg": plot(
            "Faults found, and alerts that were true", [("a", "recall"), ("b", "precision of its rule")],
            list(_by_family(card, _found)), _SHARES, floors.recall,
        ),
        "report-card-delay.svg": plot(
            "From the first reading that shows a fault to the alert",
            [("a", "half and 95 % of the alerts"), ("bad", "over its limit")],
            list(_by_family(card, _delay)), _SPANS, None,
        ),
        "report-card-false.svg": plot(
            "False alarms in 10,000 device-days",
            [("a", "the rules"), ("b", "naive: one threshold, no patience"), ("c", "random")],
            list(_false(card, baselines)), _RATES, floors.false_alarms,
        ),
    }  # fmt: skip


def _by_family(card: Card, make: Callable[[KindFigures], Line]) -> Iterator[Line]:
    family = ""
    for one in card.kinds:
        if one.family != family:
            family = one.family
            yield Line(family)
        yield make(one)


def _found(one: KindFigures) -> Line:
    dots = tuple(_share_dot(share, look) for share, look in ((one.recall, "a"), (one.precision, "b")) if share.of)
    return Line(one.kind, dots, f"{one.recall.hits} of {one.recall.of}")


def _share_dot(one: Share, look: str) -> Dot:
    return Dot(one.share or 0.0, one.low, one.high, look)


def _delay(one: KindFigures) -> Line:
    p50, p95 = one.delay.p50_s, one.delay.p95_s
    if p50 is None or p95 is None:
        return Line(one.kind, (), "none found")
    late = one.delay_limit_s is not None and p95 > one.delay_limit_s
    return Line(one.kind, (Dot(max(1.0, p50), max(1.0, p50), max(1.0, p95), "bad" if late else "a"),), told_s(p95))


def _false(card: Card, baselines: Mapping[str, Card]) -> Iterator[Line]:
    others = {name: {one.name: one for one in [*found.families, found.total]} for name, found in baselines.items()}
    for one in [*card.families, card.total]:
        dots = [_rate_dot(one.false_alarms, "a")]
        for name, look in (("naive", "b"), ("random", "c")):
            other: TotalFigures | None = others.get(name, {}).get(one.name)
            if other is not None:
                dots.append(_rate_dot(other.false_alarms, look))
        rate = one.false_alarms.rate
        yield Line(
            "all families" if one.name == "all" else one.name, tuple(dots), "–" if rate is None else f"{rate:.2f}"
        )


def _rate_dot(one: Rate, look: str) -> Dot:
    return Dot(one.rate or 0.0, one.low, one.high if one.high is not None else 1e9, look)


def told_s(seconds: float | None) -> str:
    """Return a length of time as people say it."""
    if seconds is None:
        return "–"
    for size, word in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= 1.5 * size:
            return f"{seconds / size:.1f} {word}".replace(".0 ", " ")
    return f"{seconds:.0f} s"
