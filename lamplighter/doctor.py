"""The doctor: checks settings, rules, registry, disk, clock, broker and database, and says what to do about each."""

from __future__ import annotations

import asyncio
import shutil
import socket
import ssl
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from functools import partial
from pathlib import Path
from zoneinfo import ZoneInfo

from rich.markup import escape

from alerts.engine import Engine
from alerts.rules import load_rules
from devices.kinds import load_catalog
from devices.sky import Sky
from devices.topics import subscription
from devices.yamlfile import ConfigError
from ingest.certificates import ends_s
from ingest.gaps import reports_per_s
from ingest.session import Session
from lamplighter.broker_config import examine_config, holds_s, read_broker_config
from lamplighter.health import CERTIFICATE_DAYS, DISK_FREE_MIN, days_left
from lamplighter.output import make_console
from lamplighter.policy_budget import budget_of, in_words
from lamplighter.policy_desk import policy_of
from lamplighter.settings import Settings, load_settings
from lamplighter.wiring import broker_options, make_store
from storage.operations import Operations

BROKER_S = 5.0  # patience with a broker that does not answer
COUNTS_S = 1.0  # and with one that does not tell its counts: retained, they come at once


def examine(path: Path | None, broker_config: Path | None = None) -> int:
    """Print one line a check; return 0 when everything is well, 1 otherwise.

    Args:
        path: the settings.
        broker_config: Mosquitto's own configuration file, when it is to be looked at too.
    """
    console = make_console()
    try:
        settings = load_settings(path)
    except ConfigError as trouble:
        for problem in trouble.problems:
            console.print(f"[red]✗[/] settings  {escape(problem)}", soft_wrap=True)
        return 1
    console.print(f"[green]✓[/] settings  {path or 'defaults: no lamplighter.yaml here'}", soft_wrap=True)
    well = True
    checks = dict(_CHECKS)
    if settings.broker.tls is not None:
        checks["certs"] = _certificates
    if broker_config is not None:
        checks["queue"] = partial(_queue, broker_config)
    for name, check in checks.items():
        try:
            says = check(settings)
            console.print(f"[green]✓[/] {name:<9} {escape(says)}", soft_wrap=True)
        except _Unwell as trouble:
            well = False
            for finding, remedy in trouble.findings:
                arrow = f"[bold]→ {escape(remedy)}[/]"
                console.print(f"[red]✗[/] {name:<9} {escape(finding)}\n            {arrow}", soft_wrap=True)
        except ConfigError as trouble:
            well = False
            for problem in trouble.problems:
                console.print(f"[red]✗[/] {name:<9} {escape(problem)}", soft_wrap=True)
    return 0 if well else 1


class _Unwell(Exception):  # noqa: N818 - a finding, not a failure of the program
    def __init__(self, *findings: tuple[str, str]) -> None:
        """Take findings, each with what to do about it."""
        super().__init__(*findings)
        self.findings = findings


def _rules(settings: Settings) -> str:
    rules = load_rules(settings.rules, load_catalog(*settings.kinds))
    return f"{len(rules.rules)} rules in {settings.rules}"


def _registry(settings: Settings) -> str:
    settings.data.mkdir(parents=True, exist_ok=True)
    operations = Operations(settings.operations_url())
    try:
        count = len(operations.load_registry(load_catalog(*settings.kinds)))
    finally:
        operations.close()
    if not count:
        raise _Unwell(("the registry is empty: every message would be quarantined", "lamplighter devices import FILE"))
    return f"{count} devices"


def _facts(settings: Settings) -> str:
    catalog = load_catalog(*settings.kinds)
    rules = load_rules(settings.rules, catalog)
    operations = Operations(settings.operations_url())
    try:
        registry = operations.load_registry(catalog)
    finally:
        operations.close()
    sky = Sky(registry, settings.city.timezone, rules.lighting)
    if sky.strangers:
        unknown = ", ".join(sky.strangers)
        raise _Unwell(
            (f"the lighting schedule names cabinets that nobody registered: {unknown}", "correct 'lighting:'")
        )
    lacking = Engine(rules, registry, sky).unjudged()
    if lacking:
        told = ", ".join(f"{rule} passes over {count}" for rule, count in lacking.items())
        raise _Unwell((f"devices lack facts that rules need: {told}", "add the facts (docs/rules.md) and import again"))
    return "the registry has every fact that the rules need"


def _disk(settings: Settings) -> str:
    settings.data.mkdir(parents=True, exist_ok=True)
    probe = settings.data / ".doctor"
    try:
        probe.write_bytes(b"x" * 4096)
        probe.unlink()
    except OSError as trouble:
        raise _Unwell(
            (f"{settings.data} cannot be written: {trouble.strerror}", "check owner and mount of that folder")
        ) from None
    free = shutil.disk_usage(settings.data).free
    if free < DISK_FREE_MIN:
        raise _Unwell(
            (f"only {free >> 20} MB free in {settings.data}", "make room: the journal needs it when the store is away")
        )
    return f"{free >> 30} GB free in {settings.data}"


def _clock(settings: Settings) -> str:
    del settings
    year = time.gmtime().tm_year
    if not 2024 <= year < 2100:
        raise _Unwell((f"this machine's clock shows the year {year}", "set the clock, better: run an NTP client"))
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime())


