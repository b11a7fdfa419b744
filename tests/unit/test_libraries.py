"""Every dependency has a line that says what it is for; the line is true as to licence and place."""

from __future__ import annotations

import re
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "decisions" / "0008-libraries.md").read_text(encoding="utf-8")
ROWS = {
    cells[0].strip("`"): cells
    for line in PAGE.splitlines()
    if line.startswith("| `")
    for cells in [[cell.strip() for cell in line.strip("|").split("|")]]
}
TREE = ("lamplighter", "ingest", "devices", "alerts", "storage", "api", "dashboards", "simulators", "bench", "scripts")


def names() -> list[str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = [*project["dependencies"], *project["optional-dependencies"]["dev"]]
    return [re.match(r"[\w.-]+", want).group().lower() for want in wanted]  # type: ignore[union-attr]


def plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def modules(library: str) -> list[str]:
    found = metadata.packages_distributions().items()
    return [module for module, of in found if plain(library) in map(plain, of) and not module.startswith("_")]


def imports(path: Path, module: str) -> bool:
    return bool(re.search(rf"^\s*(?:import|from) {module}\b", path.read_text(encoding="utf-8"), re.MULTILINE))


def test_the_page_has_a_line_for_each_dependency_and_none_for_others() -> None:
    assert sorted(ROWS) == sorted(names())


@pytest.mark.parametrize("name", names())
def test_a_library_has_the_licence_and_the_place_that_its_line_says(name: str) -> None:
    _, licence, where, reason, keeper = ROWS[name]
    about = metadata.metadata(name)
    told = [about.get("License-Expression") or "", about.get("License") or "", *about.get_all("Classifier", [])]
    assert any(licence in line for line in told), told
    assert len(reason.split()) >= 3
    assert keeper
    importable = modules(name)
    files = [path for top in (*TREE, "tests") for path in (ROOT / top).rglob("*.py")]
    users = [path for path in files for module in importable if imports(path, module)]
    if where.startswith("`"):
        assert ROOT / where.strip("`") in users
    else:
        assert users == [], f"{name} is imported after all"


def test_whatever_is_imported_is_declared_or_named_as_coming_with_another() -> None:
    own = {*TREE, "tests", *sys.stdlib_module_names}
    declared = {module for name in names() for module in modules(name)}
    coming = set(re.findall(r"`(\w+)` is what", PAGE))
    found = set()
    for top in TREE:
        for path in (ROOT / top).rglob("*.py"):
            found |= set(
                re.findall(r"^\s*(?:import|from) (\w+)[\w.]*(?: import|$| as)", path.read_text("utf-8"), re.MULTILINE)
            )
    assert found - own - declared == coming
