"""The house keeps its own rules: where rooms stand, which way imports run, how long files grow."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ROOMS = ("lamplighter", "ingest", "devices", "alerts", "storage", "api", "dashboards", "simulators")


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_is_the_one_of_this_checkout(room: str) -> None:
    module = importlib.import_module(room)
    assert Path(str(module.__file__)).resolve().parent == ROOT / room
    assert module.__doc__, f"{room} does not say what it is for"


def test_imports_run_downwards_only() -> None:
    command = [str(Path(sys.executable).parent / "lint-imports"), "--no-cache"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_random_numbers_are_drawn_by_the_simulators_alone() -> None:
    chance = re.compile(r"default_rng|np\.random|^\s*(?:import|from) random\b", re.MULTILINE)
    for room in ROOMS:
        users = {path.name for path in (ROOT / room).rglob("*.py") if chance.search(path.read_text("utf-8"))}
        assert bool(users) == (room == "simulators"), users


def test_no_package_marker_stands_below_tests() -> None:
    assert not list((ROOT / "tests").rglob("__init__.py")), "it would shadow a room of the same name"


@pytest.mark.parametrize("room", ROOMS)
def test_files_stay_short_enough_to_hold_in_the_head(room: str) -> None:
    long = {
        str(path.relative_to(ROOT)): count
        for path in (ROOT / room).rglob("*.py")
        if (count := len(path.read_text(encoding="utf-8").splitlines())) > 350
    }
    assert not long


def test_nothing_names_a_path_of_the_machine_it_was_written_on() -> None:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    pattern = re.compile(r"(?<![\w.])/(?:work|root|farm)/")
    guilty = []
    for name in listed:
        path = ROOT / name
        if path.suffix in {".lock", ".png"} or path == Path(__file__) or not path.is_file():
            continue
        if pattern.search(path.read_text(encoding="utf-8", errors="ignore")):
            guilty.append(name)
    assert not guilty


def test_the_locks_name_no_download_address() -> None:
    for path in [*ROOT.glob("requirements*.lock"), ROOT / "console" / "package-lock.json"]:
        text = path.read_text(encoding="utf-8")
        assert '"resolved"' not in text, path.name
        if path.suffix == ".lock":
            assert "://" not in text, path.name
            assert "--hash=sha256:" in text, path.name
