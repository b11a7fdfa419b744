"""Which alert explains which others: the inhibition matrix, read from ``config/inhibition.yaml`` and checked.

An alert that another explains is kept, counted and shown, and nobody is told of it. Some alerts are never explained
away, whatever else is wrong: open covers, gas, leakage, a full well, illegal dumping.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path

from alerts.causes_place_settings import SAME_PLACE, PlaceCause, place_cause, same_place_rule
from alerts.causes_settings import CauseSettings, cause_settings
from alerts.rules import Rule, RuleSet
from alerts.spans import duration_ms
from devices.kinds import Catalog
from devices.transition import SEVERITIES
from devices.yamlfile import ConfigError, Node, read_yaml

COMMON_CAUSE = "common_cause"  # the rule that alerts on a node of the tree bear (alerts/causes.py)
FOUND = (COMMON_CAUSE, SAME_PLACE)  # rules whose alerts this stage finds by itself, and ends
SAME, BELOW, BESIDE = "same", "below", "beside"
WHERE = (SAME, BELOW, BESIDE)
_NAME = re.compile(r"^(?:(?:kind|device):)?[a-z*?][a-z0-9_*?]*$")
NAME_FORM = "expected a rule's id, a pattern of ids such as gas_*, kind:offline or device:pump"


@dataclass(frozen=True, slots=True)
class Chosen:
    """Rules as a file names them.

    Attributes:
        text: a rule's id, a pattern of ids, ``kind:`` and a kind of rule, or ``device:`` and a kind of facility.
        file, line: where it stands.
    """

    text: str
    file: str = ""
    line: int = 0

    def matches(self, rule: Rule) -> bool:
        """Return whether a rule is meant."""
        what, _, name = self.text.rpartition(":")
        return fnmatchcase({"kind": rule.kind, "device": rule.device}.get(what, rule.id), name)


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the matrix: alerts of some rules explain alerts of others.

    Attributes:
        by: rules whose alerts explain.
        suppress: rules whose alerts are explained.
        where: ``same`` entity; what lies ``below`` it, under a cabinet, a station, a district, a gateway, the city; or
            what is ``beside`` it, of the same cabinet or station.
        ahead_ms: how long before the explaining alert an explained one may have begun; None for any time.
    """

    by: tuple[Chosen, ...]
    suppress: tuple[Chosen, ...]
    where: str
    ahead_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Company:
    """Rules whose alerts are one incident at one place: each is told, and none explains another away.

    Attributes:
        rules: which.
        where: the ``same`` entity, or what is ``beside`` it, of the same cabinet or station.
    """

    rules: tuple[Chosen, ...]
    where: str


@dataclass(frozen=True, slots=True)
class Inhibition:
    """The matrix, and how causes are looked for in the tree.

    Attributes:
        never: rules whose alerts nothing explains.
        entries: in the order of the file.
        causes: None where no causes are looked for.
        source: the file's text, as read.
        together: rules whose alerts are one incident.
        places: what several trucks in the same trouble at one place are told as.
    """

    never: tuple[Chosen, ...] = ()
    entries: tuple[Entry, ...] = ()
    causes: CauseSettings | None = None
    source: str = ""
    together: tuple[Company, ...] = ()
    places: tuple[PlaceCause, ...] = ()
    _found: dict[tuple[str, str], tuple[Entry, ...]] = field(default_factory=dict, compare=False, repr=False)

    def spares(self, rule: Rule) -> bool:
        """Return whether nothing explains a rule's alerts: they are told at once."""
        return any(one.matches(rule) for one in self.never)

    def between(self, source: Rule, target: Rule) -> tuple[Entry, ...]:
        """Return the entries by which an alert of ``source`` explains one of ``target``."""
        key = (source.id, target.id)
        found = self._found.get(key)
        if found is None:
            found = tuple(self._entries(source, target))
            self._found[key] = found
        return found

    def _entries(self, source: Rule, target: Rule) -> Iterator[Entry]:
        for entry in self.entries:
            if entry.where == SAME and source.id == target.id:
                continue  # nothing explains itself
            if any(one.matches(source) for one in entry.by) and self._touches(entry, target):
                yield entry

    def _touches(self, entry: Entry, target: Rule) -> bool:
        """Return whether an entry may explain alerts of a rule: never of one that is spared."""
        return not self.spares(target) and any(one.matches(target) for one in entry.suppress)

    def company(self, one: Rule, other: Rule) -> tuple[str, ...]:
        """Return where alerts of two rules are one incident: ``same``, ``beside``, or nowhere."""
        groups = (group for group in self.together if any(name.matches(one) for name in group.rules))
        return tuple(group.where for group in groups if any(name.matches(other) for name in group.rules))

    def explainable(self, target: Rule) -> bool:
        """Return whether any alert could explain one of ``target``."""
        return any(self._touches(entry, target) for entry in self.entries)

    def unknown(self, rules: RuleSet) -> list[str]:
        """Return a line for each name that does nothing, with its file and line.

        It fits no rule, by a slip or because the rule is not in use; or the rule is one that nothing explains.
        """
        spared = {rule.id for rule in rules if self.spares(rule)}
        void = (one for entry in self.entries for one in entry.suppress if one.text in spared)
        known = [*rules, common_cause_rule(), same_place_rule()]
        off = set(rules.disabled)
        named = [*self.never, *(one for entry in self.entries for one in (*entry.by, *entry.suppress))]
        named += [one for group in self.together for one in group.rules]
        named += [one for place in self.places for one in place.rules if isinstance(one, Chosen)]
        strange = [
            f"{one.file}:{one.line}: no rule is called '{one.text}'"
            for one in named
            if one.text not in off and not any(one.matches(rule) for rule in known)
        ]
        return strange + [
            f"{one.file}:{one.line}: '{one.text}' stands under 'never' and is not explained; see 'together'"
            for one in void
        ]


