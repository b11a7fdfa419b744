"""Writes everything that Grafana is provisioned with: boards, data source, and the alarms about the watcher itself."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml
from grafanalib.core import Dashboard, DashboardLink, Template, Templating, Time

from dashboards.house_board import house_panels
from dashboards.kind_board import KindBoard
from dashboards.lighting import lighting_panels, scope_variable
from dashboards.limits import RuleLike
from dashboards.native import SCHEMA_VERSION, Json, dashboard_json
from dashboards.panels import Shelf
from dashboards.provisioning import alarms, datasource, provider
from dashboards.words import Words
from devices.kinds import Catalog, Kind

TAG = "lamplighter"


def build_all(
    catalog: Catalog,
    out_dir: Path,
    language: str = "zh",
    *,
    rules: Iterable[RuleLike] = (),
    tiles: str = "",
    timezone: str = "browser",
) -> list[Path]:
    """Write the boards and the provisioning of one Grafana, and return the files written.

    A board's uid is the same in both languages, so that a link in an old message still leads to it.

    Args:
        catalog: one board a kind is written.
        out_dir: ``boards/*.json`` and ``provisioning/**.yaml`` are written below it.
        language: ``en`` or ``zh``.
        rules: whose constant limits are drawn.
        tiles: address of map tiles with {x}, {y}, {z}; empty for a plain ground.
        timezone: of the boards, such as ``Asia/Shanghai``.

    Raises:
        ValueError: for another language.
    """
    words = Words(language)
    chosen = list(rules)
    boards = {kind.name: kind_board(kind, words, chosen, tiles=tiles, timezone=timezone) for kind in catalog}
    boards["house"] = house_board(words, timezone=timezone)
    written = [
        _write(out_dir / "boards" / f"{name}.json", json.dumps(board, ensure_ascii=False, indent=2, sort_keys=True))
        for name, board in boards.items()
    ]
    files: dict[str, Any] = {
        "datasources/lamplighter.yaml": datasource(),
        "dashboards/lamplighter.yaml": provider(),
        "alerting/lamplighter.yaml": alarms(words),
    }
    written += [
        _write(out_dir / "provisioning" / name, yaml.safe_dump(data, allow_unicode=True, sort_keys=False))
        for name, data in files.items()
    ]
    return written


def kind_board(
    kind: Kind, words: Words, rules: Iterable[RuleLike] = (), *, tiles: str = "", timezone: str = "browser"
) -> Json:
    """Return the board of one kind as plain data."""
    board = KindBoard(kind, words, rules, tiles)
    variables = board.variables()
    shelf = Shelf()
    board.alerts(shelf)
    if kind.name == "streetlight":
        variables.insert(0, scope_variable(words))
        lighting_panels(shelf, words)
    board.device(shelf)
    board.fleet(shelf)
    return _dashboard(kind.name, words.of(kind), shelf, variables, words=words, timezone=timezone)


def house_board(words: Words, *, timezone: str = "browser") -> Json:
    """Return the watcher's own board as plain data."""
    shelf = Shelf()
    house_panels(shelf, words)
    return _dashboard("house", words("house"), shelf, [], words=words, timezone=timezone)


def _dashboard(name: str, title: str, shelf: Shelf, variables: list[Template], *, words: Words, timezone: str) -> Json:
    dashboard = Dashboard(
        title=f"{'点灯人' if words.language == 'zh' else 'Lamplighter'} · {title}",
        uid=f"lamplighter-{name.replace('_', '-')}",
        tags=[TAG],
        panels=shelf.panels,
        templating=Templating(list=variables),
        links=[DashboardLink(type="dashboards", tags=[TAG], title=words("boards"), asDropdown=True, keepTime=True)],
        time=Time("now-6h", "now"),
        refresh="1m",
        timezone=timezone,
        schemaVersion=SCHEMA_VERSION,
        editable=False,  # provisioned: a change on the page would be lost with the next start
    )
    return dashboard_json(dashboard)


def _write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text if text.endswith("\n") else text + "\n", encoding="utf-8")
    return path
