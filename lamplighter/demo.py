"""The demo: a simulated city with everything running in one process tree, on loopback, and an honest summary."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

from rich.console import Console

from lamplighter import demo_report
from lamplighter.clock import fast_clock
from lamplighter.embedded_broker import EmbeddedBroker
from lamplighter.service import configure_logging, running
from lamplighter.wiring import House

SPEED = 300.0  # city seconds a second: one minute on the wall is five hours of the city's night
START = datetime(2026, 6, 16, 0, 50, tzinfo=ZoneInfo("Asia/Shanghai"))  # the city's clock when the demo starts
DRAIN_S = 20.0  # patience at the end until everything sent is stored and everybody is told
MARKER = "this folder belongs to the demo and is emptied when it starts\n"
CITY = "demo"


def run_demo(folder: Path, seed: int, port: int, run_for_s: float | None, broker: str) -> int:
    """Run the demo; 0 when the ledger balances and every fault that was due has been alerted."""
    _empty(folder)
    with (folder / "log.jsonl").open("w", encoding="utf-8") as stream:
        configure_logging(stream)
        try:
            return asyncio.run(_demo(folder, seed, port, run_for_s, broker))
        except KeyboardInterrupt:
            return 130


async def _demo(folder: Path, seed: int, port: int, run_for_s: float | None, broker_name: str) -> int:
    console = Console(highlight=False)
    clock = fast_clock(int(START.timestamp() * 1000), SPEED)
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with contextlib.AsyncExitStack() as stack:
        broker = await stack.enter_async_context(EmbeddedBroker(folder / "broker", prefer=broker_name))
        # The simulator starts first: it needs a moment to build its city, while the house builds itself.
        simulator = await _start_simulator(folder, seed, broker.port, clock)
        stack.push_async_callback(_stop_simulator, simulator)
        settings = _settings(folder, broker.port, port)
        _fill_registry(settings, seed)
        house = House(settings, clock)
        stack.callback(house.close)
        shown_port = await stack.enter_async_context(running(house))
        while not house.session.connected:
            await asyncio.sleep(0.01)
        ready_s = demo_report.process_age_s()
        simulator.stdin.write(b"go\n")
        console.print(
            f"[bold]Lamplighter 点灯人[/] is watching {len(house.registry)} devices "
            f"(broker {broker.name}, ready after {ready_s:.1f} s)"
        )
        console.print(f"console   [bold]http://127.0.0.1:{shown_port}/[/]   API  http://127.0.0.1:{shown_port}/docs")
        console.print(f"the city's clock runs {SPEED:g} times as fast; Ctrl-C stops and prints the summary\n")
        await demo_report.show_progress(console, house, stop, run_for_s)
        sent = await _stop_simulator(simulator)
        await _drain(house, sent)
        report = demo_report.summarise(house, folder / "truth.jsonl", sent, ready_s, simulator.pid, broker.pid)
    demo_report.print_summary(console, report)
    Path("demo-summary.json").write_text(json.dumps(report, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
    console.print("\nthe same as JSON: demo-summary.json")
    return 0 if report["passed"] else 1
