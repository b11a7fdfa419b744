"""What goes wrong with manhole covers and in the wells below them, and what only looks like it."""

from __future__ import annotations

from simulators.injectors.form import Injector

_OPEN = ("cover_open", "cover_tilted", "cover_moved")
_WATER = ("manhole_water", "manhole_flooded", "manhole_rising")

INJECTORS = (
    Injector(
        "cover_open",
        "cover_open",
        "Tilted by so many degrees; above 30 its switch opens too.",
        _OPEN,
        (35.0, 170.0),
    ),
    Injector(
        "cover_tilted",
        "cover_open",
        "Lifted out of its seat by so many degrees, less than 30: its switch stays shut.",
        ("cover_tilted", "cover_open"),
        (13.0, 27.0),
        (120.0, 600.0),
    ),
    Injector(
        "cover_stolen",
        "theft",
        "A blow of so many g, the cover thrown over, and a minute or two later nothing more is heard.",
        ("cover_moved", "cover_open", "cover_offline"),
        (2.0, 8.0),
        (720.0, 1440.0),
    ),
    Injector(
        "water_rise",
        "water_rise",
        "The water rises by so many metres in 15 minutes.",
        _WATER,
        (3.0, 6.0),
    ),
    Injector(
        "surcharge",
        "surcharge",
        "The sewer fills by so many metres, cover after cover downstream, a metre a second.",
        _WATER,
        (5.0, 6.0),
    ),
    Injector(
        "gas_rise",
        "gas_rise",
        "Hydrogen sulphide rises to so many ppm in 15 minutes.",
        ("gas_h2s", "gas_h2s_high", "gas_h2s_rising"),
        (15.0, 80.0),
    ),
    Injector(
        "methane_rise",
        "methane",
        "Methane rises to so many per cent of the explosive limit in 15 minutes.",
        ("gas_ch4", "gas_ch4_high", "gas_ch4_rising"),
        (15.0, 60.0),
    ),
    Injector(
        "carbon_monoxide",
        "monoxide",
        "Carbon monoxide rises to so many ppm in 15 minutes.",
        ("gas_co", "gas_co_high"),
        (50.0, 300.0),
    ),
    Injector("oxygen_low", "oxygen", "Oxygen falls by so many per cent in 15 minutes.", ("gas_o2",), (2.5, 10.0)),
    Injector(
        "low_battery",
        "low_battery",
        "8 % of the battery is left.",
        ("cover_battery",),
        lasts_min=(300.0, 1440.0),
    ),
    Injector(
        "battery_decay",
        "decay",
        "The battery comes to its end: it falls from what it had to so many per cent, slowly first.",
        ("cover_battery",),
        (3.0, 10.0),
        (2880.0, 7200.0),
    ),
    Injector(
        "truck_rattle",
        "rattle",
        "Lorries queue over a loose cover: it wakes its sensor, tilts by 3 to 6 degrees for a second, again and again.",
        magnitude=(3.0, 6.0),
        lasts_min=(20.0, 90.0),
        confounder=True,
    ),
    Injector(
        "level_code",
        "level_code",
        "The level sensor sends the end of its range: condensation, a spider, an echo lost.",
        lasts_min=(30.0, 240.0),
        confounder=True,
    ),
    Injector(
        "flush_wave",
        "wave",
        "A pump upstream starts: a wave of so many metres passes within minutes.",
        magnitude=(0.3, 0.6),
        lasts_min=(3.0, 6.0),
        confounder=True,
    ),
    Injector(
        "gas_puff",
        "puff",
        "One breath of hydrogen sulphide, so many ppm, as a pump starts upstream.",
        magnitude=(11.0, 18.0),
        lasts_min=(0.4, 0.8),
        confounder=True,
    ),
    Injector(
        "gas_drift",
        "drift",
        "The hydrogen sulphide cell drifts up by so many ppm a month.",
        magnitude=(2.0, 2.0),
        lasts_min=(20_000.0, 43_200.0),
        confounder=True,
    ),
    Injector(
        "battery_swap",
        "swap",
        "A crew unlocks the cover, knocks it open, changes the battery and leaves: half an hour without a word.",
        lasts_min=(15.0, 40.0),
        confounder=True,
    ),
)
