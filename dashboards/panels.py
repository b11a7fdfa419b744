"""The panels of the boards, each from a query and a title, and the shelf on which they are laid out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from grafanalib.core import GridPos, Panel, RowPanel, StateTimeline, Template, TimeSeries

from dashboards.influxql import duration, duration_ms, select
from dashboards.native import DATASOURCE, POINTS_MAX, InfluxTarget, Json, NPanel, thresholds

WIDTH = 24  # columns of Grafana's grid
UNITS = {  # Grafana's names of units; others are shown as they are written
    "%": "percent", "°": "degree", "°C": "celsius", "W": "watt", "kW": "kwatt", "V": "volt", "A": "amp", "mA": "mamp",
    "kWh": "kwatth", "h": "h", "m": "lengthm", "m/s": "velocityms", "km/h": "velocitykmh", "km": "lengthkm",
    "L/s": "litreps", "mm": "lengthmm", "kPa": "pressurekpa", "Hz": "rothz", "ppm": "ppm", "ms": "ms", "dBm": "dBm",
    "share": "percentunit", "bytes": "bytes", "count": "none", "rate": "cps", "": "none",
}  # fmt: skip


class Shelf:
    """Lays panels out from left to right and top to bottom, so that nothing overlaps."""

    def __init__(self) -> None:
        self.panels: list[Panel] = []
        self._row: RowPanel | None = None
        self._x = 0
        self._y = 0
        self._tallest = 0

    def put(self, panel: Panel, width: int, height: int) -> None:
        """Place a panel of ``width`` columns and ``height`` rows of 30 pixels."""
        if self._x + width > WIDTH:
            self.line()
        panel.gridPos = GridPos(h=height, w=width, x=self._x, y=self._y)
        (self.panels if self._row is None else self._row.panels).append(panel)
        self._x += width
        self._tallest = max(self._tallest, height)

    def line(self) -> None:
        """Begin a new line."""
        self._y += self._tallest
        self._x = self._tallest = 0

    def row(self, title: str, *, folded: bool = False) -> None:
        """Begin a titled row; what lies in a folded one is asked for only when somebody opens it."""
        if self._row is not None:
            self._y = self._row.gridPos.y + 1  # folded, its panels take no room
            self._x = self._tallest = 0
        self.line()
        row = RowPanel(title=title, collapsed=folded, gridPos=GridPos(h=1, w=WIDTH, x=0, y=self._y))
        self.panels.append(row)
        self._row = row if folded else None
        self._y += 1


def targets(*queries: str, table: bool = False, alias: str = "") -> list[InfluxTarget]:
    """Return queries as targets A, B, C …"""
    form = "table" if table else "time_series"
    return [
        InfluxTarget(expr=query, format=form, alias=alias, refId=chr(ord("A") + place))
        for place, query in enumerate(queries)
    ]


def lines(
    title: str,
    query: str,
    *,
    unit: str = "",
    alias: str = "$col",
    step: str = "60s",
    limits: Sequence[tuple[float | None, str]] = (),
    low: float | None = None,
    high: float | None = None,
    text: str = "",
) -> Panel:
    """Return curves over time.

    Args:
        title, text: heading and explanation.
        query: grouped by ``time($__interval)``.
        unit: as in the catalog.
        alias: name of a series, ``$col`` or ``$tag_name``.
        step: usual time between readings; a line breaks where three of them are missing.
        limits: threshold steps, drawn as dashed lines.
        low, high: fixed ends of the axis.
    """
    panel = TimeSeries(
        title=title,
        description=text or None,
        targets=targets(query, alias=alias),
        dataSource=DATASOURCE,
        unit=UNITS.get(unit, f"suffix: {unit}"),
        interval=step,
        maxDataPoints=POINTS_MAX,
        lineWidth=1,
        showPoints="auto",
        tooltipMode="multi",
        tooltipSort="desc",
        thresholdsStyleMode="dashed" if limits else "off",
        stacking={"mode": "none", "group": "A"},
    )
    bounds = {key: value for key, value in (("min", low), ("max", high)) if value is not None}
    steps = thresholds(*(limits or [(None, "green")]))
    panel.thresholds = steps["steps"]
    panel.extraJson = {
        "fieldConfig": {"defaults": {"custom": {"insertNulls": 3 * duration_ms(step)}, **bounds}},
        "options": {"legend": {"showLegend": True, "calcs": ["lastNotNull", "max"]}},
    }
    return panel


def states(title: str, query: str, *, mappings: list[Json], alias: str = "$col", step: str = "60s") -> Panel:
    """Return bands of states over time; ``mappings`` give each number its word and colour."""
    panel = StateTimeline(
        title=title,
        targets=targets(query, alias=alias),
        dataSource=DATASOURCE,
        interval=step,
        maxDataPoints=200,  # a band narrower than this cannot be seen
        mappings=mappings,
        colorMode="thresholds",
        tooltipMode="multi",
    )
    panel.thresholds = thresholds((None, "text"))["steps"]
    panel.extraJson = {"options": {"legend": {"showLegend": True}}}
    return panel


def number(
    title: str,
    query: str,
    *,
    kind: str = "stat",
    unit: str = "count",
    steps: Sequence[tuple[float | None, str]] = ((None, "text"),),
    low: float | None = None,
    high: float | None = None,
    alias: str = "$col",
    step: str = "60s",
    empty: str = "–",
    text: str = "",
) -> Panel:
    """Return the newest value as a figure (``stat``) or a dial (``gauge``); ``empty`` is shown without data."""
    options: Json = {"reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False}, "orientation": "auto"}
    if kind == "stat":
        options |= {"colorMode": "value", "graphMode": "area", "justifyMode": "auto", "textMode": "auto"}
    else:
        options |= {"showThresholdLabels": False, "showThresholdMarkers": True}
    defaults: Json = {
        "unit": UNITS.get(unit, f"suffix: {unit}"),
        "thresholds": thresholds(*steps),
        "color": {"mode": "thresholds"},
        "noValue": empty,
    }
    defaults |= {key: value for key, value in (("min", low), ("max", high)) if value is not None}
    return native(kind, title, targets(query, alias=alias), options, defaults, step=step, text=text)


def table(
    title: str,
    query: str,
    columns: dict[str, str],
    *,
    sort: str = "",
    descending: bool = True,
    defaults: Json | None = None,
    overrides: Sequence[Json] = (),
) -> Panel:
    """Return rows as InfluxDB gives them; ``columns`` gives headings, a column left out of it is hidden."""
    panel = native(
        "table",
        title,
        targets(query, table=True),
        {
            "showHeader": True,
            "cellHeight": "sm",
            "sortBy": [{"displayName": columns.get(sort, sort), "desc": descending}],
        },
        {"custom": {"align": "auto", "filterable": True}, **(defaults or {})},
        overrides=overrides,
    )
    order = {name: place for place, name in enumerate(columns)}
    panel.transformations = [
        {"id": "filterFieldsByName", "options": {"include": {"names": list(columns)}}},
        {"id": "organize", "options": {"indexByName": order, "renameByName": columns, "excludeByName": {}}},
    ]
    return panel


def native(
    kind: str,
    title: str,
    queries: list[InfluxTarget],
    options: Json,
    defaults: Json,
    *,
    overrides: Sequence[Json] = (),
    step: str = "60s",
    text: str = "",
) -> Panel:
    """Return a panel of any kind in Grafana's present form."""
    return NPanel(
        kind=kind,
        title=title,
        description=text or None,
        targets=queries,
        dataSource=DATASOURCE if queries else None,
        options=options,
        defaults=defaults,
        overrides=list(overrides),
        interval=step,
        maxDataPoints=POINTS_MAX,
    )


