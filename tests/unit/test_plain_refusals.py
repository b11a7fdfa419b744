"""What a person can mend is told in a line, never with a traceback, and without spilling what a wrong file holds."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from lamplighter.__main__ import main

MAPPINGS = Path(__file__).resolve().parents[2] / "config" / "mappings"


def _said(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str]:
    """Run a command as the shell does; its exit status and all that it printed."""
    monkeypatch.setattr(sys, "argv", ["lamplighter", *map(str, words)])
    with pytest.raises(SystemExit) as ended:
        main()
    printed = capsys.readouterr()
    return int(ended.value.code or 0), printed.out + printed.err


def test_a_file_or_folder_that_cannot_be_used_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    plain = tmp_path / "plain.txt"
    plain.write_text("not a folder")
    for words in (
        ["run", "-c", "absent.yaml"],
        ["simulate", "--registry-out", tmp_path],
        ["simulate", "--registry-out", "absent/city.geojson"],
        ["dashboards", "build", "--out", plain],
        ["init", plain, "--city", "mycity"],
        ["init", plain / "house", "--city", "mycity"],
        ["rules", "check", "absent.yaml"],
        ["devices", "import", "absent.csv"],
        ["replay", "absent.csv", "--mapping", MAPPINGS / "lighting_feeder.yaml"],
    ):
        status, said = _said(monkeypatch, capsys, *words)
        assert status == 2, (words, said)
        assert len(said.splitlines()) == 1, (words, said)
        assert any(name in said for name in ("absent", "plain.txt", str(tmp_path))), (words, said)
        assert "Errno" not in said, (words, said)


def test_a_wrong_word_is_answered_with_the_right_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert _said(monkeypatch, capsys, "dashboards", "build", "--language", "fr") == (
        2,
        "--language: expected one of en, zh; found 'fr'\n",
    )
    status, said = _said(monkeypatch, capsys, "devices", "list", "--kind", "lamppost")
    assert status == 2
    assert "streetlight, manhole" in said
    status, said = _said(monkeypatch, capsys, "simulate", "--speed", "-5")
    assert status == 2
    assert "--speed" in said


def test_a_file_of_secrets_taken_for_another_is_not_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    handout = tmp_path / "devices-credentials.csv"
    handout.write_text("device,password\n" + "".join(f"lamp-{n:04},secret-{n}\n" for n in range(50)))
    status, said = _said(monkeypatch, capsys, "rules", "check", handout)
    assert status == 2
    assert "expected a mapping" in said
    assert "secret-9" not in said
    assert len(said) < 300


def test_a_recording_that_is_not_what_the_mapping_describes_is_not_played(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("other.jsonl").write_text('{"a": 1}\n')
    status, said = _said(monkeypatch, capsys, "replay", "other.jsonl", "--mapping", MAPPINGS / "lighting_feeder.yaml")
    assert status == 1
    assert "no column 'block'" in said
    assert "nothing to play" in said
