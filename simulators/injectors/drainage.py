"""What goes wrong with wells, pumps and sewers."""

from __future__ import annotations

from simulators.injectors.form import Injector

INJECTORS = (
    Injector("pump_fault", "pump_fault", "The pump trips; its neighbour takes over.", ("pump_fault",)),
    Injector("well_high", "pump_fault", "All pumps of a station trip: the well fills.", ("well_high", "pump_fault")),
    Injector("mains_lost", "mains_lost", "The station loses its supply.", ("mains_lost", "well_high")),
    Injector("seepage", "seepage", "Groundwater inflow times the magnitude.", ("seepage",), (1.4, 3.0)),
)
