"""The pages of silences, duty and profiles, and of the alarm budget, in a real Chromium over a real house."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser.agreed_house import AgreedHouse
from tests.browser.served import Served
from tests.small_house import NIGHT_MS, SmallHouse

pytestmark = pytest.mark.browser
Open = Callable[..., Page]
MINUTE_MS, HOUR_MS = 60_000, 3_600_000


@pytest.fixture
def house_type() -> Callable[[Path], SmallHouse]:
    """Give a house with incidents and a policy."""
    return AgreedHouse


def test_a_window_is_planned_seen_and_ended_beside_who_is_on_duty(served: Served, open_page: Open) -> None:
    house = served.house
    served.do(lambda: house.hear("cabinet-001", door_open=True))
    page = open_page("/#quiets")
    expect(page.locator("[data-team=lamps]")).to_contain_text("Wang")  # from midnight to noon; it is four
    expect(page.locator("[data-team=lamps]")).to_contain_text("替补 chief")
    expect(page.locator(".quiets")).to_contain_text("没有静默或检修窗口")

    page.locator("[data-new]").click()
    form = page.locator(".quiet-form")
    form.locator("select").first.select_option("maintenance")
    form.locator("summary").click()
    form.get_by_label("道路").fill("人民路")
    expect(form.locator("[data-preview]")).to_have_text("1")
    expect(form.locator(".previewed")).to_contain_text("人民路箱变 箱门打开")
    form.get_by_label("开始").fill("2026-06-16T03:00")  # by the city's clock
    form.get_by_label("时长").select_option("4")
    form.get_by_label("您的姓名").fill("李工")
    form.get_by_label("原因").fill("电缆改造")
    form.get_by_role("button", name="生效").click()
    window = page.locator("[data-quiet]")
    expect(window).to_contain_text("李工: 电缆改造")
    expect(window).to_contain_text("生效中")
    (row,) = house.operations.policy.quiets()
    assert (row.sort, row.matchers, row.from_ms) == ("maintenance", {"road": "人民路"}, NIGHT_MS - HOUR_MS)
    assert row.until_ms == NIGHT_MS + 3 * HOUR_MS
    assert isinstance(house, AgreedHouse)
    served.do(house.decide)
    page.locator("[data-aside]").click()
    expect(page.locator(".card [data-flag=out_of_service]")).to_have_text("检修停用")

    window.get_by_role("button", name="结束").click()
    expect(page.locator(".sure")).to_contain_text("检修窗口 1")
    page.get_by_role("button", name="生效").click()  # the name is known by now
    expect(window).to_have_count(0)
    assert house.operations.policy.quiets()[0].ended_by == "李工"

    expect(page.locator("[data-profile=flood_season]")).to_contain_text("未生效")
    page.locator("[data-level=orange]").click()
    page.get_by_role("button", name="生效").click()
    expect(page.locator("[data-level=orange]")).to_have_attribute("aria-pressed", "true")
    assert house.operations.policy.state()["warning"] == "orange"
    page.keyboard.press("Escape")
    expect(page.locator(".quiets")).to_have_count(0)


def test_the_budget_says_in_the_head_and_on_its_page_when_there_is_a_flood(served: Served, open_page: Open) -> None:
    house = served.house

    def toggle(times: int) -> None:
        for n in range(times):
            at_ms = house.clock_ms + 10_000
            house.hear(f"cover-000{1 + n % 2}", at_ms=at_ms, cover_open=True)
            house.hear(f"cover-000{1 + n % 2}", at_ms=at_ms + 20_000, cover_open=False)

    served.do(lambda: house.hear("cover-0001", cover_open=True))
    page = open_page()
    figure = page.locator("button.budget")
    expect(figure.locator("b")).to_have_text("1 / 1")
    expect(figure).to_have_attribute("data-flood", "false")

    served.do(lambda: toggle(18))
    page.reload()
    expect(figure).to_have_attribute("data-flood", "true")
    expect(figure).to_contain_text("告警洪水")
    expect(figure).to_have_class("budget critical")
    figure.press("Enter")
    budget = house.budget(24 * HOUR_MS)
    desk = page.locator("[data-desk=crew]")
    expect(desk.locator("td").nth(1)).to_have_text(str(budget.desks[0].last_10_min))
    expect(desk).to_contain_text("告警洪水")
    expect(page.locator("[data-worst]")).to_have_count(len(budget.worst))
    expect(page.locator("[data-worst]").first).to_contain_text("井盖打开 · cover-000")
    expect(page.locator("[data-standing]")).to_have_text(str(budget.standing))
    expect(page.locator("[data-split]")).to_contain_text(f"紧急 {budget.severities['critical']} (100%)")
    assert budget.desks[0].last_10_min >= 10
    page.get_by_role("button", name="7 天").click()
    expect(desk.locator("td").nth(2)).not_to_have_text(f"{budget.desks[0].per_hour:.1f}")
