"""What goes wrong between any device and the house."""

from __future__ import annotations

from simulators.injectors.form import Injector

_OFFLINE = ("lamp_offline", "cabinet_offline", "cover_offline", "station_offline", "truck_offline")

INJECTORS = (
    Injector("silent", "silent", "Nothing is sent.", _OFFLINE),
    Injector(
        "broker_cut",
        "silent",
        "Nobody reaches the broker.",
        ("source_silent", *_OFFLINE),
        lasts_min=(5.0, 30.0),
    ),
    Injector(
        "gateway_dead",
        "silent",
        "A gateway dies: those who speak through it, twenty and more, are not heard.",
        ("source_silent", *_OFFLINE),
        lasts_min=(180.0, 480.0),
    ),
    Injector(
        "radio_cell_out",
        "silent",
        "A base station is out: all covers that it hears are silent.",
        ("source_silent", "cells_silent", "cover_offline"),
        lasts_min=(180.0, 480.0),
    ),
    Injector(
        "clock_wrong",
        "clock",
        "A clock that runs so many hours ahead, as after a change of its time zone; behind where negative.",
        ("clock_skew",),
        (8.0, 8.0),
        (1440.0, 4320.0),
    ),
    Injector(
        "unit_silent",
        "silent",
        "The controller of a cabinet or of a station says nothing.",
        ("cabinet_offline", "station_offline"),
        lasts_min=(20.0, 240.0),
    ),
    Injector(
        "reports_lost",
        "silent",
        "A report or two of one device are lost on the way.",
        lasts_min=(20.0, 40.0),
        confounder=True,
    ),
)
