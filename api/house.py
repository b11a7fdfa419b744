"""What the API needs of a running house: the one seam between this room and the wiring."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from alerts.budget import Budget
from alerts.engine import Engine
from alerts.policy import Policy
from api.live import Hub
from devices.registry import Registry
from storage.ledger import Ledger
from storage.operations import Operations
from storage.timeseries import TimeSeries


@dataclass(frozen=True, slots=True)
class City:
    """Which city this is, as people call it.

    Attributes:
        id: as it stands in every topic.
        name_en, name_zh: what people call it.
        timezone: IANA name; every time is shown in it.
        language: ``zh`` or ``en``, what the console opens in when the browser prefers neither.
    """

    id: str
    name_en: str
    name_zh: str
    timezone: str
    language: str = "zh"


@dataclass(frozen=True, slots=True)
class Part:
    """How one part of the house is doing.

    Attributes:
        name: ``broker``, ``journal``, ``store``, ``disk``, ``clock`` …
        well: False makes the house unwell and /healthz answer 503.
        says: what is wrong and what follows from it, or what is right, in words.
    """

    name: str
    well: bool
    says: str


@dataclass(frozen=True, slots=True)
class LightingRate:
    """How many of the lamps that should burn do burn, on one road, cabinet or grid cell.

    Attributes:
        scope: ``road``, ``cabinet`` or ``grid``.
        name: which one.
        rate, rate_low, rate_high: lit over known lamps and its confidence bounds, 0 to 1; NaN while none is known.
        coverage: known lamps over expected lamps, 0 to 1.
        lit, known, expected: numbers of lamps.
        time_ms: when it was computed, epoch milliseconds.
    """

    scope: str
    name: str
    district: str
    rate: float
    rate_low: float
    rate_high: float
    coverage: float
    lit: int
    known: int
    expected: int
    time_ms: int


@dataclass(frozen=True, slots=True)
class Figure:
    """One number about the house for /metrics, with its samples by labels.

    Attributes:
        name: without the prefix ``lamplighter_``, unit last (``journal_bytes``); counters without ``_total``.
        help: one sentence.
        counter: True for a number that only grows.
        samples: label values (in the order of ``labels``) to number.
        labels: names of the labels; empty for a single number under the empty tuple.
    """

    name: str
    help: str
    samples: Mapping[tuple[str, ...], float]
    labels: tuple[str, ...] = ()
    counter: bool = False


@dataclass(frozen=True, slots=True)
class Reloaded:
    """What came of reading rules and registry anew.

    Attributes:
        taken: False where something was wrong and all is as before.
        says: one sentence.
        lines: of a reload that was taken, what has changed; else what is wrong, with file, line and key.
    """

    taken: bool
    says: str
    lines: tuple[str, ...] = ()


class House(Protocol):
    """A running house as the API sees it; ``lamplighter`` implements it."""

    @property
    def version(self) -> str:
        """Return the version of Lamplighter."""

    @property
    def city(self) -> City:
        """Return which city this is."""

    @property
    def speed(self) -> float:
        """Return city seconds a host second; 1 except in a demo."""

    @property
    def registry(self) -> Registry:
        """Return the present registry; a change gives another object."""

    @property
    def engine(self) -> Engine:
        """Return the rule engine; read on the event loop only, between its steps."""

    @property
    def operations(self) -> Operations:
        """Return the operations database; called from worker threads."""

    @property
    def timeseries(self) -> TimeSeries:
        """Return the time-series store; called from worker threads."""

    @property
    def hub(self) -> Hub:
        """Return the live stream's hub; the loop publishes alerts into it."""

    @property
    def token(self) -> str | None:
        """Return the bearer token that every question must carry, or None where none is asked."""

    @property
    def hosts(self) -> Sequence[str]:
        """Return the host names it may be called by; empty allows any."""

    @property
    def agreed(self) -> Policy:
        """Return what operators have agreed on: teams, chains, floods, shelving, profiles."""

    def budget(self, length_ms: int) -> Budget:
        """Return the alarm budget of the latest ``length_ms``; called from worker threads."""

    def profiles(self) -> Sequence[str]:
        """Return the profiles that hold now."""

    def now_ms(self) -> int:
        """Return the city's time, epoch milliseconds."""

    def ledger(self) -> Ledger:
        """Return the ledger as of now; cheap, called once a second on the event loop."""

    def lighting(self) -> Iterable[LightingRate]:
        """Return the present lighting rates of all roads, cabinets and grid cells, each made when it is asked for."""

    def health(self) -> Sequence[Part]:
        """Return how each part is doing; called from a worker thread, answers within a second."""

    async def reload(self) -> Reloaded:
        """Take up changed rules and newly registered devices; what is wrong leaves everything as it is."""

    def figures(self) -> Sequence[Figure]:
        """Return the house's own numbers for /metrics."""
