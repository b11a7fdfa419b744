"""Queries keep to what InfluxDB 1.x, 2.x and 3.x all speak, and are expanded as Grafana does it."""

from __future__ import annotations

import pytest

from dashboards.influxql import duration, duration_ms, expand, ident, interval_ms, lint, literal, matches, select


@pytest.mark.parametrize(
    ("query", "why"),
    [
        ('SELECT mean("v") FROM "m" WHERE $timeFilter GROUP BY "a" SLIMIT 5', "SLIMIT"),
        ('SELECT mean("v") INTO "x" FROM "m" WHERE $timeFilter', "INTO"),
        ('SHOW TAG VALUES ON db FROM "m" WITH KEY = "a"', "ON database"),
        ('SELECT sample("v", 3) FROM "m" WHERE $timeFilter', "sample"),
        ('SELECT holt_winters(mean("v"), 3, 4) FROM "m" WHERE $timeFilter', "holt_winters"),
        ("SHOW SERIES CARDINALITY", "cardinality"),
        ('SHOW TAG VALUES WITH KEY = "a"', "without FROM"),
        ('SELECT mean("v") FROM "m"', "timeFilter"),
        ("DROP MEASUREMENT m", "only reads"),
        ('from(bucket: "b") |> range(start: -1h)', "Flux"),
        ("SHOW MEASUREMENTS", "only SELECT"),
    ],
)
def test_the_lint_names_what_some_influxdb_refuses(query: str, why: str) -> None:
    assert any(why in problem for problem in lint(query)), lint(query)


@pytest.mark.parametrize(
    "query",
    [
        'SELECT mean("into") AS "SLIMIT" FROM "m" WHERE "a" = \'sample(x) ON y\' AND $timeFilter',
        'SELECT mean("v") FROM "m" WHERE "a" =~ /^INTO$/ AND $timeFilter GROUP BY time($__interval) fill(none)',
        'SHOW TAG VALUES FROM "m" WITH KEY = "on"',
    ],
)
def test_the_lint_does_not_look_inside_names_texts_and_patterns(query: str) -> None:
    assert lint(query) == []


def test_names_and_texts_cannot_break_out_of_their_quotes() -> None:
    assert ident('a"b\\c') == '"a\\"b\\\\c"'
    assert literal("o'clock\\") == "'o\\'clock\\\\'"


def test_a_query_expands_to_what_grafana_sends() -> None:
    query = select(['mean("v")'], "m", [matches("district", "district"), "$timeFilter"], ["district"], stepped=True)
    assert expand(query, 1000, 2000, 90_000, {"district": ".*"}) == (
        'SELECT mean("v") FROM "m" WHERE "district" =~ /^.*$/ AND time >= 1000ms and time <= 2000ms '
        'GROUP BY time(90s), "district" fill(none)'
    )
    assert "/^(东区|a\\.b\\/c)$/" in expand(query, 1, 2, 1000, {"district": ["东区", "a.b/c"]})
    assert "/^东区$/" in expand(query, 1, 2, 1000, {"district": ["东区"]})


def test_a_variable_without_a_value_is_an_error() -> None:
    with pytest.raises(KeyError, match="device"):
        expand("SELECT 1 WHERE \"device\" = '${device}'", 0, 1, 1000, {})


@pytest.mark.parametrize(
    ("span_ms", "points", "least", "expected"),
    [
        (6 * 3_600_000, 600, 1000, 30_000),
        (6 * 3_600_000, 600, 900_000, 900_000),
        (7 * 86_400_000, 600, 1000, 900_000),
    ],
)
def test_the_step_follows_the_range_but_not_below_the_report_period(
    span_ms: int, points: int, least: int, expected: int
) -> None:
    assert interval_ms(0, span_ms, points, least) == expected


@pytest.mark.parametrize(("text", "ms"), [("500ms", 500), ("90s", 90_000), ("15m", 900_000), ("2h", 7_200_000)])
def test_durations_read_back(text: str, ms: int) -> None:
    assert duration_ms(text) == ms
    assert duration(ms) == text


def test_a_wrong_duration_is_named_with_the_accepted_form() -> None:
    with pytest.raises(ValueError, match="one of ms, s, m, h, d"):
        duration_ms("soon")