def chosen_values(name: str, label: str, everything: str, query: str) -> Template:
    """Return a variable with several choices and "All", which stands for any value and for devices without one.

    Its ``allValue`` is the expression ``.*``; without it "All" would spell out every value in every query.
    """
    template = Template(
        name=name, label=label, query=query, dataSource=DATASOURCE, includeAll=True, multi=True, allValue=".*"
    )
    template._current = {"selected": True, "text": [everything], "value": ["$__all"]}  # noqa: SLF001 - grafanalib gives no other way
    return template


def one_value(name: str, label: str, query: str) -> Template:
    """Return a variable with exactly one choice; Grafana chooses the first value when the board opens."""
    template = Template(name=name, label=label, query=query, dataSource=DATASOURCE)
    template._current = {}  # noqa: SLF001 - a null choice would be kept by Grafana as the text "null"
    return template


def typed_in(name: str, label: str) -> Template:
    """Return a text box, empty at first."""
    template = Template(name=name, label=label, query="", type="textbox")
    template._current = {"selected": True, "text": "", "value": ""}  # noqa: SLF001 - as above
    template.options = [{"selected": True, "text": "", "value": ""}]
    return template


def chosen_from(name: str, label: str, options: dict[str, str]) -> Template:
    """Return a variable with fixed choices: value to text; the first is the default."""
    query = ",".join(f"{text} : {value}" for value, text in options.items())
    rows = [
        {"selected": place == 0, "text": text, "value": value} for place, (value, text) in enumerate(options.items())
    ]
    return Template(name=name, label=label, query=query, type="custom", options=rows)


def over_time(measurement: str, columns: Sequence[str], where: Sequence[str] = (), by: Sequence[str] = ()) -> str:
    """Return a query of columns over time, grouped by tags, with gaps where nothing was reported."""
    return select(columns, measurement, [*where, "$timeFilter"], by, stepped=True)


def step_of(seconds: float) -> str:
    """Return a report period as a panel's least interval."""
    return duration(max(1000, round(seconds) * 1000))


def colored(by: str, steps: Sequence[tuple[float | None, str]], **more: Any) -> Json:  # noqa: ANN401 - panel settings
    """Return an override that colours one column's cells by thresholds."""
    properties: list[Json] = [
        {"id": "thresholds", "value": thresholds(*steps)},
        {"id": "color", "value": {"mode": "thresholds"}},
        {"id": "custom.cellOptions", "value": {"type": "color-text"}},
    ]
    properties += [{"id": key, "value": value} for key, value in more.items()]
    return {"matcher": {"id": "byName", "options": by}, "properties": properties}
