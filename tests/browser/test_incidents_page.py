"""Incidents and what operators may do about alerts, in a real Chromium over a real house with a policy."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, expect

from api.live import Hub
from tests.browser.agreed_house import AgreedHouse
from tests.browser.served import Served
from tests.small_house import NIGHT_MS, SmallHouse

pytestmark = pytest.mark.browser
Open = Callable[..., Page]
MINUTE_MS, HOUR_MS = 60_000, 3_600_000

# Text that is harder to read than WCAG 2.2 AA allows: 4.5 to 1, or 3 to 1 for large letters.
FAINT = """
(() => {
  const rgba = (text) => {
    const [r, g, b, a = 1] = text.match(/[0-9.]+/g).map(Number)
    return [r, g, b, a]
  }
  const over = (top, under) => [0, 1, 2].map((k) => top[k] * top[3] + under[k] * (1 - top[3])).concat(1)
  const ground = (el) => {
    if (!el) return [255, 255, 255, 1]
    const own = rgba(getComputedStyle(el).backgroundColor)
    return own[3] >= 1 ? own : over(own, ground(el.parentElement))
  }
  const light = ([r, g, b]) => {
    const [x, y, z] = [r, g, b].map((v) => ((v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4))
    return 0.2126 * x + 0.7152 * y + 0.0722 * z
  }
  const found = []
  for (const el of document.querySelectorAll('header *, .alerts *, footer *, .page *')) {
    const text = [...el.childNodes].filter((each) => each.nodeType === 3).map((each) => each.data.trim()).join('')
    const box = el.getBoundingClientRect()
    if (!text || !box.width || !box.height || el.closest(':disabled, .unseen, option, datalist')) continue
    const style = getComputedStyle(el)
    if (style.visibility === 'hidden') continue
    const under = ground(el)
    const [a, b] = [light(over(rgba(style.color), under)), light(under)]
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05)
    const size = parseFloat(style.fontSize)
    const large = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 600)
    if (ratio < (large ? 3 : 4.5)) found.push(`${text} ${ratio.toFixed(2)} ${style.color} on ${under.map(Math.round)}`)
  }
  return found
})()
"""
FOCUSED = """
(() => {
  const { className, textContent } = document.activeElement ?? document.body
  return `${className}|${(textContent ?? '').trim().slice(0, 4)}`
})()
"""
WIDE = """
[...document.querySelectorAll('body, header, .alerts, .cards, .page, footer')]
  .filter((el) => el.scrollWidth > el.clientWidth + 1).map((el) => el.className || el.tagName)
