"""Benchmarks: each runs small in the suite so that it cannot rot, and large by hand."""

import sys
from pathlib import Path
from types import ModuleType

# A wheel may carry a package "tests" of its own (gmqtt's does), which Python would prefer to a folder of that name.
# The benches start the servers that our tests start.
if "tests" not in sys.modules:
    _tests = ModuleType("tests")
    _tests.__path__ = [str(Path(__file__).resolve().parent.parent / "tests")]
    sys.modules["tests"] = _tests
