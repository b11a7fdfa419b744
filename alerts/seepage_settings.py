"""Settings of the seepage rule, read from a rules file."""

from __future__ import annotations

from alerts.keys import Keys
from alerts.nights import QUARTER_MIN, NightParams
from alerts.spans import minute_of_day
from devices.kinds import Kind
from devices.yamlfile import Node

RATIOS = ("on_ratio", "off_ratio", "major_ratio", "excess_lps")
SHARED = (
    "from", "until", "percentile", "nights", "off_nights", "rain_mm", "rain_days", "baseline_days", "nights_min",
    "coverage", "grace", "hold", "gauge", "rain_reports", "without_rain",
)  # fmt: skip


def parse(own: Node, kind: Kind, role: str | None) -> NightParams:  # noqa: ARG001 - every kind of rule is asked alike
    """Check the rule's own keys. Raises ConfigError naming file, line, key and the accepted form."""
    if not set(kind.field_names()) & {"inflow_lps", "level_m"}:
        raise own.error(f"{kind.name} reports neither inflow_lps nor level_m: no inflow can be had from it")
    keys = Keys(own, *RATIOS, *SHARED)
    params = night_params(keys)
    if params.off_ratio > params.on_ratio:
        keys.problem("off_ratio", f"expected at most on_ratio ({params.on_ratio:g})")
    keys.done()
    return params


def night_params(keys: Keys) -> NightParams:
    """Return the settings of nights; what is wrong with them is remembered by ``keys``."""
    plain = NightParams()
    span = _baseline(keys, plain)
    params = NightParams(
        from_min=keys.read("from", plain.from_min, minute_of_day),
        until_min=keys.read("until", plain.until_min, minute_of_day),
        percentile=keys.number("percentile", plain.percentile, 0, 100),
        on_ratio=keys.number("on_ratio", plain.on_ratio, 1, 100),
        off_ratio=keys.number("off_ratio", plain.off_ratio, 0, 100),
        major_ratio=keys.number("major_ratio", plain.major_ratio, 1, 1000),
        excess_lps=keys.number("excess_lps", plain.excess_lps, 0, 20_000),
        nights=keys.whole("nights", plain.nights, 1, 30),
        off_nights=keys.whole("off_nights", plain.off_nights, 1, 30),
        rain_mm=keys.number("rain_mm", plain.rain_mm, 0, 100),
        rain_days=keys.whole("rain_days", plain.rain_days, 0, 14),
        base_from=span[0],
        base_until=span[1],
        nights_min=keys.whole("nights_min", plain.nights_min, 1, 35),
        coverage=keys.number("coverage", plain.coverage, 0.05, 1),
        grace_ms=keys.length("grace", plain.grace_ms),
        hold_ms=keys.length("hold", plain.hold_ms),
        gauge=keys.text("gauge", ""),
        by_event=keys.text("rain_reports", "always", ("always", "events")) == "events",
        without_rain=keys.text("without_rain", "skip", ("skip", "judge")) == "judge",
    )
    if params.until_min - params.from_min < QUARTER_MIN:
        keys.problem("until", "expected a time after 'from' on the same day, at least a quarter of an hour later")
    return params


def _days(node: Node) -> tuple[int, ...]:
    return tuple(int(child.number(low=1, high=60)) for child in node.elements())


def _baseline(keys: Keys, plain: NightParams) -> tuple[int, int]:
    usual: tuple[int, ...] = (plain.base_from, plain.base_until)
    found = keys.read("baseline_days", usual, _days)
    if len(found) != 2 or found[0] < found[1]:
        keys.problem("baseline_days", "expected [first, last] days back, the first the longer, such as [35, 8]")
        return plain.base_from, plain.base_until
    return found[0], found[1]
