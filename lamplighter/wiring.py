"""Wiring: builds every part of one city's house in one straight line; `service.py` runs what stands here."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any, TextIO

from alerts.budget import Budget
from alerts.engine import AWAY_MS, Engine
from alerts.incident_notices import Timing
from alerts.incidents import Incidents
from alerts.inhibition import load_inhibition
from alerts.notify import Notifier, Receiver
from alerts.policy import Policy
from alerts.rules import load_rules
from api.house import City, Figure, LightingRate, Part, Reloaded
from api.live import Hub
from devices.kinds import Catalog, load_catalog
from devices.payloads import Decoder
from devices.sky import Sky
from devices.topics import subscription
from devices.yamlfile import ConfigError
from ingest.gaps import Gaps
from ingest.session import BrokerOptions, Session, TlsOptions
from ingest.sieve import Sieve
from lamplighter import __version__, health
from lamplighter.clock import Clock
from lamplighter.losses import Losses
from lamplighter.policy_desk import PolicyDesk, policy_of
from lamplighter.reload import Reloader
from lamplighter.settings import Settings
from lamplighter.watch import Watch
from storage import snapshot
from storage.journal import Journal
from storage.ledger import Ledger, read_ledger
from storage.operations import Operations
from storage.shipper import Shipper
from storage.sqlite import SqliteStore
from storage.timeseries import TimeSeries

LOOPBACK = ("127.0.0.1", "localhost", "::1")


def receivers_of(settings: Settings) -> list[Receiver]:
    """Return whom the settings want told."""
    apart = {"team", "direct", "summary"}  # what the policy needs to know, not who sends (lamplighter/policy_desk.py)
    return [
        Receiver(**{name: value for name, value in one if name not in apart}, console=settings.api.public_url)
        for one in settings.notify
        if one.url
    ]


class House:
    """One city's house: every part by name. It is also what the API may ask (api.house.House).

    Args:
        settings: what the operator wrote.
        clock: host time, or a demo's faster one.

    Raises:
        ConfigError: for a wrong rule or kind, a missing token, or a data folder that another process holds.
    """

    def __init__(self, settings: Settings, clock: Clock) -> None:
        self.settings = settings
        self.clock = clock
        self.catalog = load_catalog(*settings.kinds)
        self.rules = load_rules(settings.rules, self.catalog)
        receivers = receivers_of(settings)
        policy = policy_of(settings)
        settings.data.mkdir(parents=True, exist_ok=True)
        with ExitStack() as opened:
            opened.callback(lock_folder(settings.data).close)
            reader = ThreadPoolExecutor(1, "snapshot")  # reads and sums up while the parts are built
            newest = reader.submit(snapshot.newest, settings.data / "snapshots")
            reader.shutdown(wait=False)
            self.operations = Operations(settings.operations_url())
            opened.callback(self.operations.close)
            self.policy = PolicyDesk(self, policy)
            if profiles := self.policy.wanted(policy, clock.now_ms()):
                self.rules = load_rules(settings.rules, self.catalog, profiles)
            registry_version = self.operations.registry_version()
            self.registry = self.operations.load_registry(self.catalog)
            self.sky = Sky(self.registry, settings.city.timezone, self.rules.lighting)
            self.engine = Engine(self.rules, self.registry, self.sky, int(AWAY_MS * clock.speed))
            self.inhibition = load_inhibition(settings.inhibition, self.catalog)
            self.timing = timing_of(settings)
            self._snapshot = snapshot.relied_on(settings.data / "snapshots", newest.result())
            self.journal = Journal(
                settings.data / "journal",
                self.catalog,
                segment_bytes=settings.journal.segment_mb << 20,
                limit_bytes=int(settings.journal.limit_gb * (1 << 30)),
                floor=max(self.operations.shipped().position, self._snapshot[0] if self._snapshot else 0),
            )
            opened.callback(self.journal.close)
            self.timeseries = make_store(settings, self.catalog)
            opened.callback(self.timeseries.close)
            self.session = Session(broker_options(settings), [subscription(settings.city.id)])
            self.gaps = Gaps(self.registry)
            self.hub = Hub()
            hold_s = settings.store.hold_s if settings.store.kind == "influxdb" else 0.0
            self.shipper = Shipper(self.journal, self.timeseries, self.operations, self.registry, hold_s=hold_s)
            self.watch = Watch(
                settings,
                clock,
                self.session,
                Decoder(self.registry, settings.city.id),
                Sieve(len(self.registry)),
                self.journal,
                self.engine,
                self.operations,
                self.shipper,
                self.hub,
                self.gaps,
                Incidents(self.rules, self.registry, self.inhibition, self.timing, self.sky),
            )
            self.policy.take_up(policy, profiles, clock.now_ms())
            self.losses = Losses(settings.data, self.session, self.gaps, clock.now_ms, clock.speed)
            self.notifier = Notifier(self.operations, receivers)
            self.reloader = Reloader(self, registry_version)
            self._opened = opened.pop_all()

    def recover(self) -> int:
        """Bring the engine to where the journal ends; return the records that were judged again."""
        found, self._snapshot = self._snapshot, None
        return self.watch.recover(found)

    def close(self) -> None:
        """Close files and databases; the data folder is free for another process after it."""
        self._opened.close()

    # What the API may ask.

    @property
    def version(self) -> str:
        """Return the version of Lamplighter."""
        return __version__

    @property
    def city(self) -> City:
        """Return which city this is."""
        city = self.settings.city
        return City(city.id, city.name_en, city.name_zh, city.timezone, self.settings.api.language)

    @property
    def speed(self) -> float:
        """Return city seconds a host second."""
        return self.clock.speed

    @property
    def token(self) -> str | None:
        """Return the bearer token of the API, None where none is asked."""
        return self.settings.api.token

    @property
    def hosts(self) -> Sequence[str]:
        """Return the host names the API may be called by; empty allows any.

        A house on loopback answers to loopback's names only, unless told otherwise: a page elsewhere whose name is
        turned to 127.0.0.1 (DNS rebinding) gets no answer.
        """
        api = self.settings.api
        return api.hosts or (LOOPBACK if api.host in LOOPBACK else ())

    @property
    def agreed(self) -> Policy:
        """Return what operators have agreed on."""
        return self.policy.policy

    def budget(self, length_ms: int) -> Budget:
        """Return the alarm budget of the latest ``length_ms``."""
        return self.policy.budgets.of(length_ms)

    def profiles(self) -> Sequence[str]:
        """Return the profiles that hold now."""
        return self.policy.profiles

    def now_ms(self) -> int:
        """Return the city's time, epoch milliseconds."""
        return self.clock.now_ms()

    def ledger(self) -> Ledger:
        """Return the ledger as it stands."""
        return read_ledger(self.journal, self.operations)

    def lighting(self) -> Iterator[LightingRate]:
        """Return the present lighting rates by road, cabinet and grid cell, each made when it is asked for."""
        now_ms = self.now_ms()
        figures = lighting_figures(self.engine, now_ms)
        return (LightingRate(**figure, time_ms=now_ms) for figure in figures)

    def health(self) -> Sequence[Part]:
        """Return how each part is doing."""
        return health.examine_house(self)

    async def reload(self) -> Reloaded:
        """Take up changed rules and newly registered devices."""
        return await self.reloader.reload()

    def figures(self) -> Sequence[Figure]:
        """Return the house's own numbers."""
        return health.figures(self)


