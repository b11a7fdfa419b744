"""A database that takes everything: answers 204 to every write and counts the lines, where no InfluxDB is at hand.

python -m bench.sink prints {"port": …} and, when its standard input ends, {"writes": …, "lines": …}.
"""

from __future__ import annotations

import gzip
import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

counts = {"writes": 0, "lines": 0}
_lock = threading.Lock()


class Sink(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        with _lock:
            counts["writes"] += 1
            counts["lines"] += len([line for line in body.split(b"\n") if line])
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing a request."""


def main() -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Sink)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(json.dumps({"port": server.server_port}), flush=True)
    sys.stdin.buffer.read()
    print(json.dumps(counts), flush=True)


if __name__ == "__main__":
    main()
