"""Metrics for Prometheus: what the database says about the queue, whether the server is ready, and what the process counted.

Queue, results and failures are read from the database at each call, so that every server process, also one that scores nothing,
reports the same, before and after a restart. They are gauges, because rows can be deleted.
"""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Iterable, Iterator, Mapping
from importlib.metadata import version
from typing import Any

from fastapi import APIRouter, Depends, HTTPException, Request, Response, status
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session
from structlog import get_logger

from app.context import AppContext
from app.db.base import now
from app.db.models import Kind
from app.db.presence import count_workers
from app.keys import split_keys
from app.management import queue_report, retraining_report
from app.management.readiness import Part, find_faults
from app.submissions.storage import Storage
from app.web.dependencies import ContextDep, SettingsDep
from app.web.request_metrics import RequestMetrics
from ldsboard.core import result
from ldsboard.problems import PROBLEMS, ProblemError

router = APIRouter(include_in_schema=False)
log = get_logger()

MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"
"""Media type of Prometheus' text format."""

OTHER_CODE = "other"
"""Label of the problems with a code that this release does not know: those of files that an earlier release rejected."""

_HINT = "Send the value of LDSBOARD_METRICS_TOKEN as 'Authorization: Bearer VALUE'."


async def _check_token(request: Request, settings: SettingsDep) -> None:
    """Check the bearer token of Prometheus.

    Raises
    ------
    HTTPException
        404: the operator has set no token, so that the server has no metrics.
    ProblemError
        ``auth.missing`` or ``auth.invalid``: the request lacks the token.
    """
    expected = split_keys(settings.metrics_token.get_secret_value())
    if not expected:
        raise HTTPException(status.HTTP_404_NOT_FOUND)
    given = request.headers.get("authorization")
    if given is None:
        raise ProblemError("auth.missing", "The request has no Authorization header.", _HINT)
    scheme, _, value = given.partition(" ")
    known = [secrets.compare_digest(value.strip().encode(), token.encode()) for token in expected]
    if scheme.lower() != "bearer" or not any(known):
        raise ProblemError("auth.invalid", "The Authorization header does not hold the token for metrics.", _HINT)


@router.get("/metrics", dependencies=[Depends(_check_token)])
def show_metrics(request: Request, context: ContextDep) -> Response:
    """Show the metrics in Prometheus' text format. While the database does not answer, its metrics are left out."""
    counted: RequestMetrics = request.app.state.request_metrics
    registry = CollectorRegistry()
    registry.register(_Families(_families(context)))
    return Response(generate_latest(registry) + generate_latest(counted.registry), media_type=MEDIA_TYPE)


class _Families:
    """The metrics of one call, as the registry expects them."""

    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = list(families)

    def collect(self) -> Iterable[Metric]:
        return self._families


def _families(context: AppContext) -> Iterator[Metric]:
    versions = {"version": version("ldsboard"), "scorer_version": str(result.SCORER_VERSION)}
    build = GaugeMetricFamily("ldsboard_build_info", "Version of LDSBoard and of its scorer", labels=list(versions))
    build.add_metric(list(versions.values()), 1)
    yield build
    in_database: list[Metric] = []
    with context.database.read() as session:
        faults = find_faults(session, context.storage, context.sandbox)
        if faults[Part.DATABASE] is None:
            try:
                # A server that scores itself counts as one worker, so that the alert for none can look at all servers.
                workers = 1 if context.settings.scoring_processes else count_workers(session)
                in_database = list(_database_families(session, workers))
            except SQLAlchemyError:
                log.exception("metrics.incomplete")
    yield _by_label(
        "ldsboard_ready",
        "Whether a part of the server is ready, as /readyz says",
        "part",
        {part: float(fault is None) for part, fault in faults.items()},
    )
    if faults[Part.STORE] is None:
        yield from _store_families(context.storage)
    yield from in_database


def _store_families(storage: Storage) -> Iterator[Metric]:
    disk = shutil.disk_usage(storage.scratch)
    yield GaugeMetricFamily("ldsboard_store_free_bytes", "Free bytes of the disk on which files arrive", disk.free)
    yield GaugeMetricFamily("ldsboard_store_size_bytes", "Size of the disk on which files arrive, in bytes", disk.total)


def _database_families(session: Session, workers: int) -> Iterator[Metric]:
    queue, time = queue_report.queue_state(session), now()
    about = "Workers that are running; 1 for a server that scores itself"
    yield GaugeMetricFamily("ldsboard_connected_workers", about, workers)
    waits = {
        kind: 0.0 if found.since is None else (time - found.since).total_seconds()
        for kind, found in queue.waiting.items()
    }
    yield _by_label(
        "ldsboard_waiting_evaluations",
        "Evaluations that wait, also for a retry",
        "kind",
        {kind: found.number for kind, found in queue.waiting.items()},
    )
    yield _by_label(
        "ldsboard_retrying_evaluations",
        "Waiting evaluations that have failed before",
        "kind",
        {kind: found.retrying for kind, found in queue.waiting.items()},
    )
    yield _by_label(
        "ldsboard_oldest_waiting_seconds",
        "Seconds for which the oldest first evaluation has waited; 0 if none waits",
        "kind",
        {kind: max(0.0, waits[kind]) for kind in Kind},
    )
    yield GaugeMetricFamily(
        "ldsboard_held_evaluations", "First evaluations that wait until a ban of their owner is lifted", queue.held
    )
    yield _by_label(
        "ldsboard_running_evaluations",
        "Evaluations that workers run",
        "kind",
        queue.running,
    )
    yield _by_label(
        "ldsboard_failed_evaluations",
        "Evaluations that failed permanently, and that nobody has retried",
        "kind",
        queue.failed,
    )
    yield _by_label(
        "ldsboard_counterfactual_evaluations",
        "Counterfactual evaluations that have begun; interrupted: stopped, or failed and tried again",
        "state",
        retraining_report.counts(session),
    )
    yield _by_label("ldsboard_submissions", "Submissions by state", "state", queue_report.submission_counts(session))
    yield _by_label(
        "ldsboard_submission_problems",
        "Rejected and failed submissions by the code of their problem",
        "code",
        _with_known_codes(queue_report.problem_counts(session)),
    )
    scored = queue_report.recently_scored(session)
    for name, text, value in (
        ("scored_evaluations", "Evaluations that were scored in the last hour", scored.number),
        ("scoring_seconds", "Seconds that these evaluations took together", scored.seconds),
        ("longest_scoring_seconds", "Seconds that the longest of these evaluations took", scored.slowest),
    ):
        yield GaugeMetricFamily(f"ldsboard_last_hour_{name}", text, value)


def _with_known_codes(counts: dict[str, int]) -> dict[str, int]:
    known = {code: number for code, number in counts.items() if code in PROBLEMS}
    other = sum(counts.values()) - sum(known.values())
    return known | ({OTHER_CODE: other} if other else {})


def _by_label(name: str, text: str, label: str, values: Mapping[Any, float]) -> Metric:
    family = GaugeMetricFamily(name, text, labels=[label])
    for value, number in values.items():
        family.add_metric([str(value)], number)
    return family
