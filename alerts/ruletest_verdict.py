"""Holds what a rule test told to what it expects, and puts the difference in words."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from alerts.ruletest import Alert, Expectation, RuleTest, Told
from alerts.ruletest_play import Played, differences, play, ways
from alerts.ruletest_series import shown
from alerts.spans import Span, report_s
from devices.transition import ACTIVE

ROUND = 3  # steps of readings shown before and after the first difference
LINES_MOST = 12  # of a difference between two ways of playing


@dataclass(frozen=True, slots=True)
class Failure:
    """One thing that came otherwise than expected.

    Attributes:
        place: file and line of the expectation.
        about: what is compared.
        lines: the difference, expected lines with ``-``, what came with ``+``, what is the same with a space.
        around: the readings about the time of the first difference.
    """

    place: str
    about: str
    lines: tuple[str, ...]
    around: tuple[str, ...] = ()


@dataclass(slots=True)
class Verdict:
    """What came of one test.

    Attributes:
        test: which.
        failures: empty where all is as expected.
        hints: what may be the reason, where it failed.
        fired: ids of the rules that raised an alert in it.
        steps: how often the engine was asked, all ways together.
        ways: how often the test was played.
    """

    test: RuleTest
    failures: list[Failure] = field(default_factory=list)
    hints: list[str] = field(default_factory=list)
    fired: frozenset[str] = frozenset()
    steps: int = 0
    ways: int = 1

    @property
    def ok(self) -> bool:
        """Whether all is as expected."""
        return not self.failures


def judge(test: RuleTest) -> Verdict:
    """Play a test as written and in every way that must make no difference; return what is otherwise."""
    played = play(test)
    found = Verdict(test, steps=played.steps)
    found.fired = frozenset(one.rule for one in played.told if one.state == ACTIVE)
    if test.transitions is not None:
        found.failures += _told(test, test.transitions, played.told)
    for expectation in test.expect:
        found.failures += _at(test, expectation, played)
    for way in ways(test):
        other = play(test, way)
        found.steps, found.ways = found.steps + other.steps, found.ways + 1
        for copy, told in sorted(differences(test, way, played.told, other.told).items())[:1]:
            whose = f" (copy {copy})" if copy else ""
            own, its = [line(test, one) for one in sorted(played.told)], [line(test, one) for one in told]
            about = f"played otherwise it tells otherwise: {way.name}{whose}"
            found.failures.append(Failure(test.place, about, tuple(_diff(own, its)[:LINES_MOST])))
    found.hints += hints(test) if found.failures else []
    return found


def hints(test: RuleTest) -> list[str]:
    """Return what often is the reason when a test fails: readings that lie farther apart than a rule remembers."""
    out = []
    for rule in test.rules:
        hold = getattr(rule.params, "hold", None)
        mine = [one for one in test.registry.assets if one.kind == rule.device and rule.role in (None, one.role)]
        if not isinstance(hold, Span) or not mine or not (rule.for_ms or getattr(rule.params, "samples", 1) > 1):
            continue
        hold_ms = hold.of(report_s(test.registry.catalog[rule.device], mine[0].role))
        if test.step_ms > hold_ms:
            gap = f"readings come every {shown(test.step_ms)}, and {rule.id} waits anew after {shown(hold_ms)}"
            out.append(f"{gap} without one (hold): let them come as the device reports")
    return out


def line(test: RuleTest, one: Told) -> str:
    """Return a transition as tests write it."""
    rule = f"{one.rule} " if len(test.rules) > 1 else ""
    since = shown(one.onset_ms - test.start_ms)
    who = one.entity.removeprefix("device:")
    return f"{shown(one.at_ms - test.start_ms)} {rule}{one.state} {who} since {since} {one.reason}".rstrip()


def _told(test: RuleTest, expected: Sequence[Told], got: Sequence[Told]) -> list[Failure]:
    # What is decided in one step has no order that anybody should count on.
    wanted, came = sorted(expected), sorted(got)
    if wanted == came:
        return []
    odd = [one for one in sorted({*wanted, *came}) if wanted.count(one) != came.count(one)]
    lines = _diff([line(test, one) for one in wanted], [line(test, one) for one in came])
    return [Failure(test.transitions_place, "transitions", tuple(lines), _around(test, odd[0].at_ms, odd[0].entity))]


def _at(test: RuleTest, expectation: Expectation, played: Played) -> list[Failure]:
    at, when = expectation.at_ms, shown(expectation.at_ms - test.start_ms)
    out = []
    for what, wanted, there in (
        ("alerts", expectation.alerts, played.alerts[at]),
        ("pending", expectation.pending, played.pending[at]),
    ):
        if wanted is None:
            continue
        figures = {key: _figures(played, *key, since) for key, since in there.items()} if what == "alerts" else {}
        expected, got = _pair(test, wanted, there, figures)
        if sorted(expected) != sorted(got):
            who = wanted[0].entity if wanted else next(iter(there))[1]
            lines = tuple(_diff(sorted(expected), sorted(got)))
            out.append(Failure(expectation.place, f"{what} at {when}", lines, _around(test, at, who)))
    return out


def _pair(
    test: RuleTest,
    wanted: Sequence[Alert],
    there: Mapping[tuple[str, str], int],
    figures: Mapping[tuple[str, str], Mapping[str, float]],
) -> tuple[list[str], list[str]]:
    """Return expected and found alerts as lines, the found ones with as much detail as the expected ones give."""
    expected, got = [], []
    asked = {(one.rule, one.entity): one for one in wanted}
    for one in wanted:
        told = {name: f"{value:g}" for name, value in one.figures.items()}
        expected.append(_alert(test, one.rule, one.entity, one.since_ms, told))
    for (rule, entity), since in there.items():
        match = asked.get((rule, entity))
        have = figures.get((rule, entity), {})
        numbers = {name: _as_written(value, have.get(name)) for name, value in match.figures.items()} if match else {}
        since_ms = None if match is not None and match.since_ms is None else since
        got.append(_alert(test, rule, entity, since_ms, numbers))
    return expected, got


def _as_written(wanted: float, got: float | None) -> str:
    """Return a number with as many digits behind the point as the expected one is written with."""
    if got is None:
        return "none"
    digits = len(repr(wanted).partition(".")[2]) if wanted != int(wanted) else 0
    return f"{wanted:g}" if abs(got - wanted) <= 0.5 * 10.0**-digits + 1e-9 else f"{got:.6g}"


def _alert(test: RuleTest, rule: str, entity: str, since_ms: int | None, figures: Mapping[str, str]) -> str:
    words = [rule] if len(test.rules) > 1 else []
    words.append(entity.removeprefix("device:"))
    if since_ms is not None:
        words.append(f"since {shown(since_ms - test.start_ms)}")
    words += [f"{name}={value}" for name, value in sorted(figures.items())]
    return " ".join(words)


def _figures(played: Played, rule: str, entity: str, onset_ms: int) -> Mapping[str, float]:
    for one, figures in zip(reversed(played.told), reversed(played.figures), strict=True):
        if (one.rule, one.entity, one.onset_ms, one.state) == (rule, entity, onset_ms, ACTIVE):
            return figures
    return {}


def _diff(expected: Sequence[str], got: Sequence[str]) -> list[str]:
    if not expected:
        expected = ["(nothing)"]
    if not got:
        got = ["(nothing)"]
    return [one for one in difflib.ndiff(expected, got) if not one.startswith("?")]


def _around(test: RuleTest, at_ms: int, entity: str) -> tuple[str, ...]:
    """Return what the entity reported about a time, a line a reading."""
    own = [one for one in test.readings if f"device:{one.entity}" == entity]
    close = sorted(own, key=lambda one: abs(one.time_ms - at_ms))[: 2 * ROUND]
    out = []
    for one in sorted(close, key=lambda one: one.time_ms):
        values = "  ".join(f"{name} {value:g}" for name, value in one.values.items())
        late = "" if one.arrives_ms == one.time_ms else f"  (arrives {shown(one.arrives_ms - test.start_ms)})"
        out.append(f"{shown(one.time_ms - test.start_ms):>8}  {values}{late}")
    return tuple(out)
