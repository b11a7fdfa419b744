"""One notice to one receiver: put into its language, sent, and its failure told apart.

Plain webhooks (``json://``, ``jsons://``) go through a sender of our own (alerts/webhook.py), all others through
apprise.

A failure is retriable (nobody there, too slow, 5xx, 408, 425, 429) or final (any other 3xx or 4xx: the receiver has
understood and will not have it). A receiver that sees an idempotency key twice has been told twice.
"""

from __future__ import annotations

import asyncio
import json
import logging
import math
import re
import threading
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import apprise
import structlog

from alerts import webhook
from devices.transition import CLEARED, Transition
from devices.yamlfile import ConfigError

CONNECT_S = 4.0  # to reach a receiver
READ_S = 8.0  # between two pieces of its answer
LOG = "log"
_TRY_AGAIN = (408, 425, 429)  # timeouts, too early, too many: the receiver asks for another time
_STATUS = re.compile(r"\berror=(\d{3})\b")
_TYPES = {"critical": apprise.NotifyType.FAILURE, "major": apprise.NotifyType.WARNING}
_URGENCY = {"critical": "紧急", "major": "重要", "minor": "一般", "info": "提示"}


@dataclass(frozen=True, slots=True)
class Receiver:
    """Somebody to be told.

    Attributes:
        name: as settings call it; part of the idempotency key.
        url: an address as apprise writes them (``json://host/path``, ``dingtalk://…``), or ``log``.
        language: ``en`` or ``zh``.
        min_severity: the least severity it wants.
        kinds: kinds it wants; empty means all.
        allow_private: whether a plain webhook may lie inside this network.
        fallback: name of the receiver that is told what this one could not be told for good; empty for none.
    """

    name: str
    url: str
    language: str = "zh"
    min_severity: str = "minor"
    kinds: tuple[str, ...] = ()
    allow_private: bool = False
    fallback: str = ""

    @property
    def plain(self) -> bool:
        """Return whether it is a plain webhook, told by a sender of our own."""
        return self.url.partition("://")[0] in webhook.SCHEMES

    def check(self) -> None:
        """Raise ConfigError when the address is not one that can be sent to; the address itself is not shown."""
        if self.plain:
            try:
                webhook.parse(self.url, allow_private=self.allow_private)
            except ValueError as trouble:
                raise ConfigError([f"settings: notify.{self.name}.url: {trouble}"]) from None
            return
        if self.allow_private:
            raise ConfigError([f"settings: notify.{self.name}.allow_private: only for json:// and jsons:// addresses"])
        if self.url == LOG:
            return
        _listen_to_apprise()
        with warnings.catch_warnings():  # apprise loads all its services now, one of which imports a module of old
            warnings.simplefilter("ignore", DeprecationWarning)
            known = apprise.Apprise.instantiate(self.url, suppress_exceptions=True)
        if known is None:
            form = "expected 'log' or an apprise address such as json://host/path; secrets must have the service's form"
            raise ConfigError([f"settings: notify.{self.name}.url: not an address that apprise knows; {form}"])


def _listen_to_apprise() -> None:
    """Keep apprise's warnings from the log, where the notifier tells of failures once, but not from being read."""
    log = logging.getLogger("apprise")
    log.setLevel(logging.WARNING)  # they carry the status of a refused notice
    log.propagate = False
    if not log.handlers:
        log.addHandler(logging.NullHandler())


class DeliveryError(Exception):
    """A notice was not delivered, or nobody can know.

    Attributes:
        final: trying again would not help.
    """

    def __init__(self, text: str, *, final: bool = False) -> None:
        super().__init__(text)
        self.final = final


def key_of(notice: Transition, receiver: Receiver) -> str:
    """Return the idempotency key: the same for every attempt at this transition and receiver."""
    return f"{notice.alert_id}:{notice.state}:{receiver.name}"


def title_of(notice: Transition, language: str) -> str:
    """Return the headline: how grave, or that it is over."""
    if language == "zh":
        return "【已解除】点灯人" if notice.state == CLEARED else f"【{_URGENCY[notice.severity]}】点灯人告警"
    return "Cleared · Lamplighter" if notice.state == CLEARED else f"{notice.severity.capitalize()} · Lamplighter"


