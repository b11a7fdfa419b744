"""Alerts reach a real Prometheus Alertmanager, stay while they are open, and end with their own times."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from alerts import alertmanager, webhook
from alerts.delivery import DeliveryError, Receiver, send
from devices.transition import ACTIVE, CLEARED, Transition, alert_id
from lamplighter.policy_repeat import Repeater
from lamplighter.settings import Receiver as Told
from storage.operations import Operations
from tests.real.processes import Process, free_port, need

CONFIG = "route: {receiver: nobody}\nreceivers: [{name: nobody}]\n"
DEADLINE_S = 30.0


class Alertmanager:
    """A real Alertmanager of version 0.25 on a loopback port; its own resolve_timeout is a second."""

    def __init__(self, folder: Path) -> None:
        (program,) = need("prometheus-alertmanager")
        self.port = free_port()
        (folder / "alertmanager.yml").write_text("global: {resolve_timeout: 1s}\n" + CONFIG)
        command = [program, "--config.file=alertmanager.yml", "--storage.path=data", "--cluster.listen-address="]
        self.process = Process("alertmanager", folder, [*command, f"--web.listen-address=127.0.0.1:{self.port}"])

    @property
    def url(self) -> str:
        return f"alertmanager+http://127.0.0.1:{self.port}"

    def alerts(self) -> list[dict[str, Any]]:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/api/v2/alerts", timeout=10) as answer:
            found: list[dict[str, Any]] = json.load(answer)
        return found

    def until(self, holds: Callable[[list[dict[str, Any]]], bool]) -> list[dict[str, Any]]:
        deadline = time.monotonic() + DEADLINE_S
        while not holds(found := self.alerts()):
            assert time.monotonic() < deadline, found
            time.sleep(0.05)
        return found


@pytest.fixture(scope="module")
def manager(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Alertmanager]:
    one = Alertmanager(tmp_path_factory.mktemp("alertmanager"))
    one.process.start(one.port)
    yield one
    one.process.terminate()


def notice(state: str, entity: str, at_ms: int, onset_ms: int, *, reason: str = "") -> Transition:
    place = f"device:{entity}"
    made = Transition(
        alert_id("cover_open", place, onset_ms), "cover_open", place, state, at_ms, onset_ms, "critical",
        {"en": "A cover is open", "zh": "井盖打开"}, {"value": 1.0}, kind="manhole", district="东区",
        words={"en": {"rule": "Cover open", "place": "Elm Road"}},
    )  # fmt: skip
    return replace(made, reason=reason)


def receiver(manager: Alertmanager) -> Receiver:
    return Receiver("am", manager.url, allow_private=True, console="https://city.example/lamp")


def of(found: list[dict[str, Any]], entity: str) -> dict[str, Any] | None:
    return next((one for one in found if one["labels"]["entity"] == f"device:{entity}"), None)


def test_a_beginning_is_taken_with_labels_annotations_and_its_own_onset(manager: Alertmanager) -> None:
    now_ms = time.time_ns() // 1_000_000
    send(receiver(manager), notice(ACTIVE, "cover-1", now_ms - 5_000, now_ms - 60_000), now_ms)
    one = of(manager.until(lambda found: of(found, "cover-1") is not None), "cover-1")
    assert one is not None
    assert one["labels"]["alertname"] == "cover_open"
    assert (one["labels"]["severity"], one["labels"]["district"]) == ("critical", "东区")
    assert one["annotations"]["summary_zh"] == "井盖打开"
    assert one["generatorURL"] == "https://city.example/lamp/#asset=cover-1"
    assert one["startsAt"] == alertmanager._time(now_ms - 60_000)
    assert one["status"]["state"] == "active"


def test_an_end_resolves_the_alert_that_its_beginning_made(manager: Alertmanager) -> None:
    now_ms = time.time_ns() // 1_000_000
    send(receiver(manager), notice(ACTIVE, "cover-2", now_ms - 50_000, now_ms - 60_000), now_ms)
    manager.until(lambda found: of(found, "cover-2") is not None)
    send(receiver(manager), notice(CLEARED, "cover-2", now_ms - 1_000, now_ms - 60_000, reason="recovered"), now_ms)
    manager.until(lambda found: of(found, "cover-2") is None)


def test_an_alert_outlives_alertmanagers_own_timeout_and_is_told_again_while_it_is_open(
    manager: Alertmanager, tmp_path: Path
) -> None:
    now_ms = time.time_ns() // 1_000_000
    operations = Operations(f"sqlite:///{tmp_path / 'operations.db'}")
    begun = notice(ACTIVE, "cover-3", now_ms - 50_000, now_ms - 60_000)
    other = notice(ACTIVE, "cover-4", now_ms - 50_000, now_ms - 60_000)
    operations.commit([begun, other], [Told(name="am", url=manager.url)], now_ms)
    for row in operations.outbox_due(now_ms):
        send(receiver(manager), row.transition, now_ms)
        operations.outbox_sent(row.id, now_ms)
    first = of(manager.until(lambda found: of(found, "cover-3") is not None), "cover-3")
    operations.commit([notice(CLEARED, "cover-4", now_ms, now_ms - 60_000)], [], now_ms)
    time.sleep(1.5)  # Alertmanager's own resolve_timeout has passed
    assert of(manager.alerts(), "cover-3") is not None
    house: Any = SimpleNamespace(operations=operations)
    repeater = Repeater(house, [receiver(manager), Receiver("log", "log")])
    assert repeater.repeat(repeater.receivers[0], now_ms + 60_000) == 1  # not what is over
    assert first is not None
    again = of(manager.until(lambda found: (of(found, "cover-3") or {})["endsAt"] > first["endsAt"]), "cover-3")
    assert again is not None
    assert (again["startsAt"], again["fingerprint"]) == (first["startsAt"], first["fingerprint"])
    operations.close()


def test_what_alertmanager_does_not_understand_is_refused_for_good_and_its_absence_is_not(
    manager: Alertmanager,
) -> None:
    now_ms = time.time_ns() // 1_000_000
    hook = alertmanager.parse(manager.url, allow_private=True)
    with pytest.raises(webhook.WebhookError, match="400") as refused:
        webhook.post(hook, [{"labels": {"bad name": "x"}}], {})
    assert refused.value.final
    gone = replace(receiver(manager), url=f"alertmanager+http://127.0.0.1:{free_port()}")
    with pytest.raises(DeliveryError) as away:
        send(gone, notice(ACTIVE, "cover-5", now_ms, now_ms), now_ms)
    assert not away.value.final


def test_a_repetition_that_is_refused_is_remembered_and_raises_nothing(tmp_path: Path) -> None:
    operations = Operations(f"sqlite:///{tmp_path / 'operations.db'}")
    gone = Receiver("am", f"alertmanager+http://127.0.0.1:{free_port()}", allow_private=True)
    operations.commit([notice(ACTIVE, "cover-6", 1_000, 1_000)], [Told(name="am", url=gone.url)], 1_000)
    for row in operations.outbox_due(1_000):
        operations.outbox_sent(row.id, 1_000)
    house: Any = SimpleNamespace(operations=operations)
    repeater = Repeater(house, [gone])
    assert repeater.repeat(gone, 2_000) == 0
    assert repeater.troubles["am"]
    operations.close()
