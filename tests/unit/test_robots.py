"""Group robots get a signed card or markdown in which no name is markup, and a 200 that says no is no success.

The robots are real HTTP servers on the loopback; signatures are compared byte for byte with ones computed apart.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest

from alerts import feishu, wecom
from alerts.delivery import DeliveryError, Receiver, send
from alerts.notice import Notice, notice_of
from devices.transition import ACTIVE, CLEARED, Transition
from devices.yamlfile import ConfigError

NASTY = '<at id=all></at>[x](http://evil.example)**`"\\\n# \u202e</font><@all>&lt;'
FEISHU_OK = '{"code":0,"msg":"success","data":{},"StatusCode":0,"StatusMessage":"success"}'
WECOM_OK = '{"errcode":0,"errmsg":"ok"}'

NOW_MS = 1_781_553_600_123


@dataclass
class Robot:
    """A robot's server that answers what it is told to, and remembers path and body of each question."""

    answer: str
    status: int = 200
    chunked: bool = False
    got: list[tuple[str, bytes]] = field(default_factory=list)
    port: int = 0

    def url(self, prefix: str) -> str:
        tail = "/open-apis/bot/v2/hook/t0ken" if prefix == "feishu" else "/cgi-bin/webhook/send?key=k3y"
        return f"{prefix}+http://127.0.0.1:{self.port}{tail}"


@contextmanager
def robot(answer: str, status: int = 200, *, chunked: bool = False) -> Iterator[Robot]:
    one = Robot(answer, status, chunked)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            one.got.append((self.path, self.rfile.read(int(self.headers["Content-Length"]))))
            data = one.answer.encode()
            self.send_response(one.status)
            self.send_header("Content-Type", "application/json")
            if one.chunked:
                self.send_header("Transfer-Encoding", "chunked")
                data = b"".join(b"%x;a=b\r\n%c\r\n" % (1, byte) for byte in data) + b"0\r\n\r\n"
            else:
                self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *args: object) -> None: ...  # noqa: A002

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    one.port = server.server_address[1]
    Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    try:
        yield one
    finally:
        server.shutdown()
        server.server_close()


def transition(state: str = ACTIVE, severity: str = "critical", name: str = "1号井盖") -> Transition:
    words = {
        "zh": {"rule": "井盖打开", "name": name, "place": "市中区 滨河路", "since": "2026-03-01 21:00"},
        "en": {"rule": "Cover open", "name": name, "place": "Binhe Road, Centre", "since": "2026-03-01 21:00"},
    }
    message = {"zh": f"{name}打开，倾角 31°", "en": f"{name} is open, tilt 31°"}
    values = {"value": 31.0, "threshold": 20.0}
    return Transition(
        "a1",
        "cover_open",
        "device:c1",
        state,
        2,
        1,
        severity,
        message,
        values,
        "",
        "manhole",
        121.4737,
        31.2304,
        "C",
        words,
    )


def receiver(one: Robot, prefix: str, tail: str = "", **more: str) -> Receiver:
    url = one.url(prefix) + tail
    return Receiver("crew", url, allow_private=True, **more)


def texts(value: object) -> Iterator[dict[str, str]]:
    """Every text element of a card, wherever it stands."""
    if isinstance(value, dict):
        if "content" in value:
            yield value
        for inner in value.values():
            yield from texts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from texts(inner)


def test_a_signature_is_hmac_of_nothing_under_moment_and_secret() -> None:
    # openssl: printf '' | openssl dgst -sha256 -hmac $'1599360473\nSEC0de' -binary | base64
    assert feishu.signature("SEC0de", 1599360473) == "5HUhmBJdbVqHeEBquYZ4tyB8kpvgXm1AzgSsM8TUJQg="
    other = base64.b64encode(hmac.digest("1599360473\n秘".encode(), b"", hashlib.sha256)).decode()
    assert feishu.signature("秘", 1599360473) == other


