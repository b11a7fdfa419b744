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
LANGUAGES = {"zh": "中文", "en": "English"}


def main() -> int:
    """Read the command line and take one picture."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url", help="where the house listens, such as http://127.0.0.1:8080")
    parser.add_argument("out", type=Path, help="PNG file to write")
    parser.add_argument("--lang", choices=("zh", "en"), default="zh")
    parser.add_argument("--width", type=int, default=1600)
    parser.add_argument("--height", type=int, default=900)
    parser.add_argument("--asset", help="open this asset's panel")
    wanted = parser.parse_args()
    photograph(wanted.url, {wanted.lang: wanted.out}, (wanted.width, wanted.height), wanted.asset)
    return 0


def photograph(url: str, out: dict[str, Path], size: tuple[int, int] = (1600, 900), asset: str | None = None) -> None:
    """Open the console, wait until its map stands still, and write one picture a language."""
    program = shutil.which("chromium")
    if program is None:
        raise SystemExit("no chromium here: run `make servers`")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=list(FLAGS))
        page = browser.new_page(viewport={"width": size[0], "height": size[1]})
        page.goto(url)
        page.wait_for_selector(".map[data-ready]", timeout=60_000)
        page.wait_for_selector("[data-ledger=received]")
        if asset:
            page.get_by_role("searchbox").fill(asset)
            page.locator(".results button").first.click()
            page.wait_for_selector(f"[data-asset='{asset}'] .u-wrap")
        for language, path in out.items():
            page.get_by_role("button", name=LANGUAGES[language]).click()
            page.wait_for_timeout(1500)  # the map lays out its labels anew
            while not page.evaluate("lamplighterMap.areTilesLoaded() && !lamplighterMap.isMoving()"):
                page.wait_for_timeout(100)
            page.wait_for_timeout(400)  # and fades them in
            path.parent.mkdir(parents=True, exist_ok=True)
            page.screenshot(path=path)
        browser.close()


if __name__ == "__main__":
    sys.exit(main())
