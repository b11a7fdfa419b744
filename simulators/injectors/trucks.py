"""What goes wrong with muck trucks."""

from __future__ import annotations

from simulators.injectors.form import Injector

INJECTORS = (
    Injector(
        "detour",
        "detour",
        "The next loaded trip leaves its permitted way by at least 1 km.",
        ("route_deviation",),
    ),
    Injector("uncovered", "uncovered", "Loaded trips with the cover open.", ("truck_uncovered",)),
)
