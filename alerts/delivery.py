"""One notice to one receiver: put into its language, sent, and its failure told apart.

Senders of our own for plain webhooks (``json://``, ``jsons://``), group robots (``feishu+https://``, ``wecom+https://``)
mail (``smtp://``, ``smtps://``) and Prometheus Alertmanager (``alertmanager+http://``); all others through apprise.

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
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import apprise
import structlog

from alerts import alertmanager, feishu, mail, webhook, wecom
from alerts.maps import map_link, map_template
from alerts.notice import Notice, notice_of, text_of, title_of
from devices.transition import CLEARED, Transition
from devices.yamlfile import ConfigError

CONNECT_S = 4.0  # to reach a receiver
READ_S = 8.0  # between two pieces of its answer
LOG = "log"
_STATUS = re.compile(r"\berror=(\d{3})\b")
_TYPES = {"critical": apprise.NotifyType.FAILURE, "major": apprise.NotifyType.WARNING}
_PARSERS: dict[str, Callable[..., object]] = {
    "json": webhook.parse,
    "jsons": webhook.parse,
    "feishu+http": feishu.parse,
    "feishu+https": feishu.parse,
    "wecom+http": wecom.parse,
    "wecom+https": wecom.parse,
    "alertmanager+http": alertmanager.parse,
    "alertmanager+https": alertmanager.parse,
    "smtp": mail.parse,
    "smtps": mail.parse,
    "smtp+plain": mail.parse,
}
_LIMITS = {feishu.PREFIX: feishu.LIMITS, wecom.PREFIX: wecom.LIMITS}
__all__ = ["LOG", "DeliveryError", "Receiver", "failure", "key_of", "send", "send_within", "title_of"]


@dataclass(frozen=True, slots=True)
class Receiver:
    """Somebody to be told.

    Attributes:
        name: as settings call it; part of the idempotency key.
        url: an address as apprise writes them (``json://host/path``, ``dingtalk://…``), or ``log``.
        language: ``en`` or ``zh``.
        min_severity: the least severity it wants.
        kinds: kinds it wants; empty means all.
        allow_private: whether it may lie inside this network, where a sender of our own tells it.
        fallback: name of the receiver that is told what this one could not be told for good; empty for none.
        map: the map that places are shown on, as alerts.maps.map_template takes it.
        per_minute: how many notices it takes a minute at most; None for what its service allows.
        console: where its people find the console; empty for nowhere.
    """

    name: str
    url: str
    language: str = "zh"
    min_severity: str = "minor"
    kinds: tuple[str, ...] = ()
    allow_private: bool = False
    fallback: str = ""
    map: str = "osm"
    per_minute: int | None = None
    console: str = ""

    @property
    def scheme(self) -> str:
        """Return what its address begins with."""
        return self.url.partition("://")[0]

    @property
    def limits(self) -> tuple[tuple[int, float], ...]:
        """Return how many notices it takes in how many seconds; each of them holds."""
        usual = _LIMITS.get(self.scheme.partition("+")[0], ())
        return usual if self.per_minute is None else ((self.per_minute, 60.0), *usual[1:])

    def check(self) -> None:
        """Raise ConfigError when the address is not one that can be sent to; the address itself is not shown."""
        try:
            map_template(self.map)
        except ValueError as trouble:
            raise ConfigError([f"settings: notify.{self.name}.map: {trouble}"]) from None
        parser = _PARSERS.get(self.scheme)
        if parser is not None:
            try:
                parser(self.url, allow_private=self.allow_private)
            except ValueError as trouble:
                raise ConfigError([f"settings: notify.{self.name}.url: {trouble}"]) from None
            return
        if self.allow_private:
            own = ", ".join(f"{scheme}://" for scheme in _PARSERS)
            raise ConfigError([f"settings: notify.{self.name}.allow_private: only for addresses of {own}"])
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


def send(receiver: Receiver, transition: Transition, now_ms: int) -> None:
    """Tell one receiver of one transition at ``now_ms``, epoch milliseconds. Blocks. Raises DeliveryError."""
    if receiver.url == LOG:
        _log(receiver, transition, text_of(transition, receiver.language))
        return
    key = key_of(transition, receiver)
    notice = notice_of(transition, receiver.language, key, receiver.map, receiver.console)
    if receiver.scheme not in _PARSERS:
        _through_apprise(receiver, transition, notice)
        return
    try:
        _by_ourselves(receiver, transition, notice, now_ms)
    except ValueError as trouble:
        raise DeliveryError(str(trouble), final=True) from None
    except (webhook.WebhookError, mail.MailError) as trouble:
        raise DeliveryError(str(trouble), final=trouble.final) from None


def _by_ourselves(receiver: Receiver, transition: Transition, notice: Notice, now_ms: int) -> None:
    inside = receiver.allow_private
    match receiver.scheme.partition("+")[0]:
        case feishu.PREFIX:
            feishu.post(feishu.parse(receiver.url, allow_private=inside), notice, now_ms)
        case wecom.PREFIX:
            wecom.post(wecom.parse(receiver.url, allow_private=inside), notice)
        case alertmanager.PREFIX:
            hook = alertmanager.parse(receiver.url, allow_private=inside)
            alertmanager.post(hook, [transition], now_ms, receiver.console)
        case "smtp" | "smtps":
            mail.post(mail.parse(receiver.url, allow_private=inside), notice)
        case _:
            hook = webhook.parse(receiver.url, allow_private=inside)
            form = {"version": "1.0", "title": notice.title, "message": notice.text, "attachments": []}
            body = {**form, "type": _type(transition).value, **_facts(receiver, transition, notice.key)}
            webhook.post(hook, body, {"Idempotency-Key": notice.key})


def _through_apprise(receiver: Receiver, transition: Transition, notice: Notice) -> None:
    plugin = apprise.Apprise.instantiate(receiver.url, suppress_exceptions=True)
    if plugin is None:
        raise DeliveryError("not an address that apprise knows", final=True)
    plugin.socket_connect_timeout, plugin.socket_read_timeout = CONNECT_S, READ_S
    plugin.redirects = False  # a notice goes where it was addressed to, and nowhere else
    if hasattr(plugin, "payload_extras") and hasattr(plugin, "headers"):  # the webhooks that take forms or XML
        plugin.headers["Idempotency-Key"] = notice.key
        facts = _facts(receiver, transition, notice.key)
        plugin.payload_extras.update({name: json.dumps(value) for name, value in facts.items()})
    sender = apprise.Apprise(asset=apprise.AppriseAsset(app_id="Lamplighter", async_mode=False))
    sender.add(plugin)
    told = sender.notify(
        body="\n".join([notice.text, *(f"{name}{notice.colon}{address}" for name, address in notice.links)]),
        title=notice.title,
        notify_type=_type(transition),
        body_format=apprise.NotifyFormat.TEXT,
    )
    if not told:
        raise failure(entry.message for entry in told.logs())


def _type(notice: Transition) -> apprise.NotifyType:
    if notice.state == CLEARED:
        return apprise.NotifyType.SUCCESS
    return _TYPES.get(notice.severity, apprise.NotifyType.INFO)


def failure(complaints: Iterable[str]) -> DeliveryError:
    """Return what apprise's complaints mean: the HTTP status in them decides whether it is worth another try."""
    lines = list(complaints)
    statuses = [int(found[1]) for line in lines if (found := _STATUS.search(line))]
    text = " ".join(lines)[:300] or "not delivered"
    return DeliveryError(text, final=any(webhook.refused(status) for status in statuses))


async def send_within(receiver: Receiver, notice: Transition, timeout_s: float, now_ms: int) -> asyncio.Future[None]:
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
            send(receiver, notice, now_ms)
        except DeliveryError as refused:
            trouble = refused
        except Exception as bug:  # noqa: BLE001 - a plugin's bug is a failed delivery, not the end of the house
            trouble = DeliveryError(f"{type(bug).__name__}: {bug}"[:300])
        if not loop.is_closed():
            loop.call_soon_threadsafe(report, trouble)

    threading.Thread(target=work, name=f"notify-{receiver.name}", daemon=True).start()
    await asyncio.wait([ended], timeout=timeout_s)
    return ended


def _facts(receiver: Receiver, notice: Transition, key: str) -> dict[str, Any]:
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
        "map": map_link(receiver.map, notice.lon, notice.lat) or None,
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
