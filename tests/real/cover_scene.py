"""One real house of four covers that a test talks to, kills and starts again: rules on one line each, short waits."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from devices.registry import Asset
from devices.topics import up
from tests.real.forked_house import ForkedHouse, Nursery
from tests.real.mqtt import Publisher
from tests.real.servers import Mosquitto

RULE = """
  - id: {id}
    device: manhole
    on: {on}
    {more}
    severity: critical
    title: {{en: Cover, zh: 井盖}}
    message: {{en: "{{name}}", zh: "{{name}}"}}
"""


def rules(**conditions: str) -> str:
    """Return a rules file: id=condition, with further keys of the rule behind a semicolon."""
    parts = {name: text.partition(";") for name, text in conditions.items()}
    return "rules:" + "".join(
        RULE.format(id=name, on=p[0], more=p[2].strip() or "keep: 0s") for name, p in parts.items()
    )


class Scene:
    """One house of covers and what can be done to it."""

    def __init__(self, folder: Path, broker: Mosquitto, nursery: Nursery, city: str, **conditions: str) -> None:
        self.broker, self.city = broker, city
        self.rules = folder / "rules.yaml"
        self.write(**conditions)
        covers = [Asset(f"cover-{n}", "manhole", "cover", lon=120.1, lat=30.2) for n in range(4)]
        more = {
            "rules": "rules.yaml",
            "broker": {"port": broker.port, "client_id": f"{city}-ingest"},
            "intake": {"tick_ms": 50, "age_ms": 10},
        }
        self.house = ForkedHouse(folder, city, broker, None, covers, more=more)
        self.house.nursery = nursery
        self.clock = time.time_ns() // 1_000_000 - 600_000
        self.count = 0

    def write(self, **conditions: str) -> None:
        """Put a rules file in place as editors do: whole."""
        draft = self.rules.with_suffix(".draft")
        draft.write_text(rules(**conditions), encoding="utf-8")
        draft.replace(self.rules)

    def hear(self, cover: str, at_ms: int | None = None, **fields: float | bool) -> None:
        """Let a cover report, a second after the last report by its own clock, or at ``at_ms``."""
        self.clock += 1000
        reading = {"ts": self.clock if at_ms is None else at_ms, **fields}
        with Publisher(self.broker.port, f"{self.city}-cover") as fleet:
            fleet.publish([(up(self.city, "manhole", cover), json.dumps(reading).encode())])
        self.count += 1

    def ask(self) -> tuple[int, dict[str, Any]]:
        """Reload by the API; return status and answer."""
        asked = urllib.request.Request(f"http://127.0.0.1:{self.house.port}/api/reload", b"{}")
        try:
            with urllib.request.urlopen(asked, timeout=60) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as refusal:
            return refusal.code, json.load(refusal)

    def open(self) -> dict[tuple[str, str], str]:
        """Return the state of the alerts by rule and device, the newest where there are several."""
        told = json.loads(self.house.get("/api/alerts"))["alerts"]
        return {(one["rule"], one["entity"].removeprefix("device:")): one["state"] for one in reversed(told)}

    def pending(self) -> set[str]:
        return {one["rule"] for one in json.loads(self.house.get("/api/alerts?state=pending"))["pending"]}

    def health(self, name: str) -> dict[str, Any]:
        try:
            told = json.loads(self.house.get("/healthz"))
        except urllib.error.HTTPError as trouble:
            told = json.loads(trouble.read())
        return next(part for part in told["parts"] if part["name"] == name)

    def start(self) -> None:
        self.house.start()
        self.house.connected()

    def close(self) -> None:
        self.house.close()
