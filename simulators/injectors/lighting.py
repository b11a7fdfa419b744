"""What goes wrong with streetlights."""

from __future__ import annotations

from simulators.injectors.form import Injector

INJECTORS = (
    Injector("lamp_out", "lamp_out", "The lamp draws standby power only.", ("lamp_out", "lighting_rate")),
    Injector(
        "lamps_out", "lamp_out", "Several lamps of one road, cabinet or grid cell.", ("lighting_rate", "lamp_out")
    ),
    Injector("day_burn", "day_burn", "The lamp's relay is welded: it burns whatever is commanded.", ("day_burn",)),
    Injector(
        "cabinet_out",
        "cabinet_out",
        "The main contactor drops out: its lamps are dark and without supply.",
        ("cabinet_dark", "feeder_dark", "lighting_rate"),
    ),
    Injector(
        "contactor_stuck",
        "contactor_stuck",
        "The contactor does not open: its lamps burn by day.",
        ("cabinet_day_burn", "feeder_day_load", "day_burn"),
    ),
    Injector("breaker_trip", "breaker_trip", "No voltage behind the breaker.", ("breaker_tripped", "cabinet_dark")),
    Injector("door_open", "door_open", "The cabinet's door stands open.", ("cabinet_door",)),
)
