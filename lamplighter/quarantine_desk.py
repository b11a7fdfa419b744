"""What the commands of ``lamplighter quarantine`` do, beside a running house or without one.

They work on the operations database. A message to be read again is marked there; a running house takes it within
seconds, a stopped one at its next start, so that it always goes the one way through journal and rules.
"""

from __future__ import annotations

import fcntl
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import typer
from rich.markup import escape
from rich.table import Column, Table

from devices.payloads import REASONS
from devices.yamlfile import ConfigError
from lamplighter.clock import real_clock
from lamplighter.durations import seconds
from lamplighter.output import make_console
from lamplighter.settings import Settings
from storage.operations import Choice, Operations
from storage.plainly import dump, plainly, visible
from storage.quarantine import NUMBERS_MAX, REFUSED

KNOWN_REASONS = (*REASONS, REFUSED)
WAIT_S = 30.0  # for a running house to read messages again
LOOK_S = 0.2


def choose(
    settings: Settings,
    numbers: Sequence[int] | None,
    reason: str,
    device: str,
    kind: str,
    topic: str,
    since: str,
    until: str,
) -> Choice:
    """Return what was chosen on the command line. Raises ConfigError for a reason or a time that there is not."""
    if reason and reason not in KNOWN_REASONS:
        raise ConfigError([f"--reason: expected one of {', '.join(KNOWN_REASONS)}; found '{reason}'"])
    if numbers and len(numbers) > NUMBERS_MAX:
        raise ConfigError([f"at most {NUMBERS_MAX} numbers at once; found {len(numbers)}"])
    return Choice(
        reason or None,
        device or None,
        kind or None,
        topic or None,
        _moment(settings, "--since", since),
        _moment(settings, "--until", until),
        tuple(numbers) if numbers else None,
    )


def some(choice: Choice, *, everything: bool) -> Choice:
    """Return the choice. Raises ConfigError where nothing was chosen and --all was not said either."""
    if choice == Choice() and not everything:
        raise ConfigError(["say which messages: numbers, a filter such as --reason, or --all"])
    return choice


def list_messages(settings: Settings, choice: Choice, limit: int, before: int | None) -> None:
    """Print the chosen messages, newest first, and what the quarantine holds."""
    with _operations(settings) as operations:
        rows = operations.quarantine_list(limit, choice=choice, before=before)
        matching = operations.quarantine_number(choice)
        counts, gone = operations.quarantine_counts(), operations.quarantine_gone()
    zone = ZoneInfo(settings.city.timezone)
    table = Table("no.", "arrived", "reason", "detail", Column("topic", no_wrap=True), "bytes", "tried")
    for row in rows:
        arrived = datetime.fromtimestamp(row.arrival_ms / 1000, zone).strftime("%Y-%m-%d %H:%M:%S")
        told = (row.reason, visible(row.detail, keep=""), visible(row.topic, keep=""))
        tried = "waits" if row.asked_ms is not None else str(row.attempts or "")
        table.add_row(str(row.id), arrived, *map(escape, told), str(len(row.payload)), tried)
    console = make_console()
    console.print(table)
    console.print(f"{len(rows)} of {_messages(matching)}; 'lamplighter quarantine show NO.' shows one whole")
    if len(rows) == limit and rows:
        console.print(f"older ones: --before {rows[-1].id}")
    if counts:
        console.print("held: " + _by_reason(counts), soft_wrap=True)
    if gone:
        console.print("let go because there were too many: " + _by_reason(gone), soft_wrap=True)


