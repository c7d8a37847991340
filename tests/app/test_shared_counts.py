"""Rate limits hold for all servers of a database together: each tells the others what it has counted."""

from __future__ import annotations

import json
import os
import signal
from collections import Counter
from contextlib import closing, contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import text

from app.accounts.rate_limits import RateLimiter
from app.accounts.shared_counts import MAX_CALLERS, REQUESTS, SharedCounts
from app.db.backends import own_connection
from app.db.sessions import Database
from app.errors import RateError
from tests.app.service import Service, until
from tests.processes import stop

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from httpx import Response
    from sqlalchemy import Engine

    from tests.postgresql import Cluster

pytestmark = pytest.mark.server

MANY = 10**5
"""A number of requests that no test sends while it waits."""


@pytest.fixture
def engine(cluster: Cluster) -> Iterator[Engine]:
    with closing(Database(cluster.create())) as database:
        yield database.engine


@contextmanager
def _shared(engine: Engine, **limiters: RateLimiter) -> Iterator[None]:
    counts = SharedCounts(partial(own_connection, engine), limiters)
    try:
        yield
    finally:
        counts.stop()


def _is_refused(limiter: RateLimiter, kind: str, caller: str) -> bool:
    try:
        limiter.count(kind, caller)
    except RateError:
        return True
    return False


def _tell(engine: Engine, limit: str, kind: str, caller: str) -> None:
    """Send what another server has counted: many requests of a caller."""
    payload = json.dumps(["another", limit, [[kind, caller, MANY]]])
    with engine.begin() as connection:
        connection.execute(text("SELECT pg_notify(:channel, :payload)"), {"channel": REQUESTS, "payload": payload})


def _until_heard(engine: Engine, limiter: RateLimiter, caller: str) -> None:
    """Tell of a caller until a limiter has heard of it; what was sent before has then been heard, too."""

    def look() -> bool:
        _tell(engine, "requests", "user", caller)
        return _is_refused(limiter, "user", caller)

    until(look, f"a limit that {caller} has reached")


def test_all_counts_are_told_once(engine: Engine) -> None:
    limiter, expected, told = RateLimiter(MANY), Counter[tuple[str, str]](), Counter[tuple[str, str]]()
    with closing(own_connection(engine)) as other, _shared(engine, requests=limiter):
        other.execute(f"LISTEN {REQUESTS}")
        for number in range(2 * MAX_CALLERS + 1):
            for _ in range(1 + number % 3):
                limiter.count("address", f"192.0.2.{number}")
            expected["address", f"192.0.2.{number}"] = 1 + number % 3
        for user in ("ann", "bob"):  # what was told with ann is not told again with bob
            limiter.count("user", user)
            expected["user", user] = 1

            def look() -> bool:
                for notification in other.notifies(timeout=0):
                    _, limit, rows = json.loads(notification.payload)
                    assert limit == "requests"
                    told.update({(kind, caller): number for kind, caller, number in rows})
                return told.total() >= expected.total()

            until(look, "all counts")
    assert told == expected


def test_counts_of_others_count_but_not_a_servers_own_twice(engine: Engine) -> None:
    requests, mints = RateLimiter(MANY), RateLimiter(MANY)
    with closing(own_connection(engine)) as other, _shared(engine, requests=requests, mints=mints):
        other.execute(f"LISTEN {REQUESTS}")
        for _ in range(6 * MANY // 10):
            requests.count("user", "ann")
        until(lambda: list(other.notifies(timeout=0)), "the counts of this server")
        _tell(engine, "another-limit", "user", "ann")
        _until_heard(engine, requests, "bob")
        assert not any(_is_refused(requests, "user", "ann") for _ in range(4 * MANY // 10))
        assert not _is_refused(requests, "address", "bob")
        assert not _is_refused(mints, "user", "bob")


def test_server_that_lost_its_connection_hears_again(engine: Engine) -> None:
    limiter = RateLimiter(MANY)
    others = "WHERE datname = current_database() AND pid <> pg_backend_pid()"
    end = text(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity {others}")  # noqa: S608 -- a constant
    with _shared(engine, requests=limiter):
        _until_heard(engine, limiter, "ann")
        with engine.begin() as connection:
            assert all(
                connection.scalars(end).all()
            )  # the connections of the engine, which opens others, and that of the thread
        _until_heard(engine, limiter, "bob")


def test_payload_that_cannot_be_read_is_left_out(engine: Engine) -> None:
    limiter = RateLimiter(MANY)
    notify = text("SELECT pg_notify(:channel, :payload)")
    with _shared(engine, requests=limiter):
        _until_heard(engine, limiter, "ann")
        with engine.begin() as connection:
            for payload in (
                "?",
                "[]",
                '["later", "requests", [["user", "bob", "2026", 100000]]]',
                '["later", "requests", [["user", "bob", -1]]]',
            ):
                connection.execute(notify, {"channel": REQUESTS, "payload": payload})
        _until_heard(engine, limiter, "eve")
        assert not _is_refused(limiter, "user", "bob")


def test_counts_stop_while_postgresql_is_frozen(engine: Engine) -> None:
    limiter = RateLimiter(MANY)
    opened: list[Any] = []

    def connect() -> Any:
        opened.append(own_connection(engine))
        return opened[-1]

    counts = SharedCounts(connect, {"requests": limiter})
    _until_heard(engine, limiter, "ann")
    backend = opened[-1].info.backend_pid
    stop(backend)
    try:
        limiter.count("user", "bob")
        counts.stop()
    finally:
        os.kill(backend, signal.SIGCONT)


def test_servers_share_their_limits(cluster: Cluster, tmp_path: Path) -> None:
    with Service(tmp_path, database_url=cluster.create(), scoring_processes=0) as service:
        read = partial(service.client.get, "/benchmarks")
        mint = partial(service.client.post, "/oidc/mint-token", json={"token": "a.b.c", "method": "m", "owner": "ann"})
        for limit, call in (("mints", mint), ("requests", read)):
            assert call().status_code != 429

            def is_refused(limit: str = limit, call: Callable[[], Response] = call) -> bool:
                _tell(service.database.engine, limit, "address", "127.0.0.1")
                return call().status_code == 429

            until(is_refused, f"the limit of {limit}")
