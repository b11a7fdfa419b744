"""Which open alert explains which: looked up by the nodes of the tree, so that a storm costs no look at everybody."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from alerts.fleet import NEVER_AGAIN
from alerts.incident_state import Echo, Member
from alerts.inhibition import BELOW, BESIDE, COMMON_CAUSE, SAME, Entry, Inhibition
from alerts.rules import Rule
from alerts.topology import Topology
from devices.registry import Registry
from devices.transition import Transition

ECHO_MS = 6 * 3_600_000  # so long an alert that is over may explain what shows late
SLACK_MS = 120_000  # clocks and ticks differ by less
_LEVELS = ("circuit", "cabinet", "district", "city")


class Explaining:
    """Keeps open alerts by the nodes that they lie below, and who is explained by whom.

    Args:
        rules: by id.
        inhibition: the matrix.
        topology, registry: the tree.
    """

    def __init__(
        self, rules: Mapping[str, Rule], inhibition: Inhibition, topology: Topology, registry: Registry
    ) -> None:
        self._rules, self._inhibition, self._topology, self._registry = rules, inhibition, topology, registry
        self._sources: dict[str, dict[str, None]] = {}  # open alerts that may explain, by node and by entity
        self._targets: dict[str, dict[str, None]] = {}  # open alerts that may be explained, by node and by entity
        self._children: dict[str, dict[str, None]] = {}
        self._echoes: dict[str, dict[str, None]] = {}  # alerts that are over, by node
        entries = inhibition.entries
        self._order = {id(entry): number for number, entry in enumerate(entries)}
        self._explains = {
            rule.id: frozenset(e.where for e in entries if any(one.matches(rule) for one in e.by))
            for rule in rules.values()
        }
        self._mates: dict[str, dict[str, None]] = {}  # open alerts that may have company, by entity and by station
        self._company = {
            rule.id: frozenset(g.where for g in inhibition.together if any(one.matches(rule) for one in g.rules))
            for rule in rules.values()
        }
        self._explained = {rule.id for rule in rules.values() if inhibition.explainable(rule)}

    def clear(self) -> None:
        """Forget every alert."""
        for table in (self._sources, self._targets, self._children, self._echoes, self._mates):
            table.clear()

    def explains_below(self, rule: Rule) -> bool:
        """Return whether alerts of a rule may explain what lies below them."""
        return BELOW in self._explains.get(rule.id, ())

    def add(self, member: Member) -> None:
        """Take in an open alert."""
        for table, place in self._places(member):
            table.setdefault(place, {})[member.id] = None

    def remove(self, member: Member) -> None:
        """Forget an alert that is over; its children are the caller's to place."""
        for table, place in self._places(member):
            held = table.get(place)
            if held is not None:
                held.pop(member.id, None)
                if not held:
                    del table[place]
        self.part(member)

    def _places(self, member: Member) -> Iterator[tuple[dict[str, dict[str, None]], str]]:
        rule, entity = member.begun.rule, member.begun.entity
        where = self._explains.get(rule, frozenset())
        if BELOW in where:
            yield self._sources, "<" + self._topology.node_of(entity)
        if SAME in where:
            yield self._sources, "=" + entity
        company = self._company.get(rule, frozenset())
        near = BESIDE in where or BESIDE in company or rule in self._explained
        hub = self._topology.hub_of(entity) if near else ""
        if BESIDE in company and hub:
            yield self._mates, "~" + hub
        if SAME in company:
            yield self._mates, "=" + entity
        if BESIDE in where and hub:
            yield self._sources, "~" + hub
        if rule in self._explained and hub:
            yield self._targets, "~" + hub
        if rule in self._explained:
            yield self._targets, "=" + entity
            for node in self._topology.chain(entity):
                yield self._targets, "<" + node

    def keep(self, echo: Echo) -> None:
        """Take in an alert that is over and may explain what shows late."""
        self._echoes.setdefault(self._topology.node_of(echo.begun.entity), {})[echo.begun.alert_id] = None

    def forget(self, echo: Echo) -> None:
        """Let go an alert that is over for long."""
        node = self._topology.node_of(echo.begun.entity)
        held = self._echoes.get(node, {})
        held.pop(echo.begun.alert_id, None)
        if not held:
            self._echoes.pop(node, None)

    def echo(self, member: Member, echoes: Mapping[str, Echo]) -> Echo | None:
        """Return the latest alert that is over and explains one which began before that, or a report later."""
        begun = member.begun
        if begun.rule not in self._explained or not self._echoes:
            return None
        late_ms = self.report_ms(begun)
        found = [
            echoes[name]
            for node in self._topology.chain(begun.entity)
            for name in self._echoes.get(node, ())
            if begun.onset_ms <= echoes[name].ended_ms + late_ms
            and self._entry(echoes[name].begun, begun, "<" + node) is not None
        ]
        return max(found, key=lambda one: (one.ended_ms, one.begun.alert_id), default=None)

    def join(self, member: Member) -> None:
        """Note that an alert is explained by another, ``member.by``."""
        self._children.setdefault(member.by, {})[member.id] = None

    def part(self, member: Member) -> None:
        """Note that an alert is explained no more by ``member.by``."""
        held = self._children.get(member.by)
        if held is not None:
            held.pop(member.id, None)
            if not held:
                del self._children[member.by]

    def children(self, name: str) -> list[str]:
        """Return the alerts that one explains directly."""
        return sorted(self._children.get(name, ()))

    def with_all_below(self, name: str, members: Mapping[str, Member]) -> Iterator[Member]:
        """Yield an alert and all that it explains, directly or not."""
        if name in members:
            yield members[name]
            for child in self.children(name):
                yield from self.with_all_below(child, members)

    def root(self, member: Member, members: Mapping[str, Member]) -> Member:
        """Return the alert at the root of what explains one."""
        seen = {member.id}
        while member.by and member.by in members and member.by not in seen:
            member = members[member.by]
            seen.add(member.id)
        return member

    def parent(self, member: Member, members: Mapping[str, Member]) -> str:
        """Return the open alert that explains one: by the first entry of the matrix, then the oldest; or nothing."""
        begun = member.begun
        if begun.rule not in self._explained:
            return ""
        best: tuple[int, int, str] | None = None
        beside = "~" + self._topology.hub_of(begun.entity)
        for place in ("=" + begun.entity, beside, *("<" + node for node in self._topology.chain(begun.entity))):
            for name in self._sources.get(place, ()):
                source = members.get(name)
                if source is None or name == member.id or self.root(source, members).id == member.id:
                    continue
                entry = self._entry(source.begun, begun, place)
                if entry is not None:
                    found = (self._order[id(entry)], source.begun.onset_ms, name)
                    best = found if best is None else min(best, found)
        return best[2] if best else ""

    def company(self, member: Member, members: Mapping[str, Member]) -> str:
        """Return the incident of the oldest open alert that a new one is one incident with; empty for none."""
        begun = member.begun
        if not self._company.get(begun.rule):
            return ""
        found: list[tuple[int, str, str]] = []
        for place in ("=" + begun.entity, "~" + self._topology.hub_of(begun.entity)):
            where = SAME if place[0] == "=" else BESIDE
            for name in self._mates.get(place, ()):
                mate = members.get(name)
                if mate is None or mate is member or mate.free_ms != NEVER_AGAIN or not mate.incident:
                    continue
                if where in self._inhibition.company(self._rules[mate.begun.rule], self._rules[begun.rule]):
                    found.append((mate.since_ms, name, mate.incident))
        return min(found)[2] if found else ""

    def explained(self, member: Member, members: Mapping[str, Member]) -> list[Member]:
        """Return the alerts that stand for themselves so far and that a new one explains."""
        begun = member.begun
        where = self._explains.get(begun.rule)
        if not where:
            return []
        out: list[Member] = []
        places = {
            SAME: "=" + begun.entity,
            BELOW: "<" + self._topology.node_of(begun.entity),
            BESIDE: "~" + self._topology.hub_of(begun.entity),
        }
        for place in (places[one] for one in (SAME, BELOW, BESIDE) if one in where):
            for name in self._targets.get(place, ()):
                target = members.get(name)
                if target is None or name == member.id or target.by:
                    continue
                if self.root(member, members).id != name and self._entry(begun, target.begun, place) is not None:
                    out.append(target)
        return sorted({one.id: one for one in out}.values(), key=lambda one: one.id)

    def _entry(self, source: Transition, target: Transition, place: str) -> Entry | None:
        """Return the entry by which one alert explains another that it meets at a place of the index."""
        rules = self._rules.get(source.rule), self._rules.get(target.rule)
        if rules[0] is None or rules[1] is None or not self._is_above(source, target):
            return None
        where = {"=": SAME, "<": BELOW, "~": BESIDE}[place[0]]
        for entry in self._inhibition.between(rules[0], rules[1]):
            if entry.where == where and self._in_time(entry, source, target):
                return entry
        return None

    def _is_above(self, source: Transition, target: Transition) -> bool:
        """Return whether one alert of a rule may explain another of it: only from further up the tree."""
        if source.rule != target.rule:
            return True
        if source.rule != COMMON_CAUSE:
            return self._topology.node_of(source.entity) != self._topology.node_of(target.entity)
        levels = [_level(one.entity) for one in (source, target)]
        return levels[0] > levels[1]

    def _in_time(self, entry: Entry, source: Transition, target: Transition) -> bool:
        """Return whether an explained alert did not begin long before what is to explain it."""
        if entry.ahead_ms is None and entry.where != BELOW:
            return True
        ahead_ms = entry.ahead_ms
        if ahead_ms is None:
            ahead_ms = self.report_ms(source) + self.report_ms(target) + SLACK_MS
        return source.onset_ms - self._counted_ms(target) <= ahead_ms

    def _counted_ms(self, begun: Transition) -> int:
        """Return from when on what an alert says counts: of a silence, when its device was first meant to speak.

        A lamp without supply by day was last heard in the morning, which says nothing of when the evening went wrong.
        """
        rule = self._rules.get(begun.rule)
        if rule is None or rule.kind != "offline":
            return begun.onset_ms
        return max(begun.onset_ms, begun.at_ms - round(begun.values.get("after_min", 0.0) * 60_000))

    def report_ms(self, begun: Transition) -> int:
        """Return how often what an alert is about usually reports, milliseconds; 0 where that is not known."""
        catalog = self._registry.catalog
        if begun.kind not in catalog.kinds:
            return 0
        kind = catalog[begun.kind]
        sort, _, name = begun.entity.partition(":")
        row = self._registry.row.get(name) if sort == "device" else None
        if row is not None:
            return round(kind.report_s[int(self._registry.role[row])] * 1000)
        return round(kind.report_s[0] * 1000)  # of those that are counted together

    def remember(self, member: Member, members: Mapping[str, Member], echoes: dict[str, Echo], now_ms: int) -> None:
        """Keep an alert that is over and may explain what shows late; forget those that are over for long."""
        rule = self._rules.get(member.begun.rule)
        if rule is None or not self.explains_below(rule):
            return
        for name in [name for name, echo in echoes.items() if not 0 <= now_ms - echo.ended_ms < ECHO_MS]:
            self.forget(echoes.pop(name))
        root = self.root(member, members)
        parent = root.id if root.free_ms == NEVER_AGAIN else root.parent
        echo = echoes[member.id] = Echo(member.begun, now_ms, parent, root.incident)
        self.keep(echo)


def _level(entity: str) -> int:
    sort = entity.partition(":")[0]
    return _LEVELS.index(sort) if sort in _LEVELS else -1
