"""Frames of the load generator are whole MQTT messages that the house reads, whose values make sense."""

from __future__ import annotations

import mqtt5
import numpy as np
import pytest

from devices.kinds import Catalog
from devices.payloads import Decoder
from devices.registry import Asset, Registry
from simulators.load_frames import Faults, Group, groups_of
from simulators.load_plan import Queue, Turn, choose_faults

NOW_MS = 1_790_000_000_000


@pytest.fixture(scope="module")
def registry(catalog: Catalog) -> Registry:
    here = {"lon": 121.4, "lat": 31.2}
    assets = [
        *(Asset(f"lamp-{n:03d}", "streetlight", "lamp", facts={"rated_power_w": 60.0}, **here) for n in range(30)),
        Asset("lamp-of-another-length", "streetlight", "lamp", facts={"rated_power_w": 200.0}, **here),
        Asset("cabinet-1", "streetlight", "cabinet", facts={"rated_power_w": 6000.0}),
        *(Asset(f"cover-{n}", "manhole", "cover", facts={"depth_m": 2.5}, **here) for n in range(8)),
        Asset("station-1", "pump", "station", facts={"stop_level_m": 0.5, "start_level_m": 1.5}),
        Asset("pump-01", "pump", "pump", facts={"rated_current_a": 80.0}),
        *(Asset(f"truck-{n}", "truck", "truck", lon=-58.4 + n / 100, lat=-34.6) for n in range(3)),
    ]
    return Registry(catalog, assets)


def packets(data: bytes) -> list[mqtt5.PublishPacket]:
    view, found = memoryview(data), []
    while view:
        packet, length = mqtt5.read(view)
        assert isinstance(packet, mqtt5.PublishPacket)
        found.append(packet)
        view = view[length:]
    return found


def spoken(group: Group, ts_ms: int = NOW_MS, *, lit: bool = True) -> list[mqtt5.PublishPacket]:
    data = b""
    for start in range(0, len(group), group.chunk):
        rows = np.arange(start, min(start + group.chunk, len(group)))
        data += group.frames(rows, 300 + rows, ts_ms, lit=lit)
    assert len(data) == len(group) * group.frame_bytes
    return packets(data)


@pytest.mark.parametrize("readings", [1, 50])
@pytest.mark.parametrize("qos", [0, 1])
def test_every_frame_is_read_by_the_house_as_the_device_that_it_names(
    registry: Registry, qos: int, readings: int
) -> None:
    each = dict.fromkeys(registry.catalog.kinds, readings)
    groups = groups_of(registry, "linjiang", seed=3, qos=qos, readings=each, stretch=0.1)
    assert sum(map(len, groups)) == len(registry)
    sent = [packet for group in groups for packet in spoken(group)]
    assert all(packet.qos == qos for packet in sent)
    if qos:
        assert [packet.packet_id for packet in spoken(groups[0])] == list(range(300, 300 + len(groups[0])))
    decoded = Decoder(registry, "linjiang").decode(sent, NOW_MS)
    assert not decoded.rejects
    assert sum(decoded.received.values()) == len(registry) * readings
    for batch in decoded.batches:
        assert not batch.suspect.any()
        assert int(batch.time_ms.max()) == NOW_MS
        once = set(zip(batch.device.tolist(), batch.time_ms.tolist(), strict=True))
        assert len(once) == len(batch), "no device says two things at once"