def test_a_card_arrives_signed_for_this_moment_in_the_colour_of_its_gravity() -> None:
    with robot(FEISHU_OK) as one:
        send(receiver(one, "feishu", tail="?secret=SEC%2B0+de", map="amap"), transition(), NOW_MS)
    ((path, body),) = one.got
    told = json.loads(body)
    assert path == "/open-apis/bot/v2/hook/t0ken", "the secret stays here"
    assert told["timestamp"] == str(NOW_MS // 1000)
    assert told["sign"] == feishu.signature("SEC+0+de", int(told["timestamp"]))
    assert told["msg_type"] == "interactive"
    card = told["card"]
    assert card["header"] == {
        "template": "red",
        "title": {"tag": "plain_text", "content": "【紧急】点灯人告警 · 井盖打开"},
    }
    assert [text["content"] for text in texts(card["elements"])] == [
        "1号井盖打开，倾角 31°",
        "地点：市中区 滨河路",
        "设施：1号井盖",
        "规则：井盖打开",
        "数值：31",
        "阈值：20",
        "开始时间：2026-03-01 21:00",
        "地图",
    ]
    (button,) = card["elements"][-1]["actions"]
    assert button["url"].startswith("https://uri.amap.com/marker?position=121.478")


def test_without_a_secret_nothing_is_signed_and_english_crews_read_english() -> None:
    with robot(FEISHU_OK, chunked=True) as one:
        for state, severity in [(ACTIVE, "major"), (ACTIVE, "minor"), (ACTIVE, "info"), (CLEARED, "critical")]:
            send(
                receiver(one, "feishu", language="en", console="https://duty.example/"),
                transition(state, severity),
                NOW_MS,
            )
    cards = [json.loads(body) for _, body in one.got]
    assert all("sign" not in told and "timestamp" not in told for told in cards)
    assert [told["card"]["header"]["template"] for told in cards] == ["orange", "yellow", "blue", "green"]
    lines = [text["content"] for text in texts(cards[3])]
    assert lines[0] == "Cleared · Lamplighter · Cover open"
    assert lines[2:4] == ["Place: Binhe Road, Centre", "Facility: 1号井盖"]
    buttons = {one["text"]["content"]: one["url"] for one in cards[3]["card"]["elements"][-1]["actions"]}
    assert buttons == {
        "Map": "https://www.openstreetmap.org/?mlat=31.230400&mlon=121.473700#map=18/31.230400/121.473700",
        "Trend": "https://duty.example/#asset=c1",
    }


def test_no_name_is_markup_in_a_card_and_a_card_is_never_too_long() -> None:
    notice = notice_of(transition(name=NASTY * 400), "zh", "k")
    told = feishu.message(notice, "s", 1)
    assert len(json.dumps(told, ensure_ascii=False).encode()) <= 20_000
    for text in texts(told):
        assert text["tag"] == "plain_text"
        assert text["content"].isprintable()
    for element in told["card"]["elements"][:2]:
        assert "url" not in json.dumps(element)


def test_markdown_arrives_with_its_facts_as_quotes_and_its_colour() -> None:
    with robot(WECOM_OK) as one:
        send(receiver(one, "wecom"), transition(), NOW_MS)
        send(receiver(one, "wecom", language="en", map="none"), transition(CLEARED), NOW_MS)
    (path, body), (_, cleared) = one.got
    assert path == "/cgi-bin/webhook/send?key=k3y"
    assert rb"\u" not in body, "WeCom refuses escapes"
    told = json.loads(body)
    assert told["msgtype"] == "markdown"
    assert told["markdown"]["content"].split("\n") == [
        '**<font color="warning">【紧急】点灯人告警 · 井盖打开</font>**',
        "1号井盖打开，倾角 31°",
        "> 地点：市中区 滨河路",
        "> 设施：1号井盖",
        "> 规则：井盖打开",
        "> 数值：31",
        "> 阈值：20",
        "> 开始时间：2026-03-01 21:00",
        "[地图](https://www.openstreetmap.org/?mlat=31.230400&mlon=121.473700#map=18/31.230400/121.473700)",
    ]
    lines = json.loads(cleared)["markdown"]["content"].split("\n")
    assert lines[0] == '**<font color="info">Cleared · Lamplighter · Cover open</font>**'
    assert lines[-1] == "> Since: 2026-03-01 21:00"


def test_no_name_is_markup_in_markdown_and_the_message_is_never_too_long() -> None:
    text = wecom.markdown(notice_of(transition(name=NASTY), "zh", "k", "none"))
    first, *others = text.split("\n")
    assert first.startswith('**<font color="warning">')
    assert all(line.startswith("> ") for line in others[1:])
    inner = "".join(line.removeprefix("> ") for line in others)
    assert not set(inner) & set("<>[]()*`#&\\")
    assert len(wecom.markdown(notice_of(transition(name="𠮷" * 5000), "zh", "k")).encode()) <= 4096


@pytest.mark.parametrize(
    ("prefix", "status", "answer", "says", "final"),
    [
        ("feishu", 200, '{"code":19021,"msg":"sign match fail or timestamp …"}', "wrong signature", True),
        ("feishu", 200, '{"code":19001,"msg":"param invalid"}', "copy its address again", True),
        ("feishu", 200, '{"code":19022,"msg":"Ip Not Allowed"}', "not in the robot's list", True),
        ("feishu", 200, '{"code":19024,"msg":"Key Words Not Found"}', "点灯人 and Lamplighter", True),
        ("feishu", 400, '{"code":9499,"msg":"Bad Request"}', "code 9499: Bad Request", True),
        ("feishu", 200, '{"code":11232,"msg":"frequency limited"}', "too many messages", False),
        ("feishu", 400, '{"code":99991400,"msg":"request trigger frequency limit"}', "too many messages", False),
        ("feishu", 200, '{"code":77,"msg":"new\\u001b[31m"}', "Feishu answered code 77: new [31m", False),
        ("feishu", 404, '{"code":78}', "Feishu answered code 78", True),
        ("feishu", 200, "<html>please log in</html>", "answered 200, but not as Feishu does", False),
        ("feishu", 200, "[0]", "not as Feishu does", False),
        ("feishu", 200, '{"code":true}', "not as Feishu does", False),
        ("feishu", 502, "<html>Bad\ngateway</html>", "answered 502: <html>Bad gateway</html>", False),
        ("feishu", 403, "no", "answered 403: no", True),
        ("feishu", 500, '{"code":0}', "code 0", False),
        ("feishu", 200, "x" * 70_000, "longer than 64 kB", False),
        ("wecom", 200, '{"errcode":93000,"errmsg":"invalid webhook url"}', "copy its address again", True),
        ("wecom", 200, '{"errcode":40058,"errmsg":"wrong"}', "code 40058: wrong", True),
        ("wecom", 200, '{"errcode":45009,"errmsg":"api freq out of limit"}', "too many messages", False),
        ("wecom", 200, '{"errcode":-1,"errmsg":"system busy"}', "it is busy", False),
        ("wecom", 200, '{"errcode":1234567}', "WeCom answered code 1234567", False),
    ],
)
def test_what_a_robot_answers_is_read_and_said_in_words(
    prefix: str, status: int, answer: str, says: str, *, final: bool
) -> None:
    with robot(answer, status) as one:
        with pytest.raises(DeliveryError) as told:
            send(receiver(one, prefix), transition(), NOW_MS)
        assert says in str(told.value)
        assert "t0ken" not in str(told.value)
        assert "k3y" not in str(told.value)
        assert told.value.final is final


def test_an_old_robot_that_says_status_code_alone_has_taken_it() -> None:
    with robot('{"Extra":null,"StatusCode":0,"StatusMessage":"success"}') as one:
        send(receiver(one, "feishu"), transition(), NOW_MS)
    assert len(one.got) == 1


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("feishu+http://open.feishu.cn/open-apis/bot/v2/hook/SECRET", "must be https"),
        ("feishu+https://127.0.0.1/open-apis/bot/v2/hook/SECRET", "lies inside this network"),
        ("feishu+https://open.feishu.cn", "names no robot"),
        ("feishu+https://open.feishu.cn/hook/SECRET?sign=SECRET", "nothing behind the robot's address but"),
        ("feishu+https:///hook/SECRET", "expected feishu+https://"),
        ("feishu+https://open.feishu.cn:SECRET/hook", "a port that is no number"),
        ("wecom+https://qyapi.weixin.qq.com/cgi-bin/webhook/send", "names no robot"),
        ("wecom+https://[::ffff:10.0.0.1]/send?key=SECRET", "lies inside this network"),
        ("wecom+https://SECRET@qyapi.weixin.qq.com/send?key=SECRET", "expected wecom+https://"),
    ],
)
def test_a_wrong_robot_is_refused_at_the_start_without_being_shown(url: str, says: str) -> None:
    with pytest.raises(ConfigError) as told:
        Receiver("crew", url).check()
    (line,) = told.value.problems
    assert line.startswith("settings: notify.crew.url: ")
    assert says in line
    assert "SECRET" not in line


