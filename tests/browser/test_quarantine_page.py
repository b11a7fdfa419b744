"""The quarantine in a real Chromium: found by reason, looked at, read again, and thrown away only after a question."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from devices.topics import up
from storage.operations import Choice, Still
from tests.browser.served import Served
from tests.small_house import CITY, Sent

pytestmark = pytest.mark.browser
Open = Callable[..., Page]

FITS = """
Object.fromEntries(['.quarantine', '.rows', '.one', '.ledger'].map((name) => {
  const { scrollWidth, clientWidth } = document.querySelector(name)
  return [name, [scrollWidth, clientWidth]]
}))
"""


def fill(served: Served) -> None:
    messages = [
        Sent(up(CITY, "streetlight", "lamp-0001"), b'{"ts":1781553600000,"power_w":"12,5"}'),
        Sent(up(CITY, "streetlight", "lamp-0002"), bytes(range(128, 176))),
        Sent(up(CITY, "streetlight", "lamp-0003"), b"\x1b[2J<img src=x onerror=alert(1)>"),
        *(Sent(up(CITY, "manhole", f"stranger-{n:02d}"), b"{}") for n in range(20)),
    ]
    served.do(lambda: served.house.receive(messages))
    served.do(served.house.ship)


def test_messages_are_found_shown_harmlessly_read_again_and_purged_after_a_question(
    served: Served, open_page: Open
) -> None:
    fill(served)
    operations = served.house.operations
    page = open_page()
    page.locator("[data-ledger=quarantined]").click()
    expect(page.locator("tr[data-message]")).to_have_count(23)
    expect(page.locator("[data-matching]")).to_have_text("23")

    page.locator("[data-reason=unreadable]").click()
    expect(page.locator("tr[data-message]")).to_have_count(2)
    page.locator("tr[data-message]", has_text="lamp-0003").click()
    expect(page.locator(".one pre")).to_have_text("\\x1b[2J<img src=x onerror=alert(1)>")
    page.locator("tr[data-message]", has_text="lamp-0002").click()
    expect(page.locator(".one pre")).to_contain_text("00000010  90 91")

    page.locator("[data-reason=wrong_form]").click()
    expect(page.locator("tr[data-message]")).to_have_count(1)  # the other reason's rows have gone
    page.locator("tr[data-message]").click()
    expect(page.locator(".one pre")).to_contain_text('"power_w": "12,5"')
    page.locator(".one").get_by_role("button", name="重新读取").click()
    page.get_by_label("您的姓名").fill("王师傅")
    page.locator(".sure .strong").click()
    expect(page.locator(".told")).to_contain_text("已提交重新读取")
    expect(page.locator("tr[data-message]")).to_contain_text("等待重读")
    (asked,) = operations.quarantine_asked()
    operations.quarantine_settle([], [Still(asked.id, "wrong_form", "still not")])  # as the loop would say
    expect(page.locator("tr[data-message]")).to_contain_text("×1")

    page.locator("[data-reason=unknown_device]").click()
    page.get_by_label("主题").fill("stranger-1")
    page.keyboard.press("Enter")
    expect(page.locator("[data-matching]")).to_have_text("10")
    page.get_by_role("button", name="全部清除").click()
    page.locator(".sure").get_by_role("button", name="取消").click()
    assert operations.quarantine_number(Choice(reason="unknown_device")) == 20
    page.get_by_role("button", name="全部清除").click()
    expect(page.locator(".sure")).to_contain_text("10")
    page.locator(".sure .strong").click()
    expect(page.locator(".told")).to_contain_text("已清除 10")
    assert operations.quarantine_number(Choice(reason="unknown_device")) == 10
    page.keyboard.press("Escape")
    expect(page.locator(".quarantine")).to_have_count(0)


def test_the_page_opens_by_its_address_and_fits_in_both_languages(served: Served, open_page: Open) -> None:
    fill(served)
    page = open_page()
    page.goto(f"{served.url}#quarantine")
    page.reload()
    page.locator("tr[data-message]", has_text="lamp-0001").click()
    expect(page.locator(".one pre")).to_be_visible()
    for width, height in ((1366, 768), (1920, 1080)):
        page.set_viewport_size({"width": width, "height": height})
        for language, heading in (("中文", "隔离区"), ("English", "Quarantine")):
            page.get_by_role("button", name=language).click()
            expect(page.locator(".quarantine h2")).to_have_text(heading)
            sizes = page.evaluate(FITS)
            assert all(inner <= outer for inner, outer in sizes.values()), (width, language, sizes)
