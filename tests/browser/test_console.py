"""The console in a real Chromium: a fault becomes a red point and an alert, and somebody takes it on."""

from __future__ import annotations

import base64
import time
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from tests.browser.served import Served
from tests.small_house import NIGHT_MS, Sent

pytestmark = pytest.mark.browser
Open = Callable[..., Page]
MINUTE_MS = 60_000
CRITICAL = (0xFF, 0x4D, 0x5E)
FINE = (0x36, 0xB9, 0x8A)
COVER = (121.4650, 31.0180)

COUNT_PIXELS = """
async ([picture, red, green, blue]) => {
  const image = new Image()
  image.src = 'data:image/png;base64,' + picture
  await image.decode()
  const canvas = document.createElement('canvas')
  canvas.width = image.width
  canvas.height = image.height
  const pen = canvas.getContext('2d', { willReadFrequently: true })
  pen.drawImage(image, 0, 0)
  const { data } = pen.getImageData(0, 0, image.width, image.height)
  let found = 0
  for (let i = 0; i < data.length; i += 4)
    if (Math.abs(data[i] - red) + Math.abs(data[i + 1] - green) + Math.abs(data[i + 2] - blue) < 24) found++
  return found
}
"""


OVERFLOW = """
Object.fromEntries([
  ['html', [document.documentElement.scrollWidth, document.documentElement.scrollHeight]],
  ...['header', 'footer', '.ledger', '.tabs', '.filters', '.card'].map((name) => {
    const { scrollWidth, clientWidth } = document.querySelector(name)
    return [name, [scrollWidth, clientWidth]]
  }),
])
"""


def pixels(page: Page, lon: float, lat: float, colour: tuple[int, int, int]) -> int:
    """Return how many pixels about a place on the map have a colour, as the screen shows them."""
    box = page.locator(".map").bounding_box()
    assert box is not None
    at = page.evaluate(f"(() => {{ const p = lamplighterMap.project([{lon}, {lat}]); return [p.x, p.y] }})()")
    clip = {"x": box["x"] + at[0] - 12, "y": box["y"] + at[1] - 12, "width": 24, "height": 24}
    picture = base64.b64encode(page.screenshot(clip=clip)).decode()  # type: ignore[arg-type]
    return int(page.evaluate(COUNT_PIXELS, [picture, *colour]))


def until(page: Page, true: str, within_s: float = 15.0) -> None:
    """Wait until an expression holds; by asking from outside, for the page's policy forbids it to evaluate text."""
    end = time.monotonic() + within_s
    while not page.evaluate(f"Boolean({true})"):
        assert time.monotonic() < end, f"still not: {true}"
        page.wait_for_timeout(50)


def settled(page: Page) -> None:
    """Wait until the map has drawn what it was told."""
    until(page, "lamplighterMap.areTilesLoaded() && !lamplighterMap.isMoving()")
    page.wait_for_timeout(300)


def test_a_fault_becomes_a_red_point_and_an_alert_that_somebody_takes_on(served: Served, open_page: Open) -> None:
    house = served.house
    row = house.registry.row["cover-0001"]
    served.do(lambda: house.hear("cover-0001", cover_open=False))
    page = open_page()
    expect(page.locator(".alerts .empty")).to_contain_text("一切正常")
    settled(page)
    assert pixels(page, *COVER, FINE) > 10
    assert pixels(page, *COVER, CRITICAL) == 0

    served.do(lambda: house.hear("cover-0001", at_ms=NIGHT_MS + MINUTE_MS, cover_open=True))
    card = page.locator(".alerts .card")
    expect(card).to_have_count(1)
    expect(card).to_contain_text("雨水井 1 已打开")
    expect(card).to_contain_text("紧急")
    expect(page.locator(".counts .critical b")).to_have_text("1")
    until(page, f"lamplighterMap.getFeatureState({{source: 'assets', id: {row}}}).state === 4")
    settled(page)
    assert pixels(page, *COVER, CRITICAL) > 10

    card.locator(".ack").click()
    page.get_by_label("确认人").fill("王师傅")
    page.get_by_label("备注").fill("已派车")
    page.get_by_role("button", name="确认接手").click()
    expect(page.locator(".alerts .empty")).to_contain_text("一切正常")
    page.locator("[data-tab=acknowledged]").click()
    expect(card).to_contain_text("王师傅")
    (kept,) = house.operations.alerts()
    assert (kept.state, kept.acknowledged_by, kept.note) == ("acknowledged", "王师傅", "已派车")

    served.do(lambda: house.hear("cover-0001", at_ms=NIGHT_MS + 60 * MINUTE_MS, cover_open=False))
    page.locator("[data-tab=cleared]").click()
    expect(card).to_contain_text("已恢复")
    until(page, f"lamplighterMap.getFeatureState({{source: 'assets', id: {row}}}).state === 0")
    settled(page)
    assert pixels(page, *COVER, CRITICAL) == 0