def test_values_follow_the_facts_and_the_hour(registry: Registry) -> None:
    decoder = Decoder(registry, "linjiang")
    groups = groups_of(registry, "linjiang", seed=3)
    for lit in (True, False):
        sent = [packet for group in groups for packet in spoken(group, lit=lit)]
        by_kind = {batch.kind.name: batch for batch in decoder.decode(sent, NOW_MS).batches}
        lamps = by_kind["streetlight"]
        rated = registry.fact("rated_power_w")[lamps.device]
        power = lamps.column("power_w")
        here = ~np.isnan(power)
        share = power[here] / rated[here]
        assert ((share > 0.9) & (share < 1.1)).all() if lit else (share < 0.05).all()
        volts = lamps.column("voltage_v")[here]
        product = volts * lamps.column("current_a")[here] * lamps.column("power_factor")[here]
        assert np.allclose(product, power[here], rtol=0.1, atol=0.2), "power is voltage, current and factor"
        level = by_kind["pump"].column("level_m")
        assert np.nanmin(level) >= 0.5
        assert np.nanmax(level) <= 1.5


def test_trucks_stay_on_their_round_and_move_at_the_speed_they_tell(registry: Registry) -> None:
    (group,) = [group for group in groups_of(registry, "linjiang", seed=3) if group.kind == "truck"]
    decoder = Decoder(registry, "linjiang")
    sent = [packet for second in range(20) for packet in spoken(group, NOW_MS + 1000 * second)]
    (batch,) = decoder.decode(sent, NOW_MS + 20_000).batches
    mine = batch.take(batch.device == batch.device[0])
    metres = 111_195.0
    east = mine.column("lon_deg") * metres * np.cos(np.radians(-34.6))
    north = mine.column("lat_deg") * metres
    driven = np.hypot(np.diff(east), np.diff(north)).sum()
    assert driven / 19 * 3.6 == pytest.approx(mine.column("speed_kmh").mean(), rel=0.15)
    depot = registry.lon[mine.device[0]] * metres * np.cos(np.radians(-34.6))
    assert abs(east - depot).max() < 160


def test_a_fault_is_told_from_its_time_on_and_remembered_with_its_first_reading(registry: Registry) -> None:
    (group,) = [group for group in groups_of(registry, "linjiang", seed=3) if group.kind == "manhole"]
    group.break_down(Faults(np.array([2, 5]), np.array([NOW_MS + 10, NOW_MS + 99]), np.zeros(2, np.int64)))
    decoder = Decoder(registry, "linjiang")

    def opened(ts_ms: int) -> list[str]:
        (batch,) = decoder.decode(spoken(group, ts_ms), NOW_MS + 1000).batches
        rows = batch.device[(batch.column("cover_open") > 0) & (batch.column("tilt_deg") > 30)]
        return [registry.assets[row].id for row in rows]

    assert opened(NOW_MS) == []
    assert group.told() == []
    assert opened(NOW_MS + 50) == ["cover-2"]
    assert opened(NOW_MS + 100) == ["cover-2", "cover-5"]
    assert [(f.device, f.rule, f.ts_ms) for f in group.told()] == [
        ("cover-2", "cover_open", NOW_MS + 50),
        ("cover-5", "cover_open", NOW_MS + 100),
    ]


def test_the_chosen_share_of_devices_goes_wrong_the_same_for_the_same_seed(registry: Registry) -> None:
    def chosen() -> list[str]:
        groups = groups_of(registry, "linjiang", seed=3)
        assert choose_faults(groups, 0.25, 7, NOW_MS, NOW_MS + 1) == 11
        for group in groups:
            spoken(group, NOW_MS + 5)
        return sorted(fault.device for group in groups for fault in group.told())

    assert chosen() == chosen()
    assert len(chosen()) == 11


def test_groups_have_their_turn_by_their_share_and_devices_one_after_the_other() -> None:
    turn, queue = Turn(np.array([0.7, 0.2, 0.1])), Queue(10, 17)
    counts = np.zeros(3)
    for _ in range(1000):
        group = turn.choose(50)
        turn.took(group, 50)
        counts[group] += 50
    assert np.allclose(counts / counts.sum(), [0.7, 0.2, 0.1], atol=0.01)
    assert [queue.take(3).tolist() for _ in range(4)] == [[10, 11, 12], [13, 14, 15], [16], [10, 11, 12]]
