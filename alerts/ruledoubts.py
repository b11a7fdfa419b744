"""What is wrong with a rule that can be read: it can never speak, never end, or its times do not fit its devices."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from alerts.expression_keys import Params
from alerts.fence import FenceParams
from alerts.offline import Params as OfflineParams
from alerts.rulelogic import Logic, Part
from alerts.rules import Rule, parse_rule, parse_rules
from alerts.ruletest_series import shown
from alerts.spans import report_s
from devices.kinds import Catalog, Kind
from devices.yamlfile import ConfigError, Node


class Doubt(NamedTuple):
    """One thing that its author cannot have meant.

    Attributes:
        line: of the file.
        error: whether the rule cannot do its work at all; otherwise it is a warning.
        text: file, line, key and what is wrong.
    """

    line: int
    error: bool
    text: str


def examine(root: Node, catalog: Catalog) -> tuple[int, list[Doubt]]:
    """Check a rules file, also for what can be read and makes no sense; return how many rules it has, and the doubts.

    Raises:
        ConfigError: when it is no file of rules at all.
    """
    doubts: list[Doubt] = []
    try:
        parse_rules(root, catalog)
    except ConfigError as trouble:
        doubts += [Doubt(_line(one), error=True, text=one) for one in trouble.problems]
    nodes = root.need("rules").elements()
    for node in nodes:
        try:
            rule = parse_rule(node, catalog)
        except ConfigError:
            continue  # told above
        doubts += of_rule(rule, node, catalog[rule.device])
    return len(nodes), sorted(doubts, key=lambda one: (one.text.partition(":")[0], one))


def of_rule(rule: Rule, node: Node, kind: Kind) -> list[Doubt]:
    """Return the doubts about one rule, read from ``node``."""
    if isinstance(rule.params, Params):
        return [*_conditions(rule.params, node, kind), *_times(rule, rule.params, node, kind)]
    if isinstance(rule.params, OfflineParams):
        return [*_offline(rule, rule.params, node, kind), *_while(node, kind)]
    return list(_while(node, kind)) if isinstance(rule.params, FenceParams) else []


def _conditions(params: Params, node: Node, kind: Kind) -> Iterator[Doubt]:
    logic, on = Logic(kind), node.need("on")
    ways = logic.alternatives(params.on.text)
    if ways is None:
        return
    impossible, doubts = _dead(logic, ways, on, kind, "comes")
    yield from doubts
    if impossible:
        return
    contrary = logic.alternatives(params.on.text, contrary=True)
    if contrary is not None and all(logic.never(way) for way in contrary):
        yield _error(on, "holds for every reading; a condition that says nothing makes an alert of every device")
        return
    off = node.get("off")
    if params.off is not None and off is not None:
        yield from _ends(logic, params, off, kind)


def _ends(logic: Logic, params: Params, off: Node, kind: Kind) -> Iterator[Doubt]:
    assert params.off is not None  # noqa: S101 - the caller has looked
    ways, on = logic.alternatives(params.off.text), logic.alternatives(params.on.text) or []
    if ways is None:
        return
    impossible, doubts = _dead(logic, ways, off, kind, "ends")
    yield from doubts
    if impossible:
        return
    lasts = logic.alternatives(params.off.text, contrary=True)
    if lasts is not None and all(logic.never([*one, *other]) for one in on for other in lasts):
        yield _error(off, "holds whenever 'on' does, so that an alert ends as it begins")


def _times(rule: Rule, params: Params, node: Node, kind: Kind) -> Iterator[Doubt]:
    where = {key: node.get(key) or node.need("on") for key in ("for", "keep", "hold", "lost_after", "samples")}
    for role in params.roles:
        report = round(report_s(kind, role) * 1000)
        hold, lost = params.hold.of(report / 1000), params.lost_after.of(report / 1000)
        every = f"a {role} reports every {shown(report)}"
        if hold < report and rule.for_ms > hold:
            words = f"{shown(rule.for_ms)} is longer than 'hold' ({shown(hold)}), and {every}"
            yield _error(where["for"], f"{words}: the waiting begins anew with every reading, and no alert ever comes")
        elif hold < report and params.samples > 1:
            words = f"'hold' ({shown(hold)}) is over before the next reading comes, for {every}"
            yield _error(where["samples"], f"{words}: {params.samples} readings in a row are never counted")
        if hold < report and rule.keep_ms > hold:
            words = f"{shown(rule.keep_ms)} is longer than 'hold' ({shown(hold)}), and {every}"
            yield _error(where["keep"], f"{words}: the waiting begins anew with every reading, and no alert ever ends")
        if lost < report:
            words = f"{shown(lost)}, but {every}: its alerts are closed as data_lost between two reports"
            yield _error(where["lost_after"], words)
        elif lost < hold:
            yield _warning(
                where["lost_after"], f"{shown(lost)} is shorter than 'hold' ({shown(hold)}), which ends with it"
            )
        if rule.for_ms > lost:
            words = (
                f"{shown(rule.for_ms)} is longer than 'lost_after' ({shown(lost)}), after which a device is given up"
            )
            yield _warning(where["for"], words)


def _offline(rule: Rule, params: OfflineParams, node: Node, kind: Kind) -> Iterator[Doubt]:
    roles = (rule.role,) if rule.role is not None else kind.roles
    for role in roles:
        report = round(report_s(kind, role) * 1000)
        after = params.after.of(report / 1000)
        if after <= report:
            words = f"{shown(after)} of silence, but a {role} reports every {shown(report)}"
            yield _error(node.need("after"), f"{words}: it would be offline between any two reports")


def _while(node: Node, kind: Kind) -> Iterator[Doubt]:
    held = node.get("while")
    if held is not None:
        logic = Logic(kind)
        impossible, doubts = _dead(logic, logic.alternatives(held.text()) or [[]], held, kind, "comes")
        if impossible:
            yield from doubts


def _dead(logic: Logic, ways: list[list[Part]], node: Node, kind: Kind, what: str) -> tuple[bool, list[Doubt]]:
    """Return whether no way in which a condition could hold is possible, and the doubts about those that are not.

    Args:
        what: what an alert then never does: it comes, it ends.
    """
    dead = [logic.never(way) for way in ways]
    told = [one for one in dead if one is not None]
    if told and len(told) == len(dead):
        return True, [_error(node, f"can never hold, so no alert ever {what}: {told[0].words(kind)}")]
    names = dict.fromkeys(one for one in told if one.name)
    return False, [_warning(node, f"{why.words(kind)}; the rest of the condition is judged") for why in names]


def _error(node: Node, text: str) -> Doubt:
    return Doubt(node.line, error=True, text=node.problem(text))


def _warning(node: Node, text: str) -> Doubt:
    return Doubt(node.line, error=False, text=node.problem(f"warning: {text}"))


def _line(problem: str) -> int:
    parts = problem.split(":")
    return next((int(part) for part in parts[1:] if part.isdigit()), 0)
