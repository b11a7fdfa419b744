"""Coverage-guided fuzzing of one codec: ``python -m tests.fuzz.run TARGET [libFuzzer options]``; see ``make fuzz``.

Inputs that reach something new are kept in ``.fuzz/TARGET``; one that fails is written there as ``crash-…`` and ends
the run. Copied to ``tests/fuzz/corpus/TARGET`` it is tried by every test run from then on.
"""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path

try:
    import atheris
except ImportError:
    raise SystemExit("the fuzzer (atheris) is there for Linux on x86_64 only: make fuzz") from None

HERE = Path(__file__).parent
TARGETS = ("payloads", "topics", "journal", "rules", "frames", "lines")
CODECS = ("devices", "storage", "alerts", "ingest", "yaml", "tests")  # whose branches guide the search
LONGEST = {"payloads": 1024, "topics": 256, "journal": 96, "rules": 512, "frames": 512, "lines": 512}


def main() -> None:
    """Fuzz the target named first; the rest of the line is libFuzzer's."""
    target = sys.argv[1] if len(sys.argv) > 1 else ""
    if target not in TARGETS:
        raise SystemExit(f"expected one of {', '.join(TARGETS)}; found '{target}'")
    with atheris.instrument_imports(include=list(CODECS), enable_loader_override=False):
        harness = import_module(f"tests.fuzz.{target}")
        import_module("tests.fuzz.budget")
    from tests.fuzz.budget import within_limit

    sys.unraisablehook = lambda _: None  # the MQTT codec tells each of its panics there
    found = HERE.parents[1] / ".fuzz" / target
    found.mkdir(parents=True, exist_ok=True)
    options = [f"-max_len={LONGEST[target]}", f"-artifact_prefix={found}/", "-close_fd_mask=2", "-rss_limit_mb=1024"]
    words = HERE / "corpus" / f"{target}.dict"
    options += [f"-dict={words}"] if words.is_file() else []
    arguments = [sys.argv[0], *options, *sys.argv[2:], str(found), str(HERE / "corpus" / target)]
    atheris.Setup(arguments, lambda data: within_limit(harness.check, data))
    atheris.Fuzz()


if __name__ == "__main__":
    main()
