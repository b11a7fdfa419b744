"""A broker for the demo and for tests: a child process on loopback that ends with its parent.

A ``mosquitto`` on PATH is preferred; else ``iotcore`` (rumqttd in a wheel), which pip provides. Neither is meant for a
city: there is no access list, and iotcore keeps at most ``IOTCORE_SEGMENTS`` MB of messages that nobody fetched.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import shutil
import socket
import sys
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

import mqtt5

READY_S = 20.0
STOP_S = 5.0
PORT_TRIES = 5
IOTCORE_SEGMENTS = 24  # of 1 MiB a subscription; with the 28 MB it starts with it stays under 120 MB resident
SEARCH = os.pathsep.join([os.environ.get("PATH", ""), "/usr/local/sbin", "/usr/sbin", "/opt/homebrew/sbin"])

# On Linux the kernel ends the child with its parent (PR_SET_PDEATHSIG); exec keeps the process id.
_TIE = """\
import ctypes, os, sys
if sys.platform == "linux":
    ctypes.CDLL(None).prctl(1, 9)
    if os.getppid() != int(sys.argv[1]):
        os._exit(1)
"""
_MOSQUITTO = _TIE + "os.execv(sys.argv[2], sys.argv[2:])\n"

# Elsewhere the child notices that its standard input, held open by the parent, has ended.
_IOTCORE = (
    _TIE
    + """\
import threading
def watch():
    sys.stdin.buffer.read()
    os._exit(0)
threading.Thread(target=watch, daemon=True).start()
from iotcore.iotcore import IotCoreBroker
IotCoreBroker(config_path=sys.argv[2]).run_forever()
"""
)

MOSQUITTO_CONF = """\
{user}listener {port} 127.0.0.1
allow_anonymous true
persistence true
persistence_location {folder}/
autosave_interval 10
max_queued_messages 500000
max_inflight_messages 0
set_tcp_nodelay true
log_dest stdout
log_type error
log_type warning
connection_messages false
"""

IOTCORE_CONF = """\
id = 0
[router]
id = 0
max_connections = 1000
max_outgoing_packet_count = 200
max_segment_size = 1048576
max_segment_count = {segments}
[v5.1]
name = "lamplighter"
listen = "127.0.0.1:{port}"
next_connection_delay_ms = 0
[v5.1.connections]
connection_timeout_ms = 15000
max_payload_size = 1048576
max_inflight_count = 1000
dynamic_filters = true
"""


class BrokerStartError(RuntimeError):
    """The embedded broker did not come up; the message holds the end of its log."""


class EmbeddedBroker:
    """An MQTT 5 broker for as long as an ``async with`` block lasts.

    Args:
        folder: for its configuration, log and state; made when missing.
        port: where to listen on 127.0.0.1; 0 for any free port.
        prefer_mosquitto: take a Mosquitto where there is one.

    Attributes:
        port: where it listens.
        name: ``mosquitto`` or ``iotcore``.
    """

    def __init__(self, folder: Path, port: int = 0, *, prefer_mosquitto: bool = True) -> None:
        self.folder = folder
        self.port = port
        self._any_port = port == 0
        self._mosquitto = shutil.which("mosquitto", path=SEARCH) if prefer_mosquitto else None
        self.name = "mosquitto" if self._mosquitto else "iotcore"
        self._child: asyncio.subprocess.Process | None = None

    @property
    def pid(self) -> int:
        """Process id of the broker while it runs."""
        if self._child is None:
            raise AssertionError("the embedded broker is not running")
        return self._child.pid

    async def __aenter__(self) -> EmbeddedBroker:
        """Start it; returns when it has answered an MQTT 5 CONNECT."""
        self.folder.mkdir(parents=True, exist_ok=True)
        for remaining in reversed(range(PORT_TRIES if self._any_port else 1)):
            try:
                if self._any_port:
                    self.port = _free_port()
                else:
                    _assert_free(self.port)
                await self._start()
            except BrokerStartError:
                if not remaining:
                    raise
            else:
                return self
        raise AssertionError("unreachable")

    async def __aexit__(
        self, kind: type[BaseException] | None, trouble: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop it, kindly first."""
        await self._stop()

    async def _start(self) -> None:
        log_path = self.folder / "broker.log"
        with log_path.open("ab") as log:
            self._child = await asyncio.create_subprocess_exec(
                *self._command(), stdin=asyncio.subprocess.PIPE, stdout=log, stderr=log, cwd=self.folder
            )
        child = self._child
        try:
            async with asyncio.timeout(READY_S):
                while not await _answers(self.port):
                    if child.returncode is not None:
                        break
                    await asyncio.sleep(0.02)
        except TimeoutError:
            pass
        except BaseException:
            await self._stop()
            raise
        else:
            if child.returncode is None:
                return
        await self._stop()
        raise BrokerStartError(f"{self.name} did not start on port {self.port}: {_tail(log_path)}")

    def _command(self) -> Sequence[str]:
        me = [sys.executable, "-I", "-c"]
        if self._mosquitto:
            user = "user root\n" if os.getuid() == 0 else ""
            text = MOSQUITTO_CONF.format(user=user, port=self.port, folder=self.folder.resolve())
            path = self.folder / "mosquitto.conf"
            path.write_text(text)
            return [*me, _MOSQUITTO, str(os.getpid()), self._mosquitto, "-c", str(path.resolve())]
        path = self.folder / "iotcore.toml"
        path.write_text(IOTCORE_CONF.format(port=self.port, segments=IOTCORE_SEGMENTS))
        return [*me, _IOTCORE, str(os.getpid()), str(path.resolve())]

    async def _stop(self) -> None:
        child, self._child = self._child, None
        if child is None:
            return
        if child.returncode is None:
            child.terminate()
            try:
                async with asyncio.timeout(STOP_S):
                    await child.wait()
            except TimeoutError:
                child.kill()
        await child.wait()


async def _answers(port: int) -> bool:
    """Say whether an MQTT 5 broker takes a connection; anything else on the port does not count."""
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    try:
        name = f"lamplighter-probe-{secrets.token_hex(4)}"
        writer.write(mqtt5.ConnectPacket(name, clean_start=True, keep_alive=10).write())
        async with asyncio.timeout(2):
            answer = await reader.read(512)
        packet, _ = mqtt5.read(memoryview(answer))
        writer.write(mqtt5.DisconnectPacket().write())
        return isinstance(packet, mqtt5.ConnAckPacket) and packet.reason_code is mqtt5.ConnAckReasonCode.SUCCESS
    except (OSError, TimeoutError, IndexError, ValueError):
        return False
    finally:
        writer.close()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _assert_free(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as trouble:
            raise BrokerStartError(f"port {port} on 127.0.0.1 is in use: {trouble}") from trouble


def _tail(path: Path) -> str:
    lines = path.read_text(errors="replace").strip().splitlines()
    return " | ".join(lines[-5:]) or "it said nothing"
