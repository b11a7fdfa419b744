"""What goes wrong with wells, pumps and sewers, and what only looks like it."""

from __future__ import annotations

from simulators.injectors.form import Injector

_DAY = 1440.0
_PUMP_DAYS = (3 * _DAY, 5 * _DAY)
_WELL_DAYS = (1.5 * _DAY, 3 * _DAY)
_HOURS = (120.0, 360.0)
_SEEPS = ("seepage", "seep_cusum", "seep_year", "seep_index", "seep_level", "inflow_burst")

INJECTORS = (
    # Pumps, each on one of them.
    Injector(
        "pump_fault", "pump_fault", "The pump trips; its neighbour takes over.", ("pump_fault",), lasts_min=_HOURS
    ),
    Injector(
        "clog_suction",
        "clog_suction",
        "The suction blocks within a day: flow falls to the magnitude, power by a fifth.",
        ("pump_clog", "pump_blocked", "station_capacity"),
        (0.35, 0.50),
        _PUMP_DAYS,
    ),
    Injector(
        "clog_rag",
        "clog_rag",
        "Rags wind around the impeller within a day: flow falls, power rises by a quarter.",
        ("pump_clog", "pump_blocked", "station_capacity"),
        (0.35, 0.50),
        _PUMP_DAYS,
    ),
    Injector(
        "dry_run",
        "dry_run",
        "The pump draws air: no flow, and so much of its power.",
        ("pump_underload", "pump_clog", "pump_blocked", "well_high", "station_capacity"),
        (0.40, 0.55),
        _HOURS,
    ),
    Injector(
        "fail_start",
        "fail_start",
        "The contactor does not close when the pump is called.",
        ("pump_no_start",),
        lasts_min=_HOURS,
    ),
    Injector(
        "single_phase",
        "single_phase",
        "One phase is gone, the others carry 1.7 times their current.",
        ("pump_electric",),
        lasts_min=_HOURS,
    ),
    # Wells and stations.
    Injector(
        "well_high",
        "pump_fault",
        "All pumps of a station trip: the well fills.",
        ("well_high", "pump_fault"),
        lasts_min=_HOURS,
    ),
    Injector(
        "mains_lost",
        "mains_lost",
        "The station loses its supply.",
        ("mains_lost", "well_high"),
        lasts_min=(20.0, 120.0),
    ),
    Injector(
        "inflow_over",
        "burst",
        "More flows in than all pumps take, by so many pump rates.",
        ("station_capacity", "well_high", "well_overflow_soon", "inflow_burst"),
        (1.5, 2.0),
        (90.0, 240.0),
    ),
    Injector(
        "band_halved",
        "band_halved",
        "The switching band is so much of what it should be.",
        ("short_cycle",),
        (0.40, 0.55),
        _WELL_DAYS,
    ),
    Injector(
        "float_jitter",
        "band_halved",
        "A float tumbles: the pumps switch within so much of their band.",
        ("short_cycle",),
        (0.15, 0.30),
        _WELL_DAYS,
    ),
    Injector(
        "check_valve",
        "check_valve",
        "So much of a pump's rate flows back while no pump runs.",
        ("backflow", "short_cycle", "inflow_burst", "seepage"),
        (0.18, 0.30),
        _WELL_DAYS,
    ),
    Injector(
        "level_stuck",
        "level_stuck",
        "The level meter shows one value.",
        ("level_stuck",),
        lasts_min=(0.5 * _DAY, 2 * _DAY),
    ),
    Injector(
        "level_bias",
        "level_bias",
        "The level meter shows so many metres too much.",
        ("level_bias",),
        (0.20, 0.30),
        (1.5 * _DAY, 3 * _DAY),
    ),
    Injector("level_foam", "level_foam", "Foam disturbs the echo.", ("level_noisy",), lasts_min=(0.5 * _DAY, 2 * _DAY)),
    Injector(
        "level_dropout",
        "level_dropout",
        "Most readings of the level are lost.",
        ("level_lost",),
        lasts_min=(0.5 * _DAY, 2 * _DAY),
    ),
    # Water that should not be there.
    Injector(
        "burst",
        "burst",
        "A water main bursts into the sewer: so many pump rates.",
        ("inflow_burst", "seepage"),
        (0.15, 0.40),
        (0.7 * _DAY, 2 * _DAY),
    ),
    # What only looks like a fault.
    Injector("manual", "manual", "A crew has switched the pump to manual.", lasts_min=_HOURS, confounder=True),
    Injector(
        "slow_speed",
        "slow_speed",
        "The drive turns the pump at so much of its speed.",
        (),
        (0.86, 0.93),
        (_DAY, 2 * _DAY),
        confounder=True,
    ),
    Injector(
        "rising_head",
        "rising_head",
        "The rising main's head is higher by so much.",
        (),
        (0.06, 0.10),
        (3 * _DAY, 6 * _DAY),
        confounder=True,
    ),
    Injector(
        "waves",
        "waves",
        "Waves under the level meter: single readings a third of a metre and more too high.",
        lasts_min=(0.5 * _DAY, 2 * _DAY),
        confounder=True,
    ),
    Injector("flushing", "burst", "A crew flushes a sewer.", (), (0.15, 0.35), (30.0, 45.0), confounder=True),
    Injector(
        "exfiltration",
        "seepage",
        "Groundwater inflow falls to so much of it.",
        (),
        (0.5, 0.8),
        (5 * _DAY, 8 * _DAY),
        confounder=True,
    ),
)

