"""Settings of the route deviation rule, and how they are read from a rules file."""

from __future__ import annotations

from dataclasses import dataclass, field

from alerts.keys import Keys
from alerts.reckoning import GateParams
from devices.kinds import Kind
from devices.yamlfile import Node

POSITION = ("lon_deg", "lat_deg")


@dataclass(frozen=True, slots=True)
class RouteParams:
    """Settings of the rule; config/rules.yaml names their sources.

    Attributes:
        on_m, off_m: a truck is outside beyond ``on_m`` from its route and back within ``off_m``.
        open_hdop: a fix outside as good as this ends the doubt: bursts come between houses, where fixes are poor.
        sharp_m, per_hdop_m: where ``sharp_m`` and so many metres for one of hdop are less than ``on_m``, the corridor
            is narrower in that measure; ``per_hdop_m`` 0: it is the same for all.
        for_ms, travelled_m: how long outside, and metres driven there, before it is an alert.
        far_m, far_for_ms: beyond ``far_m`` this shorter time is enough.
        unsure_ms: this long in place of ``for_ms``, and ``for_ms`` in place of ``far_for_ms``, where the way outside
            began with a shock to dead reckoning: bursts of bias begin so, and are over sooner.
        keep_ms: how long back before the alert ends.
        hold_ms: silent for so long with an alert open: it ends with reason ``data_lost``.
        site_margin_m: a permit's sites are this much larger than drawn.
        max_hdop, min_satellites: fixes of worse quality are passed over.
        gate: dead reckoning; None judges every fix.
    """

    on_m: float = 80.0
    off_m: float = 50.0
    sharp_m: float = 30.0
    per_hdop_m: float = 0.0
    for_ms: int = 120_000
    travelled_m: float = 300.0
    far_m: float = 200.0
    far_for_ms: int = 15_000
    unsure_ms: int = 480_000
    open_hdop: float = 1.5
    keep_ms: int = 60_000
    hold_ms: int = 86_400_000
    site_margin_m: float = 50.0
    max_hdop: float = 5.0
    min_satellites: float = 4.0
    gate: GateParams = field(default_factory=GateParams)


def parse(own: Node, kind: Kind, role: str | None) -> RouteParams:  # noqa: ARG001 - every kind of rule is asked alike
    """Check the rule's own keys. Raises ConfigError naming file, line, key and the accepted form."""
    missing = [name for name in POSITION if name not in kind.field_names()]
    if missing:
        raise own.error(f"{kind.name} reports no {' and no '.join(missing)}: it cannot be held to a route")
    plain, gate = RouteParams(), GateParams()
    known = (
        "on_m",
        "off_m",
        "travelled_m",
        "far_m",
        "far_for",
        "unsure_for",
        "open_hdop",
        "sharp_m",
        "per_hdop_m",
        "hold",
        "site_margin_m",
        "max_hdop",
        "min_satellites",
    )
    keys = Keys(own, *known, "gate")
    below = keys.under(
        "gate", "within_m", "blend", "blend_away", "shock_m", "resync", "gap", "max_kmh", "standing_kmh", "step_m"
    )
    params = RouteParams(
        on_m=keys.number("on_m", plain.on_m, 1, 10_000),
        off_m=keys.number("off_m", plain.off_m, 0, 10_000),
        sharp_m=keys.number("sharp_m", plain.sharp_m, 0, 10_000),
        per_hdop_m=keys.number("per_hdop_m", plain.per_hdop_m, 0, 1_000),
        travelled_m=keys.number("travelled_m", plain.travelled_m, 0, 100_000),
        far_m=keys.number("far_m", plain.far_m, 1, 100_000),
        far_for_ms=keys.length("far_for", plain.far_for_ms),
        unsure_ms=keys.length("unsure_for", plain.unsure_ms),
        open_hdop=keys.number("open_hdop", plain.open_hdop, 0, 100),
        hold_ms=keys.length("hold", plain.hold_ms),
        site_margin_m=keys.number("site_margin_m", plain.site_margin_m, 0, 5_000),
        max_hdop=keys.number("max_hdop", plain.max_hdop, 0.5, 100),
        min_satellites=keys.number("min_satellites", plain.min_satellites, 0, 64),
        gate=GateParams(
            gate_m=below.number("within_m", gate.gate_m, 1, 100_000),
            blend=below.number("blend", gate.blend, 0.01, 1),
            blend_away=below.number("blend_away", gate.blend_away, 0.01, 1),
            shock_m=below.number("shock_m", gate.shock_m, 1, 100_000),
            resync_ms=below.length("resync", gate.resync_ms),
            gap_ms=below.length("gap", gate.gap_ms),
            max_kmh=below.number("max_kmh", gate.max_kmh, 10, 1000),
            standing_kmh=below.number("standing_kmh", gate.standing_kmh, 0, 20),
            anchor_m=below.number("step_m", gate.anchor_m, 1, 500),
        ),
    )
    if params.off_m > params.on_m:
        keys.problem("off_m", f"expected at most on_m ({params.on_m:g}): a truck comes back nearer than it left")
    keys.done()
    return params