def _broker(settings: Settings) -> str:
    options = broker_options(settings)
    where = f"{options.host}:{options.port}"
    try:
        socket.create_connection((options.host, options.port), timeout=BROKER_S).close()
    except OSError as trouble:
        raise _Unwell(
            (f"no answer from {where}: {trouble}", "start the broker, or correct broker.host and broker.port")
        ) from None
    try:
        error, says = asyncio.run(_connect(settings))
    except (OSError, ssl.SSLError) as trouble:
        error, says = str(trouble), ""
    if error:
        raise _Unwell((f"{where} refuses: {error}", "correct user name, password or certificates in the settings"))
    return f"{where} takes our session and subscription; {says}"


async def _connect(settings: Settings) -> tuple[str, str]:
    """Return what is wrong, or what the broker grants and tells."""
    # Another client id: with our own the broker would throw out a running Lamplighter.
    options = broker_options(settings)
    options = replace(options, client_id=f"{options.client_id}-doctor", session_expiry_s=0)
    session = Session(options, [subscription(settings.city.id)])
    task = asyncio.create_task(session.run())
    try:
        for _ in range(int(BROKER_S * 20)):
            await asyncio.sleep(0.05)
            if session.connected:
                return "", await _granted(session)
            if session.last_error:
                return session.last_error, ""
        return "no answer to CONNECT", ""
    finally:
        session.close()
        await task


async def _granted(session: Session) -> str:
    """Return what the broker says of its limits and of its own losses."""
    for _ in range(int(COUNTS_S * 20)):
        if session.says.dropped is not None or not session.options.counts:
            break
        await asyncio.sleep(0.05)
    dropped = session.says.dropped
    told = "what it drops is unknown" if dropped is None else f"it has dropped {dropped:,} messages since its start"
    limit = session.welcome.max_packet_size if session.welcome else None
    said = [told] if limit is None else [f"messages up to {limit:,} bytes", told]
    if session.certificate_ends_s is not None:
        said.append(f"its certificate lasts {days_left(session.certificate_ends_s, time.time()):,.0f} days")
    return "; ".join(said)


def _certificates(settings: Settings) -> str:
    tls = settings.broker.tls
    files = [path for path in (tls.ca_file, tls.cert_file) if path is not None] if tls else []
    if not files:
        return "the system's authorities, and no certificate of our own"
    left: list[tuple[float, Path]] = []
    for path in files:
        try:
            left.append((days_left(ends_s(path), time.time()), path))
        except (OSError, ValueError) as trouble:
            raise _Unwell((f"{path}: {trouble}", "correct broker.tls in the settings")) from None
    days, path = min(left)
    if days < CERTIFICATE_DAYS:
        state = "has ended" if days < 0 else f"ends in {days:.0f} days"
        raise _Unwell((f"the certificate {path} {state}", "renew it, and let whoever checks it know"))
    return f"{path.name} lasts {days:,.0f} days"


def _queue(path: Path, settings: Settings) -> str:
    """Look at Mosquitto's own configuration with what the registered devices send."""
    catalog = load_catalog(*settings.kinds)
    operations = Operations(settings.operations_url())
    try:
        rate = reports_per_s(operations.load_registry(catalog))
    finally:
        operations.close()
    config = read_broker_config(path)
    if found := examine_config(config, rate):
        raise _Unwell(*found)
    return f"{path} holds {holds_s(config, rate):,.0f} s of {rate:,.1f} messages a second while we are away"


def _store(settings: Settings) -> str:
    store = make_store(settings, load_catalog(*settings.kinds))
    try:
        trouble = store.check()
    finally:
        store.close()
    if trouble:
        remedy = "start it, or correct 'store:' in the settings; until then readings wait in the journal"
        raise _Unwell((f"{settings.store.kind}: {trouble}", remedy))
    return f"{settings.store.kind} takes readings"


def _policy(settings: Settings) -> str:
    """Look at who is told: whether somebody always is on duty, and how much people are told."""
    policy, now_ms = policy_of(settings), time.time_ns() // 1_000_000
    zone = ZoneInfo(settings.city.timezone)
    findings: list[tuple[str, str]] = []
    for name, team in policy.teams.items():
        if gaps := team.gaps(now_ms, zone):
            first = f"{datetime.fromtimestamp(gaps[0][0] / 1000, zone):%Y-%m-%d %H:%M}"
            who = f"'{team.fallback}' is told then" if team.fallback else "nobody is told then"
            finding = f"team {name}: nobody is on duty {len(gaps)} times within 14 days, first from {first}; {who}"
            findings.append((finding, "give these hours to a shift in the policy file"))
    named = {name for rule in load_rules(settings.rules, load_catalog(*settings.kinds)) for name in rule.profiles}
    if strange := sorted(named - policy.profiles.keys()):
        finding = f"rules name profiles that nothing switches on: {', '.join(strange)}"
        findings.append((finding, "name them under 'profiles:' of the policy file, or correct the rules"))
    if findings:
        raise _Unwell(*findings)
    operations = Operations(settings.operations_url())
    try:
        budget = budget_of(operations.policy, policy.flood, now_ms)
    finally:
        operations.close()
    return in_words(budget)


_CHECKS: dict[str, Callable[[Settings], str]] = {
    "rules": _rules,
    "registry": _registry,
    "facts": _facts,
    "disk": _disk,
    "clock": _clock,
    "alarms": _policy,
    "broker": _broker,
    "store": _store,
}
