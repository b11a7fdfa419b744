"""What the rules say on recorded data, as the tables of docs/measurements.md.

Run as ``python -m bench.recorded FOLDER`` with the folder of the shared data sets; takes some minutes.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np

from alerts.engine import Engine
from alerts.rules import RuleSet, load_rules
from devices.geometry import LocalProjection
from devices.kinds import load_catalog
from devices.registry import Asset, Registry
from devices.sky import Sky
from devices.transition import ACTIVE, Transition
from simulators.detours import Detour, cut, from_pieces, moved_to
from simulators.mapping import load_mapping
from simulators.oracle_route import PlainRoute
from simulators.recorded import Track, track_batches, tracks
from simulators.recording import read_recording

CONFIG = Path(__file__).parents[1] / "config"


def recorded_tracks(folder: Path) -> list[Track]:
    """Return the Kubička traces, each with its true route."""
    mapping = load_mapping(CONFIG / "mappings" / "kubicka.yaml", load_catalog())
    return tracks(read_recording(folder / "gps" / "kubicka" / "tracks.open.csv.gz", mapping))


def judged(ways: list[Track], size: int = 4096) -> list[Transition]:
    """Return what the shipped route deviation rule says of vehicles on their routes."""
    catalog = load_catalog()
    rules = load_rules(CONFIG / "rules.yaml", catalog)
    permits = [permit for way in ways for permit in way.permits()]
    registry = Registry(catalog, [Asset(way.device, "truck", "truck") for way in ways], permits=permits)
    rules = RuleSet((rules["route_deviation"],), rules.lighting)
    engine = Engine(rules, registry, Sky(registry, "UTC", rules.lighting))
    return [t for batch in track_batches(registry, ways, size) for t in engine.step([batch], batch.arrival_ms)]


def plainly(way: Track) -> list[int]:
    """Return the onset of every alert and the moment it is told, by the plain rule."""
    flat = LocalProjection(float(np.median(way.lon)), float(np.median(way.lat)))
    pieces = [np.column_stack(flat.to_metres(*np.array(piece).T)) for piece in way.pieces if len(piece) > 1]
    east, north = flat.to_metres(way.lon, way.lat)
    distance = from_pieces(pieces, east, north)
    rule = PlainRoute()
    events = [
        rule.fix(int(t), (float(x), float(y)), float(d))
        for t, x, y, d in zip(way.time_ms, east, north, distance, strict=True)
    ]
    return [event.at_ms for event in events if event is not None and event.active]


def named(way: Track, suffix: str) -> Track:
    return replace(way, device=f"{way.device}-{suffix}")


def delays(found: list[int], case: Detour) -> int | None:
    """Return milliseconds from leaving the corridor to the first alert of that run; None where there is none."""
    inside = [at for at in found if case.left_ms <= at <= case.back_ms]
    return inside[0] - case.left_ms if inside else None


def row(name: str, late: list[int | None]) -> str:
    told = np.array([d / 1000 for d in late if d is not None])
    if not len(told):
        return f"| {name} | 0 of {len(late)} | – | – | – | 0 |"
    middle, most, last = np.percentile(told, [50, 95, 100])
    within = int((told <= 150).sum())
    return f"| {name} | {len(told)} of {len(late)} | {middle:.0f} s | {most:.0f} s | {last:.0f} s | {within} |"


def routes(folder: Path) -> None:
    every = recorded_tracks(folder)
    for label, ways in (("1 Hz", every), ("every 15 s", [way.thinned(15) for way in every])):
        cases: dict[str, dict[str, Detour]] = {}
        fleet = {way.device: way for way in ways}
        for aside, word in ((False, "out"), (True, "aside")):
            for km in (1, 2, 3):
                found = {way.device: cut(way, 1000.0 * km, aside=aside) for way in every}
                cases[f"{word}-{km}"] = {device: case for device, case in found.items() if case is not None}
        trucks = list(ways)
        for name, group in cases.items():
            trucks += [replace(fleet[d], device=f"{d}-{name}", pieces=c.track.pieces) for d, c in group.items()]
        for k, way in enumerate(ways):
            trucks.append(named(moved_to(way, ways[(k + 1) % len(ways)]), "other"))
        alerts: dict[str, list[int]] = {}
        for t in judged(trucks):
            if t.state == ACTIVE:
                alerts.setdefault(t.entity.removeprefix("device:"), []).append(t.at_ms)
        print(f"\n### {label}\n")
        own = [way.device for way in ways if way.device in alerts]
        print(f"own route: ours {len(own)} of {len(ways)} {own}; plain {[w.device for w in ways if plainly(w)]}")
        other = [named(way, "other").device for way in ways]
        print(f"another's route: ours {sum(device in alerts for device in other)} of {len(other)}")
        print("\n| permit | found | half within | 95 % within | all found within | within 150 s |")
        print("|---|---|---|---|---|---|")
        for name, group in cases.items():
            ours = [delays(alerts.get(f"{device}-{name}", []), case) for device, case in group.items()]
            plain = [delays(plainly(replace(fleet[d], pieces=c.track.pieces)), c) for d, c in group.items()]
            print(row(f"{name} km, ours", ours))
            print(row(f"{name} km, plain", plain))
            for (device, case), late, yard in zip(group.items(), ours, plain, strict=True):
                if late is None or late > 150_000:
                    span = (case.back_ms - case.left_ms) / 1000
                    way = f"outside {span:.0f} s, {case.driven_m:.0f} m"
                    print(f"<!-- {device} {name}: {way}, ours {late}, plain {yard} -->")


def main() -> None:
    routes(Path(sys.argv[1]))


if __name__ == "__main__":
    main()
