"""The demo: a simulated city with everything running in one process tree, on loopback, and an honest summary."""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
import signal
import sys
import time
from collections.abc import AsyncIterator
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from rich.console import Console

from devices.yamlfile import ConfigError
from lamplighter import demo_report
from lamplighter.clock import Clock, held_clock
from lamplighter.demo_city import TIMEZONE, demo_city
from lamplighter.embedded_broker import EmbeddedBroker
from lamplighter.output import make_console
from lamplighter.service import configure_logging, running
from lamplighter.settings import Api, Broker, City, Intake, Receiver, Settings, shipped
from lamplighter.wiring import House
from storage.operations import Operations

SPEED = 300.0  # city seconds a second: one minute on the wall is five hours of the city's night
START = datetime(2026, 6, 16, 0, 50, tzinfo=ZoneInfo(TIMEZONE))  # the city's clock when the demo starts
DRAIN_S = 20.0  # patience at the end until everything sent is stored and everybody is told
MARKER = "demo"  # a file of this name marks a folder that the demo may empty


class DemoError(RuntimeError):
    """The demo cannot go on; the message says where to look."""


def run_demo(folder: Path, seed: int, port: int, run_for_s: float | None, broker: str) -> int:
    """Run the demo; 0 when the ledger balances and every fault that was due has been alerted.

    Args:
        folder: for its data; emptied first.
        seed: of the city.
        port: of API and console; 0 for any free one.
        run_for_s: wall seconds until it stops by itself, None for Ctrl-C.
        broker: ``auto``, ``mosquitto`` or ``iotcore``.
    """
    if broker not in {"auto", "mosquitto", "iotcore"}:
        raise ConfigError([f"--broker: expected auto, mosquitto or iotcore; found '{broker}'"])
    _empty(folder)
    report: dict[str, Any] = {}
    problem = ""
    with (folder / "log.jsonl").open("w", encoding="utf-8", buffering=1) as stream:
        configure_logging(stream)
        try:
            report = asyncio.run(_demo(folder, seed, port, run_for_s, broker))
        except* (DemoError, ConfigError) as group:
            problem = "; ".join(str(trouble) for trouble in group.exceptions)
    if problem:
        raise ConfigError([problem])
    Path("demo-summary.json").write_text(json.dumps(report, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
    console = make_console()
    demo_report.print_summary(console, report)
    console.print("the same as JSON: demo-summary.json")
    return 0 if report["passed"] else 1


async def _demo(folder: Path, seed: int, port: int, run_for_s: float | None, broker_name: str) -> dict[str, Any]:
    console = make_console()
    clock = held_clock(int(START.timestamp() * 1000), SPEED)
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    embedded = EmbeddedBroker(folder / "broker", prefer_mosquitto=broker_name != "iotcore")
    if broker_name == "mosquitto" and embedded.name != "mosquitto":
        raise ConfigError(["--broker: there is no mosquitto on PATH"])
    async with embedded as broker, _simulator(folder, seed, broker.port, clock) as simulator:
        settings = _settings(folder, broker, port)
        _fill_registry(settings, seed)
        house = House(settings, clock)
        try:
            async with running(house) as shown_port:
                await house.session.ready.wait()
                ready_s, ready_cpu_s = demo_report.process_age_s(), time.process_time()
                _greet(console, house, broker.name, shown_port, ready_s)
                await simulator.tell_history()
                await _settled(
                    house
                )  # the city's clock is quick: a house busy with history would seem deaf for minutes
                began = clock.start()
                simulator.go(began)
                watching = asyncio.create_task(simulator.ended(stop))
                await demo_report.show_progress(console, house, stop, run_for_s)
                watching.cancel()
                run_s = time.monotonic() - began
                end_ms = house.now_ms()
                resident_mb = demo_report.resident_mb(None, simulator.pid, broker.pid)
                sent = await simulator.finish()
                await _drain(house, sent)
                return demo_report.summarise(
                    house,
                    folder / "truth.jsonl",
                    sent,
                    end_ms=end_ms,
                    ready_s=ready_s,
                    ready_cpu_s=ready_cpu_s,
                    run_s=run_s,
                    mb=resident_mb,
                )
        finally:
            house.close()


def _greet(console: Console, house: House, broker: str, port: int, ready_s: float) -> None:
    devices = len(house.registry)
    console.print(
        f"[bold]Lamplighter 点灯人[/] watches {devices} devices; ready after {ready_s:.1f} s, broker {broker}"
    )
    console.print(f"console  [bold]http://127.0.0.1:{port}/[/]")
    console.print(f"the city's clock runs {SPEED:g} times as fast; Ctrl-C stops it and prints the summary\n")


def _empty(folder: Path) -> None:
    """Empty the demo's folder, and only a folder that is the demo's."""
    if folder.exists():
        if any(folder.iterdir()) and not (folder / MARKER).exists():
            raise ConfigError([f"{folder}: not empty and not a folder of the demo; choose another with --folder"])
        shutil.rmtree(folder)
    folder.mkdir(parents=True)
    (folder / MARKER).touch()


def _settings(folder: Path, broker: EmbeddedBroker, port: int) -> Settings:
    city = demo_city(1)
    return Settings(
        city=City(id=city.name, name_en=city.title["en"], name_zh=city.title["zh"], timezone=TIMEZONE),
        data=folder / "data",
        rules=shipped("rules.yaml"),
        broker=Broker(host="127.0.0.1", port=broker.port, counts=broker.name == "mosquitto"),
        intake=Intake(tick_ms=100),
        api=Api(host="127.0.0.1", port=port),
        notify=(Receiver(name="crew", url="log", language="zh", min_severity="info"),),
    )


def _fill_registry(settings: Settings, seed: int) -> None:
    city = demo_city(seed)
    settings.data.mkdir(parents=True)
    operations = Operations(settings.operations_url())
    operations.import_assets(city.assets, city.roads, city.permits)
    operations.close()


async def _drain(house: House, sent: dict[str, Any]) -> None:
    """Wait until everything that was sent is settled and everybody is told, DRAIN_S at most."""
    readings = sum(sent["readings"].values())
    until = time.monotonic() + DRAIN_S
    while time.monotonic() < until:
        total = house.ledger().total
        if total.received >= readings and total.pending == 0 and not house.operations.outbox_counts().get("due"):
            return
        await asyncio.sleep(0.1)


async def _settled(house: House) -> None:
    """Wait until nothing that was received is pending, DRAIN_S at most."""
    until = time.monotonic() + DRAIN_S
    while time.monotonic() < until:
        await asyncio.sleep(0.1)
        total = house.ledger().total
        if total.received and not total.pending and not len(house.session.inbox):
            return


class _Simulator:
    """The simulated city's process."""

    def __init__(self, process: asyncio.subprocess.Process, log: Path) -> None:
        if process.stdin is None or process.stdout is None:
            raise AssertionError("the simulator is started with pipes")
        self._process, self._stdin, self._stdout = process, process.stdin, process.stdout
        self._log = log
        self.pid = process.pid

    async def tell_history(self) -> None:
        """Let it publish what the pump stations have logged before tonight; the city's clock stands still meanwhile."""
        self._stdin.write(b"history\n")
        if not await self._stdout.readline():
            raise DemoError(f"the simulated city has failed; its last words are in {self._log}")

    def go(self, origin_s: float) -> None:
        """Let the city live from ``origin_s`` (monotonic seconds) on."""
        self._stdin.write(f"go {origin_s!r}\n".encode())

    async def finish(self) -> dict[str, Any]:
        """End it; return what it says it has sent."""
        self._stdin.close()
        said = await self._stdout.read()
        if await self._process.wait():
            raise DemoError(f"the simulated city has failed; its last words are in {self._log}")
        found: dict[str, Any] = json.loads(said)
        return found

    async def ended(self, stop: asyncio.Event) -> None:
        """Wait until the process ends, and stop the demo then: a city that fell silent is not worth watching."""
        await self._process.wait()
        stop.set()


@contextlib.asynccontextmanager
async def _simulator(folder: Path, seed: int, port: int, clock: Clock) -> AsyncIterator[_Simulator]:
    argument = {
        "seed": seed,
        "port": port,
        "truth": str(folder / "truth.jsonl"),
        "start_ms": clock.origin_ms,
        "speed": clock.speed,
    }
    with (folder / "simulator.log").open("wb") as errors:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "lamplighter.demo_city",
            json.dumps(argument),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=errors,
            start_new_session=True,  # Ctrl-C is for the demo, which then ends the city in order
        )
    try:
        yield _Simulator(process, folder / "simulator.log")
    finally:
        if process.returncode is None:
            process.terminate()
            await process.wait()
