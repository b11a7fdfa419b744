"""A small house with incidents and operators' policy: notices are decided on as in the running house."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

from alerts.incidents import Incidents
from alerts.inhibition import parse_inhibition
from alerts.policy_file import parse_policy
from api.alerts import tell
from devices.yamlfile import parse_yaml
from lamplighter.policy_desk import PolicyDesk
from lamplighter.settings import City, Receiver, Settings
from storage.journal import Record
from storage.operations import AlertRow
from tests.small_house import RULES, ZONE, Sent, SmallHouse

MORE_RULES = """
  - id: lamp_out
    device: streetlight
    role: lamp
    on: power_w < 10
    severity: minor
    title: {en: Lamp out, zh: 单灯熄灭}
    message: {en: "{name} is out", zh: "{name} 熄灭"}
  - id: cabinet_dark
    device: streetlight
    role: cabinet
    on: not contactor_on
    severity: critical
    title: {en: Cabinet dark, zh: 配电箱应亮未亮}
    message: {en: "{name}: contactor open", zh: "{name}：接触器断开"}
  - id: cover_moved
    device: manhole
    on: tilt_deg > 20
    latch: true
    severity: major
    title: {en: Cover moved, zh: 井盖被移动}
    message: {en: "{name} was moved", zh: "{name} 被移动"}
"""
INHIBITION = """
inhibit:
  - by: [cabinet_dark]
    suppress: [lamp_out]
    where: below
    source: What is behind an open contactor is dark.
  - by: [cover_open]
    suppress: [cover_moved]
    where: same
    source: What lies open has been moved.
"""
POLICY = """
teams:
  lamps:
    shifts:
      - {who: Wang, days: all, from: "00:00", until: "12:00"}
    fallback: chief
escalation:
  critical:
    - {after: 5m, to: chief}
profiles:
  flood_season: {warning: orange}
shelving: {longest: 8h}
"""


class AgreedHouse(SmallHouse):
    """A small house whose crew is told; after each message the policy's round is held at once."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, rules=RULES + MORE_RULES)
        people = tuple(Receiver(name=name, url="log", direct=False) for name in ("Wang", "chief"))
        receivers = (Receiver(name="crew", url="log", min_severity="info"), *people)
        self.settings = Settings(data=folder, city=City(timezone=ZONE), notify=receivers)
        self.agreed = parse_policy(parse_yaml(POLICY, "policy.yaml"), ("crew", "Wang", "chief"), POLICY)
        inhibition = parse_inhibition(parse_yaml(INHIBITION, "inhibition.yaml"), self.catalog, INHIBITION)
        self.incidents = Incidents(self.rules, self.registry, inhibition)
        self.desk = PolicyDesk(cast("Any", self), self.agreed)

    def profiles(self) -> Sequence[str]:
        return self.desk.profiles

    def receive(self, messages: Sequence[Sent]) -> list[AlertRow]:
        decoded = self.decoder.decode(messages, self.clock_ms)
        self.journal.append(Record(self.clock_ms, decoded.batches, decoded.rejects, decoded.received))
        told = self.engine.step(decoded.batches, self.clock_ms)
        changes = self.incidents.step(told, self.engine.fleet, self.clock_ms)
        rows = self.operations.commit(
            changes.transitions, self.settings.told(), self.clock_ms,
            marks=changes.marks, incidents=changes.incidents, undecided=True,
        )  # fmt: skip
        tell(self.hub, rows, self.registry)
        self.decide()
        return rows

    def decide(self) -> None:
        """Hold the policy's round, and tell open consoles of marks that have changed."""
        self.desk.round(self.clock_ms)
        self.desk.tell()
