"""What the pages say is true: names exist, generated pages are fresh, figures are those of the code."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import typer

from alerts.notify import GIVE_UP_MS
from dashboards.fields import fields_page
from devices.kinds import Catalog
from lamplighter import credentials, health
from lamplighter.__main__ import app
from lamplighter.settings import Settings
from storage import quarantine

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
ROOMS = ("lamplighter", "ingest", "devices", "alerts", "storage", "api", "dashboards", "simulators", "console")


def text_of(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def test_the_page_of_fields_is_fresh(catalog: Catalog) -> None:
    assert text_of("docs/fields.md") == fields_page(catalog), "run: python -m dashboards fields"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_of_a_page_leads_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
        if not target.startswith(("http://", "https://", "mailto:")) and not target.endswith(".png"):
            assert (page.parent / target).exists(), target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_file_that_a_page_names_exists(page: Path) -> None:
    tops = {path.name for path in ROOT.iterdir()}
    for name in re.findall(r"`([A-Za-z_.][\w.*-]*(?:/[\w.*-]+)+/?)`", page.read_text(encoding="utf-8")):
        if name.split("/")[0] in tops and not name.startswith(("lamplighter/v1", "console/dist")):
            assert list(ROOT.glob(name.rstrip("/"))), name


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_command_that_a_page_names_exists(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z-]+):", text_of("Makefile"), re.MULTILINE))
    for target in re.findall(r"`make ([a-z-]+)", text):
        assert target in targets, f"make {target}"
    root = typer.main.get_command(app)
    for words in re.findall(r"(?:^|`|&& |  )lamplighter ([a-z][a-z ]*[a-z])", text, re.MULTILINE):
        command = root
        for word in words.split():
            if not hasattr(command, "commands"):
                break
            assert word in command.commands, f"lamplighter {words}"
            command = command.commands[word]
    for module in re.findall(r"python -m ([\w.]+)", text):
        path = ROOT / module.replace(".", "/")
        assert path.with_suffix(".py").is_file() or (path / "__main__.py").is_file(), module
    for script in re.findall(r"python (scripts/[\w.]+)", text):
        assert (ROOT / script).is_file(), script


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_file_that_a_page_names_without_its_folder_exists(page: Path) -> None:
    tops = (
        "*",
        *(f"{room}/**/*" for room in ROOMS if room != "console"),
        "console/src/*",
        "scripts/*",
        "deploy/*",
        "config/*",
    )
    here = {path.name for top in tops for path in ROOT.glob(top)} | {"lamplighter.yaml"}  # which `init` writes
    for name in re.findall(r"`([\w.-]+\.(?:py|ts|vue|ya?ml|sh|toml|conf))`", page.read_text(encoding="utf-8")):
        assert name in here, name


def glossary() -> list[tuple[str, str, str]]:
    rows = re.findall(r"^\| (.+?) \| (.+?) \| (.+) \|$", text_of("docs/glossary.md"), re.MULTILINE)
    return [row for row in rows if row[0] not in ("term", "---")]


def test_every_test_that_the_page_of_faults_names_exists() -> None:
    for name in re.findall(r"`(tests/[\w/]+\.py)::(\w+)", text_of("docs/reliability.md")):
        path, function = name
        assert re.search(rf"^\s*(?:async )?def {function}\b", text_of(path), re.MULTILINE), f"{path}::{function}"


def test_the_page_of_faults_has_a_row_for_each_of_the_46() -> None:
    numbers = re.findall(r"^\| (\d+) \|", text_of("docs/reliability.md"), re.MULTILINE)
    assert [int(number) for number in numbers] == list(range(1, 47))


def test_the_glossary_defines_each_word_once_with_its_chinese_term() -> None:
    rows = glossary()
    assert len(rows) > 60
    terms = [term for term, _, _ in rows]
    assert len(terms) == len(set(terms)), sorted({term for term in terms if terms.count(term) > 1})
    chinese = [word for _, word, _ in rows]
    assert len(chinese) == len(set(chinese)), sorted({word for word in chinese if chinese.count(word) > 1})
    for term, word, meaning in rows:
        assert re.search(r"[\u4e00-\u9fff]", word), term
        assert meaning.endswith("."), term


def test_the_glossary_has_the_words_that_the_plan_lists() -> None:
    terms = {term for term, _, _ in glossary()}
    wanted = "device,kind,fact,reading,field,rule,alert,incident,case,notice,silence,quarantine,journal,ledger,batch"
    assert set(wanted.split(",")) <= terms


def test_the_walk_enters_every_room_and_names_its_loop() -> None:
    walk = text_of("docs/walk.md")
    for room in ROOMS:
        assert re.search(rf"`{room}/", walk), room
    assert "lamplighter/watch.py" in walk


def test_operating_explains_every_part_of_health() -> None:
    code = (ROOT / "lamplighter" / "health.py").read_text(encoding="utf-8")
    parts = set(re.findall(r'Part\(\s*"(\w+)"', code))
    explained = set(re.findall(r"^\| (\w+) \| [^|]+ \| [^|]+ \| [^|]+ \|$", text_of("docs/operating.md"), re.MULTILINE))
    assert parts
    assert parts <= explained
    assert f"{health.DISK_FREE_MIN >> 20} MB free" in text_of("docs/operating.md")


def test_operating_gives_the_sizes_of_the_code() -> None:
    text, settings = text_of("docs/operating.md"), Settings()
    assert f"{settings.broker.receive_maximum:,} messages" in text
    assert f"{settings.journal.limit_gb:g} GB" in text
    assert f"{quarantine.ROWS_MAX:,} messages, {quarantine.BYTES_MAX >> 20} MB" in text
    assert f"given up after {GIVE_UP_MS // 3_600_000} hours" in text


def test_operating_quotes_the_brokers_settings_as_they_are() -> None:
    shipped = dict(re.findall(r"^(\w+) (.+)$", text_of("deploy/mosquitto.conf"), re.MULTILINE))
    text = text_of("docs/operating.md")
    for name in ("max_queued_messages", "max_queued_bytes", "use_username_as_clientid"):
        assert name in text
    assert f"`max_queued_bytes {shipped['max_queued_bytes']}`" in text
    assert f"`max_queued_messages {shipped['max_queued_messages']}`" in text
    assert f"`autosave_interval {shipped['autosave_interval']}`" in text
    assert f"seconds = {int(shipped['max_queued_bytes']):,} /" in text


def test_operating_and_security_give_the_device_id_as_it_is_checked() -> None:
    pattern = credentials.DEVICE_ID.pattern.replace("\\Z", "$")
    assert f"`{pattern}`" in text_of("docs/operating.md")
    assert f"`{pattern}`" in text_of("SECURITY.md")


def test_operating_names_every_identity_of_the_access_list() -> None:
    text = text_of("docs/operating.md")
    users = re.findall(r"^user (\S+)$", credentials.access_file("city"), re.MULTILINE)
    assert users
    for user in users:
        assert f"`{user}`" in text, user


def test_security_has_a_contact_and_times() -> None:
    text = text_of("SECURITY.md")
    assert "report weaknesses privately" in text
    assert re.search(r"within \w+ working days", text)


def test_every_decision_has_its_objective_and_its_bounds() -> None:
    for page in (ROOT / "docs" / "decisions").glob("*.md"):
        text = page.read_text(encoding="utf-8")
        for word in ("Objective", "Is.", "Is not."):
            assert word in text, f"{page.name}: {word}"
        assert re.match(rf"# {page.name[:4]} ", text), page.name
