"""What goes wrong with manhole covers and in the wells below them."""

from __future__ import annotations

from simulators.injectors.form import Injector

INJECTORS = (
    Injector(
        "cover_open",
        "cover_open",
        "Tilted by so many degrees; above 30 its switch opens too.",
        ("cover_open", "cover_tilted"),
        (35.0, 170.0),
    ),
    Injector(
        "water_rise",
        "water_rise",
        "The water rises by so many metres in 15 minutes.",
        ("manhole_water", "manhole_flooded"),
        (2.0, 6.0),
    ),
    Injector(
        "gas_rise", "gas_rise", "Hydrogen sulphide rises to so many ppm in 15 minutes.", ("gas_h2s",), (15.0, 80.0)
    ),
    Injector("low_battery", "low_battery", "8 % of the battery is left.", ("cover_battery",)),
)
