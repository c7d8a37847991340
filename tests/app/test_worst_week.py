"""A week of the worst legal use by one account: how many bytes it adds to the data folder beyond stored score files.

Every kind of action that writes is repeated some hundred times on a real server without quotas. The measured bytes of one action
are multiplied by the number of such actions that the default settings allow in seven days.
"""

from __future__ import annotations

import inspect
import sqlite3
import sys
from contextlib import closing
from types import SimpleNamespace
from typing import TYPE_CHECKING, NamedTuple, cast

import pytest
from fastapi.routing import APIRoute, iter_route_contexts

from app.main import create_app
from app.settings import Settings
from app.web import dependencies
from tests.app.benchmarks import write_benchmark
from tests.app.oidc.provider import CiProvider
from tests.app.pages.provider import Provider
from tests.app.service import Service
from tests.app.worst_user import OWNER, WorstUser

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from fastapi.dependencies.models import Dependant

    from app.context import AppContext

BOUND = 5 * 10**9
DAYS = 7
BENCHMARKS = 10
"""Number of benchmarks of the assumed server; quotas of ranked submissions are separate for each benchmark."""

DEFAULTS = Settings()

PER_WEEK = {
    "upload begun and cancelled": DEFAULTS.uploads_per_day * DAYS,
    "upload with another hash than announced": DEFAULTS.uploads_per_day * DAYS,
    "file sent again with another provenance": DEFAULTS.uploads_per_day * DAYS,
    "practice submission": DEFAULTS.practice_per_day * DAYS,
    "ranked submission": min(DEFAULTS.ranked_per_day * DAYS, DEFAULTS.ranked_per_version) * BENCHMARKS,
    "edit with the longest values": DEFAULTS.edits_per_day * DAYS,
    "withdrawal": DEFAULTS.uploads_per_day * DAYS,
    "token created and revoked": DEFAULTS.tokens_per_day * DAYS,
    "webhook added and removed": DEFAULTS.webhooks_per_day * DAYS,
    "review link made and withdrawn": DEFAULTS.edits_per_day * DAYS,
    "workflow trusted and removed": DEFAULTS.edits_per_day * DAYS,
    "identity of a CI run exchanged": DEFAULTS.mints_per_day * DAYS,
}
"""Largest number of actions of each kind that one account can make in a week. Each kind is counted as if it alone used its quota,
so the sum is higher than any real use."""

UNLIMITED = ("dry run", "check of a header", "part sent again", "upload started again", "sign-in and sign-out")
"""Actions that only the rate limit bounds, because they replace a value or write nothing."""

REQUESTS_PER_WEEK = DEFAULTS.requests_per_minute * 60 * 24 * DAYS

