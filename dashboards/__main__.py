"""``python -m dashboards build --out DIR``: write the boards; ``fields``: write docs/fields.md."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from dashboards.build import build_all
from dashboards.fields import fields_page
from dashboards.words import LANGUAGES
from devices.kinds import load_catalog


def main(arguments: list[str] | None = None) -> int:
    """Run one command and return its exit code."""
    parser = argparse.ArgumentParser(prog="python -m dashboards", description="Grafana boards and the table of fields.")
    commands = parser.add_subparsers(dest="command", required=True)
    build = commands.add_parser("build", help="write the boards and Grafana's provisioning")
    build.add_argument("--out", type=Path, required=True, help="folder to write into")
    build.add_argument("--language", choices=LANGUAGES, default="zh")
    build.add_argument("--kinds", type=Path, nargs="*", default=[], help="further kinds: YAML files or folders")
    build.add_argument("--tiles", default="", help="address of map tiles with {x}, {y} and {z}")
    fields = commands.add_parser("fields", help="write the table of all fields")
    fields.add_argument("--out", type=Path, default=Path("docs/fields.md"))
    chosen = parser.parse_args(arguments)
    if chosen.command == "build":
        written = build_all(load_catalog(*chosen.kinds), chosen.out, chosen.language, tiles=chosen.tiles)
    else:
        chosen.out.write_text(fields_page(load_catalog()), encoding="utf-8")
        written = [chosen.out]
    sys.stdout.writelines(f"{path}\n" for path in written)
    return 0


if __name__ == "__main__":
    sys.exit(main())
