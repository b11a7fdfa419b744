"""``lamplighter quarantine``: list, show, replay and purge messages that could not be read; argument parsing only."""

from __future__ import annotations

from typing import Annotated

import typer

from lamplighter.config_option import Config, settings_of

app = typer.Typer(help="Messages that could not be read, kept whole.", no_args_is_help=True)

Numbers = Annotated[list[int] | None, typer.Argument(help="Numbers of messages, as 'list' shows them.")]
Reason = Annotated[str, typer.Option(help="Only this reason.")]
Device = Annotated[str, typer.Option(help="Only this device id.")]
Kind = Annotated[str, typer.Option(help="Only this kind.")]
Topic = Annotated[str, typer.Option(help="Only topics with this text in them.")]
Since = Annotated[str, typer.Option(help="Arrived since: 2h ago, or 2026-06-16T04:00 in the city's time.")]
Until = Annotated[str, typer.Option(help="Arrived before; written like --since.")]
Everything = Annotated[bool, typer.Option("--all", help="All messages, without a filter.")]


@app.command("list")
def list_messages(
    config: Config = None,
    reason: Reason = "",
    device: Device = "",
    kind: Kind = "",
    topic: Topic = "",
    since: Since = "",
    until: Until = "",
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="At most so many.")] = 50,
    before: Annotated[int, typer.Option(min=0, help="Only numbers below this: the next page.")] = 0,
) -> None:
    """List messages that could not be read, newest first."""
    from lamplighter import quarantine_desk as desk

    settings = settings_of(config)
    choice = desk.choose(settings, None, reason, device, kind, topic, since, until)
    desk.list_messages(settings, choice, limit, before or None)


@app.command("show")
def show(
    number: int,
    config: Config = None,
    hexadecimal: Annotated[bool, typer.Option("--hex", help="As bytes, whatever it holds.")] = False,
) -> None:
    """Show one message whole, with the reason."""
    from lamplighter import quarantine_desk as desk

    raise typer.Exit(desk.show(settings_of(config), number, hexadecimal=hexadecimal))


@app.command("replay")
def replay(
    numbers: Numbers = None,
    config: Config = None,
    reason: Reason = "",
    device: Device = "",
    kind: Kind = "",
    topic: Topic = "",
    since: Since = "",
    until: Until = "",
    everything: Everything = False,
) -> None:
    """Have messages read again, after what was wrong with them has been mended."""
    from lamplighter import quarantine_desk as desk

    settings = settings_of(config)
    choice = desk.choose(settings, numbers, reason, device, kind, topic, since, until)
    raise typer.Exit(desk.replay(settings, desk.some(choice, everything=everything)))


@app.command("purge")
def purge(
    numbers: Numbers = None,
    config: Config = None,
    reason: Reason = "",
    device: Device = "",
    kind: Kind = "",
    topic: Topic = "",
    since: Since = "",
    until: Until = "",
    everything: Everything = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Delete messages for good, after asking."""
    from lamplighter import quarantine_desk as desk

    settings = settings_of(config)
    choice = desk.choose(settings, numbers, reason, device, kind, topic, since, until)
    raise typer.Exit(desk.purge(settings, desk.some(choice, everything=everything), sure=yes))