ROUTES = {
    "POST /api/v1/submissions": ("upload begun and cancelled", "upload started again"),
    "PUT /api/v1/benchmarks/{name}/submissions": (
        "upload with another hash than announced",
        "file sent again with another provenance",
        "dry run",
    ),
    "PUT /api/v1/submissions/{submission_id}/parts/{number}": ("part sent again",),
    "POST /api/v1/submissions/{submission_id}/parts/{number}/arrived": ("part sent again",),  # writes the same row
    "DELETE /api/v1/submissions/{submission_id}/parts": ("upload begun and cancelled",),
    "POST /api/v1/submissions/{submission_id}/complete": ("practice submission", "ranked submission"),
    "PATCH /api/v1/submissions/{submission_id}": ("edit with the longest values",),
    "DELETE /api/v1/submissions/{submission_id}": ("withdrawal",),
    "POST /api/v1/benchmarks/{name}/check": ("check of a header",),
    "POST /api/v1/tokens": ("token created and revoked",),
    "DELETE /api/v1/tokens/{token_id}": ("token created and revoked",),
    "POST /account/tokens": ("token created and revoked",),
    "POST /account/submit-token": ("token created and revoked",),
    "POST /account/tokens/{token_id}/revoke": ("token created and revoked",),
    "POST /api/v1/publishers": ("workflow trusted and removed",),
    "DELETE /api/v1/publishers/{publisher_id}": ("workflow trusted and removed",),
    "POST /account/publishers": ("workflow trusted and removed",),
    "POST /account/publishers/{publisher_id}/remove": ("workflow trusted and removed",),
    "POST /api/v1/oidc/mint-token": ("identity of a CI run exchanged",),
    "POST /api/v1/webhooks": ("webhook added and removed",),
    "DELETE /api/v1/webhooks/{webhook_id}": ("webhook added and removed",),
    "POST /account/webhooks": ("webhook added and removed",),
    "POST /account/webhooks/{webhook_id}/remove": ("webhook added and removed",),
    "POST /account/submissions/{submission_id}": ("edit with the longest values",),
    "POST /account/submissions/{submission_id}/withdraw": ("withdrawal",),
    "POST /api/v1/submissions/{submission_id}/review-link": ("review link made and withdrawn",),
    "DELETE /api/v1/submissions/{submission_id}/review-link": ("review link made and withdrawn",),
    "POST /account/submissions/{submission_id}/review-link": ("review link made and withdrawn",),
    "POST /account/submissions/{submission_id}/review-link/withdraw": ("review link made and withdrawn",),
    "POST /sign-out": ("sign-in and sign-out",),
    "GET /sign-in/{provider}/callback": ("sign-in and sign-out",),
}
"""The actions that measure each route that writes. The forms of the account page call the same functions as the API."""

EXEMPT = {
    "PUT /api/v1/submissions/{submission_id}/suspension": "for admins",
    "DELETE /api/v1/submissions/{submission_id}/suspension": "for admins",
    "PUT /api/v1/users/{name}/ban": "for admins",
    "DELETE /api/v1/users/{name}/ban": "for admins",
    "POST /admin/submissions/{submission_id}/retry": "for admins",
    "POST /admin/users/{name}/approve": "for admins",
    "DELETE /api/v1/users/me": "ends the account",
    "POST /account/delete": "ends the account",
    "POST /account/export": "reads",
    "POST /api/v1/submissions/{submission_id}/parts/{number}/address": "signs, and writes nothing",
}
"""Routes that one account cannot use to fill the disk, and why."""


def _calls(dependant: Dependant) -> Iterator[object]:
    yield dependant.call
    for needed in dependant.dependencies:
        yield from _calls(needed)


def may_write(route: APIRoute, method: str) -> bool:
    """Return whether a route can write: by its method, by its dependencies, or because its function opens a write session."""
    writing = {dependencies._write_session, dependencies._write_turn}
    opens_session = bool(writing & set(_calls(route.dependant))) or ".write()" in inspect.getsource(route.endpoint)
    return method != "GET" or opens_session


def test_table_has_every_route_that_writes(tmp_path: Path) -> None:
    context = SimpleNamespace(settings=Settings(data_dir=tmp_path))
    app = create_app(cast("AppContext", context))
    found = {
        f"{method} {route.path}"
        for route in iter_route_contexts(app.routes)
        for method in (route.methods or set()) - {"HEAD"}
        if isinstance(route.original_route, APIRoute) and may_write(route.original_route, method)
    }
    assert found == ROUTES.keys() | EXEMPT.keys(), "add an action that measures the bytes of a new route"
    assert not ROUTES.keys() & EXEMPT.keys()
    assert {name for names in ROUTES.values() for name in names} == PER_WEEK.keys() | set(UNLIMITED)


class Size(NamedTuple):
    """Bytes of the data folder beyond stored score files: used database pages and other files, and the write-ahead log."""

    used: int
    log: int


