"""The same file sent again: by its owner it is the submission that it was, and nobody learns of anybody else's."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np
import pytest
from sqlalchemy import select

from app.db.models import File, State
from app.submissions import lifecycle
from tests.app.sending import Sending
from tests.app.service import npy

if TYPE_CHECKING:
    from tests.app.benchmarks import Example
    from tests.app.service import Service


def test_the_same_file_again_is_the_submission_that_it_was_and_costs_no_quota(service: Service, toy: Example) -> None:
    token = service.token("again", ranked_per_day=2)
    content = npy(toy.scores(seed=30))
    first = service.scored(token, "toy", content, commit="a" * 40, repository="again/x")
    files = service.files()
    for commit in ("b" * 40, "c" * 40, "c" * 40):
        response = service.submit(token, "toy", content, commit=commit, repository="again/x")
        assert response.status_code == 202
        assert response.headers["Location"] == first["links"]["self"]
        assert response.json()["id"] == first["id"]
        assert response.json()["provenance"] == {"commit": commit, "repository": "again/x"}
    assert service.files() == files
    assert service.rows()["provenance"] >= 3
    rows = service.client.get("/benchmarks/toy/leaderboard").json()["rows"]
    assert next(row for row in rows if row["id"] == first["id"])["provenance"]["commit"] == "c" * 40
    assert service.scored(token, "toy", npy(toy.scores(seed=31)))["attempts"] == 2


def test_a_used_up_quota_does_not_refuse_an_announced_file_that_is_there(service: Service, toy: Example) -> None:
    token = service.token("used-up", ranked_per_day=1)
    content = npy(toy.scores(seed=32))
    first = service.scored(token, "toy", content)
    origin = {"commit": "d" * 40}
    sending = Sending(service, token, "toy", content, provenance=origin).started()
    assert sending.id != first["id"]
    assert sending.complete().json()["code"] == "upload.incomplete", "the bytes are asked for all the same"
    sending.put_all()
    for _ in range(2):
        response = sending.complete()
        assert (response.status_code, response.json()["id"]) == (202, first["id"])
    assert response.json()["provenance"] == origin
    assert service.events(sending.id) == [(None, "uploading"), ("uploading", "expired")]


def test_an_announced_file_that_is_gone_meanwhile_needs_the_quota(service: Service, toy: Example) -> None:
    token = service.token("gone", ranked_per_day=1)
    content = npy(toy.scores(seed=33))
    first = service.scored(token, "toy", content)
    sending = Sending(service, token, "toy", content).started()
    sending.put_all()
    with service.database.write() as session:
        assert lifecycle.move(session, first["id"], State.SCORED, State.WITHDRAWN)
    response = sending.complete()
    assert (response.status_code, response.json()["code"]) == (429, "quota.exceeded")
    again = Sending(service, service.token("gone", ranked_per_day=9), "toy", content).started()
    again.put_all()
    assert again.complete().json()["id"] == again.id, "what was withdrawn can be sent again"


def test_another_file_than_the_announced_one_is_not_taken_for_it(service: Service, toy: Example) -> None:
    token = service.token("liar", ranked_per_day=1)
    content = npy(toy.scores(seed=34))
    service.scored(token, "toy", content)
    sending = Sending(service, token, "toy", content).started()
    other = npy(toy.scores(seed=35))
    sending.put(0, other)
    assert sending.complete().json()["code"] == "upload.hash"


@pytest.mark.parametrize("change", [{"method": "theirs"}, {"kind": "practice"}])
def test_for_another_method_or_kind_it_is_another_submission(
    service: Service, toy: Example, change: dict[str, str]
) -> None:
    token = service.token("several", ranked_per_day=9)
    content = npy(toy.scores(seed=36))
    first = service.submit(token, "toy", content).json()
    assert service.submit(token, "toy", content, **change).json()["id"] != first["id"]


def test_a_rejected_file_can_be_sent_again(service: Service, toy: Example) -> None:
    token = service.token("stubborn", ranked_per_day=9)
    scores_nN = toy.scores(seed=37)
    scores_nN[1, 1] = np.nan
    ids = []
    for _ in range(2):
        ids.append(service.submit(token, "toy", npy(scores_nN)).json()["id"])
        assert service.settled(ids[-1])["state"] == "rejected"
    assert len(set(ids)) == 2


def test_the_file_of_somebody_else_is_shared_without_a_word(service: Service, toy: Example) -> None:
    content = npy(toy.scores(seed=38))
    mine = service.scored(service.token("first"), "toy", content, method="same")
    files = service.files()
    theirs = Sending(service, service.token("second"), "toy", content, method="same")
    view = theirs.scored()
    assert view["id"] == theirs.id != mine["id"]
    assert {part["received"] for part in theirs.view["parts"]} == {False}
    assert service.files() == files
    with service.database.read() as session:
        sha256 = service.row(mine["id"]).file_sha256
        assert session.scalar(select(File.references).where(File.sha256 == sha256)) == 2


def test_a_repeated_key_of_a_repeated_file_gets_the_same_answer(service: Service, toy: Example) -> None:
    token = service.token("keyed", ranked_per_day=1000)
    content = npy(toy.scores(seed=39))
    first = service.submit(token, "toy", content).json()["id"]
    for _ in range(2):
        response = service.submit(token, "toy", content, key="again")
        assert (response.status_code, response.json()["id"]) == (202, first)


def test_an_announced_file_that_is_there_takes_no_place_of_another(service: Service, toy: Example) -> None:
    token = service.token("filler", ranked_per_day=3)
    content, other = npy(toy.scores(seed=40)), npy(toy.scores(seed=41))
    first = service.scored(token, "toy", content)
    new = Sending(service, token, "toy", other).started()
    free = [Sending(service, token, "toy", content).started() for _ in range(3)]
    for sending in (*free, new):
        sending.put_all()
    assert service.submit(token, "toy", npy(toy.scores(seed=47))).status_code == 202, "the third"
    assert new.complete().json()["id"] == new.id
    for sending in free:
        answer = sending.complete()
        assert (answer.status_code, answer.json()["id"]) == (202, first["id"])
    assert service.submit(token, "toy", npy(toy.scores(seed=42))).status_code == 429


def test_a_place_that_was_reserved_is_kept_whatever_comes_meanwhile(service: Service, toy: Example) -> None:
    token = service.token("keeper", ranked_per_day=2)
    content = npy(toy.scores(seed=43))
    reserved = Sending(service, token, "toy", content).started()
    reserved.put_all()
    meanwhile = service.submit(token, "toy", content).json()["id"]
    answer = reserved.complete()
    assert (answer.status_code, answer.json()["id"]) == (202, meanwhile)
    assert service.submit(token, "toy", npy(toy.scores(seed=44))).status_code == 202, "it has cost nothing"


def test_a_file_in_one_piece_that_is_there_needs_no_quota_if_it_is_announced(service: Service, toy: Example) -> None:
    token = service.token("announcer", ranked_per_day=1)
    content, other = npy(toy.scores(seed=45)), npy(toy.scores(seed=46))
    sha256 = hashlib.sha256(content).hexdigest()
    first = service.scored(token, "toy", content)
    assert service.submit(token, "toy", content).json()["code"] == "quota.exceeded"
    again = service.submit(token, "toy", content, sha256=sha256, commit="e" * 40)
    assert (again.status_code, again.json()["id"]) == (202, first["id"])
    assert again.json()["provenance"] == {"commit": "e" * 40}
    lied = service.submit(token, "toy", other, sha256=sha256)
    assert (lied.status_code, lied.json()["code"]) == (422, "upload.hash")
    unknown = service.submit(token, "toy", other, sha256=hashlib.sha256(other).hexdigest())
    assert unknown.json()["code"] == "quota.exceeded"
