"""What goes on around the house while its database is away: steady readings, and alerts whose way to a phone is timed.

    python -m bench.outage_load --port 1883 --rate 5000

publishes lamps' readings until its standard input ends, and prints one JSON line with what it sent and used.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import mqtt5

from bench.publish import Line, device_ids, messages, publish
from devices.topics import up

CITY = "outage"
ENDLESS = 1 << 40


class Phone(ThreadingHTTPServer):
    """Takes notices as a webhook does and remembers when each cover's first one came (monotonic seconds)."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Ring)
        self.heard: dict[str, float] = {}
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()


class _Ring(BaseHTTPRequestHandler):
    server: Phone

    def do_POST(self) -> None:
        came = time.monotonic()
        notice = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.heard.setdefault(notice["entity"].removeprefix("device:"), came)
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing a request."""


class Covers:
    """Opens one manhole cover after the other, each once, and knows how long its notice took.

    Args:
        phone: where their notices come.
        port: the broker's.
        ids: covers; as many as will be opened.
        each_s: seconds between two.
    """

    def __init__(self, phone: Phone, port: int, ids: Sequence[str], each_s: float) -> None:
        self.phone = phone
        self.published: dict[str, float] = {}
        self._line = Line("127.0.0.1", port, "bench-covers", None, None)
        self._ids = ids
        self._each_s = each_s
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._open, daemon=True)
        self._thread.start()

    def _open(self) -> None:
        for number, name in enumerate(self._ids):
            if self._stopping.wait(self._each_s):
                return
            payload = json.dumps({"ts": time.time_ns() // 1_000_000, "cover_open": True, "tilt_deg": 60.0}).encode()
            packet = mqtt5.PublishPacket(
                up(CITY, "manhole", name), payload, qos=mqtt5.QoS.AT_LEAST_ONCE, packet_id=number % 65535 + 1
            )
            self.published[name] = time.monotonic()
            self._line.send(packet.write(), 1)

    def stop(self, within_s: float = 30) -> None:
        """Open no more, and wait until the notice of each has come."""
        self._stopping.set()
        self._thread.join()
        self._line.finish()
        until = time.monotonic() + within_s
        while len(self.phone.heard) < len(self.published) and time.monotonic() < until:
            time.sleep(0.05)

    def latencies_s(self, since: float, until: float) -> list[float]:
        """Return seconds from publishing to notice of the covers opened in a stretch of monotonic time, ascending.

        Raises:
            SystemExit: when a notice never came.
        """
        chosen = [name for name, at in self.published.items() if since <= at < until]
        if silent := [name for name in chosen if name not in self.phone.heard]:
            raise SystemExit(f"{len(silent)} of {len(chosen)} alerts never reached the phone, {silent[0]} among them")
        return sorted(self.phone.heard[name] - self.published[name] for name in chosen)


def _until_closed(each: Iterator[tuple[str, bytes]]) -> Iterator[tuple[str, bytes]]:
    closed = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.buffer.read(), closed.set()), daemon=True).start()
    for message in each:
        if closed.is_set():
            return
        yield message


def main() -> None:
    """Publish until standard input ends."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--rate", type=float, required=True, help="readings a second, each a message")
    parser.add_argument("--devices", type=int, default=5000)
    parser.add_argument("--start-ms", type=int, required=True, help="device time of the first round")
    given = parser.parse_args()
    line = Line("127.0.0.1", given.port, "bench-lamps", None, None)
    each = messages(ENDLESS, CITY, device_ids(given.devices), given.start_ms)
    sent = publish(line, _until_closed(each), given.rate)
    line.finish()
    used = resource.getrusage(resource.RUSAGE_SELF)
    print(json.dumps({"messages": sent, "refused": line.refused, "cpu_s": used.ru_utime + used.ru_stime}))


if __name__ == "__main__":
    main()
