"""Plays a page of the documentation: files are written, commands run, and what they print put in its place.

Blocks of YAML whose first line names a file are written to it; lines ``# FILE: OLD -> NEW`` change a file, with
``# NEW FILE = FILE: OLD -> NEW`` a copy of it. In blocks of ``console`` every line with a ``$`` is a command.
``python -m tests.told_page`` writes the page anew with what is printed now.
"""

from __future__ import annotations

import os
import re
import shlex
import tempfile
from pathlib import Path

from typer.testing import CliRunner

from devices.yamlfile import ConfigError
from lamplighter.__main__ import app

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "writing-a-rule.md"
BLOCK = re.compile(r"```(yaml|console)\n(.*?)```\n", re.DOTALL)
CHANGE = re.compile(r"# (?:(\S+) = )?(\S+): (.+) -> (.+)")


def played(text: str, folder: Path) -> str:
    """Return the page with what its commands print, played in ``folder``."""
    before, here = Path.cwd(), folder
    out, last = [], 0
    try:
        for block in BLOCK.finditer(text):
            out.append(text[last : block.start()])
            last = block.end()
            if block[1] == "yaml":
                _write(here, block[2])
                out.append(block[0])
                continue
            printed = []
            for line in block[2].splitlines():
                if line.startswith("$ cd "):
                    here = here / line.removeprefix("$ cd ")
                    printed.append(line)
                elif line.startswith("$ "):
                    os.chdir(here)
                    printed += [line, *(one.replace(f"{here.resolve()}/", "") for one in _run(shlex.split(line)[2:]))]
            out.append("```console\n" + "\n".join(printed) + "\n```\n")
    finally:
        os.chdir(before)
    return "".join([*out, text[last:]])


def _write(here: Path, block: str) -> None:
    changes = [CHANGE.fullmatch(line) for line in block.splitlines()]
    if all(changes):
        for change in changes:
            assert change is not None
            source, old, new = here / change[2], *(change[k].replace("\\n", "\n") for k in (3, 4))
            text = source.read_text("utf-8")
            assert text.count(old) == 1, f"{change[2]}: '{old}' stands there {text.count(old)} times"
            (here / change[1] if change[1] else source).write_text(text.replace(old, new), "utf-8")
        return
    name = re.match(r"# (\S+)\n", block)
    assert name is not None, f"a block names no file: {block[:40]}"
    path = here / name[1]
    path.parent.mkdir(exist_ok=True)
    path.write_text(block, "utf-8")


def _run(words: list[str]) -> list[str]:
    done = CliRunner().invoke(app, words, terminal_width=120)
    if isinstance(done.exception, ConfigError):
        return done.exception.problems
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return [line.rstrip() for line in done.stdout.splitlines() if line.strip()]


def steady(text: str) -> str:
    """Return a page with all figures of its console blocks as 0: what differs with each machine, rule and simulator."""
    return BLOCK.sub(lambda block: block[0] if block[1] == "yaml" else _plain(block[0]), text)


def _plain(block: str) -> str:
    lines = []
    for line in block.splitlines():
        bare = re.sub(r"(?<![a-z_])\d[\d,.:T-]*", "0", line)
        lines.append(re.sub(r"[ ━─┳╇┻┴┼]+", " ", bare).strip())
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as place:
        PAGE.write_text(played(PAGE.read_text("utf-8"), Path(place)), "utf-8")