def test_what_the_services_show_is_taken_as_it_was_copied() -> None:
    Receiver("crew", "feishu+https://open.feishu.cn/open-apis/bot/v2/hook/a-b-c?secret=x").check()
    Receiver("crew", "feishu+https://open.larksuite.com/open-apis/bot/v2/hook/a-b-c").check()
    Receiver("crew", "wecom+https://qyapi.weixin.qq.com/cgi-bin/webhook/send?key=a-b-c").check()


def test_the_link_into_the_console_leads_to_the_device_or_to_the_city() -> None:
    here = replace(transition(), entity="device:灯)](x #1")
    assert notice_of(here, "zh", "k", "none", "https://duty.example/c").links == (
        ("趋势", "https://duty.example/c/#asset=%E7%81%AF%29%5D%28x%20%231"),
    )
    road = replace(transition(), entity="road:滨河路")
    assert notice_of(road, "zh", "k", "none", "https://duty.example/").links == (("控制台", "https://duty.example/"),)
    assert notice_of(road, "zh", "k", "none").links == ()


def test_a_notice_of_before_an_upgrade_is_told_with_what_it_has() -> None:
    old = Transition("a1", "cover_open", "device:c1", ACTIVE, 2, 1, "major", {"en": "Open"}, district="Centre")
    notice: Notice = notice_of(old, "zh", "k")
    assert notice.text == "Open"
    assert notice.facts == (("地点", "Centre"), ("设施", "c1"), ("规则", "cover_open"))
    assert notice.links == ()
