"""Feishu 飞书 (and Lark): a custom bot's signed card, its colour saying how grave it is.

Wire format: open.feishu.cn, "Custom bot usage guide" (signature, codes, 100 a minute, 5 a second, 20 kB) and the card
components of JSON 1.0. Words of the registry stand in ``plain_text`` elements only, where nothing is markup.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from alerts import robot
from alerts.notice import Notice, clean
from alerts.webhook import Webhook

PREFIX = "feishu"
LIMITS = (
    (100, 61.0),
    (5, 1.1),
)  # messages in seconds, a little longer than the service counts: messages travel unevenly
_COLOURS = {"critical": "red", "major": "orange", "minor": "yellow", "info": "blue", "cleared": "green"}
_CODES = robot.Codes(
    "Feishu",
    ("code", "StatusCode"),
    ("msg", "StatusMessage"),
    final={
        9499: "it does not understand the message",
        19001: "no such robot: copy its address again",
        19002: "it does not understand the message",
        19021: "wrong signature: the secret is another, or this machine's clock is an hour off",
        19022: "this machine's address is not in the robot's list",
        19024: "none of the robot's keywords is in the message: make 点灯人 and Lamplighter its keywords",
    },
    later={11232: "too many messages", 99991400: "too many messages"},
)


@dataclass(frozen=True, slots=True)
class Robot:
    """Where a group's bot listens, and the secret of its signature, empty where it asks for none."""

    hook: Webhook
    secret: str


def parse(url: str, *, allow_private: bool = False) -> Robot:
    """Read ``feishu+https://open.feishu.cn/open-apis/bot/v2/hook/…?secret=…``. Raises ValueError without them."""
    parts = urlsplit(url)
    asked = dict(parse_qsl(parts.query.replace("+", "%2B")))
    secret = asked.pop("secret", "")
    if asked or (parts.query and not secret):
        raise ValueError("expected nothing behind the robot's address but ?secret=…")
    if not parts.path.strip("/"):
        raise ValueError("names no robot; expected feishu+https://open.feishu.cn/open-apis/bot/v2/hook/…?secret=…")
    return Robot(robot.parse(parts._replace(query="").geturl(), PREFIX, allow_private=allow_private), secret)


def post(to: Robot, notice: Notice, now_ms: int) -> None:
    """Send a notice as a card, signed for ``now_ms`` (epoch milliseconds): the service compares it with its own clock.

    Blocks. Raises WebhookError, final or not.
    """
    robot.tell(to.hook, message(notice, to.secret, now_ms // 1000), _CODES)


def signature(secret: str, at_s: int) -> str:
    """Return the signature of a moment: HMAC-SHA256 of nothing, under the key "seconds, newline, secret", in base64."""
    digest = hmac.new(f"{at_s}\n{secret}".encode(), b"", hashlib.sha256).digest()
    return base64.b64encode(digest).decode()


def message(notice: Notice, secret: str, at_s: int) -> dict[str, Any]:
    """Return the body of the question, signed for a moment (epoch seconds) where there is a secret."""
    signed = {"timestamp": str(at_s), "sign": signature(secret, at_s)} if secret else {}
    return {**signed, "msg_type": "interactive", "card": card(notice)}


def card(notice: Notice) -> dict[str, Any]:
    """Return the card: a coloured headline, the sentence, the facts two by two, and buttons that lead on."""
    elements: list[dict[str, Any]] = [{"tag": "div", "text": _plain(notice.text, 2000)}]
    facts = [{"is_short": True, "text": _plain(f"{name}{notice.colon}{value}", 300)} for name, value in notice.facts]
    if facts:
        elements.append({"tag": "div", "fields": facts})
    buttons = [
        {"tag": "button", "text": _plain(name, 40), "type": "default", "url": address} for name, address in notice.links
    ]
    if buttons:
        elements.append({"tag": "action", "actions": buttons})
    return {
        "config": {"wide_screen_mode": True},
        "header": {"template": _COLOURS.get(notice.mood, "blue"), "title": _plain(notice.headline, 200)},
        "elements": elements,
    }


def _plain(text: str, longest: int) -> dict[str, str]:
    return {"tag": "plain_text", "content": clean(text, longest)}
