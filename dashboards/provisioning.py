"""What Grafana reads at its start: the data source, where the boards lie, and the alarms about Lamplighter itself."""

from __future__ import annotations

from dashboards.house_board import difference
from dashboards.influxql import select
from dashboards.native import DATASOURCE, Json
from dashboards.words import Words

LATE_MS = 10_000  # the goal while catching up after an outage; live it is 2 s
FOLDER = "Lamplighter"
BOARDS = "/etc/lamplighter/grafana/boards"  # where docker-compose.yml puts the boards inside Grafana's container


def datasource() -> Json:
    """Return the InfluxQL data source; address, user and password come from Grafana's environment.

    A user and a password are what InfluxDB 1.x, 2.x (its 1.x-compatible authorisations, see deploy/influx-init.sh) and
    3.x (any name, a token as the password) all take, so one form of data source serves all three.
    """
    return {
        "apiVersion": 1,
        "datasources": [
            {
                "name": FOLDER,
                "uid": DATASOURCE["uid"],
                "type": DATASOURCE["type"],
                "access": "proxy",
                "url": "${LAMPLIGHTER_INFLUX_URL}",
                "user": "${LAMPLIGHTER_INFLUX_READ_USER}",
                "isDefault": True,
                "editable": False,
                "jsonData": {
                    "dbName": "${LAMPLIGHTER_INFLUX_BUCKET}",
                    "httpMode": "POST",
                    "timeInterval": "15s",  # the shortest report period of the shipped kinds
                    "maxSeries": 1000,
                },
                "secureJsonData": {"password": "${LAMPLIGHTER_INFLUX_READ_PASSWORD}"},
            }
        ],
    }


def provider() -> Json:
    """Return where Grafana finds the boards."""
    return {
        "apiVersion": 1,
        "providers": [
            {
                "name": "lamplighter",
                "folder": FOLDER,
                "folderUid": "lamplighter",
                "type": "file",
                "disableDeletion": True,
                "allowUiUpdates": False,
                "updateIntervalSeconds": 30,
                "options": {"path": BOARDS},
            }
        ],
    }


def alarms(words: Words) -> Json:
    """Return Grafana's own alarms about Lamplighter, for the one case that it cannot tell itself: its silence."""
    texts = {
        "silent": ("Lamplighter has been silent for five minutes", "点灯人已静默五分钟"),
        "unbalanced": (
            "The ledger does not balance: readings are lost or counted twice",
            "账目不平：读数丢失或重复计数",
        ),
        "late": ("Alerts are judged more than ten seconds late", "告警判定延迟超过十秒"),
    }
    off = select([f'{difference()} AS "off"'], "ledger", ["$timeFilter"], ["kind"])
    here = ["$timeFilter"]
    rules = [
        _alarm("silent", select(['count("lag_ms")'], "house", here), "$B < 1", "0s", without_data="Alerting"),
        _alarm("unbalanced", select(['sum("off")'], f"({off})"), "$B != 0", "5m"),
        _alarm("late", select(['min("lag_ms")'], "house", here), f"$B > {LATE_MS}", "2m"),
    ]
    for rule in rules:
        text = texts[rule["uid"].removeprefix("lamplighter-")][words.number]
        rule["title"] = text
        rule["annotations"] = {"summary": text}
    group = {"orgId": 1, "name": "lamplighter", "folder": FOLDER, "interval": "1m", "rules": rules}
    return {"apiVersion": 1, "groups": [group]}


def _alarm(name: str, query: str, test: str, lasting: str, *, without_data: str = "OK") -> Json:
    """Return one rule in the flat form that Grafana's file loader takes; B is the newest value, C the comparison."""
    ranges = {"from": 300, "to": 0}
    model = {"refId": "A", "query": query, "rawQuery": True, "resultFormat": "time_series", "intervalMs": 15_000}
    return {
        "uid": f"lamplighter-{name}",
        "title": name,
        "condition": "C",
        "for": lasting,
        "noDataState": without_data,
        "execErrState": "Alerting",
        "labels": {"from": "lamplighter"},
        "data": [
            {"refId": "A", "relativeTimeRange": ranges, "datasourceUid": DATASOURCE["uid"], "model": model},
            _expression("B", {"type": "reduce", "expression": "A", "reducer": "last"}),
            _expression("C", {"type": "math", "expression": test}),
        ],
    }


def _expression(ref: str, model: Json) -> Json:
    return {
        "refId": ref,
        "relativeTimeRange": {"from": 300, "to": 0},
        "datasourceUid": "__expr__",
        "model": {"refId": ref, "datasource": {"type": "__expr__", "uid": "__expr__"}, **model},
    }
