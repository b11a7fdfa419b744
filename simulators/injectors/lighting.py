"""What goes wrong with streetlights, and what only looks like it.

Sources of the sizes: the notes for simulation of rules L1 to L12 of the catalogue of rules (docs/sources.md).
"""

from __future__ import annotations

from simulators.injectors.form import Injector

NIGHTS = (1440.0, 2880.0)  # one to two days, so that a night lies within, minutes

_LAMPS = (
    Injector(
        "lamp_out", "lamp_out", "The lamp draws standby power only.", ("lamp_out", "lighting_rate"), (1.0, 1.0), NIGHTS
    ),
    Injector(
        "lamps_out",
        "lamp_out",
        "Several lamps of one road, cabinet or grid cell.",
        ("lighting_rate", "lamp_out", "section_out", "common_cause"),
        (1.0, 1.0),
        (360.0, 560.0),
    ),
    Injector(
        "day_burn",
        "day_burn",
        "The lamp's relay is welded: it burns whatever is commanded.",
        ("day_burn",),
        (1.0, 1.0),
        NIGHTS,
    ),
    Injector(
        "cycling",
        "cycling",
        "A discharge lamp at its end of life: 3 to 8 min on, 1 to 3 min off.",
        ("lamp_cycling", "lamp_out"),
        (1.0, 1.0),
        NIGHTS,
    ),
    Injector(
        "capacitor_loss",
        "capacitor_loss",
        "The compensating capacitor is gone: power factor 0.55, current times 1.7.",
        ("lamp_power_factor",),
        (1.0, 1.0),
        NIGHTS,
    ),
    Injector(
        "string_loss",
        "string_loss",
        "A third of the LEDs is dark: the power falls by a third.",
        ("lamp_power",),
        (1.0, 1.0),
        NIGHTS,
    ),
    Injector(
        "pole_leak",
        "pole_leak",
        "So many more milliamperes flow to earth at the pole.",
        ("pole_leakage", "cabinet_leakage_rise"),
        (40.0, 80.0),
        (180.0, 600.0),
    ),
    Injector("lamp_silent", "lamp_silent", "The controller sends nothing.", ("lamp_offline",), (1.0, 1.0), NIGHTS),
)
_CABINETS = (
    Injector(
        "cabinet_out",
        "cabinet_out",
        "The main contactor drops out: its lamps are dark and without supply.",
        (
            "cabinet_dark",
            "feeder_dark",
            "lighting_rate",
            "section_out",
            "common_cause",
            "loop_current",
            "cabinet_schedule",
        ),
        (1.0, 1.0),
        (120.0, 400.0),
    ),
    Injector(
        "contactor_stuck",
        "contactor_stuck",
        "The contactor does not open: its lamps burn by day.",
        ("cabinet_day_burn", "feeder_day_load", "day_burn", "loop_current"),
        (1.0, 1.0),
        NIGHTS,
    ),
    Injector(
        "breaker_trip",
        "breaker_trip",
        "No voltage behind the breaker.",
        (
            "breaker_tripped",
            "cabinet_dark",
            "feeder_dark",
            "lighting_rate",
            "section_out",
            "common_cause",
            "loop_current",
        ),
        (1.0, 1.0),
        (60.0, 300.0),
    ),
    Injector("door_open", "door_open", "The cabinet's door stands open.", ("cabinet_door",), (1.0, 1.0), (10.0, 90.0)),
    Injector(
        "neutral_lost",
        "neutral_lost",
        "The neutral is lost: one phase falls by so many volts, the others rise by half of it.",
        ("cabinet_voltage_severe", "cabinet_voltage", "lamp_voltage_severe", "lamp_voltage"),
        (60.0, 75.0),
        (60.0, 240.0),
    ),
    Injector(
        "brown_out",
        "brown_out",
        "All phases are so many volts higher or lower: a wrong tap, an overloaded transformer.",
        ("cabinet_voltage", "lamp_voltage"),
        (-44.0, -34.0),
        (90.0, 400.0),
    ),
    Injector(
        "tap_high",
        "brown_out",
        "The transformer's tap stands so many volts too high.",
        ("cabinet_voltage", "lamp_voltage"),
        (15.0, 25.0),
        (90.0, 400.0),
    ),
    Injector(
        "phase_loss",
        "phase_loss",
        "One phase is dead: every third lamp is dark. The magnitude is the phase, 0 to 2.",
        ("phase_lost", "lighting_rate", "loop_current", "common_cause", "lamp_out", "section_out", "feeder_dark"),
        (0.0, 2.0),
        (60.0, 300.0),
    ),
    Injector(
        "cable_cut",
        "cable_cut",
        "The cable is cut at a pole: all behind it are without supply.",
        ("section_out", "loop_current", "lighting_rate", "lamp_out", "common_cause", "lamp_offline", "feeder_dark"),
        (1.0, 1.0),
        (300.0, 900.0),
    ),
    Injector(
        "cable_theft",
        "cable_cut",
        "A whole circuit's cable is gone: its current is nothing.",
        ("section_out", "loop_current", "lighting_rate", "lamp_out", "common_cause", "lamp_offline", "feeder_dark"),
        (1.0, 1.0),
        (300.0, 900.0),
    ),
    Injector(
        "clock_drift",
        "clock_drift",
        "The cabinet's clock is so many minutes slow: late on, late off.",
        ("cabinet_schedule",),
        (22.0, 30.0),
        NIGHTS,
    ),
    Injector(
        "schedule_lost",
        "clock_drift",
        "The schedule is lost: it switches so many minutes early (less than nothing) or late.",
        ("cabinet_schedule", "cabinet_dark", "feeder_dark", "lighting_rate", "lamp_out"),
        (-120.0, -50.0),
        NIGHTS,
    ),
    Injector(
        "feeder_leak",
        "feeder_leak",
        "Within half an hour so many more milliamperes flow to earth on the feeder.",
        ("cabinet_leakage", "cabinet_leakage_rise"),
        (320.0, 600.0),
        (180.0, 600.0),
    ),
    Injector(
        "feeder_leak_small",
        "feeder_leak",
        "As feeder_leak, below the fixed limit, above three times what is usual.",
        ("cabinet_leakage_rise",),
        (180.0, 230.0),
        (300.0, 600.0),
    ),
    Injector(
        "tapped",
        "tapped",
        "Somebody takes so much of the rated power, by day and by night.",
        ("loop_current", "feeder_day_load"),
        (0.3, 0.5),
        NIGHTS,
    ),
)
_CONFOUNDERS = (
    Injector(
        "dimmed", "dimmed", "Dimmed by command to so many per cent.", (), (20.0, 20.0), (120.0, 300.0), confounder=True
    ),
    Injector(
        "mains_dip",
        "mains_dip",
        "A dip of a second: discharge lamps go out and strike again after so many minutes.",
        (),
        (10.0, 15.0),
        (60.0, 60.0),
        confounder=True,
    ),
    Injector(
        "day_test", "day_test", "The crew tests the cabinet by day.", (), (1.0, 1.0), (20.0, 20.0), confounder=True
    ),
    Injector(
        "storm_dark",
        "day_test",
        "Lamps are switched on by day, for the sky is dark.",
        (),
        (1.0, 1.0),
        (40.0, 120.0),
        confounder=True,
    ),
    Injector(
        "early_switch",
        "day_test",
        "An overcast evening: on half an hour early.",
        (),
        (1.0, 1.0),
        (30.0, 40.0),
        confounder=True,
    ),
    Injector(
        "packet_loss",
        "packet_loss",
        "This share of the lamps' reports is lost.",
        (),
        (0.02, 0.06),
        NIGHTS,
        confounder=True,
    ),
    Injector(
        "rain_leakage",
        "rain_leakage",
        "The pole's leakage rises from 5 to 18 mA while it is wet.",
        (),
        (1.0, 1.0),
        NIGHTS,
        confounder=True,
    ),
    Injector(
        "gateway_reboot",
        "gateway_reboot",
        "Cabinet and lamps say nothing for some minutes.",
        (),
        (1.0, 1.0),
        (2.0, 4.0),
        confounder=True,
    ),
    Injector(
        "day_silence",
        "day_silence",
        "The lamps' controllers hang on the circuit: dark, they have no supply and say nothing.",
        (),
        (1.0, 1.0),
        NIGHTS,
        confounder=True,
    ),
)
INJECTORS = (*_LAMPS, *_CABINETS, *_CONFOUNDERS)
