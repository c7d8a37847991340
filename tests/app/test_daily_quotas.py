"""Daily quotas of practice submissions, uploads, edits and new tokens, and the quota of tokens."""

from __future__ import annotations

import hashlib
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import select, update

from app.accounts.daily_quotas import Daily
from app.db.accounts import User
from app.db.base import now
from app.db.models import Submission
from tests.app.multipart_upload import MultipartUpload
from tests.app.service import Service, npy

if TYPE_CHECKING:
    from collections.abc import Iterator

    import httpx

    from tests.app.benchmarks import Example

PRACTICE, UPLOADS, EDITS, NEW_TOKENS, TOKENS = 3, 6, 2, 3, 5
DAY = 24 * 60 * 60


@pytest.fixture(scope="module")
def limited_service(tmp_path_factory: pytest.TempPathFactory, toy: Example) -> Iterator[Service]:
    """A server with small daily quotas."""
    limits = {
        "practice_per_day": PRACTICE,
        "uploads_per_day": UPLOADS,
        "edits_per_day": EDITS,
        "tokens_per_day": NEW_TOKENS,
        "tokens_per_user": TOKENS,
    }
    with Service(tmp_path_factory.mktemp("daily"), **limits) as running:
        running.publish(toy.folder)
        yield running


@pytest.fixture(scope="module")
def contents(toy: Example) -> list[bytes]:
    return [npy(toy.scores(seed=seed)) for seed in range(8)]


def _practise(service: Service, token: str, content: bytes, **query: str) -> httpx.Response:
    return service.submit(token, "toy", content, kind="practice", **query)


def _assert_used_up(refused: httpx.Response, limit: str) -> None:
    problem = refused.json()
    assert (refused.status_code, problem["code"]) == (429, "quota.exceeded")
    assert problem["detail"] == f"The quota is {limit} in 24 hours."
    assert problem["hint"].startswith("The quota resets at ")
    assert DAY - 600 < int(refused.headers["Retry-After"]) <= DAY


def _bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def _daily(service: Service, token: str) -> dict[str, Any]:
    usage = service.client.get("/users/me", headers=_bearer(token)).json()["usage"]
    daily: dict[str, Any] = usage["daily"]
    return daily


def test_practice_submissions_are_limited_for_each_user(limited_service: Service, contents: list[bytes]) -> None:
    token = limited_service.token("ann")
    ids = [_practise(limited_service, token, content).json()["id"] for content in contents[:PRACTICE]]
    for refused in (
        _practise(limited_service, token, contents[PRACTICE]),
        MultipartUpload(limited_service, token, "toy", contents[PRACTICE], kind="practice").start(),
    ):
        _assert_used_up(refused, f"{PRACTICE} practice submissions")
        assert "dry_run=true" in refused.json()["hint"]
    shown = _daily(limited_service, token)["practice"]
    assert (shown["limit"], shown["left"]) == (PRACTICE, 0)
    assert shown["resets_at"] is not None
    assert _practise(limited_service, token, contents[PRACTICE], dry_run="true").status_code == 200
    assert limited_service.submit(token, "toy", contents[PRACTICE]).status_code == 202, "ranked"
    assert _practise(limited_service, limited_service.token("ben"), contents[0]).status_code == 202
    with limited_service.database.write() as session:
        oldest = update(Submission).where(Submission.id == ids[0])
        session.execute(oldest.values(created_at=now() - timedelta(days=1, seconds=1)))
    assert _practise(limited_service, token, contents[PRACTICE]).status_code == 202


def test_withdrawn_practice_submissions_stay_counted(limited_service: Service, contents: list[bytes]) -> None:
    token = limited_service.token("wilma")
    for content in contents[:PRACTICE]:
        sent = limited_service.submit_and_score(token, "toy", content, kind="practice")["id"]
        assert limited_service.client.delete(f"/submissions/{sent}", headers=_bearer(token)).status_code == 204
    _assert_used_up(_practise(limited_service, token, contents[PRACTICE]), f"{PRACTICE} practice submissions")


def test_announced_duplicate_needs_no_practice_quota(limited_service: Service, contents: list[bytes]) -> None:
    token = limited_service.token("cleo")
    ids = [_practise(limited_service, token, content).json()["id"] for content in contents[:PRACTICE]]
    again = _practise(limited_service, token, contents[0], sha256=hashlib.sha256(contents[0]).hexdigest())
    assert (again.status_code, again.json()["id"]) == (202, ids[0])
    upload = MultipartUpload(limited_service, token, "toy", contents[1], kind="practice").started()
    upload.put_all_parts()
    limited_service.wait_until_final(ids[1])
    assert limited_service.client.delete(f"/submissions/{ids[1]}", headers=_bearer(token)).status_code == 204
    # The file was announced as a duplicate, and is none any more.
    _assert_used_up(upload.complete(), f"{PRACTICE} practice submissions")


