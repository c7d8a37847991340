"""Duplicates: the same file of the same owner returns the first submission; files of other users are not disclosed."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np
import pytest
from sqlalchemy import select

from app.db.models import File, State
from app.submissions import lifecycle
from tests.app.multipart_upload import MultipartUpload
from tests.app.service import npy

if TYPE_CHECKING:
    from tests.app.benchmarks import Example
    from tests.app.service import Service


def test_duplicate_returns_the_first_submission_and_costs_no_quota(service: Service, toy: Example) -> None:
    token = service.token("again", ranked_per_day=2)
    content = npy(toy.scores(seed=30))
    first = service.submit_and_score(token, "toy", content, commit="a" * 40, repository="again/x")
    files = service.files()
    for commit in ("b" * 40, "c" * 40, "c" * 40):
        response = service.submit(token, "toy", content, commit=commit, repository="again/x")
        assert response.status_code == 202
        assert response.headers["Location"] == first["links"]["self"]
        assert response.json()["id"] == first["id"]
        assert response.json()["provenance"] == {"commit": commit, "repository": "again/x", "verified": False}
    assert service.files() == files
    assert service.rows()["provenance"] >= 3
    rows = service.client.get("/benchmarks/toy/leaderboard").json()["rows"]
    assert next(row for row in rows if row["id"] == first["id"])["provenance"]["commit"] == "c" * 40
    assert service.submit_and_score(token, "toy", npy(toy.scores(seed=31)))["attempts"] == 2


def test_announced_duplicate_is_accepted_with_an_exhausted_quota(service: Service, toy: Example) -> None:
    token = service.token("used-up", ranked_per_day=1)
    content = npy(toy.scores(seed=32))
    first = service.submit_and_score(token, "toy", content)
    origin = {"commit": "d" * 40}
    upload = MultipartUpload(service, token, "toy", content, provenance=origin).started()
    assert upload.id != first["id"]
    assert upload.complete().json()["code"] == "upload.incomplete", "the parts must still be sent"
    upload.put_all_parts()
    for _ in range(2):
        response = upload.complete()
        assert (response.status_code, response.json()["id"]) == (202, first["id"])
    assert response.json()["provenance"] == origin | {"verified": False}
    assert service.events(upload.id) == [(None, "uploading"), ("uploading", "expired")]


def test_announced_duplicate_of_a_withdrawn_submission_needs_quota(service: Service, toy: Example) -> None:
    token = service.token("gone", ranked_per_day=1)
    content = npy(toy.scores(seed=33))
    first = service.submit_and_score(token, "toy", content)
    upload = MultipartUpload(service, token, "toy", content).started()
    upload.put_all_parts()
    with service.database.write() as session:
        assert lifecycle.transition(session, first["id"], State.SCORED, State.WITHDRAWN)
    response = upload.complete()
    assert (response.status_code, response.json()["code"]) == (429, "quota.exceeded")
    again = MultipartUpload(service, service.token("gone", ranked_per_day=9), "toy", content).started()
    again.put_all_parts()
    assert again.complete().json()["id"] == again.id, "a file of a withdrawn submission can be sent again"


def test_different_file_than_announced_is_rejected(service: Service, toy: Example) -> None:
    token = service.token("liar", ranked_per_day=1)
    content = npy(toy.scores(seed=34))
    service.submit_and_score(token, "toy", content)
    upload = MultipartUpload(service, token, "toy", content).started()
    other = npy(toy.scores(seed=35))
    upload.put_part(0, other)
    assert upload.complete().json()["code"] == "upload.hash"


@pytest.mark.parametrize("change", [{"method": "theirs"}, {"kind": "practice"}])
def test_same_file_for_another_method_or_kind_is_a_new_submission(
    service: Service, toy: Example, change: dict[str, str]
) -> None:
    token = service.token("several", ranked_per_day=9)
    content = npy(toy.scores(seed=36))
    first = service.submit(token, "toy", content).json()
    assert service.submit(token, "toy", content, **change).json()["id"] != first["id"]


def test_rejected_file_sent_again_is_a_new_submission(service: Service, toy: Example) -> None:
    token = service.token("stubborn", ranked_per_day=9)
    scores_nN = toy.scores(seed=37)
    scores_nN[1, 1] = np.nan
    ids = []
    for _ in range(2):
        ids.append(service.submit(token, "toy", npy(scores_nN)).json()["id"])
        assert service.wait_until_final(ids[-1])["state"] == "rejected"
    assert len(set(ids)) == 2


def test_same_file_of_another_user_is_shared_without_disclosure(service: Service, toy: Example) -> None:
    content = npy(toy.scores(seed=38))
    mine = service.submit_and_score(service.token("first"), "toy", content, method="same")
    files = service.files()
    theirs = MultipartUpload(service, service.token("second"), "toy", content, method="same")
    view = theirs.submit_and_score()
    assert view["id"] == theirs.id != mine["id"]
    assert {part["received"] for part in theirs.view["parts"]} == {False}
    assert service.files() == files
    with service.database.read() as session:
        sha256 = service.row(mine["id"]).file_sha256
        assert session.scalar(select(File.references).where(File.sha256 == sha256)) == 2


def test_duplicate_with_a_repeated_idempotency_key_returns_the_same_id(service: Service, toy: Example) -> None:
    token = service.token("keyed", ranked_per_day=1000)
    content = npy(toy.scores(seed=39))
    first = service.submit(token, "toy", content).json()["id"]
    for _ in range(2):
        response = service.submit(token, "toy", content, key="again")
        assert (response.status_code, response.json()["id"]) == (202, first)


def test_announced_duplicates_do_not_take_quota_from_other_files(service: Service, toy: Example) -> None:
    token = service.token("filler", ranked_per_day=3)
    content, other = npy(toy.scores(seed=40)), npy(toy.scores(seed=41))
    first = service.submit_and_score(token, "toy", content)
    new = MultipartUpload(service, token, "toy", other).started()
    free = [MultipartUpload(service, token, "toy", content).started() for _ in range(3)]
    for upload in (*free, new):
        upload.put_all_parts()
    assert service.submit(token, "toy", npy(toy.scores(seed=47))).status_code == 202, "the third ranked submission"
    assert new.complete().json()["id"] == new.id
    for upload in free:
        answer = upload.complete()
        assert (answer.status_code, answer.json()["id"]) == (202, first["id"])
    assert service.submit(token, "toy", npy(toy.scores(seed=42))).status_code == 429


def test_reserved_upload_completed_after_its_duplicate_costs_nothing(service: Service, toy: Example) -> None:
    token = service.token("keeper", ranked_per_day=2)
    content = npy(toy.scores(seed=43))
    reserved = MultipartUpload(service, token, "toy", content).started()
    reserved.put_all_parts()
    meanwhile = service.submit(token, "toy", content).json()["id"]
    answer = reserved.complete()
    assert (answer.status_code, answer.json()["id"]) == (202, meanwhile)
    assert service.submit(token, "toy", npy(toy.scores(seed=44))).status_code == 202, "the duplicate used no quota"


def test_single_upload_announced_by_sha256_needs_no_quota(service: Service, toy: Example) -> None:
    token = service.token("announcer", ranked_per_day=1)
    content, other = npy(toy.scores(seed=45)), npy(toy.scores(seed=46))
    sha256 = hashlib.sha256(content).hexdigest()
    first = service.submit_and_score(token, "toy", content)
    assert service.submit(token, "toy", content).json()["code"] == "quota.exceeded"
    again = service.submit(token, "toy", content, sha256=sha256, commit="e" * 40)
    assert (again.status_code, again.json()["id"]) == (202, first["id"])
    assert again.json()["provenance"] == {"commit": "e" * 40, "verified": False}
    lied = service.submit(token, "toy", other, sha256=sha256)
    assert (lied.status_code, lied.json()["code"]) == (422, "upload.hash")
    unknown = service.submit(token, "toy", other, sha256=hashlib.sha256(other).hexdigest())
    assert unknown.json()["code"] == "quota.exceeded"


@pytest.mark.parametrize("visibility", ["private", "anonymous"])
def test_provenance_of_a_hidden_duplicate_does_not_appear_on_the_public_submission(
    service: Service, toy: Example, visibility: str
) -> None:
    token, content = service.token(f"careful-{visibility}"), npy(toy.scores())
    first = service.submit(token, "toy", content, repository="lab/open").json()
    refused = service.submit(token, "toy", content, repository="lab/secret", visibility=visibility)
    assert (refused.status_code, refused.json()["code"]) == (409, "request.conflict")
    assert f"No new {visibility} submission was created, and {first['id']} is still public." in refused.json()["detail"]
    upload = MultipartUpload(service, token, "toy", content, visibility=visibility).started()
    upload.put_all_parts()
    assert upload.complete().json()["detail"] == refused.json()["detail"]
    view = service.client.get(f"/submissions/{first['id']}").json()
    assert (view["visibility"], view["provenance"]["repository"]) == ("public", "lab/open")
