"""InfluxQL as all of InfluxDB 1.x, 2.x and 3.x speak it: writing it, expanding it as Grafana does, and a lint.

The forbidden list is what one of the three refuses: 3.x has no SLIMIT, cardinality statements, ``ON database``,
``sample`` or ``holt_winters``; 2.x has no SELECT INTO.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

_FORBIDDEN = (
    (re.compile(r"\bS(?:LIMIT|OFFSET)\b", re.IGNORECASE), "SLIMIT and SOFFSET do not exist in InfluxDB 3"),
    (re.compile(r"\bINTO\b", re.IGNORECASE), "SELECT INTO does not exist in InfluxDB 2 and 3"),
    (re.compile(r"^\s*SHOW\b.*\bON\b", re.IGNORECASE | re.DOTALL), "ON database is not implemented in InfluxDB 3"),
    (re.compile(r"\bsample\s*\(", re.IGNORECASE), "sample() does not exist in InfluxDB 3"),
    (re.compile(r"\bholt_winters", re.IGNORECASE), "holt_winters does not exist in InfluxDB 3"),
    (re.compile(r"\bintegral\s*\(", re.IGNORECASE), "integral() is not in every InfluxDB 3"),
    (re.compile(r"\bCARDINALITY\b", re.IGNORECASE), "cardinality statements do not exist in InfluxDB 3"),
    (re.compile(r"^\s*(?:CREATE|DROP|DELETE|ALTER|GRANT|REVOKE)\b", re.IGNORECASE), "a dashboard only reads"),
    (re.compile(r"\|>|\bfrom\s*\(\s*bucket", re.IGNORECASE), "Flux is not InfluxQL"),
    (re.compile(r"time\s*\(\s*\$interval\s*\)", re.IGNORECASE), "write $__interval; $interval is long deprecated"),
)
_UNITS = (("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000))
_STEPS_MS = (  # Grafana rounds an interval to one of these
    *(1, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000, 15_000, 20_000, 30_000),
    *(60_000, 120_000, 300_000, 600_000, 900_000, 1_200_000, 1_800_000, 3_600_000, 7_200_000, 10_800_000),
    *(21_600_000, 43_200_000, 86_400_000),
)


def ident(name: str) -> str:
    """Return a measurement, field, tag or column name in double quotes."""
    escaped = name.replace("\\", "\\\\").replace('"', '\\"').replace("\n", " ")
    return f'"{escaped}"'


def literal(text: str) -> str:
    """Return a string in single quotes."""
    escaped = text.replace("\\", "\\\\").replace("'", "\\'").replace("\n", " ")
    return f"'{escaped}'"


def matches(tag: str, variable: str) -> str:
    """Return the condition that a tag is among a variable's chosen values, whose "All" is ``.*``."""
    return f"{ident(tag)} =~ /^${{{variable}:regex}}$/"


def select(
    columns: Sequence[str], source: str, where: Sequence[str] = (), by: Sequence[str] = (), *, stepped: bool = False
) -> str:
    """Return a query.

    Args:
        columns: expressions, each with its ``AS`` where a name is wanted.
        source: a measurement's name, or another query in brackets.
        where: conditions, joined by AND.
        by: tags to group by.
        stepped: also group by the dashboard's interval, leaving out steps without data.
    """
    origin = source if source.startswith("(") else ident(source)
    text = f"SELECT {', '.join(columns)} FROM {origin}"  # noqa: S608 - names are quoted by ident, texts by literal
    if where:
        text += f" WHERE {' AND '.join(where)}"
    groups = [*(["time($__interval)"] if stepped else []), *(ident(tag) for tag in by)]
    if groups:
        text += f" GROUP BY {', '.join(groups)}"
    return text + (" fill(none)" if stepped else "")


def newest(*fields: str) -> list[str]:
    """Return columns with the newest value of each field, under the field's own name."""
    return [f"last({ident(name)}) AS {ident(name)}" for name in fields]


def lint(query: str) -> list[str]:
    """Return what is wrong with a query, one sentence each; an empty list when all InfluxDB versions take it."""
    without_strings = re.sub(r"'(?:\\.|[^'\\])*'|\"(?:\\.|[^\"\\])*\"|/(?:\\.|[^/\\\n])+/", "x", query)
    problems = [why for pattern, why in _FORBIDDEN if pattern.search(without_strings)]
    if re.match(r"\s*SHOW\s+TAG\s+VALUES\b", without_strings, re.IGNORECASE):
        if not re.search(r"\bFROM\b", without_strings, re.IGNORECASE):
            problems.append("SHOW TAG VALUES without FROM reads every measurement, and InfluxDB 3 wants it")
    elif re.match(r"\s*SELECT\b", without_strings, re.IGNORECASE):
        if "$timeFilter" not in without_strings:
            problems.append("a SELECT without $timeFilter reads the whole history")
    else:
        problems.append("only SELECT and SHOW TAG VALUES are used")
    return problems


def interval_ms(from_ms: int, until_ms: int, points_max: int, least_ms: int) -> int:
    """Return the step that Grafana asks for: range over points, rounded to a usual step, at least ``least_ms``."""
    wanted = max((until_ms - from_ms) / points_max, 1)
    step = min(_STEPS_MS, key=lambda candidate: abs(candidate - wanted))
    return max(step, least_ms)


def duration(ms: int) -> str:
    """Return milliseconds as InfluxQL and Grafana write them (``90s``, ``15m``)."""
    for unit, size in _UNITS:
        if ms % size == 0:
            return f"{ms // size}{unit}"
    return f"{ms}ms"


def duration_ms(text: str) -> int:
    """Return a duration such as ``90s`` or ``500ms`` in milliseconds."""
    found = re.fullmatch(r"(\d+)(ms|s|m|h|d)", text)
    if not found:
        raise ValueError(f"'{text}' is no duration; expected a whole number and one of ms, s, m, h, d")
    return int(found[1]) * {**dict(_UNITS), "ms": 1}[found[2]]


def expand(query: str, from_ms: int, until_ms: int, step_ms: int, variables: Mapping[str, Sequence[str] | str]) -> str:
    """Return a query as Grafana would send it.

    Args:
        query: with ``$timeFilter``, ``$__interval`` and variables.
        from_ms, until_ms: range of the dashboard, epoch milliseconds.
        step_ms: see :func:`interval_ms`.
        variables: chosen values; a string is put in as it stands (an ``allValue``, a text box), a list is joined
            as a regular expression with each value escaped.

    Raises:
        KeyError: for a variable without a value.
    """

    def chosen(match: re.Match[str]) -> str:
        value = variables[match[1] or match[2]]
        if isinstance(value, str):
            return value
        escaped = [re.sub(r"([\\^$*+?.()|[\]{}/])", r"\\\1", one) for one in value]
        return escaped[0] if len(escaped) == 1 else f"({'|'.join(escaped)})"

    text = query.replace("$timeFilter", f"time >= {from_ms}ms and time <= {until_ms}ms")
    text = text.replace("$__interval_ms", str(step_ms)).replace("$__interval", duration(step_ms))
    return re.sub(r"\$\{(\w+)(?::\w+)?\}|\$(\w+)", chosen, text)
