"""Takes the pictures of the README: starts a demo, waits until its city has troubles, photographs the console twice."""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

from scripts.screenshot import photograph

ROOT = Path(__file__).resolve().parents[1]
IMAGES = ROOT / "docs" / "images"
PORT = 18080
MOMENT_S = 14.0  # after which the demo's script has faults of every kind on the map
START_S = 60.0


def main() -> int:
    """Write docs/images/console.png (English) and console-zh.png; return the exit status."""
    url = f"http://127.0.0.1:{PORT}"
    with tempfile.TemporaryDirectory() as folder:
        command = [str(ROOT / ".venv/bin/lamplighter"), "demo", "--port", str(PORT), "--folder", f"{folder}/demo"]
        demo = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL)
        try:
            wait_for(url, demo)
            time.sleep(MOMENT_S)
            photograph(url, {"en": IMAGES / "console.png", "zh": IMAGES / "console-zh.png"})
        finally:
            demo.send_signal(signal.SIGINT)
            demo.wait(60)
    return 0


def wait_for(url: str, demo: subprocess.Popen[bytes]) -> None:
    """Wait until the demo answers. Raises RuntimeError when it ends or stays silent."""
    end = time.monotonic() + START_S
    while time.monotonic() < end and demo.poll() is None:
        try:
            with urllib.request.urlopen(f"{url}/healthz", timeout=2):
                return
        except OSError:
            time.sleep(0.2)
    raise RuntimeError("the demo does not answer: try `make demo` and read what it says")


if __name__ == "__main__":
    sys.exit(main())
