"""What goes wrong with muck trucks, and what only looks like it."""

from __future__ import annotations

from simulators.injectors.form import Injector

_TRIP = (150.0, 160.0)  # minutes: the trip that goes wrong sets out in the first half of it
# A truck whose position is false seems to dump, load and drive where it may not: told too, and explained by the first.
_GPS = ("gps_trouble", "route_deviation", "illegal_dump", "unpermitted_load")


def _sham(kind: str, says: str, size: tuple[float, float] = (1.0, 1.0), lasts: tuple[float, float] = _TRIP) -> Injector:
    return Injector(kind, kind, says, magnitude=size, lasts_min=lasts, confounder=True)


INJECTORS = (
    Injector(
        "detour",
        "detour",
        "The next loaded trip leaves its permitted way by at least 1 km.",
        ("route_deviation", "same_place"),  # three at one place within the hour are asked about, as a closed road is
        lasts_min=_TRIP,
    ),
    Injector(
        "parallel",
        "parallel",
        "A loaded trip goes along another road, so many metres beside its permitted way.",
        ("route_deviation", "truck_in_fence"),  # where no other road is left it leads through a closed compound
        (60.0, 150.0),
        _TRIP,
    ),
    Injector(
        "diversion",
        "diversion",
        "Roadworks lead all loaded trips of one way over other roads: told of the first trucks, then asked about.",
        ("route_deviation", "same_place"),
        lasts_min=(90.0, 120.0),
    ),
    Injector(
        "uncovered", "uncovered", "Loaded trips with the cover open.", ("truck_uncovered",), lasts_min=(80.0, 95.0)
    ),
    Injector(
        "fence_incursion",
        "fence_incursion",
        "A loaded truck turns into a closed compound, so many metres deep, for 2 to 10 minutes.",
        ("truck_in_fence", "route_deviation"),
        (65.0, 95.0),
        _TRIP,
    ),
    Injector(
        "illegal_dump",
        "illegal_dump",
        "A loaded trip ends beside the road: the bed goes up for 40 to 90 s, the weight falls to nothing.",
        ("illegal_dump", "route_deviation"),
        lasts_min=_TRIP,
    ),
    Injector(
        "unpermitted_load",
        "unpermitted_load",
        "An empty truck loads where it may not.",
        ("unpermitted_load", "route_deviation"),
        lasts_min=_TRIP,
    ),
    Injector("off_hours", "off_hours", "A trip 40 minutes after the permit's hours.", ("truck_off_hours",)),
    Injector(
        "overspeed",
        "overspeed",
        "So many km/h above the limit for half a minute and more.",
        ("truck_overspeed",),
        (15.0, 25.0),
        _TRIP,
    ),
    Injector("gps_copy", "gps_copy", "The terminal plays what another truck's says.", _GPS, lasts_min=(40.0, 60.0)),
    Injector(
        "gps_frozen", "gps_frozen", "The position stands still while the truck drives.", _GPS, lasts_min=(40.0, 60.0)
    ),
    Injector(
        "gps_offset",
        "gps_offset",
        "The position is led away by so many metres within 5 minutes.",
        _GPS,
        (450.0, 700.0),
        (40.0, 60.0),
    ),
    Injector("gps_jam", "gps_jam", "Around one place positions jump.", (*_GPS, "same_place"), lasts_min=(60.0, 90.0)),
    Injector(
        "power_pulled", "power_pulled", "The main power is pulled mid-trip.", ("truck_tampered",), lasts_min=(5.0, 20.0)
    ),
    Injector(
        "plug_pulled", "plug_pulled", "Silence for 12 minutes at work.", ("truck_offline",), lasts_min=(12.0, 14.0)
    ),
    Injector(
        "roadside_stop",
        "roadside_stop",
        "A loaded truck stands beside the road for 15 minutes.",
        ("truck_stopped",),
        lasts_min=_TRIP,
    ),
    Injector(
        "vanish",
        "vanish",
        "A loaded truck stops after 60 % of its way, switches off and is not heard of again that night.",
        ("trip_incomplete",),
        lasts_min=_TRIP,
    ),
    Injector(
        "overweight",
        "overweight",
        "So many times the permitted load.",
        ("truck_overweight",),
        (1.15, 1.35),
        _TRIP,
    ),
    _sham("congestion", "Traffic stands for a quarter of an hour; several trucks stand in it.", lasts=(14.0, 18.0)),
    _sham("gps_burst", "The position is off by so many metres for a minute or three.", (80.0, 200.0), (1.0, 3.0)),
    _sham("fence_graze", "A truck stands so many metres inside a closed compound's edge.", (0.0, 15.0)),
    _sham("empty_wash", "An empty truck lifts its bed beside the road to be washed."),
    _sham("tip_astray", "A truck dumps where it may, its position off by so many metres.", (60.0, 60.0), (60.0, 90.0)),
    _sham("lid_bounce", "The cover's sensor bounces for single reports.", lasts=(60.0, 90.0)),
    _sham("speed_spike", "One report shows 45 km/h too much.", lasts=(20.0, 30.0)),
    _sham("tunnel", "Six minutes without a word in a tunnel.", lasts=(6.0, 6.0)),
    _sham("ignition_cut", "The main power is cut while the engine is off.", lasts=(60.0, 240.0)),
)
