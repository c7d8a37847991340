"""Bursts: hundreds of simultaneous requests for pages of a full board, and simultaneous writers."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, NamedTuple

import psutil
from sqlalchemy import select

from app.accounts import tokens
from app.db.accounts import User
from app.db.models import Submission
from app.db.sessions import POOL_SIZE
from tests.app.service import until
from tests.siege.clients import OK, Answer, Probe, Request, burst

if TYPE_CHECKING:
    from tests.app.service import Service
    from tests.siege.report import Report

SIZES = {300: 0.5, 1000: 1.5}
"""Simultaneous requests, and the bound for ``/healthz`` meanwhile, in seconds."""

WRITERS = 100
ANSWER_SECONDS, WRITE_SECONDS = 10.0, 15.0

CONNECTIONS = POOL_SIZE + 1
"""Database connections that may stay open: those that the pool keeps, and one that watches for changes."""

THREADS = 64
"""Threads that a server may keep: 40 for requests, and those of scoring and of the event loop."""


def addresses(service: Service) -> dict[str, str]:
    """Return the paths of a burst by name."""
    with service.database.read() as session:
        submission_id = session.scalars(select(Submission.id).limit(1)).one()
    return {
        "board page": "/benchmarks/bench",
        "board, API": "/api/v1/benchmarks/bench/leaderboard",
        "board, CSV": "/api/v1/benchmarks/bench/leaderboard?format=csv",
        "submission": f"/submissions/{submission_id}",
        "home": "/",
        "feed": "/benchmarks/bench/feed.atom",
        "badge": f"/submissions/{submission_id}/badge.svg",
    }


class Resources(NamedTuple):
    """What a server holds: threads, TCP connections, database connections, and descriptors of other files than the database.

    SQLite keeps descriptors of the database file for later connections; the log file has one descriptor for each connection.
    """

    threads: int
    tcp: int
    database: int
    descriptors: int


def resources(service: Service) -> Resources:
    """Return what a server holds."""
    process = psutil.Process(service.process.pid)
    tcp = [found for found in process.net_connections("tcp") if found.status != psutil.CONN_LISTEN]
    database = [found.path for found in process.open_files() if ".sqlite3" in found.path]
    connections = sum(path.endswith("-wal") for path in database)
    return Resources(process.num_threads(), len(tcp), connections, process.num_fds() - len(database))


def run(service: Service, report: Report) -> None:
    """Send all bursts, and check answers, health checks and left-over resources."""
    paths = addresses(service)
    burst(service.port, edits(service, "warm"))  # starts what the server keeps
    until(lambda: resources(service).tcp == 0, "a server without connections")
    before = resources(service)
    for size, health_seconds in SIZES.items():
        report.section(f"{size} simultaneous requests")
        with Probe.probing(service.port, "/healthz") as probe:
            answers = {name: burst(service.port, [Request(path)] * size) for name, path in paths.items()}
        for name, found in answers.items():
            ok = sum(answer.status == OK for answer in found) / size
            report.check(f"{name}: all answered", _slowest(found), ANSWER_SECONDS)
            report.check(f"{name}: answered with 200", ok, 0.95, "share", at_least=True)
        report.check("healthz meanwhile, slowest", probe.worst, health_seconds)
    report.section(f"{WRITERS} simultaneous writers")
    with Probe.probing(service.port, "/healthz") as probe:
        answers_to_writers = burst(service.port, edits(service, "edited"))
    report.check("PATCH: all answered with 200", _slowest(answers_to_writers, OK), WRITE_SECONDS)
    report.check("healthz meanwhile, slowest", probe.worst, 0.5)
    with service.database.read() as session:
        kept = sum(title.startswith("edited ") for title in session.scalars(select(Submission.title)))
    report.check("edits that are saved", kept, WRITERS, "rows", at_least=True)
    until(lambda: resources(service).tcp == 0, "a server without connections")
    after = resources(service)
    report.check("descriptors left over", after.descriptors - before.descriptors, 0, "")
    report.check("threads", after.threads, THREADS, "")
    report.check("database connections", after.database, CONNECTIONS, "")


def _slowest(answers: list[Answer], status: int | None = None) -> float:
    """Return the seconds of the slowest answer; infinity if one is missing or has another status than the given one."""
    return max(
        answer.seconds if answer.status and status in (None, answer.status) else float("inf") for answer in answers
    )


def edits(service: Service, title: str) -> list[Request]:
    """Return requests of many owners, each of which pins another submission and gives it a title."""
    requests = []
    with service.database.write() as session:
        query = (
            select(Submission, User).join(User, User.id == Submission.user_id).order_by(Submission.id).limit(WRITERS)
        )
        for number, (submission, owner) in enumerate(session.execute(query).all()):
            _, token = tokens.create(session, owner, name=f"siege-{title}-{number}")
            headers = (f"Authorization: Bearer {token}", "Content-Type: application/json")
            body = json.dumps({"title": f"{title} {number}", "pinned": True}).encode()
            requests.append(Request(f"/api/v1/submissions/{submission.id}", "PATCH", headers, body))
    return requests