NOTHING = Inhibition()


def common_cause_rule(severity: str = SEVERITIES[1]) -> Rule:
    """Return the rule that alerts on a node of the tree bear."""
    title = {"en": "Common cause", "zh": "共同原因"}
    return Rule(COMMON_CAUSE, "common_cause", "streetlight", None, severity, {}, 0, 0, None, "", title)


def load_inhibition(path: Path, catalog: Catalog) -> Inhibition:
    """Read and check an inhibition file.

    Raises:
        ConfigError: with every problem of the file, each naming file, line, key and the accepted form.
    """
    root = read_yaml(path)
    return parse_inhibition(root, catalog, path.read_text(encoding="utf-8"))


def parse_inhibition(root: Node, catalog: Catalog, source: str = "") -> Inhibition:
    """Check an inhibition matrix read from YAML. Raises ConfigError with every problem."""
    root.only("never", "inhibit", "together", "places", "causes")
    problems: list[str] = []
    never: tuple[Chosen, ...] = ()
    entries: list[Entry] = []
    together: list[Company] = []
    places: list[PlaceCause] = []
    causes: CauseSettings | None = None
    node = root.get("never")
    if node is not None:
        try:
            never = _chosen(node)
        except ConfigError as trouble:
            problems += trouble.problems
    listed = root.get("inhibit")
    for one in listed.elements() if listed is not None else ():
        try:
            entries.append(_entry(one))
        except ConfigError as trouble:
            problems += trouble.problems
    listed = root.get("together")
    for one in listed.elements() if listed is not None else ():
        try:
            together.append(_company(one))
        except ConfigError as trouble:
            problems += trouble.problems
    listed = root.get("places")
    for one in listed.elements() if listed is not None else ():
        try:
            places.append(place_cause(one, _chosen(one.need("rules"))))
        except ConfigError as trouble:
            problems += trouble.problems
    node = root.get("causes")
    if node is not None:
        try:
            causes = cause_settings(node, catalog)
        except ConfigError as trouble:
            problems += trouble.problems
    if problems:
        raise ConfigError(problems)
    return Inhibition(never, tuple(entries), causes, source, tuple(together), tuple(places))


def _company(node: Node) -> Company:
    node.only("rules", "where", "source")
    source = node.get("source")
    if source is not None:
        source.text()
    return Company(_chosen(node.need("rules")), node.need("where").text(one_of=(SAME, BESIDE)))


def _entry(node: Node) -> Entry:
    node.only("by", "suppress", "where", "ahead", "source")
    ahead, source = node.get("ahead"), node.get("source")
    if source is not None:
        source.text()
    return Entry(
        _chosen(node.need("by")),
        _chosen(node.need("suppress")),
        node.need("where").text(one_of=WHERE),
        None if ahead is None else duration_ms(ahead),
    )


def _chosen(node: Node) -> tuple[Chosen, ...]:
    found = []
    for one in node.elements():
        text = one.text()
        if not _NAME.fullmatch(text):
            raise one.error(f"{NAME_FORM}; found '{text}'")
        found.append(Chosen(text, one.file, one.line))
    if not found:
        raise node.error(f"an empty list means nothing; {NAME_FORM}")
    return tuple(found)
