"""``lamplighter notify``: send a marked test notice and say in words what came back."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated

import typer

from devices.yamlfile import ConfigError
from lamplighter.config_option import Config, settings_of

if TYPE_CHECKING:
    from alerts.delivery import Receiver
    from devices.transition import Transition

app = typer.Typer(help="Whom the settings want told.", no_args_is_help=True)
TITLE = {"en": "Test notice", "zh": "测试通知"}
TEXT = {
    "en": "This is a test. Nothing is wrong and nothing is to be done.",
    "zh": "这是一条测试通知，设施一切正常，无需处理。",
}


@app.callback()
def whole() -> None:
    """Whom the settings want told."""


@app.command("test")
def send_test(
    receiver: Annotated[str, typer.Argument(help="Its name in the settings; all of them where none is given.")] = "",
    config: Config = None,
) -> None:
    """Send a marked test notice and say what came back; exit status 1 where one was not delivered."""
    from lamplighter.wiring import receivers_of

    receivers = receivers_of(settings_of(config))
    chosen = [one for one in receivers if receiver in ("", one.name)]
    if not chosen:
        known = ", ".join(one.name for one in receivers) or "there is none"
        raise ConfigError([f"settings: notify: no receiver '{receiver}' ({known})"])
    for one in chosen:
        one.check()
    notice = marked_notice(time.time_ns() // 1_000_000)
    failed = 0
    for one in chosen:
        well, line = tell(one, notice)
        failed += not well
        typer.echo(f"{one.name}: {line}")
    raise typer.Exit(1 if failed else 0)


def tell(receiver: Receiver, notice: Transition) -> tuple[bool, str]:
    """Send a notice; return whether it was taken, and what to say of that."""
    from alerts.delivery import DeliveryError, send

    began = time.monotonic()
    try:
        send(receiver, notice, time.time_ns() // 1_000_000)
    except DeliveryError as trouble:
        if not trouble.final:
            return False, f"not delivered, a real notice would be tried again: {trouble}"
        other = f"passed on to '{receiver.fallback}'" if receiver.fallback else "given up"
        return False, f"not delivered for good, a real notice would be {other}: {trouble}"
    return True, f"delivered in {time.monotonic() - began:.1f} s; look whether it is there"


def marked_notice(now_ms: int) -> Transition:
    """Return a notice that nobody takes for an alert."""
    from devices.transition import ACTIVE, Transition

    return Transition(
        alert_id=f"test-{now_ms}",
        rule="test",
        entity="test:lamplighter",
        state=ACTIVE,
        at_ms=now_ms,
        onset_ms=now_ms,
        severity="info",
        message=TEXT,
        words={language: {"rule": title} for language, title in TITLE.items()},
    )
