"""Stands between the store and a real InfluxDB: requests reach the database whole, its answers go astray."""

from __future__ import annotations

import contextlib
import http.client
import socket
import struct
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

RESET = struct.pack("ii", 1, 0)  # a close that is a reset

MOODS = (
    "pass",  # nothing happens
    "swallow",  # hangs up instead of answering
    "reset",  # resets the connection instead of answering
    "hang",  # says nothing for as long as the other waits
    "cut",  # hangs up amid the status line
    "drip",  # sends a byte every tenth of a second
    "deaf",  # answers, and resets the connection that the other wants to use again
)


class Between(ThreadingHTTPServer):
    """One mood at a time.

    Args:
        port: where the database listens.

    Attributes:
        mood: one of MOODS.
        answered: requests that the database has answered.
    """

    daemon_threads = True

    def __init__(self, port: int) -> None:
        super().__init__(("127.0.0.1", 0), _Carrier)
        self.behind = port
        self.mood = "pass"
        self.answered = 0
        Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def stop(self) -> None:
        self.shutdown()
        self.server_close()


class _Carrier(BaseHTTPRequestHandler):
    server: Between
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        there = http.client.HTTPConnection("127.0.0.1", self.server.behind, timeout=30)
        there.request(self.command, self.path, body, dict(self.headers))
        answer = there.getresponse()
        content = answer.read()
        there.close()
        self.server.answered += 1
        head = f"HTTP/1.1 {answer.status} {answer.reason}\r\nContent-Length: {len(content)}\r\n"
        head += "".join(f"{name}: {value}\r\n" for name, value in answer.getheaders() if name.startswith("X-Influx"))
        with contextlib.suppress(OSError):
            self._give(head.encode() + b"\r\n" + content)

    do_GET = do_POST  # noqa: N815 - the name is the library's

    def _give(self, whole: bytes) -> None:
        mood = self.server.mood
        self.close_connection = mood != "pass"
        if mood in ("pass", "deaf"):
            self.wfile.write(whole)
        elif mood == "cut":
            self.wfile.write(whole[:10])
        elif mood == "drip":
            for place in range(len(whole)):
                self.wfile.write(whole[place : place + 1])
                time.sleep(0.1)
        elif mood == "hang":
            self.connection.recv(1)  # until the other hangs up
        if mood in ("reset", "deaf"):
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            self.connection.close()

    def log_message(self, *_: object) -> None:
        """Say nothing a request."""
