"""Asks a house that runs on this machine: over its own API, with the token of the settings."""

from __future__ import annotations

import json
import urllib.error
import urllib.request

import typer

from devices.yamlfile import ConfigError
from lamplighter.settings import Settings

ANYWHERE = ("0.0.0.0", "::", "")  # noqa: S104 - what a house listens on, not what is bound here
ANSWER_S = 120.0  # a city of a million devices is read and built anew in less


def ask_to_reload(settings: Settings) -> int:
    """Have the running house reload, print what came of it, and return the exit status: 0 taken, 1 refused."""
    host = "127.0.0.1" if settings.api.host in ANYWHERE else settings.api.host
    url = f"http://{f'[{host}]' if ':' in host else host}:{settings.api.port}/api/reload"
    headers = {"Content-Type": "application/json"}
    if settings.api.token:
        headers["Authorization"] = f"Bearer {settings.api.token}"
    asked = urllib.request.Request(url, b"{}", headers)
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with direct.open(asked, timeout=ANSWER_S) as answer:
            told = json.load(answer)
    except urllib.error.HTTPError as refusal:
        typer.echo(_detail(refusal), err=True)
        return 1
    except (OSError, ValueError) as trouble:
        why = getattr(trouble, "reason", None) or trouble
        raise ConfigError([f"no house answers at {url}: {why}; is it running with these settings?"]) from None
    typer.echo("\n".join([told["says"], *told["changes"]]))
    return 0


def _detail(refusal: urllib.error.HTTPError) -> str:
    try:
        return str(json.load(refusal)["detail"])
    except (ValueError, KeyError):
        return f"the house answers with {refusal.code}"
