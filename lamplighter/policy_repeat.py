"""Tells open alerts to every Alertmanager again and again, for it forgets what is not repeated."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import structlog

from alerts import alertmanager
from alerts.webhook import WebhookError
from storage.operations import AWAY

if TYPE_CHECKING:
    from alerts.delivery import Receiver
    from lamplighter.wiring import House

AWAY_OR_REFUSED: tuple[type[Exception], ...] = (WebhookError, *AWAY)
log = structlog.get_logger("alertmanager")


class Repeater:
    """Repeats what is open.

    Args:
        house: whose alerts.
        receivers: all of the settings; those that are no Alertmanager are left alone.

    Attributes:
        repeated: alerts told again since the start.
        troubles: by receiver, why the latest repetition was refused; empty when it was taken.
    """

    def __init__(self, house: House, receivers: list[Receiver]) -> None:
        self.house = house
        self.receivers = [one for one in receivers if one.scheme.startswith(alertmanager.PREFIX)]
        self.repeated = 0
        self.troubles: dict[str, str] = {}

    async def run(self) -> None:
        """Repeat for ever; a house without an Alertmanager has nothing to do."""
        while self.receivers:
            await asyncio.sleep(self.house.agreed.alertmanager_repeat_ms / 1000)
            for one in self.receivers:
                await asyncio.to_thread(self.repeat, one, self.house.now_ms())

    def repeat(self, receiver: Receiver, now_ms: int) -> int:
        """Tell one receiver what is open; return how many alerts it took. Blocking, never raises for its absence."""
        try:
            notices = self.house.operations.policy.open_for(receiver.name)
            hook = alertmanager.parse(receiver.url, allow_private=receiver.allow_private)
            alertmanager.post(hook, notices, now_ms, receiver.console)
        except AWAY_OR_REFUSED as trouble:
            if self.troubles.get(receiver.name) != str(trouble):
                log.warning("open alerts could not be repeated", receiver=receiver.name, why=str(trouble))
            self.troubles[receiver.name] = str(trouble)
            return 0
        self.troubles[receiver.name] = ""
        self.repeated += len(notices)
        return len(notices)
