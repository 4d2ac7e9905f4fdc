"""Looking: whether the service lives and is ready, and its figures in the text format of Prometheus."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from http import HTTPStatus
from typing import Any, Final, Protocol

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from self_healing.api.taking import RefusalReason
from self_healing.labelling import LABEL, label
from self_healing.telemetry.intake import DUPLICATE
from self_healing.telemetry.lateness import TOO_LATE
from self_healing.telemetry.lines import BadLine
from self_healing.telemetry.otlp.rejection import Rejection
from self_healing.telemetry.points import TOO_MANY_SERIES


class Ask(Protocol):
    """Asks the service one of its commands."""

    async def __call__(self, command: str, **arguments: Any) -> dict[str, Any]:
        """The answer. Raises SelfHealingError: it cannot be answered."""
        ...


FATES: Final[dict[str, tuple[str, ...]]] = {
    "rejected": tuple(dict.fromkeys((*Rejection, *BadLine))),
    "quarantined": tuple(BadLine),
    "dropped": (DUPLICATE, TOO_LATE, TOO_MANY_SERIES),
}
"""What may become of an event but to be aggregated, and why: each reason is there from the start, at 0."""


def routes(ask: Ask) -> list[Route]:
    """The routes by which others look at the service."""

    async def metrics(_request: Request) -> Response:
        registry = CollectorRegistry(auto_describe=False)
        registry.register(Figures(await ask("figures")))
        return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)

    async def healthz(_request: Request) -> Response:
        return JSONResponse({"status": "alive"})

    async def readyz(_request: Request) -> Response:
        health = await ask("health")
        unhealthy = health["status"] == "unhealthy"
        return JSONResponse(
            {"status": health["status"]}, HTTPStatus.SERVICE_UNAVAILABLE if unhealthy else HTTPStatus.OK
        )

    return [Route("/metrics", metrics), Route("/healthz", healthz), Route("/readyz", readyz)]


class Figures:
    """What is asked under `figures`, as metrics; names and units as Prometheus has them."""

    def __init__(self, status: dict[str, Any]) -> None:
        self._status = status

    def collect(self) -> Iterator[Metric]:
        """All of them, each with the label of the fleet."""
        environment = label(self._status[LABEL])
        for family in self._unlabelled():
            family.samples = [each._replace(labels=environment | each.labels) for each in family.samples]
            yield family

    def _unlabelled(self) -> Iterator[Metric]:
        status = self._status
        build = GaugeMetricFamily(
            "self_healing_build_info",
            "1; which version runs, on which spec, in which environment.",
            labels=["version", "spec_version", "environment"],
        )
        build.add_metric([status["version"], status["spec_version"], status["environment"]], 1.0)
        yield build
        yield from self._telemetry(status["telemetry"])
        refused = CounterMetricFamily(
            "self_healing_requests_refused",
            "Requests with telemetry that were refused whole since the start; none of their events is counted.",
            labels=["reason"],
        )
        for reason, count in {**dict.fromkeys(RefusalReason, 0), **status["requests_refused"]}.items():
            refused.add_metric([reason], count)
        yield refused
        yield GaugeMetricFamily(
            "self_healing_ingest_lag_seconds",
            "Age of the oldest event that was received and is not folded yet; 0 when caught up.",
            value=status["ingest_lag_s"],
        )
        if status["evaluated_at"] is not None:
            evaluated_at = datetime.fromisoformat(status["evaluated_at"]).timestamp()
            yield GaugeMetricFamily(
                "self_healing_last_evaluation_timestamp_seconds",
                "The newest instant at which triggers were evaluated, since 1970; not there before the first.",
                value=evaluated_at,
            )
        yield _by(
            "self_healing_firing_series",
            "Series that fire and are not muted, of each trigger that is enabled.",
            "trigger",
            status["firing"],
        )
        health = status["health"]["status"]
        healthy = GaugeMetricFamily(
            "self_healing_health", "1 for the one that holds: healthy, degraded or unhealthy.", labels=["status"]
        )
        for each in ("healthy", "degraded", "unhealthy"):
            healthy.add_metric([each], float(each == health))
        yield healthy
        yield _by("self_healing_incidents", "Incidents that are not closed.", "state", status["incidents"])
        yield _by("self_healing_executions", "Executions that are kept.", "status", status["executions"])
        yield GaugeMetricFamily(
            "self_healing_directives_in_force", "Directives in force.", value=status["directives_in_force"]
        )
        yield CounterMetricFamily(
            "self_healing_constitutional_violations",
            "Denials since the state began.",
            value=status["constitutional_violations"],
        )
        yield GaugeMetricFamily("self_healing_stopped", "1 while a person has stopped healing.", value=_stopped(status))

    def _telemetry(self, counts: dict[str, Any]) -> Iterator[Metric]:
        """The two equations: received = accepted + rejected; accepted = aggregated + the other fates + in flight."""
        for name in ("received", "accepted", "aggregated", "late"):
            yield CounterMetricFamily(f"self_healing_events_{name}", f"Events {name}.", value=counts[name])
        yield GaugeMetricFamily(
            "self_healing_events_in_flight", "Events that are accepted and not folded yet.", value=counts["in_flight"]
        )
        yield CounterMetricFamily(
            "self_healing_traces_lost",
            "Traces that were forgotten with calls that no task had taken.",
            value=counts["traces_lost"],
        )
        for name, reasons in FATES.items():
            family = CounterMetricFamily(
                f"self_healing_events_{name}",
                f"Events {name}; each reason is there from the start, at 0.",
                labels=["reason"],
            )
            for reason, count in {**dict.fromkeys(reasons, 0), **counts[name]}.items():
                family.add_metric([reason], count)
            yield family


def _by(name: str, says: str, label: str, counts: dict[str, int]) -> Metric:
    family = GaugeMetricFamily(name, says, labels=[label])
    for value, count in counts.items():
        family.add_metric([value], count)
    return family


def _stopped(status: dict[str, Any]) -> float:
    return float(status["stopped"] is not None)