def test_simultaneous_practice_submissions_cannot_exceed_the_quota(
    limited_service: Service, contents: list[bytes]
) -> None:
    token = limited_service.token("racer")
    with ThreadPoolExecutor(5) as threads:
        sent = list(threads.map(lambda content: _practise(limited_service, token, content), contents[:5]))
    assert Counter(response.status_code for response in sent) == {202: PRACTICE, 429: 5 - PRACTICE}


def test_cancelled_and_interrupted_uploads_are_limited(limited_service: Service, contents: list[bytes]) -> None:
    token = limited_service.token("dora")
    for _ in range(UPLOADS - 1):
        upload = MultipartUpload(limited_service, token, "toy", contents[0]).started()
        cancel = f"/submissions/{upload.id}/parts"
        assert limited_service.client.delete(cancel, headers=upload.authorization).status_code == 204
    wrong = _practise(limited_service, token, contents[0], sha256="0" * 64)
    assert (wrong.status_code, wrong.json()["code"]) == (422, "upload.hash")
    with limited_service.database.read() as session:
        states = session.scalars(select(Submission.state).join(User).where(User.name == "dora"))
        assert Counter(states) == {"expired": UPLOADS}
    for refused in (
        MultipartUpload(limited_service, token, "toy", contents[0]).start(),
        _practise(limited_service, token, contents[1]),
        limited_service.submit(token, "toy", contents[1]),
    ):
        _assert_used_up(refused, f"{UPLOADS} uploads")
    assert _daily(limited_service, token)["practice"]["left"] == PRACTICE


def test_edits_are_limited_for_each_acting_user(limited_service: Service, contents: list[bytes]) -> None:
    token = limited_service.token("eve")
    sent = _practise(limited_service, token, contents[0]).json()["id"]

    def edit(title: str) -> httpx.Response:
        return limited_service.client.patch(f"/submissions/{sent}", headers=_bearer(token), json={"title": title})

    assert [edit(f"Title {number}").status_code for number in range(EDITS)] == [200] * EDITS
    assert _daily(limited_service, token)["edits"]["left"] == 0
    _assert_used_up(edit("One more"), f"{EDITS} edits")
    assert limited_service.row(sent).title == f"Title {EDITS - 1}"


def test_revoked_tokens_stay_counted_for_a_day(limited_service: Service) -> None:
    token = limited_service.token("fred")

    def create() -> httpx.Response:
        return limited_service.client.post("/tokens", headers=_bearer(token), json={"name": "ci", "scopes": ["submit"]})

    for _ in range(NEW_TOKENS):
        number = create().json()["id"]
        assert limited_service.client.delete(f"/tokens/{number}", headers=_bearer(token)).status_code == 204
    _assert_used_up(create(), f"{NEW_TOKENS} new tokens")
    assert _daily(limited_service, token)["tokens"]["left"] == 0


def test_number_of_tokens_is_limited_for_users_and_not_for_the_operator(limited_service: Service) -> None:
    for _ in range(TOKENS):
        token = limited_service.token("gil")  # as the operator's command does
    wanted = {"name": "more", "scopes": ["submit"]}
    refused = limited_service.client.post("/tokens", headers=_bearer(token), json=wanted)
    assert (refused.status_code, refused.json()["code"]) == (429, "quota.tokens")
    detail = f"The quota is {TOKENS} tokens, and you have {TOKENS}, including expired tokens."
    assert refused.json()["detail"] == detail
    assert "Retry-After" not in refused.headers
    usage = limited_service.client.get("/users/me", headers=_bearer(token)).json()["usage"]
    assert (usage["tokens"], usage["tokens_limit"]) == (TOKENS, TOKENS)
    listed = limited_service.client.get("/tokens", headers=_bearer(token)).json()
    assert limited_service.client.delete(f"/tokens/{listed[0]['id']}", headers=_bearer(token)).status_code == 204
    assert limited_service.client.post("/tokens", headers=_bearer(token), json=wanted).status_code == 201


def test_quota_of_zero_is_no_limit(service: Service, token: str) -> None:
    assert _daily(service, token) == {name: {"limit": None, "left": None, "resets_at": None} for name in Daily}
