"""WeCom 企业微信: a group robot's markdown message.

Wire format: developer.work.weixin.qq.com, "消息推送配置说明" (99110: markdown subset, 4,096 bytes, 20 a minute)
and "全局错误码" (90455). The subset knows no escaping, so characters that mean something in it are replaced by their
full-width sisters.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qsl, urlsplit

from alerts import robot
from alerts.notice import Notice, clean
from alerts.webhook import Webhook

PREFIX = "wecom"
LIMITS = ((20, 61.0),)  # messages in seconds, a little longer than the service counts: messages travel unevenly
BYTES_MAX = 4096
_COLOURS = {"critical": "warning", "major": "warning", "cleared": "info"}  # orange and green; all others grey
_SAFE = str.maketrans("<>[]()*`#&\\_~|!", "＜＞［］（）＊｀＃＆＼＿～｜！")
_CODES = robot.Codes(
    "WeCom",
    ("errcode",),
    ("errmsg",),
    final={
        40001: "the key is not valid: copy the robot's address again",
        40008: "it does not understand the message",
        40033: "it does not understand the message",
        40035: "it does not understand the message",
        40058: "it does not understand the message",
        44004: "it takes no empty message",
        45002: "the message is too long",
        47001: "it does not understand the message",
        93000: "no such robot: copy its address again",
        93004: "the robot is switched off",
        93008: "the robot is not in the group",
    },
    later={-1: "it is busy", 45009: "too many messages", 45033: "too many at once"},
)


def parse(url: str, *, allow_private: bool = False) -> Webhook:
    """Read ``wecom+https://qyapi.weixin.qq.com/cgi-bin/webhook/send?key=…``. Raises ValueError that shows no key."""
    if not dict(parse_qsl(urlsplit(url).query)).get("key"):
        raise ValueError("names no robot; expected wecom+https://qyapi.weixin.qq.com/cgi-bin/webhook/send?key=…")
    return robot.parse(url, PREFIX, allow_private=allow_private)


def post(to: Webhook, notice: Notice) -> None:
    """Send a notice as markdown. Blocks. Raises WebhookError, final or not."""
    robot.tell(to, message(notice), _CODES)


def message(notice: Notice) -> dict[str, Any]:
    """Return the body of the question."""
    return {"msgtype": "markdown", "markdown": {"content": markdown(notice)}}


def markdown(notice: Notice) -> str:
    """Return the message: headline, sentence, facts and links, of at most 4,096 bytes; what is too long loses facts."""
    colour = _COLOURS.get(notice.mood, "comment")
    top = [f'**<font color="{colour}">{_safe(notice.headline, 100)}</font>**', _safe(notice.text, 600)]
    facts = [f"> {_safe(name, 20)}{notice.colon}{_safe(value, 100)}" for name, value in notice.facts]
    links = [" ".join(f"[{_safe(name, 20)}]({address})" for name, address in notice.links)] if notice.links else []
    while facts and len("\n".join(top + facts + links).encode()) > BYTES_MAX:
        facts.pop()
    return "\n".join(top + facts + links)


def _safe(text: str, longest: int) -> str:
    return clean(text, longest).translate(_SAFE)
