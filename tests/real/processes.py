"""Server processes of the tests: on a free loopback port, tied to the test run, known by their own process id."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

REQUIRED = "LAMPLIGHTER_REQUIRE_SERVERS"
PATH = os.pathsep.join([os.environ.get("PATH", ""), "/usr/local/sbin", "/usr/sbin", "/sbin"])
START_S = 20.0

# Asks the kernel to kill the server when the test run dies, then becomes the server: the process id stays the same.
TIED = (
    "import ctypes,os,sys\n"
    "ctypes.CDLL(None).prctl(1, 9)\n"
    "os.getppid() == int(sys.argv[1]) or os._exit(1)\n"
    "os.execv(sys.argv[2], sys.argv[2:])"
)


def need(*programs: str) -> list[str]:
    """Return the full paths of programs; skip the test, or fail it where skips are failures, when one is absent."""
    found = [shutil.which(program, path=PATH) for program in programs]
    missing = [program for program, path in zip(programs, found, strict=True) if path is None]
    if missing:
        text = f"{', '.join(missing)} not installed here; `make servers` installs it"
        if os.environ.get(REQUIRED) == "1":
            pytest.fail(text, pytrace=False)
        pytest.skip(text)
    return [path for path in found if path is not None]


_next_port = 20_000 + os.getpid() * 37 % 11_000


def free_port() -> int:
    """Return a loopback port that nothing uses, below the range from which outgoing connections draw theirs."""
    global _next_port  # noqa: PLW0603 - a port just handed out may not be listening yet
    for _ in range(11_000):
        _next_port = 20_000 + (_next_port - 20_000 + 1) % 11_000
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", _next_port))
            except OSError:
                continue
            return _next_port
    raise AssertionError("no free port between 20000 and 31000")


def listens(pid: int, port: int) -> bool:
    """Say whether the process itself holds the socket that listens on a loopback port (asked of the kernel)."""
    wanted = f"{port:04X}"
    inodes = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        for line in Path(table).read_text().splitlines()[1:]:
            part = line.split()
            if part[1].rsplit(":", 1)[1] == wanted and part[3] == "0A":
                inodes.add(f"socket:[{part[9]}]")
    if not inodes:
        return False
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        try:
            if str(descriptor.readlink()) in inodes:
                return True
        except FileNotFoundError:
            continue
    return False


class Process:
    """One server process that can be killed, ended kindly and started again on the same ports and files."""

    def __init__(self, name: str, folder: Path, command: Sequence[str], env: Mapping[str, str] | None = None) -> None:
        self.name = name
        self.folder = folder
        self.command = list(command)
        self.env = dict(env or {})
        self._child: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """Process id of the server as it runs now."""
        assert self._child is not None, f"{self.name} is not running"
        return self._child.pid

    @property
    def running(self) -> bool:
        return self._child is not None and self._child.poll() is None

    @property
    def log(self) -> str:
        path = self.folder / f"{self.name}.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def start(self, *ports: int) -> None:
        """Start and wait until this very process listens on all ports; call it from the main thread."""
        assert not self.running, f"{self.name} runs already as {self.pid}"
        tied = [sys.executable, "-I", "-S", "-c", TIED, str(os.getpid()), *self.command]
        with (self.folder / f"{self.name}.log").open("ab") as log:
            self._child = subprocess.Popen(
                tied, cwd=self.folder, env=self._environment(), stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        deadline = time.monotonic() + START_S
        waiting = list(ports)
        while waiting:
            if self._child.poll() is not None:
                raise AssertionError(f"{self.name} ended with {self._child.returncode} while starting:\n{self.log}")
            try:
                waiting = [port for port in waiting if not listens(self.pid, port)]
            except FileNotFoundError:
                continue
            if waiting and time.monotonic() > deadline:
                self.kill()
                raise AssertionError(f"{self.name} does not listen on {waiting} after {START_S} s:\n{self.log}")
            time.sleep(0.01)

    def _environment(self) -> dict[str, str]:
        kept = {key: os.environ[key] for key in ("PATH", "LANG", "TMPDIR") if key in os.environ}
        return {**kept, "HOME": str(self.folder), **self.env}

    def kill(self) -> None:
        """End at once, as a power cut of the process would (SIGKILL)."""
        self._end(signal.SIGKILL)

    def terminate(self) -> None:
        """End kindly (SIGTERM), with SIGKILL after ten seconds."""
        self._end(signal.SIGTERM)

    def pause(self) -> None:
        """Freeze the process (SIGSTOP): the server hangs, its connections stay open."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Let a frozen process run on."""
        os.kill(self.pid, signal.SIGCONT)

    def _end(self, how: signal.Signals) -> None:
        child, self._child = self._child, None
        if child is None:
            return
        if child.poll() is None:
            child.send_signal(how)
            child.send_signal(signal.SIGCONT)
        try:
            child.wait(10)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait(10)
