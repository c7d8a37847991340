"""The page for admins: what it shows, its buttons, and that it does not exist for anybody else."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, NamedTuple

import httpx
import pytest
from sqlalchemy import select, update

from app.accounts import users
from app.accounts.audit import Action
from app.db.accounts import Audit, Role, User
from app.db.base import now
from app.db.models import State
from app.db.presence import Process
from app.management.queue_report import Failed, Lost, Named, Queue, Running, Waiting
from app.management.retraining_report import Retraining
from app.pages.content.templates import render
from tests.app.failures import fail
from tests.app.pages.markup import Markup
from tests.app.service import npy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.app.benchmarks import Example
    from tests.app.pages.signed_in import SignedInUser
    from tests.app.service import Service

PAGE = "/admin"


@pytest.fixture
def admin(
    sign_in: Callable[[str], SignedInUser], sign_in_service: Service, request: pytest.FixtureRequest
) -> Iterator[SignedInUser]:
    """A signed-in admin, who is an ordinary user again after the test."""
    signed_in = sign_in(f"root-{request.node.name.replace('_', '-')[:40]}")
    _set(sign_in_service, signed_in.name, role=Role.ADMIN)
    yield signed_in
    _set(sign_in_service, signed_in.name, role=Role.USER)


def _set(service: Service, name: str, **values: object) -> None:
    with service.database.write() as session:
        session.execute(update(User).where(User.name == name).values(**values))


class FailedOne(NamedTuple):
    """A submission whose evaluation failed permanently."""

    id: str
    version_id: int


@pytest.fixture
def failed(sign_in_service: Service, toy: Example, request: pytest.FixtureRequest) -> FailedOne:
    """A submission whose evaluation failed too often, and whose file is stored."""
    service, seed = sign_in_service, 500 + len(request.node.name)
    token = service.token(f"owner-{request.node.name.replace('_', '-')[:40]}")
    content = npy(toy.scores(seed=seed))
    submission_id = service.submit_and_score(token, "toy", content, method="unlucky", kind="practice")["id"]
    return FailedOne(submission_id, fail(service, submission_id))


def _retry(admin: SignedInUser, failed: FailedOne, form: str | None = None, version: object = None) -> httpx.Response:
    fields = {"form": admin.csrf_token() if form is None else form, "version_id": str(version or failed.version_id)}
    return admin.client.post(f"{PAGE}/submissions/{failed.id}/retry", data=fields)


def _audit(service: Service, action: Action, subject: str) -> list[str]:
    with service.database.read() as session:
        return list(session.scalars(select(Audit.actor).where(Audit.action == action, Audit.subject == subject)))


def test_page_does_not_exist_for_anybody_else(
    sign_in: Callable[[str], SignedInUser], site_visitor: httpx.Client, sign_in_service: Service, failed: FailedOne
) -> None:
    other = sign_in("no-admin")
    admins_token = {"Authorization": f"Bearer {_admins_token(sign_in_service)}"}
    for client, headers in ((site_visitor, {}), (other.client, {}), (site_visitor, admins_token)):
        missing = client.get("/nowhere", headers=headers)
        for path, method in (
            (PAGE, "GET"),
            (f"{PAGE}/submissions/{failed.id}/retry", "POST"),
            (f"{PAGE}/users/no-admin/approve", "POST"),
        ):
            data = {"form": other.csrf_token(), "version_id": str(failed.version_id)} if method == "POST" else None
            shown = client.request(method, path, headers=headers, data=data)
            assert (missing.status_code, shown.status_code) == (404, 404)
            assert shown.text == missing.text.replace("/nowhere", path)
    assert sign_in_service.row(failed.id).state == State.FAILED
    assert PAGE not in other.client.get("/account").text


def _admins_token(service: Service) -> str:
    with service.database.write() as session:
        users.add_user(session, "admin-with-token", role=Role.ADMIN, promote=True)
    return service.token("admin-with-token")


@pytest.fixture
def site_visitor(sign_in_service: Service) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=sign_in_service.url, headers={"Accept": "text/html"}, trust_env=False) as client:
        yield client


def test_page_shows_queue_versions_and_disk(admin: SignedInUser) -> None:
    assert f'href="{PAGE}"' in admin.client.get("/account").text
    response = admin.client.get(PAGE)
    assert (response.status_code, response.headers["Cache-Control"]) == (200, "no-store")
    text = " ".join(response.text.split())
    for expected in ("Ranked", "Practice", "Rescorings", "Held by bans", "sqlite, schema", "Scorer version", " GB of "):
        assert expected in text
    assert "Not ready" not in text
    assert "No worker is running" not in text
    assert ["toy", "1", "1", "current"] in [row for table in Markup(response.text).tables for row in table]
    assert Markup(response.text).all("script") == []
    # On narrow screens, the rows of such a table are cards, so that no column is cut.
    assert {table.get("class") for table in Markup(response.text).all("table")} == {"own"}


def test_former_admin_no_longer_sees_the_page(admin: SignedInUser, sign_in_service: Service) -> None:
    assert admin.client.get(PAGE).status_code == 200
    _set(sign_in_service, admin.name, role=Role.USER)
    assert admin.client.get(PAGE).status_code == 404


def test_failed_evaluation_is_retried_once(admin: SignedInUser, sign_in_service: Service, failed: FailedOne) -> None:
    page = Markup(admin.client.get(PAGE).text)
    action = f"{PAGE}/submissions/{failed.id}/retry"
    assert action in [form["action"] for form in page.all("form")]
    assert str(failed.version_id) in [field["value"] for field in page.all("input") if field["name"] == "version_id"]
    assert _retry(admin, failed, form="guessed").status_code == 403
    assert sign_in_service.row(failed.id).state == State.FAILED
    for _ in range(2):  # a double click
        retried = _retry(admin, failed)
        assert (retried.status_code, retried.url.path) == (200, PAGE)
    assert sign_in_service.wait_until_final(failed.id)["state"] == State.SCORED
    assert _retry(admin, failed).status_code == 200
    assert sign_in_service.row(failed.id).state == State.SCORED
    assert sign_in_service.events(failed.id).count((State.FAILED, State.QUEUED)) == 1
    assert _audit(sign_in_service, Action.SUBMISSION_RETRIED, failed.id) == [admin.name]
    assert action not in admin.client.get(PAGE).text


def test_retry_of_what_does_not_exist_is_refused(admin: SignedInUser, failed: FailedOne) -> None:
    unknown = _retry(admin, failed._replace(id="0" * 16))
    assert (unknown.status_code, "submission.unknown" in unknown.text) == (404, True)
    assert _retry(admin, failed, version="x").status_code == 422
    assert _retry(admin, failed, version=failed.version_id + 1000).status_code == 200
    assert f"/submissions/{failed.id}/retry" in admin.client.get(PAGE).text


def test_account_is_approved_once(admin: SignedInUser, sign_in_service: Service) -> None:
    name = "stranger-from-github"
    with sign_in_service.database.write() as session:
        users.add_user(session, name, verified=False)
        users.add_user(session, "banned-stranger", verified=False).ban = {
            "reason": "Copies.", "contact": "the operator", "at": now().isoformat(),
        }  # fmt: skip
    text = admin.client.get(PAGE).text
    assert f"{PAGE}/users/{name}/approve" in text
    assert "banned-stranger" not in text
    path = f"{PAGE}/users/{name}/approve"
    assert admin.client.post(path, data={"form": "guessed"}).status_code == 403
    for _ in range(2):
        assert admin.client.post(path, data={"form": admin.csrf_token()}).url.path == PAGE
    assert path not in admin.client.get(PAGE).text
    with sign_in_service.database.read() as session:
        assert users.find_user(session, name).verified
    assert _audit(sign_in_service, Action.USER_CHANGED, name) == [admin.name]
    unknown = admin.client.post(f"{PAGE}/users/nobody-here/approve", data={"form": admin.csrf_token()})
    assert (unknown.status_code, "user.unknown" in unknown.text) == (404, True)


def test_page_names_what_runs_and_failed_and_escapes_texts() -> None:
    named = Named("0123456789abcdef", 3, "ours", "ann", "toy", 2, "ranked")
    noon, hour, second = datetime(2026, 11, 30, 12, tzinfo=UTC), timedelta(hours=1), timedelta(seconds=1)
    since, error = noon, "ValueError('<script>alert(1)</script>')"
    retrained = ("ours", "ann", "toy", 2)
    text = render(
        "admin.html",
        form="the-csrf-token",
        time=noon + hour,
        faults={},
        needs_worker=True,
        queue=Queue(
            {"ranked": Waiting(1200, 3, since), "practice": Waiting(), "rescoring": Waiting(1, 0, since)},
            running={"ranked": 2},
            failed={"ranked": 101, "rescoring": 1},
            held=4,
        ),
        running=[
            Running(named, "machine-1/17", since, 2, 40),
            Running(named, "machine-2/6", since, 1, 10),
            Running(named, None, since, 1, None),
        ],
        connected={"machine-1/17", "machine-1/18", "machine-2/7"},
        missing={"machine-2/6"},
        processes=[
            Process("worker", "machine-1", "17", since, noon + hour - 31 * second, is_silent=True, leads=False),
            Process("server", "machine-1", "18", since, noon + hour + second, is_silent=False, leads=True),
        ],
        lost=[
            Lost(named, "machine-2/9", noon, noon + 31 * second, "scored", "machine-1/17", noon + 33 * second),
            Lost(named, "machine-2/8", noon - 24 * hour, noon, "running", "machine-1/17", noon),
            Lost(named._replace(kind="rescoring"), "machine-2/7", noon, noon, "queued", None, None),
        ],
        retrained={"running": 1, "interrupted": 1, "impossible": 1, "done": 3},
        retrainings=[
            Retraining(named.submission_id, *retrained, "running", "machine-1/17", noon, 40, 0, None),
            Retraining(named.submission_id, *retrained, "interrupted", None, None, None, 1, None),
            Retraining(named.submission_id, *retrained, "impossible", None, None, None, 0, "Too <long>."),
        ],
        failed=[Failed(named, 4, since, error), Failed(named._replace(kind="rescoring"), 4, None, None)],
        accounts=[],
        max_accounts=50,
        needs_approval=True,
        server={"version": "1", "python": "3", "database": "sqlite", "schema": "0001", "disk": None},
        boards=[],
        scorer_version=1,
    )
    running, retrainings, processes, lost, failed = Markup(text).tables
    file = "ours toy, version 2"
    assert retrainings[1:] == [
        [file, "ann", "running", "machine-1/17", "60 min", "0", "40 %"],
        [file, "ann", "interrupted or failed, goes on later", "\N{EN DASH}", "\N{EN DASH}", "1", "\N{EN DASH}"],
        [file, "ann", "impossible Too <long>.", "\N{EN DASH}", "\N{EN DASH}", "0", "\N{EN DASH}"],
    ]
    assert processes[1:] == [
        ["worker", "machine-1", "17", "60 min", "31 s ago frozen, or cut off from the database"],
        ["server leads: deletes, ranks and calls webhooks", "machine-1", "18", "60 min", "less than a second ago"],
    ]
    file, scored = "ours toy, version 2, ranked", "scored by machine-1/17 at 12:00:33"
    assert lost[1:] == [
        ["machine-2/9", "12:00:00", file, "ann", "12:00:31", scored],
        ["machine-2/8", "2026-11-29 12:00:00", file, "ann", "12:00:00", "being scored by machine-1/17 since 12:00:00"],
        [
            "machine-2/7 connected now",
            "12:00:00",
            "ours toy, version 2, rescoring",
            "ann",
            "12:00:00",
            "waits in the queue",
        ],
    ]
    silent = "gives no sign of life: this is queued again within half a minute"
    assert running[1:] == [
        ["ours toy, version 2, ranked", "ann", "machine-1/17", "60 min", "2", "40 %"],
        ["ours toy, version 2, ranked", "ann", f"machine-2/6 {silent}", "60 min", "1", "10 %"],
        ["ours toy, version 2, ranked", "ann", "unknown", "60 min", "1", "–"],  # noqa: RUF001 -- the dash of empty cells
    ]
    assert failed[1][1:5] == ["ann", f"{since:%Y-%m-%d %H:%M} UTC", "4", error]
    assert failed[2][2:5] == ["see the log", "4", "see the log"]
    whole = " ".join(text.split())
    assert "<script>" not in text
    for expected in (
        "1,200",
        "oldest: <time",
        "to be retried: 3",
        "No worker is running.</strong>",
        "<code>python -m app work</code>",
        "102 evaluations, newest first; shown: 2",
    ):
        assert expected in whole


def test_submission_shows_its_events_to_admins_only(
    admin: SignedInUser, site_visitor: httpx.Client, sign_in_service: Service, toy: Example
) -> None:
    token = sign_in_service.token("owner-of-events")
    view = sign_in_service.submit_and_score(token, "toy", npy(toy.scores(seed=77)), method="eventful", kind="practice")
    fail(sign_in_service, view["id"])
    path = view["links"]["page"]
    (events,) = [table for table in Markup(admin.client.get(path).text).tables if table[0][0] == "Time"]
    rows = [row[1:] for row in events[1:]]
    assert rows[:2] == [["–", "uploading", "–"], ["uploading", "queued", "–"]]  # noqa: RUF001 -- the dash of empty cells
    assert [row[1] for row in rows] == [after for _, after in sign_in_service.events(view["id"])]
    _set(sign_in_service, admin.name, role=Role.USER)
    for client in (admin.client, site_visitor):
        assert 'id="events"' not in client.get(path).text


def test_page_says_which_part_is_not_ready(admin: SignedInUser, sign_in_service: Service) -> None:
    folder = sign_in_service.settings.storage_dir
    aside = folder.rename(folder.with_name("away"))
    try:
        text = " ".join(admin.client.get(PAGE).text.split())
    finally:
        aside.rename(folder)
    assert "Not ready: store.</strong> The folder of uploaded files is missing." in text
    assert "the folder is missing" in text
