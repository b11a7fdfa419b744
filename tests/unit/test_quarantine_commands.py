"""``lamplighter quarantine`` as an operator meets it, beside a stopped house and beside one that runs."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from devices.payloads import Reject
from devices.registry import Asset
from devices.topics import up
from devices.yamlfile import ConfigError
from lamplighter.__main__ import app
from lamplighter.clock import real_clock
from lamplighter.service import running
from lamplighter.settings import load_settings
from lamplighter.wiring import House
from storage.operations import Choice, Operations
from storage.quarantine import REFUSED

T0 = 1_790_000_000_000  # 2026-09-21 22:13:20 in Shanghai
READABLE = b'{"ts": 1790000000000, "power_w": 80}'


def run(folder: Path, *words: str, status: int = 0, typed: str = "") -> str:
    command = ["quarantine", *words, "-c", str(folder / "lamplighter.yaml")]
    done = CliRunner().invoke(app, command, input=typed, terminal_width=140)
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == status, done.output
    return str(done.output)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Give a stopped house with five messages in quarantine, of which two could be read by now."""
    text = "city: {id: c}\ndata: data\nbroker: {port: 9}\napi: {port: 0}\n"
    (tmp_path / "lamplighter.yaml").write_text(text, encoding="utf-8")
    (tmp_path / "data").mkdir()

    def reject(
        number: int, reason: str, payload: bytes, device: str = "lamp-0001", kind: str = "streetlight"
    ) -> Reject:
        topic = up("c", kind, device) if device else ""
        return Reject(topic, payload, reason, "why\x1b[2J", device, kind, T0 + number * 3_600_000)

    rejects = [
        reject(0, "unreadable", READABLE),
        reject(1, "wrong_form", b'{"ts": 1790000000000, "power_w": "[red]\x07"}'),
        reject(2, "unknown_device", READABLE.replace(b"80", b"81"), "lamp-0002"),
        reject(3, "clock", b'{"ts": 5}', "cover-0001", "manhole"),
        reject(4, REFUSED, b"streetlight power_w=1 1", ""),
    ]
    with opened(tmp_path) as operations:
        operations.import_assets([Asset(f"lamp-000{n}", "streetlight", "lamp") for n in (1, 2)])
        operations.ship(0, {}, rejects)
    return tmp_path


class opened:  # noqa: N801 - reads like a function
    """The operations database for the length of a block."""

    def __init__(self, folder: Path) -> None:
        self.operations = Operations(load_settings(folder / "lamplighter.yaml").operations_url())

    def __enter__(self) -> Operations:
        return self.operations

    def __exit__(self, *_: object) -> None:
        self.operations.close()


def listed(folder: Path, *words: str) -> list[str]:
    """Return the reasons in the table that a command prints."""
    rows = [line.split("│") for line in run(folder, "list", *words).splitlines() if line.startswith("│")]
    return [row[3].strip() for row in rows if row[1].strip()]  # long details go on in a second line


def test_messages_are_listed_by_every_filter(folder: Path) -> None:
    assert listed(folder) == [REFUSED, "clock", "unknown_device", "wrong_form", "unreadable"]
    assert listed(folder, "--device", "lamp-0001") == ["wrong_form", "unreadable"]
    assert listed(folder, "--kind", "manhole") == ["clock"]
    assert listed(folder, "--topic", "LAMP-0002") == ["unknown_device"]
    assert listed(folder, "--since", "2026-09-22T00:13:20", "--until", "2026-09-22T01:13:20") == ["unknown_device"]
    assert listed(folder, "--limit", "2", "--before", "3") == ["wrong_form", "unreadable"]
    said = run(folder, "list", "--limit", "2")
    assert "2 of 5 messages" in said
    assert "older ones: --before 4" in said
    assert "\x1b[2J" not in said
    with pytest.raises(ConfigError, match="--since: expected 2h, or a time such as"):
        run(folder, "list", "--since", "yesterday")


def test_one_is_shown_whole_and_can_do_nothing_to_the_terminal(folder: Path) -> None:
    said = run(folder, "show", "2")
    assert '"power_w": "[red]\\x07"' in said
    assert "\x07" not in said
    assert "payload  42 bytes, text" in said
    assert "00000000  7b 22 74 73 22" in run(folder, "show", "2", "--hex")


def test_beside_a_stopped_house_messages_are_marked_for_its_next_start(folder: Path) -> None:
    assert "2 messages marked: Lamplighter reads them again at its next start" in run(folder, "replay", "1", "2")
    said = run(folder, "replay", "--all")
    assert "1 message came back from the database, not from the broker: left as is" in said
    with opened(folder) as operations:
        assert operations.quarantine_number(Choice(asked=True)) == 4
    assert "waits" in run(folder, "list")
    with pytest.raises(ConfigError, match="say which messages"):
        run(folder, "replay")
    assert "nothing to read again" in run(folder, "replay", "--device", "nobody", status=1)


@pytest.fixture
def beside_a_running_house(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Give the folder with a whole house running over it in a thread, without a broker."""
    monkeypatch.setattr("lamplighter.readmission.LOOK_S", 0.05)
    up_and_running, stop = threading.Event(), threading.Event()

    async def live() -> None:
        house = House(load_settings(folder / "lamplighter.yaml"), real_clock())
        try:
            async with running(house):
                while house.watch.readmission.read < 1:  # noqa: ASYNC110 - the adopted lamp's, at its start
                    await asyncio.sleep(0.02)
                up_and_running.set()
                await asyncio.to_thread(stop.wait)
        finally:
            house.close()

    thread = threading.Thread(target=asyncio.run, args=(live(),))
    thread.start()
    try:
        assert up_and_running.wait(30)
        yield folder
    finally:
        stop.set()
        thread.join(60)


@pytest.mark.timeout(120)
def test_beside_a_running_house_messages_are_read_at_once_and_it_is_said_what_came_of_it(
    beside_a_running_house: Path,
) -> None:
    folder = beside_a_running_house
    assert "1 message read" in run(folder, "replay", "--reason", "unreadable")
    said = run(folder, "replay", "--device", "lamp-0001", status=1)
    assert "0 messages read; 1 cannot be read still, each with its new reason" in said
    assert listed(folder) == [REFUSED, "clock", "unreadable"], "the new reason of what is no JSON"
    with opened(folder) as operations:
        assert operations.shipped().replayed == {"streetlight": 2}


def test_nothing_is_purged_before_a_person_has_said_yes(folder: Path) -> None:
    assert "nothing was deleted" in run(folder, "purge", "--reason", "clock", status=1, typed="n\n")
    said = run(folder, "purge", "--reason", "clock", typed="y\n")
    assert "Delete 1 message for good?" in said
    assert "1 message deleted" in said
    assert "2 messages deleted" in run(folder, "purge", "1", "3", "--yes")
    with pytest.raises(ConfigError, match="or --all"):
        run(folder, "purge", "--yes")
    assert "2 messages deleted" in run(folder, "purge", "--all", "--yes")
    assert "nothing to purge" in run(folder, "purge", "--all", "--yes", status=1)
