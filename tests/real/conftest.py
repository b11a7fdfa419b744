"""The real servers, for every test in this folder."""

from tests.real.fixtures import chromium, influx, influx_server, mosquitto, start_influx, start_mosquitto
from tests.real.forked_house import nursery

__all__ = ["chromium", "influx", "influx_server", "mosquitto", "nursery", "start_influx", "start_mosquitto"]
