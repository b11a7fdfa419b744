"""Reload: a running house takes up changed rules and newly registered devices, between two groups of messages.

The new set is read, checked and built beside the old one; a mistake in it leaves the old one as it was. Taking over is
one step of the loop: the new engine loads what the old one remembers, so that rules with the same meaning keep their
state to the second, and alerts of rules that are gone or changed are cleared. A snapshot is written at once.

A crash in between is harmless. Alerts and notices of the past are in the operations database and stay. The next start
reads the new rules, takes the latest snapshot and judges what came after it by the new rules; alerts that none of them
knows are cleared. Only the stretch since that snapshot, a minute at most, may be judged twice, by the old rules and
then by the new ones.
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import structlog

from alerts.engine import AWAY_MS, Engine
from alerts.incidents import Incidents
from alerts.inhibition import FOUND, Inhibition, load_inhibition
from alerts.policy import Policy
from alerts.rules import RuleSet, load_rules
from api.house import Reloaded
from devices.payloads import Decoder
from devices.registry import Registry
from devices.sky import Sky
from devices.yamlfile import ConfigError
from lamplighter.policy_desk import policy_of
from storage.operations import AWAY, in_words

if TYPE_CHECKING:
    from lamplighter.wiring import House

log = structlog.get_logger("reload")

WAIT_S = 20.0  # for the group under way to end; a loop that waits longer has a sick disk or database
OPEN_MAX = 1_000_000  # open alerts compared with the new engine: all of them
TOLD = 10  # problems told in one line of the log and of the health


@dataclass(frozen=True, slots=True)
class _Made:
    """What is ready to be taken up."""

    rules: RuleSet
    registry: Registry
    version: int
    sky: Sky
    engine: Engine
    decoder: Decoder
    inhibition: Inhibition
    incidents: Incidents
    policy: Policy
    profiles: tuple[str, ...]


class Reloader:
    """Reloads one house when asked to: by SIGHUP, by the API or by the command ``lamplighter reload``.

    Args:
        house: whose parts are exchanged.
        version: of the registry that it has now (Operations.registry_version).

    Attributes:
        problems: why the last reload was refused, empty after one that was taken.
        taken, refused: reloads since the start.
    """

    def __init__(self, house: House, version: int) -> None:
        self.house = house
        self.problems: tuple[str, ...] = ()
        self.taken = self.refused = 0
        self._version = version
        self._one = asyncio.Lock()
        self._asked = asyncio.Event()

    def ask(self) -> None:
        """Have the house reloaded soon (a signal's handler)."""
        self._asked.set()

    async def run(self) -> None:
        """Reload whenever asked, for ever."""
        while True:
            await self._asked.wait()
            self._asked.clear()
            await self.reload()

    async def reload(self) -> Reloaded:
        """Read rules and registry anew and take them up; return what came of it. Never raises for a wrong file."""
        async with self._one:
            try:
                made = await asyncio.to_thread(self._make)
                if made is None:
                    return self._told("nothing has changed", ())
                return await self._hand_over(made)
            except ConfigError as trouble:
                return self._refuse(trouble.problems)
            except OSError as trouble:
                return self._refuse([f"{trouble.filename or self.house.settings.rules}: {trouble.strerror}"])
            except AWAY as trouble:
                return self._refuse([f"the operations database refuses: {in_words(trouble)}"])

    def _make(self) -> _Made | None:
        """Read and build everything; None where nothing has changed. Blocking, beside the loop."""
        house, settings = self.house, self.house.settings
        version = house.operations.registry_version()
        policy = policy_of(settings)
        profiles = house.policy.wanted(policy, house.now_ms())
        rules = load_rules(settings.rules, house.catalog, profiles)
        inhibition = load_inhibition(settings.inhibition, house.catalog)
        registry, decoder = house.registry, house.watch.decoder
        if version != self._version:
            registry = house.operations.load_registry(house.catalog)
            _same_rows(house.registry, registry)
            decoder = Decoder(registry, settings.city.id)
        elif (rules.source, inhibition.source) == (house.rules.source, house.inhibition.source) and (
            (policy.source, profiles) == (house.policy.policy.source, house.policy.profiles)
        ):
            return None
        sky = Sky(registry, settings.city.timezone, rules.lighting)
        engine = Engine(rules, registry, sky, int(AWAY_MS * house.clock.speed))
        incidents = Incidents(rules, registry, inhibition, house.timing, sky)
        return _Made(rules, registry, version, sky, engine, decoder, inhibition, incidents, policy, profiles)

    async def _hand_over(self, made: _Made) -> Reloaded:
        """Wait for the loop to be between two groups, and exchange the parts there."""
        begun, done = asyncio.Event(), asyncio.Event()
        told: list[Reloaded] = []

        async def change() -> None:
            begun.set()
            try:
                told.append(await self._exchange(made))
            finally:
                done.set()

        changes, before = self.house.watch.changes, len(self.house.registry)
        changes.append(change)
        try:
            async with asyncio.timeout(WAIT_S):
                await begun.wait()
        except TimeoutError:
            changes.remove(change)
            return self._refuse(["the loop waits for the disk or the operations database; ask again when it is well"])
        except asyncio.CancelledError:
            if change in changes:
                changes.remove(change)
            raise
        await done.wait()
        if len(made.registry) > before:
            await self._mark_adopted()
        return told[0]

    async def _exchange(self, made: _Made) -> Reloaded:
        """Exchange the parts; the loop waits meanwhile, and nothing else changes the engine."""
        house, old = self.house, self.house.engine
        state = {**old.save(), **house.watch.incidents.save()}
        await asyncio.to_thread(made.engine.load, state)
        made.incidents.load(state)
        made.engine.version = old.version + 1
        try:
            opened = await asyncio.to_thread(house.operations.alerts, "open", limit=OPEN_MAX)
            made.engine.compare(row for row in opened if row.rule not in FOUND)
        except AWAY as trouble:
            log.warning("operations database refuses: alerts that no rule knows wait", why=in_words(trouble))
        before, after = house.rules, made.rules
        adopted = len(made.registry) - len(house.registry)
        renewed = made.registry is not house.registry
        house.rules, house.registry, house.sky, house.engine = made.rules, made.registry, made.sky, made.engine
        house.inhibition = made.inhibition
        house.watch.take_up(made.engine, made.incidents, made.decoder)
        house.policy.take_up(made.policy, made.profiles, house.now_ms())
        self._version = made.version
        await house.watch.save()
        gc.freeze()  # as at the start: the collector need not look at a large registry again and again
        return self._told(_summary(after, made.registry, adopted, renewed=renewed), _differences(before, after))

    async def _mark_adopted(self) -> None:
        """Have quarantined messages of new devices read again; beside the loop, for there may be many."""
        try:
            await self.house.watch.readmission.mark_adopted()
        except AWAY as trouble:
            log.warning("operations database refuses: adopted devices' messages wait", why=in_words(trouble))

    def _told(self, says: str, changes: tuple[str, ...]) -> Reloaded:
        self.problems = ()
        self.taken += 1
        log.info("reloaded", says=says, changes=list(changes))
        return Reloaded(True, says, changes)

    def _refuse(self, problems: Iterable[str]) -> Reloaded:
        self.problems = tuple(problems)
        self.refused += 1
        says = "refused: what was there before stays as it is"
        log.warning("reload refused: what was there before stays", problems=list(self.problems[:TOLD]))
        return Reloaded(False, says, self.problems)


def _same_rows(old: Registry, new: Registry) -> None:
    """Raise ConfigError unless every device has kept its row, by which batches and journal name it."""
    kept = (
        len(new) >= len(old)
        and np.array_equal(old.columns.ids, new.columns.ids[: len(old)])
        and np.array_equal(old.kind, new.kind[: len(old)])
    )
    if not kept:
        raise ConfigError(["the registry is another or an older one: a restart takes it, a reload does not"])


def _summary(rules: RuleSet, registry: Registry, adopted: int, *, renewed: bool) -> str:
    words = f"{len(rules)} rules judge {len(registry)} devices"
    if adopted:
        return f"{words}, {adopted} of them new"
    return f"{words}; the registry was read anew" if renewed else words


def _differences(old: RuleSet, new: RuleSet) -> tuple[str, ...]:
    """Return a line for each rule that is new, gone, or means something else than before."""
    before, after = ({rule.id: rule for rule in rules} for rules in (old, new))
    lines = [f"{name}: new" for name in after if name not in before]
    lines += [f"{name}: gone, its open alerts are cleared" for name in before if name not in after]
    for name in after.keys() & before.keys():
        if after[name].fingerprint != before[name].fingerprint:
            lines.append(f"{name}: means something else, its open alerts are cleared and it begins anew")
        elif (after[name].severity, after[name].message) != (before[name].severity, before[name].message):
            lines.append(f"{name}: other words or severity, its open alerts stay")
    if old.lighting != new.lighting:
        lines.append("lighting: other hours")
    return tuple(sorted(lines))
