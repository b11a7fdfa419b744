"""The scene of a rehearsal: the house's settings, its clock, and a registry that is made once a process."""

from __future__ import annotations

import atexit
import functools
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from lamplighter.clock import Clock
from lamplighter.settings import Broker, City, Incidents, Journal, Receiver, Settings, Store
from simulators.stage import town
from simulators.stage.dice import Dice
from storage.operations import Operations

WAITS_S = (0.0, 1.5, 4.0)  # how long an alert waits for what explains it
HOLDS_S = (0.0, 2.0, 5.0)  # how long after its yes the store may forget
RECEIVERS = (
    Receiver(name="crew", url="log", min_severity="info"),
    Receiver(name="office", url="log", min_severity="major", language="en"),
)

POLICY = """
flood: {starts: 4, ends: 2, within: 5s}
flapping: false
"""  # floods are short here, so that each ends, and its summary is told, before the play does


class StagedClock(Clock):
    """The host's clock in virtual time, with its jumps."""

    __slots__ = ("_show",)

    def __init__(self, show: Callable[[], int]) -> None:
        super().__init__(show(), 0.0)
        self._show = show

    def now_ms(self) -> int:
        """Return epoch milliseconds."""
        return self._show()


def draw_settings(folder: Path, plan: Dice) -> Settings:
    """Draw how the house is set up."""
    return Settings(
        city=City(id=town.CITY, timezone=town.ZONE),
        data=folder,
        rules=_shared()[0],
        policy=_shared()[0].with_name("policy.yaml"),
        store=Store(kind="influxdb", token=town.CITY, hold_s=plan.pick(HOLDS_S)),
        broker=Broker(keep_alive_s=plan.pick((5, 10, 30)), receive_maximum=plan.pick((10, 100, 8192))),
        journal=Journal(limit_gb=plan.pick((0.0003, 0.01, 1.0))),
        notify=RECEIVERS,
        inhibition=_shared()[0].with_name("inhibition.yaml"),
        incidents=Incidents(group_wait_s=plan.pick(WAITS_S), group_interval_s=2),
    )


def set_up(settings: Settings) -> None:
    """Give the house a registry: a copy of a database that is made once a process."""
    shutil.copy(_shared()[1], settings.data / "operations.db")


@functools.cache
def _shared() -> tuple[Path, Path]:
    """Return the rules' file and a database with the town's registry, made once a process."""
    folder = Path(tempfile.mkdtemp(prefix="rehearsal-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    rules, database = folder / "rules.yaml", folder / "operations.db"
    rules.write_text(town.RULES, encoding="utf-8")
    (folder / "policy.yaml").write_text(POLICY, encoding="utf-8")
    (folder / "inhibition.yaml").write_text(town.INHIBITION, encoding="utf-8")
    operations = Operations(f"sqlite:///{database}")
    operations.import_assets(town.assets())
    operations.close()
    return rules, database
