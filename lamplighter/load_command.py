"""`lamplighter load`: the registry's devices speak to the broker of the settings, as many and as quickly as asked."""

from __future__ import annotations

import asyncio
import gc
import json
import resource
import signal
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from rich.console import Console

from alerts.rules import load_rules
from devices.kinds import Kind, load_catalog
from devices.payloads import READINGS_MAX
from devices.registry import Registry
from devices.sky import Sky
from devices.yamlfile import ConfigError
from lamplighter.clock import real_clock
from lamplighter.output import make_console
from lamplighter.settings import Settings
from lamplighter.wiring import broker_options
from simulators.load import Load
from simulators.load_frames import Group, groups_of
from simulators.load_plan import Sent, Target, choose_faults
from storage.operations import Operations

FAULTS_OVER_S = 600.0  # devices go wrong spread over this, where no end is named


@dataclass(frozen=True, slots=True)
class Wish:
    """What the load should be like.

    Attributes:
        rate: readings a second, 0 for as many as the broker takes.
        seconds: stop after this long, None for until stopped.
        count: stop after so many messages, None for no limit.
        connections: how many carry all devices; 0 gives each one of its own.
        devices: only so many, evenly taken from the registry; 0 for all.
        qos: 0 or 1.
        readings: in one message, by kind; 1 where not named.
        faults: share of the devices that go wrong.
        calm_s: nothing goes wrong before.
        seed: what is drawn from.
        told: file that gets the faults that were told, JSON lines.
        summary: file that gets the numbers of the end, JSON.
    """

    rate: float
    seconds: float | None = None
    count: int | None = None
    connections: int = 4
    devices: int = 0
    qos: int = 1
    readings: Mapping[str, int] | None = None
    faults: float = 0.0
    seed: int = 1
    told: Path | None = None
    summary: Path | None = None
    calm_s: float = 0.0


def readings_by_kind(words: Sequence[str]) -> dict[str, int]:
    """Read ``streetlight=50``. Raises ConfigError for anything else."""
    found: dict[str, int] = {}
    for word in words:
        kind, _, number = word.partition("=")
        if not number.isdecimal() or not 1 <= int(number) <= READINGS_MAX:
            raise ConfigError(
                [f"--readings: '{word}': expected kind=number, 1 to {READINGS_MAX}, as in streetlight=50"]
            )
        found[kind] = int(number)
    return found


