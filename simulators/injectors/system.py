"""What goes wrong between any device and the house."""

from __future__ import annotations

from simulators.injectors.form import Injector

INJECTORS = (
    Injector(
        "silent",
        "silent",
        "Nothing is sent.",
        ("lamp_offline", "cabinet_offline", "cover_offline", "station_offline", "truck_offline"),
    ),
)
