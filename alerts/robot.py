"""Group robots (Feishu, WeCom): an address as the service shows it, and an answer that says more than its status.

Both answer 200 and put in the text whether the message was taken, so a 200 alone is no success.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from alerts import webhook
from alerts.answer import EXCERPT, printable
from alerts.webhook import Webhook, WebhookError


@dataclass(frozen=True, slots=True)
class Codes:
    """How a service says what became of a message.

    Attributes:
        service: its name.
        code, text: keys of the answer; the first of each that is there counts, and the code 0 is success.
        final: codes that no repetition changes, and what to do about each.
        later: codes that pass. A code that is in neither is tried again: better late than given up by mistake.
    """

    service: str
    code: tuple[str, ...]
    text: tuple[str, ...]
    final: Mapping[int, str]
    later: Mapping[int, str]


def parse(url: str, prefix: str, *, allow_private: bool) -> Webhook:
    """Read ``PREFIX+https://…``, the address as the service shows it. Raises ValueError that does not show it.

    ``http`` and addresses inside this network only where ``allow_private`` says so.
    """
    form = f"{prefix}+https://… with the robot's address as it was copied"
    parts = urlsplit(url.removeprefix(f"{prefix}+"))
    try:
        host, port = parts.hostname, parts.port
    except ValueError:
        raise ValueError(f"has a port that is no number; expected {form}") from None
    if parts.scheme not in ("http", "https") or not host or parts.username is not None:
        raise ValueError(f"expected {form}")
    tls = parts.scheme == "https"
    if not tls and not allow_private:
        raise ValueError("must be https; http only for a receiver with 'allow_private: true'")
    host = host.encode("idna").decode() if not host.isascii() else host
    target = f"{parts.path or '/'}?{parts.query}" if parts.query else parts.path or "/"
    if not (target.isprintable() and target.isascii()) or " " in target:
        raise ValueError(f"has a path that must be percent-encoded; expected {form}")
    webhook.check_outside(host, allow_private=allow_private)
    return Webhook(host, port or (443 if tls else 80), target, tls, {}, allow_private)


def tell(hook: Webhook, body: Mapping[str, Any], codes: Codes) -> None:
    """Send a message and read whether it was taken. Blocks. Raises WebhookError, final or not."""
    status, text = webhook.ask(hook, body, {})
    code, said = _read(text, codes)
    if code is None:
        if 200 <= status < 300:
            raise WebhookError(f"{hook.place} answered {status}, but not as {codes.service} does", status, final=False)
        raise webhook.refusal(hook, status, text)
    if code == 0 and 200 <= status < 300:
        return
    advice = codes.final.get(code) or codes.later.get(code) or ""
    final = code in codes.final or (code not in codes.later and webhook.refused(status))
    line = f"{codes.service} answered code {code}{f': {said}' if said else ''}{f' ({advice})' if advice else ''}"
    raise WebhookError(line, status, final=final)


def _read(text: str, codes: Codes) -> tuple[int | None, str]:
    try:
        answer = json.loads(text)
    except (ValueError, RecursionError):
        return None, ""
    if not isinstance(answer, dict):
        return None, ""
    code = next((answer[key] for key in codes.code if type(answer.get(key)) is int), None)
    said = next((str(answer[key]) for key in codes.text if answer.get(key)), "")
    return code, printable(said)[:EXCERPT]