def test_the_language_changes_at_once_fits_and_is_remembered(served: Served, open_page: Open) -> None:
    served.do(lambda: served.house.hear("cabinet-001", door_open=True))
    page = open_page()
    expect(page.locator("h1")).to_have_text("临江市")
    expect(page.locator(".alerts .card")).to_contain_text("人民路箱变 箱门打开")
    for width, height in ((1366, 768), (1920, 1080)):
        page.set_viewport_size({"width": width, "height": height})
        for language in ("中文", "English"):
            page.get_by_role("button", name=language).click()
            sizes = page.evaluate(OVERFLOW)
            assert sizes.pop("html") == [width, height], (width, language)
            assert all(inner <= outer for inner, outer in sizes.values()), (width, language, sizes)
    expect(page.locator("h1")).to_have_text("Linjiang")
    expect(page.locator(".alerts .card")).to_contain_text("stands open")
    expect(page.locator("html")).to_have_attribute("lang", "en")
    page.reload()
    expect(page.locator("h1")).to_have_text("Linjiang")


def test_an_asset_opens_by_keyboard_or_click_and_shows_its_curve(served: Served, open_page: Open) -> None:
    house = served.house

    def hours_of_levels() -> None:
        for minute in range(90):
            house.hear("station-01", at_ms=NIGHT_MS + minute * MINUTE_MS, level_m=1 + minute / 100, mains_ok=True)
        house.ship()

    served.do(hours_of_levels)
    page = open_page()
    page.get_by_role("searchbox").fill("泵站")
    expect(page.locator(".results button")).to_have_count(1)
    page.keyboard.press("Enter")
    panel = page.locator("[data-asset=station-01]")
    expect(panel).to_contain_text("1.89 m")
    expect(panel).to_contain_text("解放街")
    expect(panel.locator(".plot")).to_have_attribute("data-points", "90")
    expect(panel.locator(".u-wrap canvas")).to_be_visible()
    panel.get_by_role("button", name="市电正常").click()
    expect(panel.locator("figcaption b")).to_have_text("市电正常")
    page.keyboard.press("Escape")
    expect(panel).to_have_count(0)

    page.get_by_role("button", name="全城").click()
    settled(page)
    at = page.evaluate(f"(() => {{ const p = lamplighterMap.project([{COVER[0]}, {COVER[1]}]); return [p.x, p.y] }})()")
    page.locator(".map").click(position={"x": at[0], "y": at[1]})
    expect(page.locator("[data-asset=cover-0001]")).to_contain_text("从未上报")


def test_the_link_of_a_notice_opens_its_device_and_a_wrong_one_nothing(served: Served, open_page: Open) -> None:
    served.do(lambda: served.house.hear("cover-0001", cover_open=False))
    expect(open_page("/#asset=cover-0001").locator("[data-asset=cover-0001]")).to_contain_text("雨水井 1")
    assert open_page("/#asset=no-such").locator("[data-asset]").count() == 0


def test_a_truck_moves_on_the_map_and_the_ledger_keeps_count(served: Served, open_page: Open) -> None:
    house = served.house
    served.do(lambda: house.hear("truck-001", lon_deg=121.4700, lat_deg=31.0200))
    page = open_page()
    settled(page)
    expect(page.locator("[data-ledger=pending]")).to_have_text("1")
    assert pixels(page, 121.4700, 31.0200, FINE) > 10
    served.do(lambda: house.hear("truck-001", at_ms=NIGHT_MS + MINUTE_MS, lon_deg=121.4680, lat_deg=31.0230))
    served.do(lambda: house.receive([Sent("lamplighter/v1/linjiang/manhole/stranger/up", b"{}")]))
    served.do(house.ship)
    until(page, "lamplighterMap.querySourceFeatures('movers')[0]?.geometry.coordinates[0] < 121.469")
    settled(page)
    assert pixels(page, 121.4680, 31.0230, FINE) > 10
    for part, number in (("received", 3), ("stored", 2), ("quarantined", 1), ("duplicate", 0), ("pending", 0)):
        expect(page.locator(f"[data-ledger={part}]")).to_have_text(str(number))
    expect(page.locator(".tick")).to_contain_text("平衡")


def test_after_a_lost_connection_the_page_catches_up_by_itself(served: Served, open_page: Open) -> None:
    page = open_page(allow="ERR_")  # the browser itself complains of the refused connection
    served.stop()
    expect(page.locator(".banner")).to_contain_text("连接中断")
    served.house.hear("cover-0002", cover_open=True)
    served.start()
    expect(page.locator(".link.live")).to_be_visible()
    expect(page.locator(".banner")).to_have_count(0)
    expect(page.locator(".alerts .card")).to_contain_text("雨水井 2")


def test_a_house_with_a_token_asks_for_it_once(served: Served, open_page: Open) -> None:
    served.stop()
    served.house.token = "s3cret"
    served.start()
    page = open_page(ready=False, allow="401")  # the browser itself complains of the refusal
    page.get_by_label("访问令牌").fill("wrong")
    page.get_by_role("button", name="进入").click()
    expect(page.locator(".token .refused")).to_be_visible()
    page.get_by_label("访问令牌").fill("s3cret")
    page.get_by_role("button", name="进入").click()
    expect(page.locator(".link.live")).to_be_visible()
    page.reload()
    expect(page.locator(".link.live")).to_be_visible()
