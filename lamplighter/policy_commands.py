"""What operators say of alerts on the command line: silences, maintenance windows, shelves, resets, warnings, budget.

The commands work on the operations database, beside a running house or without one; a running house heeds them within
a second.
"""

from __future__ import annotations

import getpass
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from devices.yamlfile import ConfigError
from lamplighter.config_option import Config, settings_of

if TYPE_CHECKING:
    from lamplighter.settings import Settings
    from storage.operations import AlertRow
    from storage.policybook import PolicyBook

silence_app = typer.Typer(help="Hold back notices of some alerts for a time.", no_args_is_help=True)
maintenance_app = typer.Typer(help="Planned works: alerts are out of service meanwhile.", no_args_is_help=True)

Rule = Annotated[str, typer.Option(help="Rule ids; * and ? as in file names.")]
Entity = Annotated[str, typer.Option(help="Entities, as device:lamp-00* or lamp-0001.")]
District = Annotated[str, typer.Option(help="Districts.")]
Kind = Annotated[str, typer.Option(help="Kinds of facility.")]
Severity = Annotated[str, typer.Option(help="critical, major, minor or info.")]
Road = Annotated[str, typer.Option(help="Roads.")]
Cabinet = Annotated[str, typer.Option(help="Cabinets.")]
Since = Annotated[str, typer.Option("--from", help="When it begins; left out: now. As 2026-06-16T04:00, local time.")]
Until = Annotated[str, typer.Option("--until", help="When it ends: after 2h, or 2026-06-16T04:00, local time.")]
Who = Annotated[str, typer.Option(help="Who does it; left out: the name you are logged in by.")]
Why = Annotated[str, typer.Option(help="Why.")]
Preview = Annotated[bool, typer.Option("--preview", help="Only show which open alerts it would mean.")]
Everything = Annotated[bool, typer.Option("--all", help="Also those that are over.")]


def _maker(sort: str) -> None:
    app = silence_app if sort == "silence" else maintenance_app

    @app.command("add")
    def add(
        until: Until = "",
        why: Why = "",
        rule: Rule = "",
        entity: Entity = "",
        district: District = "",
        kind: Kind = "",
        severity: Severity = "",
        road: Road = "",
        cabinet: Cabinet = "",
        since: Since = "",
        who: Who = "",
        preview: Preview = False,
        config: Config = None,
    ) -> None:
        """Make one, and say which open alerts it means."""
        from alerts.policy_match import Quiet, problems

        given = {"rule": rule, "entity": entity, "district": district, "kind": kind, "severity": severity}
        matchers = {name: value for name, value in {**given, "road": road, "cabinet": cabinet}.items() if value}
        if wrong := problems(matchers):
            raise ConfigError(wrong)
        if not preview and not (until and why):
            raise ConfigError(["--until and --why are needed: nothing is silenced for ever, or for no reason"])
        settings, now_ms = settings_of(config), _now_ms()
        begin_ms = moment(settings, "--from", since, now_ms) if since else now_ms
        end_ms = moment(settings, "--until", until, now_ms) if until else now_ms + 1
        if end_ms <= max(begin_ms, now_ms):
            raise ConfigError([f"--until: {until} is not after its beginning and now"])
        with _book(settings) as book:
            _show_meant(settings, book, Quiet(0, sort, matchers, 0, 0, "", ""))
            if not preview:
                row = book.add_quiet(sort, matchers, begin_ms, end_ms, who or _me(), why, now_ms)
                typer.echo(f"{sort} {row.id}: until {local(settings, end_ms)}")

    @app.command("list")
    def listed(everything: Everything = False, config: Config = None) -> None:
        """List those that hold or will hold."""
        settings, now_ms = settings_of(config), _now_ms()
        with _book(settings) as book:
            rows = [row for row in book.quiets(None if everything else now_ms) if row.sort == sort]
        for row in rows:
            state = "holds" if row.from_ms <= now_ms < row.until_ms else "over" if now_ms >= row.until_ms else "later"
            meant = " ".join(f"{name}={value}" for name, value in row.matchers.items())
            when = f"{local(settings, row.from_ms)} to {local(settings, row.until_ms)}"
            typer.echo(f"{row.id}  {state}  {when}  {meant}  {row.who}: {row.why}")
        if not rows:
            typer.echo("none")

    @app.command("end")
    def end(number: int, who: Who = "", config: Config = None) -> None:
        """End one now; what it held back and is open still is told."""
        with _book(settings_of(config)) as book:
            row = book.end_quiet(number, sort, who or _me(), _now_ms())
        if row is None:
            raise ConfigError([f"there is no {sort} {number} that holds or will hold; 'lamplighter {sort} list'"])
        typer.echo(f"{sort} {number}: ended")