def run_load(settings: Settings, wish: Wish) -> int:
    """Send until stopped; 0 when the broker has accepted everything."""
    console = make_console()
    registry = _registry(settings)
    clock = real_clock()
    load, groups = _load(settings, registry, wish, clock.now_ms)
    if wish.faults:
        now_ms, lasts_ms = clock.now_ms(), int(1000 * (wish.seconds or FAULTS_OVER_S))
        from_ms = now_ms + max(lasts_ms // 20, int(1000 * wish.calm_s))
        chosen = choose_faults(groups, wish.faults, wish.seed, from_ms, now_ms + lasts_ms * 9 // 10)
        console.print(f"{chosen:,} devices will go wrong")
    where = f"{settings.broker.host}:{settings.broker.port}"
    console.print(f"{sum(map(len, groups)):,} devices in {len(groups)} groups speak to {where}")
    del registry
    gc.collect()
    gc.freeze()  # thousands of devices and connections stay as they are
    before = _cpu_s()
    try:
        sent = asyncio.run(_send(console, load, wish))
    except (OSError, TimeoutError) as trouble:
        console.print(f"{where}: {trouble or 'the broker does not answer'}; 'lamplighter doctor' looks at the broker")
        return 1
    if wish.told is not None:
        wish.told.write_text("".join(json.dumps(asdict(fault)) + "\n" for fault in sent.faults), encoding="utf-8")
    used = _cpu_s() - before
    if wish.summary is not None:
        numbers = {name: value for name, value in asdict(sent).items() if name != "faults"}
        wish.summary.write_text(json.dumps({**numbers, "cpu_s": used}) + "\n", encoding="utf-8")
    _tell(console, sent, used)
    return 0 if sent.accepted == sent.messages else 1


def _registry(settings: Settings) -> Registry:
    operations = Operations(settings.operations_url())
    try:
        registry = operations.load_registry(load_catalog(*settings.kinds))
    finally:
        operations.close()
    if not len(registry):
        raise ConfigError(["the registry is empty: nobody can speak; see 'lamplighter devices import'"])
    return registry


def _load(settings: Settings, registry: Registry, wish: Wish, now_ms: Callable[[], int]) -> tuple[Load, list[Group]]:
    """Return the load generator and its groups: every kind speaks as often, in proportion, as its catalog says."""
    kinds = registry.catalog
    strange = [name for name in wish.readings or {} if name not in kinds.kinds]
    if strange:
        raise ConfigError([f"--readings: no kind '{strange[0]}'; known: {', '.join(kinds.kinds)}"])
    rows = np.arange(len(registry))
    if 0 < wish.devices < len(registry):
        rows = np.linspace(0, len(registry) - 1, wish.devices).astype(np.int64)
    groups = groups_of(
        registry,
        settings.city.id,
        seed=wish.seed,
        qos=wish.qos,
        readings=wish.readings,
        stretch=_readings_a_second(registry, rows) / wish.rate if wish.rate else 0.0,
        rows=rows,
    )
    if not groups:
        raise ConfigError(["no device of the registry is of a kind that the load generator can play"])
    shares = [len(group) / _report_s(kinds[group.kind], group.role) for group in groups]
    per_message = sum(shares) / sum(share / group.readings for share, group in zip(shares, groups, strict=True))
    options = broker_options(settings)
    target = Target(
        options.host,
        options.port,
        options.tls.context() if options.tls else None,
        options.username,
        options.password,
        connections=wish.connections,
        qos=wish.qos,
        rate=wish.rate / per_message,
    )
    rules = load_rules(settings.rules, kinds)
    sky = Sky(registry, settings.city.timezone, rules.lighting)
    lamps = registry.rows_of("streetlight")[:1] if "streetlight" in kinds.kinds else np.zeros(0, np.intp)
    load = Load(
        groups,
        target,
        now_ms,
        shares=[share / group.readings for share, group in zip(shares, groups, strict=True)],
        lit=lambda time_ms: bool(len(lamps)) and bool(sky.expected_on(lamps, [time_ms])[0]),
    )
    return load, groups


def _readings_a_second(registry: Registry, rows: npt.NDArray[np.int64]) -> float:
    """Return how many readings a second these devices send by the catalog."""
    every = np.ones((len(registry.catalog), max(len(kind.roles) for kind in registry.catalog)))
    for kind in registry.catalog:
        every[kind.index, : len(kind.roles)] = kind.report_s
    return float((1 / every[registry.kind[rows], registry.role[rows]]).sum())


def _report_s(kind: Kind, role: str) -> float:
    return kind.report_s[kind.roles.index(role)]


async def _send(console: Console, load: Load, wish: Wish) -> Sent:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    with console.status("connecting") as shown:

        def progress(sent: Sent) -> None:
            waiting = sent.messages - sent.accepted - sent.refused - sent.unanswered
            words = (
                f"{sent.accepted:,} messages accepted, {waiting:,} under way, {sum(sent.readings.values()):,} readings"
            )
            trouble = f"; {sent.trouble}" if sent.trouble else ""
            shown.update(f"{words} in {sent.seconds:.0f} s{trouble}; Ctrl-C stops")

        return await load.run(stop, seconds=wish.seconds, count=wish.count, progress=progress)


def _tell(console: Console, sent: Sent, cpu_s: float) -> None:
    readings = sum(sent.readings.values())
    by_kind = ", ".join(f"{count:,} of {kind}" for kind, count in sorted(sent.readings.items()))
    seconds = max(sent.seconds, 1e-9)
    speed = f"{sent.messages / seconds:,.0f} messages/s, {readings / seconds:,.0f} readings/s for {sent.seconds:.1f} s"
    lines = [
        f"accepted by the broker: {sent.accepted:,} of {sent.messages:,} messages; {readings:,} readings ({by_kind})",
        f"{speed}; {cpu_s / max(sent.messages, 1) * 1e6:.2f} µs of CPU a message here",
        f"at most {sent.behind:,} messages behind the rate",
    ]
    if sent.refused or sent.unanswered or sent.losses:
        lines.append(
            f"refused {sent.refused:,}, without an answer {sent.unanswered:,}, connections lost {sent.losses:,}: "
            f"{sent.trouble}"
        )
    if sent.faults:
        lines.append(f"{len(sent.faults):,} faults were told, each of which a rule must speak of")
    for line in lines:
        console.print(line, soft_wrap=True)


def _cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime
