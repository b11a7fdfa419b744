"""Which open alerts stand on nothing new: no usable reading for longer than their rule lets one stand."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from alerts.engine import Engine
from alerts.expression import ExpressionJudge
from alerts.fleet import NEVER


class Opened(Protocol):
    """An open alert."""

    @property
    def rule(self) -> str:
        """Return the rule's id."""

    @property
    def entity(self) -> str:
        """Return what it is about."""


class Staleness:
    """Asks the engine; to be used between its steps.

    Args:
        engine: whose fleet knows what was last heard.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._judges = {judge.rule.id: judge for judge in engine.judges if isinstance(judge, ExpressionJudge)}

    def holds(self, alert: Opened, now_ms: int) -> bool:
        """Return whether an alert is held although its device has not been heard for longer than ``hold``.

        Only plain conditions hold so; offline rules live on silence, and rules of the trade say their own coverage.
        """
        judge = self._judges.get(alert.rule)
        scope, _, name = alert.entity.partition(":")
        row = self._engine.registry.row.get(name) if scope == "device" else None
        if judge is None or row is None:
            return False
        live = self._engine.fleet.live[judge.rule.device]
        place = int(live.local[row])
        if place < 0:
            return False
        seen = int(live.seen_ms[place])
        role = int(self._engine.registry.role[row])
        hold_ms = int(np.asarray(judge.hold_ms).ravel()[role])
        return seen == NEVER or now_ms - seen > hold_ms