# What takes weeks and months to show; the seepage course plays a year and more of it.
SLOW = (
    Injector(
        "seepage",
        "seepage",
        "Groundwater inflow times the magnitude.",
        _SEEPS,
        (1.4, 3.0),
        (25 * _DAY, 30 * _DAY),
    ),
    Injector(
        "seepage_slow",
        "seepage_slow",
        "Groundwater inflow rises to the magnitude within 20 days.",
        _SEEPS,
        (2.2, 3.0),
        (45 * _DAY, 50 * _DAY),
    ),
    Injector(
        "seepage_small",
        "seepage",
        "Groundwater inflow times a small magnitude.",
        _SEEPS,
        (1.45, 1.7),
        (35 * _DAY, 45 * _DAY),
    ),
    Injector(
        "seepage_faint",
        "seepage",
        "Groundwater inflow times a magnitude that no single night shows.",
        ("seep_cusum", "seepage", "seep_year", "seep_index", "seep_level", "inflow_burst"),
        (1.3, 1.4),
        (60 * _DAY, 80 * _DAY),
    ),
    Injector(
        "seepage_creep",
        "seepage_creep",
        "Groundwater inflow rises to the magnitude within 120 days, too slowly for any month before.",
        ("seep_year", "seepage", "seep_cusum", "seep_index", "seep_level", "inflow_burst"),
        (2.0, 2.6),
        (150 * _DAY, 170 * _DAY),
    ),
    Injector(
        "seepage_chronic",
        "seepage",
        "Groundwater inflow is so many times what it should be, and always was.",
        ("seep_index",),
        (3.2, 4.5),
        (3650 * _DAY, 3650 * _DAY),
    ),
    Injector(
        "well_seep",
        "well_seep",
        "Water seeps into the sewer above a well: its level is so many metres higher, and it flows faster.",
        ("seep_level",),
        (0.05, 0.12),
        (40 * _DAY, 60 * _DAY),
    ),
    Injector(
        "roof_drains",
        "roof_drains",
        "Roofs are joined to the sewer: rain brings so many times as much.",
        ("storm_inflow",),
        (2.0, 3.0),
        (100 * _DAY, 120 * _DAY),
    ),
    Injector(
        "wear",
        "wear",
        "The pump loses so many per cent of its flow a week at the same power.",
        ("pump_worn", "pump_clog"),
        (1.0, 3.0),
        (70 * _DAY, 140 * _DAY),
    ),
    # What only looks like it.
    Injector(
        "well_silt",
        "well_silt",
        "Silt raises a well's level by so many metres within 10 days, and it flows more slowly.",
        (),
        (0.05, 0.12),
        (40 * _DAY, 60 * _DAY),
        confounder=True,
    ),
    Injector(
        "silting",
        "silting",
        "Sediment takes some of the well's area.",
        (),
        (0.93, 0.97),
        (30 * _DAY, 40 * _DAY),
        confounder=True,
    ),
)