def show(settings: Settings, number: int, *, hexadecimal: bool) -> int:
    """Print one message whole, so that nothing in it can act on the terminal; 1 when there is none of that number."""
    with _operations(settings) as operations:
        row = operations.quarantine_show(number)
    console = make_console()
    if row is None:
        console.print(f"no message {number} in quarantine")
        return 1
    form, text = ("binary", dump(row.payload)) if hexadecimal else plainly(row.payload)
    arrived = datetime.fromtimestamp(row.arrival_ms / 1000, ZoneInfo(settings.city.timezone))
    lines = {
        "topic": visible(row.topic, keep=""),
        "arrived": f"{arrived:%Y-%m-%d %H:%M:%S}",
        "reason": row.reason,
        "detail": visible(row.detail, keep=""),
        "tried": f"{row.attempts} times" + ("; waits to be read again" if row.asked_ms is not None else ""),
        "payload": f"{len(row.payload)} bytes, {form}",
    }
    for name, told in lines.items():
        console.print(escape(f"{name:<8} {told}"), soft_wrap=True)
    console.print()
    console.print(escape(text), soft_wrap=True)
    return 0


def replay(settings: Settings, choice: Choice) -> int:
    """Mark messages to be read again; beside a running house wait for what comes of it. Returns the exit status.

    0: all were read, or wait for the next start; 1: some cannot be read still, or none were chosen.
    """
    with _operations(settings) as operations:
        matching = operations.quarantine_number(choice)
        before = sum(operations.shipped().replayed.values())
        asked = operations.quarantine_ask(choice, real_clock().now_ms())
        if asked < matching:
            typer.echo(f"{_messages(matching - asked)} came back from the database, not from the broker: left as is")
        if not asked:
            typer.echo("nothing to read again")
            return 1
        if not is_running(settings.data):
            typer.echo(f"{_messages(asked)} marked: Lamplighter reads them again at its next start")
            return 0
        deadline = time.monotonic() + WAIT_S
        while (waiting := operations.quarantine_number(Choice(asked=True))) and time.monotonic() < deadline:
            time.sleep(LOOK_S)
        read = sum(operations.shipped().replayed.values()) - before
    if waiting:
        typer.echo(f"{_messages(read)} read; {waiting} still wait for the running Lamplighter")
        return 0
    still = asked - read
    typer.echo(
        f"{_messages(read)} read" + (f"; {still} cannot be read still, each with its new reason" if still else "")
    )
    return 1 if still else 0


def purge(settings: Settings, choice: Choice, *, sure: bool) -> int:
    """Delete messages for good, after asking; 1 when nothing was deleted."""
    with _operations(settings) as operations:
        matching = operations.quarantine_number(choice)
        if not matching:
            typer.echo("nothing to purge")
            return 1
        if not sure and not typer.confirm(f"Delete {_messages(matching)} for good?"):
            typer.echo("nothing was deleted")
            return 1
        typer.echo(f"{_messages(operations.quarantine_purge(choice))} deleted")
    return 0


def is_running(folder: Path) -> bool:
    """Say whether a Lamplighter is using this data folder."""
    try:
        with (folder / "lock").open("r") as handle:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return False


@contextmanager
def _operations(settings: Settings) -> Iterator[Operations]:
    settings.data.mkdir(parents=True, exist_ok=True)
    operations = Operations(settings.operations_url())
    try:
        yield operations
    finally:
        operations.close()


def _moment(settings: Settings, option: str, text: str) -> int | None:
    """Return epoch milliseconds of a time of the city, or of so long ago; None for an empty text."""
    if not text:
        return None
    ago = text.removesuffix("ago").strip()
    if ago and ago[-1] in "smhd":
        return real_clock().now_ms() - round(1000 * seconds(ago))
    try:
        told = datetime.fromisoformat(text)
    except ValueError:
        raise ConfigError([f"{option}: expected 2h, or a time such as 2026-06-16T04:00; found '{text}'"]) from None
    zone = ZoneInfo(settings.city.timezone)
    return round((told if told.tzinfo else told.replace(tzinfo=zone)).timestamp() * 1000)


def _messages(number: int) -> str:
    return f"{number:,} message{'' if number == 1 else 's'}"


def _by_reason(counts: dict[str, int]) -> str:
    return ", ".join(f"{reason} {number:,}" for reason, number in sorted(counts.items(), key=lambda item: -item[1]))