def lighting_figures(engine: Engine, now_ms: int) -> Iterable[Mapping[str, Any]]:
    """Return the figures of the first lighting-rate rule, none where there is no such rule."""
    for judge in engine.judges:
        figures = getattr(judge, "figures", None)
        if figures is not None and judge.kinds == ("streetlight",):
            found: Iterable[Mapping[str, Any]] = figures(engine.fleet, now_ms)
            return found
    return []


def timing_of(settings: Settings) -> Timing:
    """Return when people are told of incidents, as the settings want it."""
    told = settings.incidents
    waits = (told.group_wait_s, told.critical_wait_s, told.group_interval_s, told.repeat_s)
    return Timing(*(round(seconds * 1000) for seconds in waits))


def lock_folder(folder: Path) -> TextIO:
    """Hold a data folder for this process alone. Raises ConfigError when another process holds it."""
    handle = (folder / "lock").open("w")
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        handle.close()
        raise ConfigError([f"{folder}: another Lamplighter is using this data folder"]) from None
    handle.write(f"{os.getpid()}\n")
    handle.flush()
    return handle


def make_store(settings: Settings, catalog: Catalog) -> TimeSeries:
    """Open the time-series store that the settings name. Raises ConfigError when its token is missing."""
    store = settings.store
    if store.kind == "sqlite":
        return SqliteStore(settings.data / "readings.db", catalog)
    if not store.token:
        raise ConfigError(["store.token: InfluxDB needs a token; set it, or LAMPLIGHTER_STORE__TOKEN"])
    from storage.influx import InfluxStore  # a second of imports that a house on SQLite does without

    return InfluxStore(store.url, store.token, store.org, store.bucket, catalog)


def broker_options(settings: Settings) -> BrokerOptions:
    """Return the broker's part of the settings as ingest wants it."""
    broker = settings.broker
    tls = None if broker.tls is None else TlsOptions(broker.tls.ca_file, broker.tls.cert_file, broker.tls.key_file)
    return BrokerOptions(
        host=broker.host,
        port=broker.port,
        client_id=broker.client_id,
        username=broker.username,
        password=broker.password,
        tls=tls,
        keep_alive_s=broker.keep_alive_s,
        receive_maximum=broker.receive_maximum,
        counts=broker.counts,
    )