_maker("silence")
_maker("maintenance")


def shelve(
    alert: Annotated[str, typer.Argument(help="The alert's id.")],
    why: Annotated[str, typer.Option(help="Why.")],
    until: Annotated[str, typer.Option("--until", help="8h, or a time; left out: as long as you may.")] = "",
    who: Who = "",
    config: Config = None,
) -> None:
    """Put an alert aside for a time; nobody is told of it meanwhile."""
    from lamplighter.policy_desk import policy_of

    settings, now_ms, name = settings_of(config), _now_ms(), who or _me()
    most_ms = policy_of(settings).shelving.allowed_ms(name)
    until_ms = moment(settings, "--until", until, now_ms) if until else now_ms + most_ms
    if not now_ms < until_ms <= now_ms + most_ms:
        raise ConfigError([f"--until: {name} may shelve for at most {most_ms / 3_600_000:g} h from now"])
    with _book(settings) as book:
        _done(book.shelve(alert, until_ms, name, why, now_ms), f"shelved until {local(settings, until_ms)}", alert)


def unshelve(alert: str, who: Who = "", config: Config = None) -> None:
    """Take an alert out before its time."""
    with _book(settings_of(config)) as book:
        _done(book.unshelve(alert, who or _me(), _now_ms()), "is shelved no more", alert)


def reset(alert: str, why: Why = "", who: Who = "", config: Config = None) -> None:
    """Let a latched alert go: somebody has looked."""
    with _book(settings_of(config)) as book:
        _done(book.reset(alert, who or _me(), why, _now_ms()), "reset", alert)


def warning(
    level: Annotated[str, typer.Argument(help="none, blue, yellow, orange or red; left out: show it.")] = "",
    who: Who = "",
    config: Config = None,
) -> None:
    """Set the level of the weather warning, which switches profiles; or show both."""
    from alerts.policy import WARNINGS
    from lamplighter.policy_desk import WARNING, policy_of

    settings = settings_of(config)
    if level and level not in WARNINGS:
        raise ConfigError([f"expected one of {', '.join(WARNINGS)}; found '{level}'"])
    profiles = policy_of(settings).profiles
    with _book(settings) as book:
        if level:
            book.put_state(WARNING, level, who or _me(), _now_ms())
        state = book.state()
    on = state.get("profiles", "").replace(",", ", ") or "none"
    typer.echo(f"warning {state.get(WARNING, WARNINGS[0])}; profiles: {', '.join(profiles) or 'none'}; on now: {on}")


def budget(
    hours: Annotated[float, typer.Option(min=0.1, max=744, help="Of so many hours.")] = 24.0, config: Config = None
) -> None:
    """Say how much people were told, and what made most of it."""
    from lamplighter.policy_budget import budget_of, in_words
    from lamplighter.policy_desk import policy_of

    settings = settings_of(config)
    with _book(settings) as book:
        found = budget_of(book, policy_of(settings).flood, _now_ms(), round(hours * 3_600_000))
    typer.echo(in_words(found))
    for desk in found.desks:
        typer.echo(
            f"  {desk.receiver}: {desk.alarms} alarms, {desk.notices} notices; last ten minutes {desk.last_10_min}, "
            f"worst {desk.peak_10_min}; {desk.budget_share:.2f} of the budget; {100 * desk.flood_share:.1f} % in floods"
        )
    if found.severities:
        parts = ", ".join(f"{number} {name}" for name, number in found.severities.items())
        typer.echo(f"  {parts}; the ten below make {100 * found.worst_share:.0f} % of all")
    for rule, entity, number in found.worst:
        typer.echo(f"  {number:>5} × {rule} on {entity}")
    for rule, entity, number in found.chattering[:10]:
        typer.echo(f"  chatters: {rule} on {entity}, {number} changes within a minute")


