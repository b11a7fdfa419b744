"""Chromium, one for the run, and a served house a test; every page is watched for errors and outside requests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, Request, sync_playwright

from api.app import console_folder
from scripts.screenshot import FLAGS
from tests.browser.served import Served
from tests.real.processes import need
from tests.small_house import SmallHouse

Open = Callable[..., Page]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Give the real Chromium that the system has; ended with the module, for its driver keeps an event loop running."""
    (program,) = need("chromium")
    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=program, args=list(FLAGS))
        yield found
        found.close()


@pytest.fixture
def house_type() -> Callable[[Path], SmallHouse]:
    """Give what makes the house; a module may put another in its place."""
    return SmallHouse


@pytest.fixture
def served(tmp_path: Path, house_type: Callable[[Path], SmallHouse]) -> Iterator[Served]:
    """Give a small real house behind a real web server on a free loopback port."""
    assert console_folder() is not None, "the console is not built: run `make console`"
    house = house_type(tmp_path)
    with Served(house) as running:
        yield running
    house.close()


@pytest.fixture
def open_page(browser: Browser, served: Served) -> Iterator[Open]:
    """Give a function that opens the console; at the end nothing may have left loopback or been complained about."""
    outside: list[str] = []
    complaints: list[str] = []
    pages: list[Page] = []

    def asked(request: Request) -> None:
        if not request.url.startswith((served.url, "data:", f"blob:{served.url}")):
            outside.append(request.url)

    def start(path: str = "", *, ready: bool = True, allow: str = "", size: tuple[int, int] = (1366, 768)) -> Page:
        context = browser.new_context(viewport={"width": size[0], "height": size[1]}, locale="zh-CN")
        page = context.new_page()
        pages.append(page)
        page.set_default_timeout(20_000)
        page.on("request", asked)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on(
            "console",
            lambda told: (
                complaints.append(told.text)
                if told.type in ("error", "warning") and not (allow and allow in told.text)
                else None
            ),
        )
        page.goto(served.url + path)
        if ready:
            page.wait_for_selector(".map[data-ready]")
            page.wait_for_selector(".link.live")
        return page

    yield start
    for page in pages:
        page.context.close()
    assert not outside, "the console asked somebody else"
    assert not complaints, "the console complained"
