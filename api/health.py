"""Whether the house does its work: /healthz in words for whoever restarts it, /metrics in numbers for Prometheus."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from fastapi import APIRouter, Response
from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from starlette.concurrency import run_in_threadpool

from api import schemas
from api.house import Figure, House
from api.view import View
from storage.ledger import Ledger, Line

PREFIX = "lamplighter_"


def routes(house: House, view: View) -> APIRouter:
    """Return the routes of this file for one house."""
    router = APIRouter(tags=["health"])

    @router.get(
        "/healthz",
        response_model=schemas.HealthForm,
        responses={503: {"model": schemas.HealthForm, "description": "Something is wrong; ``says`` tells what."}},
        summary="Whether the house does its work",
    )
    async def healthz(response: Response) -> dict[str, Any]:
        """Return every part and how it does, in words; 503 when any of them is not well."""
        parts = await run_in_threadpool(house.health)
        well = all(part.well for part in parts)
        response.status_code = 200 if well else 503
        response.headers["Cache-Control"] = "no-store"
        return {
            "well": well,
            "parts": [{"name": part.name, "well": part.well, "says": part.says} for part in parts],
        }

    @router.get("/metrics", response_class=Response, summary="Numbers for Prometheus")
    async def metrics() -> Response:
        """Return the house's numbers in Prometheus' text format."""
        engine = [*_fleet(house, view), *_alerts(house), *_stream(house)]  # on the loop, between the engine's steps

        def rest() -> list[Figure]:
            return [*_ledger(house.ledger()), *house.figures()]

        figures = [*engine, *await run_in_threadpool(rest)]
        return Response(exposition(figures), media_type=CONTENT_TYPE_PLAIN_0_0_4)

    return router


def exposition(figures: Iterable[Figure]) -> bytes:
    """Return figures in Prometheus' text format, from a registry of their own."""
    registry = CollectorRegistry()
    registry.register(_Figures(figures))
    return generate_latest(registry)


class _Figures:
    def __init__(self, figures: Iterable[Figure]) -> None:
        self.figures = figures

    def collect(self) -> Iterator[Metric]:
        for figure in self.figures:
            family = CounterMetricFamily if figure.counter else GaugeMetricFamily
            metric = family(PREFIX + figure.name, figure.help, labels=figure.labels)
            for labels, value in figure.samples.items():
                metric.add_metric(labels, value)
            yield metric


def _fleet(house: House, view: View) -> list[Figure]:
    states = view.states()
    samples: dict[tuple[str, ...], float] = {}
    for kind in house.registry.catalog:
        mine = states[house.registry.rows_of(kind.name)]
        for value, name in enumerate(schemas.STATES, start=-1):
            samples[kind.name, name] = float(np.count_nonzero(mine == value))
    return [Figure("assets", "Assets by kind and present state.", samples, labels=("kind", "state"))]


def _alerts(house: House) -> list[Figure]:
    opened: dict[tuple[str, ...], float] = {
        (rule,): float(len(found)) for rule, found in house.engine.open_alerts().items()
    }
    return [
        Figure("alerts_open", "Alerts that have not cleared.", opened, labels=("rule",)),
        Figure("alerts_pending", "Conditions that hold, not yet for long enough.", {(): len(house.engine.pending())}),
    ]


def _stream(house: House) -> list[Figure]:
    hub = house.hub
    return [
        Figure("live_clients", "Open live streams.", {(): len(hub)}),
        Figure("live_events", "Events told to live streams.", {(): hub.published}, counter=True),
        Figure("live_dropped", "Live streams let go because they read too slowly.", {(): hub.dropped}, counter=True),
    ]


def _ledger(ledger: Ledger) -> list[Figure]:
    lines = ledger.lines.items()
    grown = ("received", "stored", "quarantined", "duplicate")
    return [
        *(
            Figure(
                f"readings_{column}",
                f"Readings {column}, since the beginning.",
                {(kind,): float(getattr(line, column) + _moved(line, column)) for kind, line in lines},
                labels=("kind",),
                counter=True,
            )
            for column in grown
        ),
        Figure(
            "messages_replayed",
            "Quarantined messages read after all; among received and quarantined still, which only grow.",
            {(kind,): float(line.replayed) for kind, line in lines},
            labels=("kind",),
            counter=True,
        ),
        Figure(
            "readings_pending",
            "Readings kept in the journal and not yet in the store.",
            {(kind,): float(line.pending) for kind, line in lines},
            labels=("kind",),
        ),
        Figure(
            "ledger_difference",
            "Received less stored, quarantined, duplicate and pending; 0 when all is well.",
            {(kind,): float(line.difference) for kind, line in lines},
            labels=("kind",),
        ),
    ]


def _moved(line: Line, column: str) -> int:
    """Return what a counter that only grows has more than the ledger: messages that have moved out of quarantine."""
    return line.replayed if column in ("received", "quarantined") else 0
