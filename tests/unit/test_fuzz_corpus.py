"""Every input that is kept for the fuzzer, past failures among them, goes through its harness again."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import pytest

from tests.fuzz.budget import within_limit

CORPUS = Path(__file__).resolve().parents[1] / "fuzz" / "corpus"
TARGETS = sorted(path.name for path in CORPUS.iterdir() if path.is_dir())
FILES = sorted(path for target in TARGETS for path in (CORPUS / target).iterdir())


def test_every_codec_has_a_harness_and_a_corpus() -> None:
    assert TARGETS == ["frames", "journal", "lines", "payloads", "rules", "topics"]
    assert len(FILES) > 90
    for name in ("Makefile", "tests/fuzz/run.py"):  # which need the fuzzer itself to be run
        text = (CORPUS.parents[2] / name).read_text(encoding="utf-8")
        assert all(target in text for target in TARGETS), name
    assert sum(path.stat().st_size for path in FILES) < 200_000


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # how the MQTT codec tells its panics
@pytest.mark.parametrize("file", FILES, ids=lambda file: f"{file.parent.name}-{file.name}")
def test_an_input_that_is_kept_does_what_its_harness_demands_and_is_quick(file: Path) -> None:
    within_limit(import_module(f"tests.fuzz.{file.parent.name}").check, file.read_bytes())


@pytest.mark.parametrize("target", TARGETS)
def test_no_input_at_all_is_an_input(target: str) -> None:
    check = import_module(f"tests.fuzz.{target}").check
    for data in (b"", b"\0", b"\xff", b"\0\0\0\0\0\0\0"):
        within_limit(check, data)
