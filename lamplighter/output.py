"""What commands print: as wide as the terminal, and wide enough where there is none to ask (pipes, logs, CI)."""

from __future__ import annotations

from rich.console import Console

WIDTH = 140


def make_console() -> Console:
    """Return a console that neither colours numbers nor reads brackets in data as markup of its own."""
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=WIDTH)
