"""How far long work is, and about how long it will take yet: a bar in a terminal, a line a minute in a log."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

LINE_S = 60.0  # between two lines where there is no terminal
SURE_S = 5.0  # before so much has passed nothing is said of the time that is left
Tell = Callable[[float], None]


@contextmanager
def progress(words: str, total: float, before: float = 0.0, *, show: bool = True) -> Iterator[Tell]:
    """Yield a function that is told how much is done.

    Args:
        words: what is being done.
        total: all of the work, in any unit.
        before: so much was done by an earlier call.
        show: False to show nothing.
    """
    error, begun = Console(stderr=True, highlight=False), time.monotonic()
    if not show:
        yield lambda _: None
        return
    if not error.is_terminal:
        yield _lines(error, words, total, before, begun)
        return
    columns = (TextColumn(words), BarColumn(), TextColumn("{task.percentage:>3.0f} %  {task.fields[words]}"))
    with Progress(*columns, console=error, transient=True) as bar:
        task = bar.add_task("", total=total, words="")
        bar.update(task, completed=before)

        def tell(done: float) -> None:
            bar.update(task, completed=done, words=left_words(total, before, done, time.monotonic() - begun))

        yield tell


def _lines(error: Console, words: str, total: float, before: float, begun: float) -> Tell:
    last = begun

    def tell(done: float) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last >= LINE_S:
            last = now
            error.print(f"{words}: {done / total:.0%}, {left_words(total, before, done, now - begun)}", soft_wrap=True)

    return tell


def left_words(total: float, before: float, done: float, elapsed_s: float) -> str:
    """Return how long it has taken and about how long it will take yet, in words.

    Args:
        total, before, done: work in all, that was done by an earlier call, and that is done now.
        elapsed_s: since this call began.
    """
    said = f"{_span(elapsed_s)} so far"
    if done - before <= 0 or elapsed_s < SURE_S:
        return said
    return f"{said}, about {_span(elapsed_s / (done - before) * max(0.0, total - done))} left"


def _span(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60:02d} min"
