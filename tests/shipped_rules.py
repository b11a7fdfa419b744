"""The shipped rules as one text, for tests that change a piece of it."""

from __future__ import annotations

from pathlib import Path

CONFIG = Path(__file__).resolve().parents[1] / "config"


def one_text() -> str:
    """Return all shipped rules as one file that includes nothing."""
    head = (CONFIG / "rules.yaml").read_text(encoding="utf-8").partition("\ninclude:\n")[0]
    parts = [path.read_text(encoding="utf-8") for path in sorted((CONFIG / "rules").glob("*.yaml"))]
    return head + "\nrules:\n" + "".join(part.partition("\nrules:\n")[2] for part in parts)
