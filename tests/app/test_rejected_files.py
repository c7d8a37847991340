"""Files that are rejected during evaluation: the file is deleted, the submission's row and events stay."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np
import pytest

from app.accounts import tokens, users
from app.db.accounts import Role
from ldsboard import GroundTruth, ProblemError
from tests.app.service import npy, until

if TYPE_CHECKING:
    from tests.app.benchmarks import Example
    from tests.app.service import Service


def test_error_texts_of_an_anonymous_submission_are_shown_only_to_its_owner_and_admins(
    service: Service, toy: Example
) -> None:
    buffer = io.BytesIO()
    np.savez(buffer, scores=toy.scores(), by_grace_of_example_lab=np.zeros(1))
    owner = service.token("grace")
    with service.database.write() as session:
        _, admin = tokens.create(session, users.add_user(session, "overseer", role=Role.ADMIN))
    sent = service.submit(owner, "toy", buffer.getvalue(), kind="practice", visibility="anonymous").json()["id"]
    rejected = service.wait_until_final(sent)
    assert (rejected["state"], rejected["error"]["code"]) == ("rejected", "scores.several")
    for token in (owner, admin):
        view = service.client.get(f"/submissions/{sent}", headers={"Authorization": f"Bearer {token}"}).json()
        assert "by_grace_of_example_lab" in view["error"]["got"]
    other = {"Authorization": f"Bearer {service.token('somebody')}"}
    pages = [f"{service.url}/submissions/{sent}", f"{service.url}/submissions/{sent}/state"]
    shown = [service.client.get(f"/submissions/{sent}", headers=headers) for headers in ({}, other)]
    assert shown[0].json()["error"] == {
        "type": "urn:ldsboard:problem:scores.several",
        "title": "The file does not hold exactly one array",
        "status": 422,
        "code": "scores.several",
        "detail": "Only the owner and admins may see the details of this error.",
        "hint": "If the submission is yours, send your token or sign in to see the details.",
        "expected": None,
        "got": None,
    }
    for response in (*shown, *map(service.client.get, pages)):
        assert response.status_code == 200
        assert "The file does not hold exactly one array" in response.text
        assert "grace" not in response.text


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_nonfinite_file_is_rejected_with_the_problem_of_the_library(
    service: Service, token: str, toy: Example, value: float
) -> None:
    scores_nN = toy.scores(seed=5)
    scores_nN[[3, 40], [2, 6]] = value
    before = service.files()
    response = service.submit(token, "toy", npy(scores_nN), method="broken")
    assert response.status_code == 202
    view = service.wait_until_final(response.json()["id"])
    assert view["state"] == "rejected"
    with pytest.raises(ProblemError) as raised:
        GroundTruth(toy.bundle.masks_Mn, toy.bundle.margins_MRN).score(scores_nN)
    offline = raised.value.problem.as_dict()
    assert offline["code"] == "scores.nonfinite"
    assert view["error"] == offline | {"type": "urn:ldsboard:problem:scores.nonfinite", "status": 422}
    assert (view["public"], view["hidden"]) == (None, None)

    until(lambda: service.files() == before, "the deletion of the file")
    row = service.row(view["id"])
    assert row.file_sha256 is None
    assert service.events(view["id"])[-1] == ("scoring", "rejected")
    assert service.measurements(view["id"]) == {}


def test_rejected_submission_counts_as_an_attempt(service: Service, toy: Example) -> None:
    token = service.token("reject", ranked_per_day=1)
    scores_nN = np.full_like(toy.scores(), np.nan)
    rejected = service.wait_until_final(service.submit(token, "toy", npy(scores_nN)).json()["id"])
    assert (rejected["state"], rejected["attempts"]) == ("rejected", 1)
    assert service.submit(token, "toy", npy(toy.scores())).status_code == 429


def test_shared_file_is_deleted_with_its_last_submission(service: Service, token: str, toy: Example) -> None:
    scores_nN = toy.scores(seed=6)
    scores_nN[0, 0] = np.nan
    before = service.files()
    sent = [service.submit(token, "toy", npy(scores_nN), kind="practice").json()["id"] for _ in range(3)]
    assert [service.wait_until_final(submission_id)["state"] for submission_id in sent] == ["rejected"] * 3
    until(lambda: service.files() == before, "the deletion of the file")
    assert service.submit_and_score(token, "toy", npy(toy.scores()), kind="practice")


def test_rejected_submission_cannot_be_compared_or_downloaded(service: Service, token: str, toy: Example) -> None:
    good = service.submit_and_score(token, "toy", npy(toy.scores()))["id"]
    scores_nN = toy.scores()
    scores_nN[0, 0] = np.inf
    bad = service.wait_until_final(service.submit(token, "toy", npy(scores_nN)).json()["id"])["id"]
    for response in (
        service.client.get("/compare", params={"a": good, "b": bad}),
        service.client.get(f"/submissions/{bad}/per-target.npz"),
    ):
        assert response.status_code == 409
        assert response.json()["code"] == "submission.not_scored"
        assert response.json()["hint"] == "The submission has no result. Choose another submission."
        assert "rejected" in response.json()["detail"]
