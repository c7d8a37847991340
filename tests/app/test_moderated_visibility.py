"""Access control of suspended submissions, and of entries whose owner is banned or has deleted the account, for every role."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import select

from app.accounts.audit import OPERATOR
from app.db.accounts import User
from app.db.models import Kind, State, Submission, Visibility
from app.leaderboard.ranking import Ranker
from app.management import moderation
from app.management.account_deletion import delete_account
from app.submissions.folder_storage import FolderStorage
from tests.app.roles import ERROR, Roles, create_roles, identifying_texts, provenance_texts
from tests.app.service import Service
from tests.app.test_visibility import MANY, ONE, PAIR, ROLES, UNKNOWN_ID

if TYPE_CHECKING:
    from collections.abc import Iterator

REASON = "A copy of another entry."
WITHOUT_RESULT = (State.REJECTED, State.WITHDRAWN)


def _roles(folder: pytest.TempPathFactory, name: str) -> Iterator[Roles]:
    with Service(folder.mktemp(name)) as service:
        yield create_roles(service, folder.mktemp("seen"))


@pytest.fixture(scope="module")
def suspended(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Roles]:
    """Roles whose submissions are suspended, except the rival's submission."""
    for roles in _roles(tmp_path_factory, "suspended"):
        with roles.service.database.write() as session:
            for submission_id in roles.ids.values():
                moderation.suspend(session, submission_id, REASON, "ops@example.org", OPERATOR)
        Ranker(roles.service.database).renew_all()
        yield roles


@pytest.fixture(scope="module")
def left(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Roles]:
    """Roles whose owners have deleted their accounts."""
    for roles in _roles(tmp_path_factory, "left"):
        database, storage = roles.service.database, FolderStorage(roles.service.settings.storage_dir)
        with database.read() as session:
            owners = session.scalars(select(User.id).where(User.name.startswith("owner-"))).all()
        with database.write() as session:
            for state in WITHOUT_RESULT:  # attempts are ranked
                session.get_one(Submission, roles.ids[Visibility.ANONYMOUS, state]).kind = Kind.RANKED
        for owner in owners:
            delete_account(database, Ranker(database), storage, owner, OPERATOR)
        yield roles


@pytest.mark.parametrize("visibility", list(Visibility))
@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("path", sorted(path for path in ONE if path.startswith("/api/")))
def test_suspended_submission_exists_only_for_owner_and_admin(
    suspended: Roles, path: str, role: str, visibility: Visibility
) -> None:
    roles = suspended.as_owner_of(visibility)
    unknown = roles.get(path.format(submission_id=UNKNOWN_ID), role)
    for state in State:
        submission_id = roles.ids[visibility, state]
        shown = roles.get(path.format(submission_id=submission_id), role)
        if role in ("owner", "admin"):
            assert shown.status_code == 200 or (shown.status_code, state == State.SCORED) == (409, False)
            if not path.endswith("npz"):
                assert shown.json()["suspension"]["reason"] == REASON
            continue
        assert (shown.status_code, shown.text.replace(submission_id, UNKNOWN_ID)) == (404, unknown.text)


@pytest.mark.parametrize("path", sorted(path for path in ONE if not path.startswith("/api/")))
def test_pages_of_suspended_submissions_answer_visitors_like_unknown_ids(suspended: Roles, path: str) -> None:
    unknown = suspended.get(path.format(submission_id=UNKNOWN_ID), "visitor")
    for submission_id in suspended.ids.values():
        shown = suspended.get(path.format(submission_id=submission_id), "visitor")
        assert (shown.status_code, shown.text.replace(submission_id, UNKNOWN_ID)) == (404, unknown.text)


@pytest.mark.parametrize("path", sorted(PAIR))
@pytest.mark.parametrize("visibility", list(Visibility))
def test_suspended_submission_is_compared_only_for_owner_and_admin(
    suspended: Roles, path: str, visibility: Visibility
) -> None:
    roles = suspended.as_owner_of(visibility)
    for role in ROLES if path.startswith("/api/") else ("visitor",):
        shown = roles.get(path, role, a=roles.ids[visibility, State.SCORED], b=roles.rival_id)
        assert shown.status_code == (200 if role in ("owner", "admin") else 404)


