"""Takes a picture of the console of a running house: ``python scripts/screenshot.py URL OUT --lang zh``."""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

FLAGS = (
    "--no-sandbox",
    "--use-angle=swiftshader",  # WebGL without a graphics card
    "--enable-unsafe-swiftshader",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)


def main() -> int:
    """Open the console, wait until its map stands still, and write the picture."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url", help="where the house listens, such as http://127.0.0.1:8080")
    parser.add_argument("out", type=Path, help="PNG file to write")
    parser.add_argument("--lang", choices=("zh", "en"), default="zh")
    parser.add_argument("--width", type=int, default=1600)
    parser.add_argument("--height", type=int, default=900)
    parser.add_argument("--asset", help="open this asset's panel")
    parser.add_argument("--chromium", default=shutil.which("chromium") or "/usr/bin/chromium")
    wanted = parser.parse_args()
    if not Path(wanted.chromium).exists():
        print("no chromium here: run `make servers`", file=sys.stderr)
        return 1
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=wanted.chromium, args=list(FLAGS))
        page = browser.new_page(viewport={"width": wanted.width, "height": wanted.height})
        page.add_init_script(f"localStorage.setItem('lamplighter.language', '{wanted.lang}')")
        page.goto(wanted.url)
        page.wait_for_selector(".map[data-ready]", timeout=60_000)
        page.wait_for_selector("[data-ledger=received]")
        if wanted.asset:
            page.get_by_role("searchbox").fill(wanted.asset)
            page.locator(".results button").first.click()
            page.wait_for_selector(f"[data-asset='{wanted.asset}'] .u-wrap")
        while not page.evaluate("lamplighterMap.areTilesLoaded() && !lamplighterMap.isMoving()"):
            page.wait_for_timeout(100)
        page.wait_for_timeout(500)  # labels fade in
        wanted.out.parent.mkdir(parents=True, exist_ok=True)
        page.screenshot(path=wanted.out)
        browser.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