"""


@pytest.fixture
def house_type() -> Callable[[Path], SmallHouse]:
    """Give a house with incidents and a policy."""
    return AgreedHouse


def darken(served: Served) -> None:
    """Let a cabinet and its six lamps go out, and one cover stand open."""
    house = served.house

    def go() -> None:
        for n in range(1, 7):
            house.hear(f"lamp-{n:04d}", power_w=1.0)
        house.hear("cabinet-001", contactor_on=False)
        house.hear("cover-0001", cover_open=True)

    served.do(go)


def decide(served: Served) -> None:
    house = served.house
    assert isinstance(house, AgreedHouse)
    served.do(house.decide)


def card_of(page: Page, rule: str) -> Locator:
    return page.locator(f".alerts .card[data-rule={rule}]")


def test_an_incident_opens_to_its_alerts_and_is_taken_on_with_all_of_them(served: Served, open_page: Open) -> None:
    darken(served)
    page = open_page()
    expect(page.locator(".alerts .cards > .card")).to_have_count(2)  # seven alerts in one incident, one cover
    expect(page.locator("[data-tab=active] b")).to_have_text("2")
    incident = page.locator("[data-incident]")
    expect(incident).to_contain_text("配电箱应亮未亮")
    for part, number in (("devices", 7), ("alerts", 7), ("suppressed", 6)):
        expect(incident.locator(f"[data-{part}]")).to_have_text(str(number))
    expect(incident.locator(".inner .card")).to_have_count(0)

    incident.locator("> .body").focus()
    page.keyboard.press("Enter")
    expect(incident.locator("> .body")).to_have_attribute("aria-expanded", "true")
    expect(incident.locator(".inner .card")).to_have_count(1)
    incident.locator("[data-explained]").press("Enter")
    expect(incident.locator(".inner .card.explained")).to_have_count(6)
    expect(incident.locator(".card.explained [data-flag=suppressed]").first).to_have_text("已归因: 配电箱应亮未亮")
    expect(incident.locator(".card.explained").get_by_role("button", name="确认", exact=True)).to_have_count(0)

    incident.locator("> .ack").press("Enter")
    expect(page.get_by_label("确认人")).to_be_focused()
    page.keyboard.type("王师傅")
    page.get_by_label("备注").fill("已派抢修车")
    page.keyboard.press("Enter")
    expect(page.locator(".alerts .cards > .card")).to_have_count(1)
    page.locator("[data-tab=acknowledged]").click()
    expect(incident).to_contain_text("王师傅")
    expect(incident).to_contain_text("已派抢修车")
    taken = [row for row in served.house.operations.alerts() if row.acknowledged_by == "王师傅"]
    assert len(taken) == 7
    assert served.house.operations.alerts("active")[0].rule == "cover_open"

    served.do(lambda: served.house.hear("cabinet-001", at_ms=NIGHT_MS + 20 * MINUTE_MS, contactor_on=True))
    for n in range(1, 7):
        served.do(lambda n=n: served.house.hear(f"lamp-{n:04d}", power_w=90.0))  # type: ignore[misc]
    page.locator("[data-tab=cleared]").click()
    expect(page.locator(".alerts .cards > .card")).to_have_count(1)
    expect(incident).to_contain_text("王师傅")


def test_an_alert_is_shelved_with_a_reason_and_taken_out_again(served: Served, open_page: Open) -> None:
    darken(served)
    page = open_page(allow="409")  # the browser itself complains of the refusal
    card = card_of(page, "cover_open")
    card.locator("[data-more]").click()
    card.locator("[data-act=shelve]").click()
    card.get_by_role("button", name="8 小时").click()
    expect(card.locator(".strong")).to_be_disabled()  # neither who nor why
    page.get_by_label("您的姓名").fill("王师傅")
    page.get_by_label("原因").fill("等待备件")
    card.locator(".strong").click()
    expect(card).to_have_count(0)
    page.locator("[data-aside]").click()
    expect(card.locator("[data-flag=shelved]")).to_contain_text("王师傅: 等待备件")
    (row,) = served.house.operations.alerts(rule="cover_open")
    assert row.policy.shelved_until_ms is not None
    hours = (row.policy.shelved_until_ms - NIGHT_MS) / HOUR_MS
    assert 7.9 < hours <= 8

    card.locator("[data-more]").click()
    card.locator("[data-act=unshelve]").click()
    card.locator(".strong").click()
    expect(page.locator(".actions")).to_have_count(0)
    decide(served)
    expect(page.locator("[data-aside]")).to_have_count(0)
    expect(card).to_have_count(1)

    card.locator("[data-more]").click()
    card.locator("[data-act=shelve]").click()
    page.get_by_label("原因").fill("再等")
    served.do(lambda: end_unheard(served.house))
    card.locator(".strong").click()
    expect(card.locator(".refused")).to_have_text("There is no such alert that is open.")


def end_unheard(house: SmallHouse) -> None:
    """Let a cover be closed without a word to open consoles: what they show is old."""
    told, house.hub = house.hub, Hub()
    house.hear("cover-0001", at_ms=NIGHT_MS + 20 * MINUTE_MS, cover_open=False)
    house.hub = told
    assert not house.operations.alerts("open", rule="cover_open")


def test_the_like_of_an_alert_is_silenced_after_a_look_at_what_that_means(served: Served, open_page: Open) -> None:
    darken(served)
    served.do(lambda: served.house.hear("cover-0002", cover_open=True))
    page = open_page()
    cards = card_of(page, "cover_open")
    card = cards.filter(has_text="雨水井 1")
    expect(cards).to_have_count(2)
    card.locator("[data-more]").click()
    card.locator("[data-act=silence]").click()
    expect(page.get_by_label("规则")).to_have_value("cover_open")
    expect(page.get_by_label("对象")).to_have_value("device:cover-0001")
    expect(page.locator("[data-preview]")).to_have_text("1")
    page.get_by_label("对象").fill("cover-*")
    expect(page.locator("[data-preview]")).to_have_text("2")
    page.get_by_label("对象").fill("")
    page.get_by_label("规则").fill("")
    expect(page.locator("[data-preview]")).to_have_count(0)  # what matches everything may not be asked for
    expect(page.get_by_role("button", name="生效")).to_be_disabled()
    page.get_by_label("规则").fill("cover_*")
    expect(page.locator("[data-preview]")).to_have_text("2")
    page.get_by_label("您的姓名").fill("王师傅")
    page.get_by_label("原因").fill("清淤作业")
    page.get_by_role("button", name="生效").click()
    expect(page.locator(".quiet-form")).to_have_count(0)
    decide(served)
    expect(cards).to_have_count(0)
    page.locator("[data-aside]").click()
    expect(cards.locator("[data-flag=silenced]")).to_have_count(2)
    (quiet,) = served.house.operations.policy.quiets()
    assert (quiet.sort, quiet.matchers, quiet.who, quiet.why) == ("silence", {"rule": "cover_*"}, "王师傅", "清淤作业")


def test_a_latched_alert_stays_until_somebody_resets_it(served: Served, open_page: Open) -> None:
    for minute, tilt in ((0, 40.0), (1, 1.0), (60, 1.0)):
        at_ms = NIGHT_MS + minute * MINUTE_MS
        served.do(lambda at_ms=at_ms, tilt=tilt: served.house.hear(  # type: ignore[misc]
            "cover-0002", at_ms=at_ms, tilt_deg=tilt, cover_open=tilt > 20))  # fmt: skip
    (incident,) = served.house.operations.incidents()
    assert (incident.state, incident.alerts) == ("cleared", 2)  # the latched alert outlives its incident
    page = open_page()
    expect(page.locator("[data-tab=active] b")).to_have_text("1")
    card = card_of(page, "cover_moved")
    expect(card.locator("[data-flag=latched]")).to_have_text("锁定")
    card.locator("[data-reset]").click()
    page.get_by_label("您的姓名").fill("王师傅")
    page.get_by_label("现场情况").fill("已复位,无人坠落")
    page.keyboard.press("Enter")
    expect(page.locator(".alerts .empty")).to_contain_text("一切正常")
    (row,) = served.house.operations.alerts(rule="cover_moved")
    assert (row.state, row.policy.reset_by) == ("cleared", "王师傅")
    assert served.house.operations.policy.audit()[0].detail == {"why": "已复位,无人坠落"}


@pytest.mark.parametrize("look", ["dark", "light"])
def test_on_a_phone_everything_fits_can_be_read_and_reached_by_keyboard(
    served: Served, open_page: Open, look: str
) -> None:
    darken(served)
    served.do(lambda: served.house.hear("cover-0002", tilt_deg=40.0))
    page = open_page(size=(390, 844), ready=False)
    if look == "light":
        page.get_by_role("button", name="浅色").click()
    expect(page.locator("html")).to_have_attribute("data-theme", look)
    page.locator("[data-incident] > .body").click()
    page.locator("[data-explained]").click()
    card_of(page, "cover_open").locator("[data-more]").click()
    for language in ("English", "中文"):
        page.get_by_role("button", name=language).click()
        assert page.evaluate(WIDE) == [], language
        assert page.evaluate(FAINT) == [], language
        for name in ("duty", "budget"):
            page.locator(f".{name}").click()
            expect(page.locator(".page .head")).to_be_in_viewport()
            page.wait_for_timeout(300)
            assert page.evaluate(WIDE) == [], (language, name)
            assert page.evaluate(FAINT) == [], (language, name)
            page.keyboard.press("Escape")
            page.locator(".views [data-view=list]").click()
    page.locator("h1").click()
    reached = set()
    for _ in range(60):
        page.keyboard.press("Tab")
        reached.add(page.evaluate(FOCUSED))
    for wanted in ("ack|确认", "budget", "duty", "body"):
        assert any(wanted in one for one in reached), (wanted, reached)
    cover = card_of(page, "cover_open").locator(".body").first
    cover.click()
    expect(page.locator("[data-asset=cover-0001]")).to_be_visible()