def send(receiver: Receiver, notice: Transition) -> None:
    """Tell one receiver of one transition. Blocks. Raises DeliveryError."""
    text = notice.message.get(receiver.language) or next(iter(notice.message.values()), notice.rule)
    if receiver.url == LOG:
        _log(receiver, notice, text)
        return
    if receiver.plain:
        _post(receiver, notice, text)
        return
    plugin = apprise.Apprise.instantiate(receiver.url, suppress_exceptions=True)
    if plugin is None:
        raise DeliveryError("not an address that apprise knows", final=True)
    plugin.socket_connect_timeout, plugin.socket_read_timeout = CONNECT_S, READ_S
    plugin.redirects = False  # a notice goes where it was addressed to, and nowhere else
    if hasattr(plugin, "payload_extras") and hasattr(plugin, "headers"):  # the webhooks that take forms or XML
        key = key_of(notice, receiver)
        plugin.headers["Idempotency-Key"] = key
        plugin.payload_extras.update({name: json.dumps(value) for name, value in _facts(notice, key).items()})
    sender = apprise.Apprise(asset=apprise.AppriseAsset(app_id="Lamplighter", async_mode=False))
    sender.add(plugin)
    told = sender.notify(
        body=text,
        title=title_of(notice, receiver.language),
        notify_type=_type(notice),
        body_format=apprise.NotifyFormat.TEXT,
    )
    if not told:
        raise failure(entry.message for entry in told.logs())


def _post(receiver: Receiver, notice: Transition, text: str) -> None:
    """Tell a plain webhook, in the form that apprise gave to its JSON notices, with the transition's own fields."""
    key = key_of(notice, receiver)
    form = {"version": "1.0", "title": title_of(notice, receiver.language), "message": text, "attachments": []}
    try:
        hook = webhook.parse(receiver.url, allow_private=receiver.allow_private)
        body = {**form, "type": _type(notice).value, **_facts(notice, key)}
        webhook.post(hook, body, {"Idempotency-Key": key})
    except ValueError as trouble:
        raise DeliveryError(str(trouble), final=True) from None
    except webhook.WebhookError as trouble:
        raise DeliveryError(str(trouble), final=_refused(trouble.status)) from None


def _type(notice: Transition) -> apprise.NotifyType:
    if notice.state == CLEARED:
        return apprise.NotifyType.SUCCESS
    return _TYPES.get(notice.severity, apprise.NotifyType.INFO)


def _refused(status: int) -> bool:
    """Return whether a status says that the receiver has understood and will not have it."""
    return 300 <= status < 500 and status not in _TRY_AGAIN


def failure(complaints: Iterable[str]) -> DeliveryError:
    """Return what apprise's complaints mean: the HTTP status in them decides whether it is worth another try."""
    lines = list(complaints)
    statuses = [int(found[1]) for line in lines if (found := _STATUS.search(line))]
    text = " ".join(lines)[:300] or "not delivered"
    return DeliveryError(text, final=any(_refused(status) for status in statuses))


async def send_within(receiver: Receiver, notice: Transition, timeout_s: float) -> asyncio.Future[None]:
    """Start sending in a thread and wait for at most ``timeout_s``; the future ends when the thread does.

    A daemon thread of its own: a receiver that never finishes its answer keeps no other waiting, nor the house from
    stopping.
    """
    loop = asyncio.get_running_loop()
    ended: asyncio.Future[None] = loop.create_future()

    def report(trouble: BaseException | None) -> None:
        if ended.done():
            return
        if trouble is None:
            ended.set_result(None)
        else:
            ended.set_exception(trouble)

    def work() -> None:
        trouble: BaseException | None = None
        try:
            send(receiver, notice)
        except DeliveryError as refused:
            trouble = refused
        except Exception as bug:  # noqa: BLE001 - a plugin's bug is a failed delivery, not the end of the house
            trouble = DeliveryError(f"{type(bug).__name__}: {bug}"[:300])
        if not loop.is_closed():
            loop.call_soon_threadsafe(report, trouble)

    threading.Thread(target=work, name=f"notify-{receiver.name}", daemon=True).start()
    await asyncio.wait([ended], timeout=timeout_s)
    return ended


def _facts(notice: Transition, key: str) -> dict[str, Any]:
    """Return the transition's fields for a program to read."""
    place = [None if math.isnan(value) else value for value in (notice.lon, notice.lat)]
    return {
        "idempotency_key": key,
        "alert_id": notice.alert_id,
        "rule": notice.rule,
        "entity": notice.entity,
        "state": notice.state,
        "severity": notice.severity,
        "kind": notice.kind,
        "district": notice.district,
        "at_ms": notice.at_ms,
        "onset_ms": notice.onset_ms,
        "lon": place[0],
        "lat": place[1],
        "reason": notice.reason,
        "values": notice.values,
    }


def _log(receiver: Receiver, notice: Transition, text: str) -> None:
    log = structlog.get_logger("notice")
    write = log.warning if notice.severity in ("critical", "major") and notice.state != CLEARED else log.info
    write(
        text,
        receiver=receiver.name,
        state=notice.state,
        severity=notice.severity,
        rule=notice.rule,
        entity=notice.entity,
        alert=notice.alert_id,
    )
