"""A real HTTP receiver of notices: answers as it is told to, and remembers every request with its idempotency key."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Answer = Callable[[int], int]  # from the number of the request, counted from 0, to the status


class HttpSink:
    """Listens on a loopback port until closed.

    Args:
        answer: status of the n-th request.
        slow_s: seconds before it answers.

    Attributes:
        port: where it listens.
        got: (key, body) of each request, in order of arrival, whatever was answered.
    """

    def __init__(self, answer: Answer = lambda _: 200, slow_s: float = 0.0) -> None:
        self.answer, self.slow_s = answer, slow_s
        self.got: list[tuple[str, dict[str, Any]]] = []
        self._lock = threading.Lock()
        sink = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                status = sink.note(self.headers.get("Idempotency-Key", ""), body)
                time.sleep(sink.slow_s)
                self.send_response(status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.port: int = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def note(self, key: str, body: dict[str, Any]) -> int:
        """Remember a request; return the status to answer it with."""
        with self._lock:
            self.got.append((key, body))
            return self.answer(len(self.got) - 1)

    @property
    def keys(self) -> Counter[str]:
        """How often each key came."""
        with self._lock:
            return Counter(key for key, _ in self.got)

    def transitions(self) -> dict[tuple[str, str], set[str]]:
        """Return the keys under which each transition (alert id, state) was told; one each, where all is well."""
        told: dict[tuple[str, str], set[str]] = {}
        with self._lock:
            for key, body in self.got:
                told.setdefault((body["alert_id"], body["state"]), set()).add(key)
        return told

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