@pytest.mark.parametrize("path", sorted(MANY))
def test_lists_show_no_suspended_submission_to_any_role(suspended: Roles, path: str) -> None:
    hidden = [text for visibility in Visibility for text in identifying_texts(visibility)] + [REASON]
    for role in ROLES:
        shown = suspended.get(path.format(name="seen"), role)
        assert shown.status_code == 200
        assert [text for text in hidden + list(suspended.ids.values()) if text in shown.text] == []


def test_board_ranks_only_the_entry_that_is_not_suspended(suspended: Roles) -> None:
    rows = suspended.get("/api/v1/benchmarks/seen/leaderboard", "visitor").json()["rows"]
    assert [(row["id"], row["rank"]) for row in rows] == [(suspended.rival_id, [1, 1])]


@pytest.mark.parametrize("path", sorted(ONE | MANY))
def test_no_route_shows_texts_of_deleted_accounts_to_any_role(left: Roles, path: str) -> None:
    methods = {f"method-of-{visibility}" for visibility in Visibility}
    hidden = [
        text
        for visibility in Visibility
        for text in (*identifying_texts(visibility), *provenance_texts(visibility))
        if text not in methods
    ]
    for role, visibility in product(("visitor", "other", "admin"), Visibility):
        shown = left.get(path.format(name="seen", submission_id=left.ids[visibility, State.SCORED]), role)
        is_gone = path in ONE and visibility is Visibility.PRIVATE
        assert shown.status_code == (200 if not is_gone else shown.status_code if role == "admin" else 404)
        assert [text for text in hidden if text in shown.text] == []
        if visibility is Visibility.ANONYMOUS and path == "/api/v1/submissions/{submission_id}" and role != "admin":
            assert shown.json()["owner"] == "anonymous-1"


@pytest.mark.parametrize("state", WITHOUT_RESULT)
def test_anonymous_attempt_without_a_result_stays_visible_after_the_deletion_of_the_account(
    left: Roles, state: State
) -> None:
    path = f"/api/v1/submissions/{left.ids[Visibility.ANONYMOUS, state]}"
    for role in ("visitor", "other", "admin"):
        shown = left.get(path, role)
        assert (shown.status_code, shown.json()["state"]) == (200, state)
        hidden = [*identifying_texts(Visibility.ANONYMOUS), ERROR["detail"]]
        assert [text for text in hidden if text in shown.text] == []
        assert (shown.json()["error"] or {}).get("code") == (ERROR["code"] if state is State.REJECTED else None)
        if role != "admin":
            assert shown.json()["owner"] == "anonymous-1"


@pytest.mark.parametrize("visibility", list(Visibility))
def test_tokens_of_deleted_accounts_are_unknown(left: Roles, visibility: Visibility) -> None:
    roles = left.as_owner_of(visibility)
    for path in ("/api/v1/users/me", "/api/v1/users/me/export", f"/api/v1/submissions/{left.rival_id}"):
        refused = roles.get(path, "owner")
        assert (refused.status_code, refused.json()["code"]) == (401, "auth.invalid")


def test_entries_of_deleted_accounts_keep_their_ranks_and_attempts(left: Roles) -> None:
    rows = left.get("/api/v1/benchmarks/seen/leaderboard", "visitor").json()["rows"]
    public, anonymous = (left.ids[visibility, State.SCORED] for visibility in (Visibility.PUBLIC, Visibility.ANONYMOUS))
    by_id = {row["id"]: row for row in rows}
    assert by_id.keys() == {public, anonymous, left.rival_id}
    assert by_id[public]["owner"].startswith("deleted-")
    assert (by_id[public]["method"], by_id[public]["title"]) == ("method-of-public", "method-of-public")
    assert by_id[public]["attempts"] == 1
    assert (by_id[anonymous]["owner"], by_id[anonymous]["attempts"]) == ("anonymous-1", None)