def duty(config: Config = None) -> None:
    """Say who of each team is on duty, and when nobody will be."""
    from zoneinfo import ZoneInfo

    from lamplighter.policy_desk import policy_of

    settings, now_ms = settings_of(config), _now_ms()
    zone = ZoneInfo(settings.city.timezone)
    for name, team in policy_of(settings).teams.items():
        present = ", ".join(team.on_duty(now_ms, zone)) or f"nobody (fallback: {team.fallback or 'none'})"
        gaps = team.gaps(now_ms, zone)
        first = f"; nobody from {local(settings, gaps[0][0])}, {len(gaps)} gaps in 14 days" if gaps else ""
        typer.echo(f"{name}: {present}{first}")


def audit(
    subject: Annotated[str, typer.Option(help="Only of alert:ID, silence:3 …")] = "",
    limit: Annotated[int, typer.Option(min=1, max=1000)] = 50,
    config: Config = None,
) -> None:
    """List who did what, newest first."""
    settings = settings_of(config)
    with _book(settings) as book:
        for row in book.audit(limit, subject):
            why = row.detail.get("why") or row.detail.get("value") or ""
            typer.echo(f"{local(settings, row.at_ms)}  {row.who}  {row.what}  {row.subject}  {why}")


def register(app: typer.Typer) -> None:
    """Add these commands to the command line."""
    app.add_typer(silence_app, name="silence")
    app.add_typer(maintenance_app, name="maintenance")
    for command in (shelve, unshelve, reset, warning, budget, duty, audit):
        app.command()(command)


def moment(settings: Settings, option: str, text: str, now_ms: int) -> int:
    """Return a time that was written as a length from now or as a moment. Raises ConfigError with the form."""
    from datetime import datetime
    from zoneinfo import ZoneInfo

    from lamplighter.durations import seconds

    if text[-1:] in tuple("smhd") and text[:1].isdigit():
        return now_ms + round(1000 * seconds(text))
    try:
        told = datetime.fromisoformat(text)
    except ValueError:
        raise ConfigError([f"{option}: expected 2h, or a time such as 2026-06-16T04:00; found '{text}'"]) from None
    zone = ZoneInfo(settings.city.timezone)
    return round((told if told.tzinfo else told.replace(tzinfo=zone)).timestamp() * 1000)


def local(settings: Settings, at_ms: int) -> str:
    """Return a time by the city's clock."""
    from datetime import datetime
    from zoneinfo import ZoneInfo

    return f"{datetime.fromtimestamp(at_ms / 1000, ZoneInfo(settings.city.timezone)):%Y-%m-%d %H:%M}"


@contextmanager
def _book(settings: Settings) -> Iterator[PolicyBook]:
    from storage.operations import Operations

    settings.data.mkdir(parents=True, exist_ok=True)
    operations = Operations(settings.operations_url())
    try:
        yield operations.policy
    finally:
        operations.close()


def _show_meant(settings: Settings, book: PolicyBook, quiet: object) -> None:
    from alerts.policy_match import Matcher, Quiet
    from devices.kinds import load_catalog
    from storage.operations import Operations

    assert isinstance(quiet, Quiet)  # noqa: S101 - typed loosely to keep --help quick
    operations = Operations(settings.operations_url())
    try:
        registry = operations.load_registry(load_catalog(*settings.kinds))
    finally:
        operations.close()
    matcher = Matcher(lambda: registry)
    found = [row for row in book.standing() if matcher.means(quiet, row)]
    typer.echo(f"open alerts that it means now: {len(found)}")
    for row in found[:20]:
        typer.echo(f"  {row.id}  {row.severity}  {row.rule}  {row.entity}")


def _done(row: AlertRow | None, says: str, alert: str) -> None:
    if row is None:
        raise ConfigError([f"alert '{alert}' is not there, or not in a state for that; see 'lamplighter audit'"])
    typer.echo(f"{row.id}  {row.rule}  {row.entity}: {says}")


def _me() -> str:
    return getpass.getuser()


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
