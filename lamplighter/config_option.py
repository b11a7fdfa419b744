"""The option by which every command is told whose settings to use."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from lamplighter.settings import Settings  # imported by those who need it, so that --help stays quick

USUAL = "lamplighter.yaml"

Config = Annotated[
    Path | None,
    typer.Option(
        "--config", "-c", help="Settings file; default lamplighter.yaml where there is one.", show_default=False
    ),
]


def settings_path(config: Path | None) -> Path | None:
    """Return the settings file: the one that was named, else the usual one, None where there is none."""
    if config is not None:
        return config
    usual = Path(USUAL)
    return usual if usual.exists() else None


def settings_of(config: Path | None) -> Settings:
    """Read the settings. Raises ConfigError naming everything that is wrong."""
    from lamplighter.settings import load_settings

    return load_settings(settings_path(config))
