"""Runs Lamplighter and kills it (SIGKILL) beside a named step: ``python tests/real/crash_at.py NAME:N -- run -c FILE``.

NAME is a step of POINTS followed by ``.before`` or ``.after``; N says at which call of it, counted from the first
message on. With ``--armed FILE`` nothing is counted until FILE exists, and FILE says which NAME:N is meant: one house
is recovered and listened to first, and then killed. The product knows nothing of this.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

POINTS = {  # step: module, class or nothing, method
    "receive": ("ingest.inbox", "Inbox", "put"),
    "journal.append": ("storage.journal", "Journal", "append"),
    "journal.sync": ("storage.journal", "Journal", "sync"),
    "judge": ("alerts.engine", "Engine", "step"),
    "commit": ("storage.operations", "Operations", "commit"),
    "acknowledge": ("ingest.session", "Session", "acknowledge"),
    "snapshot": ("storage.snapshot", "Draft", "finish"),
    "store.write": ("storage.sqlite", "SqliteStore", "write"),
    "ship": ("storage.operations", "Operations", "ship"),
    "send": ("alerts.delivery", "", "send"),
    "outbox.sent": ("storage.operations", "Operations", "outbox_sent"),
}
QUICK = {  # module constants that make a house of a test do often what a city's does rarely
    ("lamplighter.saver", "SNAPSHOT_S"): 0.3,
    ("lamplighter.service", "NOTIFY_PAUSE_S"): 0.05,
    ("storage.shipper", "IDLE_S"): 0.05,
}


class Trigger:
    """Counts calls of one step and ends the process at the wanted one.

    Args:
        wanted: ``NAME:N``, or empty to read it from ``armed`` when that file is there.
        armed: file that arms it.
    """

    def __init__(self, wanted: str, armed: Path | None) -> None:
        self.armed = armed
        self.name, self.left = _parsed(wanted) if wanted else ("", 0)
        self.heard = False
        self._lock = threading.Lock()

    def passes(self, name: str) -> None:
        """Say that the house is at ``name``; does not return where that is the wanted call."""
        if not self.name and self.armed is not None and self.armed.exists():
            self.name, self.left = _parsed(self.armed.read_text())
        if name.startswith("receive."):
            self.heard = self.heard or bool(self.name)
        if name != self.name or not self.heard:
            return
        with self._lock:
            self.left -= 1
            if self.left == 0:
                os.kill(os.getpid(), signal.SIGKILL)


def _parsed(wanted: str) -> tuple[str, int]:
    name, _, number = wanted.partition(":")
    step, _, side = name.rpartition(".")
    if step not in POINTS or side not in ("before", "after"):
        raise SystemExit(f"{wanted}: expected STEP.before:N or STEP.after:N with one of {', '.join(POINTS)}")
    return name, int(number or 1)


def watch_over(trigger: Trigger) -> None:
    """Put the trigger before and after every step."""
    for step, (module_name, class_name, method) in POINTS.items():
        module = importlib.import_module(module_name)
        owner = getattr(module, class_name) if class_name else module
        setattr(owner, method, _wrapped(trigger, step, getattr(owner, method)))
    for (module_name, constant), value in QUICK.items():
        setattr(importlib.import_module(module_name), constant, value)


def _wrapped(trigger: Trigger, step: str, whole: Callable[..., Any]) -> Callable[..., Any]:
    def beside(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - whatever the step takes and gives
        trigger.passes(f"{step}.before")
        result = whole(*args, **kwargs)
        trigger.passes(f"{step}.after")
        return result

    return beside


def live(words: Sequence[str], wanted: str, armed: str) -> None:
    """Be a ``lamplighter`` process with these words, killed where it was asked for."""
    from lamplighter.__main__ import main

    watch_over(Trigger(wanted, Path(armed) if armed else None))
    sys.argv = ["lamplighter", *words]
    main()


def nursery() -> None:
    """Fork a life for each line of standard input, until it ends: modules are imported once for all of them.

    ``{"words": […], "log": FILE, "armed": FILE}`` is answered by the life's process id, ``{"poll": ID}`` by how it
    ended: a negative signal, an exit status, or null while it lives.
    """
    importlib.import_module("lamplighter.service")
    ended: dict[int, int] = {}
    living: set[int] = set()
    for line in sys.stdin:
        asked = json.loads(line)
        if "poll" in asked:
            number = asked["poll"]
            if number in living and (found := os.waitpid(number, os.WNOHANG))[0]:
                living.discard(number)
                ended[number] = os.waitstatus_to_exitcode(found[1])
            print(json.dumps(ended.get(number)), flush=True)
            continue
        number = os.fork()
        if number == 0:
            _be_born(asked)
        living.add(number)
        print(number, flush=True)
    for number in living:
        os.kill(number, signal.SIGKILL)


def _be_born(asked: dict[str, Any]) -> None:
    status = 1
    try:
        with Path(asked["log"]).open("ab", buffering=0) as out, Path(os.devnull).open("rb") as nothing:
            os.dup2(nothing.fileno(), 0)
            os.dup2(out.fileno(), 1)
            os.dup2(out.fileno(), 2)
        live(asked["words"], "", asked["armed"])
        status = 0
    except SystemExit as over:
        status = over.code if isinstance(over.code, int) else 0
    except BaseException:  # noqa: BLE001 - whatever it is belongs into the life's own log
        traceback.print_exc()
    finally:
        os._exit(status)


def _command_line(words: Sequence[str]) -> None:
    if list(words) == ["--nursery"]:
        nursery()
        return
    if "--" not in words:
        raise SystemExit(__doc__)
    cut = list(words).index("--")
    own, rest = list(words[:cut]), words[cut + 1 :]
    armed = ""
    if "--armed" in own:
        armed = own.pop(own.index("--armed") + 1)
        own.remove("--armed")
    if len(own) != (not armed):
        raise SystemExit(__doc__)
    live(rest, own[0] if own else "", armed)


if __name__ == "__main__":
    _command_line(sys.argv[1:])
