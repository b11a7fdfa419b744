"""A house of paper for the tests of policy: a real operations database, a registry, a clock that the test moves."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from sqlalchemy import text

from alerts.policy import Policy
from alerts.policy_file import parse_policy
from devices.kinds import load_catalog
from devices.registry import Asset, Registry
from devices.transition import ACTIVE, CLEARED, Transition, alert_id
from devices.yamlfile import parse_yaml
from lamplighter.policy_desk import PolicyDesk
from lamplighter.settings import City, Receiver, Settings
from storage.operations import Operations
from storage.policybook import PolicyBook

MINUTE, HOUR = 60_000, 3_600_000
T0 = 1_772_370_000_000  # Sunday 2026-03-01 21:00 in Shanghai
CATALOG = load_catalog()


class Paper:
    """A house whose loop is the test: alerts begin and end, the policy decides, phones are a list."""

    def __init__(self, folder: Path, policy: str = "", receivers: tuple[Receiver, ...] = ()) -> None:
        self.receivers = receivers or (Receiver(name="crew", url="log", min_severity="info"),)
        settings = Settings(data=folder, city=City(timezone="Asia/Shanghai"), notify=self.receivers)
        self.operations = Operations(f"sqlite:///{folder / 'operations.db'}")
        lamps = [
            Asset(f"lamp-{n:04d}", "streetlight", "lamp", road="Elm Road" if n < 5 else "Oak Road", district="East",
                  cabinet=f"cab-{n // 5}", lon=116.3, lat=39.9)
            for n in range(40)
        ]  # fmt: skip
        self.registry = Registry(CATALOG, lamps)
        self.now_ms = T0
        names = tuple(one.name for one in self.receivers)
        self.policy: Policy = parse_policy(parse_yaml(policy, "policy.yaml"), names, policy) if policy else Policy()
        self.house: Any = SimpleNamespace(operations=self.operations, settings=settings, registry=self.registry)
        self.desk = PolicyDesk(self.house, self.policy)

    @property
    def book(self) -> PolicyBook:
        return self.operations.policy

    def restart(self) -> None:
        """Forget all that is not written down."""
        self.desk = PolicyDesk(self.house, self.policy)

    def begin(self, entity: str = "lamp-0001", **other: Any) -> str:  # noqa: ANN401 - as transition() takes them
        one = transition(entity, ACTIVE, self.now_ms, self.now_ms, **other)
        self._commit(one)
        return one.alert_id

    def end(self, alert: str, **other: Any) -> None:  # noqa: ANN401 - as transition() takes them
        row = self.operations.alert(alert)
        assert row is not None
        entity = row.entity.partition(":")[2]
        other = {"rule": row.rule, "severity": row.severity, **other}
        self._commit(transition(entity, CLEARED, self.now_ms, row.onset_ms, **other))

    def _commit(self, one: Transition) -> None:
        told = self.house.settings.told()
        self.operations.commit([one], told, self.now_ms, undecided=True)

    def decide(self, later_ms: int = 0) -> list[tuple[str, str]]:
        """Let time pass and the policy decide; return what became due: state and receiver, in order."""
        self.now_ms += later_ms
        self.desk.round(self.now_ms)
        return self.sent()

    def sent(self) -> list[tuple[str, str]]:
        """Deliver what is due; return state and receiver of each."""
        told = []
        for row in self.operations.outbox_due(self.now_ms, 10_000):
            told.append((row.state, row.receiver))
            self.operations.outbox_sent(row.id, self.now_ms)
        return told

    def message(self, state: str) -> str:
        """Return the English text of the newest notice of a state."""
        with self.operations._database.reading() as connection:
            query = text("SELECT notice FROM outbox WHERE state = :state ORDER BY id DESC LIMIT 1")
            found = connection.execute(query, {"state": state}).scalar_one()
        return str(json.loads(found)["message"]["en"])

    def fates(self) -> dict[str, int]:
        """Return how many notices have come to each status."""
        return {name: number for name, number in self.operations.outbox_counts().items() if number}


def transition(
    entity: str, state: str, at_ms: int, onset_ms: int, *, rule: str = "lamp_out", severity: str = "critical",
    latch: bool = False, kind: str = "streetlight",
) -> Transition:  # fmt: skip
    place = f"device:{entity}"
    name = alert_id(rule, place, onset_ms)
    words = {language: {"rule": rule, "name": entity, "place": "Elm Road, East"} for language in ("en", "zh")}
    text = {"en": f"{entity} is out", "zh": f"{entity} 灭"}
    reason = "recovered" if state == CLEARED else ""
    return Transition(
        name, rule, place, state, at_ms, onset_ms, severity, text, reason=reason, kind=kind, district="East",
        words=words, latch=latch,
    )  # fmt: skip