def measure(service: Service) -> Size:
    """Return the size of the data folder, after the write-ahead log was written into the database."""
    folder, storage = service.settings.data_dir, service.settings.storage_dir
    database = folder / "ldsboard.sqlite3"
    log = database.with_name("ldsboard.sqlite3-wal").stat().st_size
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        pages, free, size = (
            connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "freelist_count", "page_size")
        )
    stored = set(storage.glob("??/*"))
    others = [
        path
        for path in folder.rglob("*")
        if path.is_file() and path not in stored and not path.name.startswith(database.name)
    ]
    benchmarks = service.settings.benchmarks_dir
    return Size(
        (pages - free) * size + sum(path.stat().st_size for path in others if not path.is_relative_to(benchmarks)), log
    )


def actions(user: WorstUser) -> dict[str, tuple[int, Callable[[int], None]]]:
    """Return how often each action is measured, and the function that makes it once."""
    return {
        "upload begun and cancelled": (300, user.begin_and_cancel),
        "edit with the longest values": (300, user.edit),
        "upload with another hash than announced": (200, lambda i: user.send_wrong_hash(10_000 + i)),
        "file sent again with another provenance": (200, lambda i: user.send_again(20_000 + i)),
        "practice submission": (200, lambda i: user.submit(30_000 + i, "practice")),
        "ranked submission": (200, lambda i: user.submit(40_000 + i, "ranked")),
        "review link made and withdrawn": (100, user.make_and_withdraw_review_link),
        "withdrawal": (200, lambda i: user.withdraw(50_000 + i)),
        "token created and revoked": (300, user.create_and_revoke_token),
        "webhook added and removed": (100, user.add_and_remove_webhook),
        "workflow trusted and removed": (100, user.trust_and_remove_workflow),
        "identity of a CI run exchanged": (200, user.exchange_identity),
        "part sent again": (300, user.send_part_again),
        "upload started again": (300, user.start_again),
        "dry run": (300, user.dry_run),
        "check of a header": (300, user.check),
        "sign-in and sign-out": (200, user.sign_in_and_out),
    }


@pytest.mark.slow
@pytest.mark.server
def test_week_of_the_worst_use_adds_at_most_5_gb(tmp_path: Path) -> None:
    # As many subsets and targets as the largest benchmark that ships with the project; few training examples, for small files.
    example = write_benchmark(tmp_path, "worst", n=30, N=1000, public=200, ranking=800)
    with (
        Provider() as provider,
        CiProvider() as ci_provider,
        Service(
            tmp_path / "service", webhook_hosts="localhost", **provider.settings, **ci_provider.settings
        ) as service,
    ):
        service.publish(example.folder)
        token = service.token(OWNER, ranked_per_day=10**6, ranked_per_version=10**6)
        user = WorstUser(service, provider, token, (30, 1000), [], ci_provider)
        user.send_again(0)  # the file that is sent again later
        user.send_part_again(0)
        user.sign_in_and_out(0)
        user.fill_webhooks()
        user.trust_workflow()
        service.wait_until_idle()
        log, total, highest = 0, 0.0, 0.0
        lines = [f"{'action':42} {'measured':>8} {'bytes each':>11} {'a week':>11} {'MB a week':>10}"]
        for name, (times, act) in actions(user).items():
            before = measure(service)
            for number in range(times):
                act(number)
            service.wait_until_idle()
            after = measure(service)
            log = max(log, before.log, after.log)
            each = max(0, after.used - before.used) / times
            per_week = PER_WEEK.get(name, REQUESTS_PER_WEEK)
            lines.append(f"{name:42} {times:8} {each:11.0f} {per_week:11,} {each * per_week / 1e6:10.1f}")
            total += each * per_week if name in PER_WEEK else 0
            highest = max(highest, 0.0 if name in PER_WEEK else each * per_week)
    week = total + highest + log
    lines.append(f"write-ahead log: {log / 1e6:.1f} MB; in all {week / 1e6:,.0f} MB of at most {BOUND / 1e6:,.0f} MB")
    sys.stdout.write("\n" + "\n".join(lines) + "\n")
    assert week <= BOUND
