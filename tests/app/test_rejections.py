"""What only the content tells: the submission is rejected, its file is gone, its row and its events stay."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from ldsboard import GroundTruth, ProblemError
from tests.app.service import npy, until

if TYPE_CHECKING:
    from tests.app.benchmarks import Example
    from tests.app.service import Service


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_file_that_is_not_finite_is_rejected_in_the_words_of_the_library(
    service: Service, token: str, toy: Example, value: float
) -> None:
    scores_nN = toy.scores(seed=5)
    scores_nN[[3, 40], [2, 6]] = value
    before = service.files()
    response = service.submit(token, "toy", npy(scores_nN), method="broken")
    assert response.status_code == 202
    view = service.settled(response.json()["id"])
    assert view["state"] == "rejected"
    with pytest.raises(ProblemError) as raised:
        GroundTruth(toy.bundle.masks_Mn, toy.bundle.margins_MRN).score(scores_nN)
    offline = raised.value.problem.as_dict()
    assert offline["code"] == "scores.nonfinite"
    assert view["error"] == offline | {"type": "urn:ldsboard:problem:scores.nonfinite", "status": 422}
    assert (view["public"], view["hidden"]) == (None, None)

    until(lambda: service.files() == before, "the end of the file")
    row = service.row(view["id"])
    assert row.file_sha256 is None
    assert service.events(view["id"])[-1] == ("scoring", "rejected")
    assert service.measured(view["id"]) == {}


def test_a_rejected_attempt_counts(service: Service, toy: Example) -> None:
    token = service.token("reject", ranked_per_day=1)
    scores_nN = np.full_like(toy.scores(), np.nan)
    rejected = service.settled(service.submit(token, "toy", npy(scores_nN)).json()["id"])
    assert (rejected["state"], rejected["attempts"]) == ("rejected", 1)
    assert service.submit(token, "toy", npy(toy.scores())).status_code == 429


def test_content_that_two_submissions_share_goes_with_the_last(service: Service, token: str, toy: Example) -> None:
    scores_nN = toy.scores(seed=6)
    scores_nN[0, 0] = np.nan
    before = service.files()
    sent = [service.submit(token, "toy", npy(scores_nN), kind="practice").json()["id"] for _ in range(3)]
    assert [service.settled(submission_id)["state"] for submission_id in sent] == ["rejected"] * 3
    until(lambda: service.files() == before, "the end of the file")
    assert service.scored(token, "toy", npy(toy.scores()), kind="practice")


def test_a_rejected_submission_can_be_neither_compared_nor_downloaded(
    service: Service, token: str, toy: Example
) -> None:
    good = service.scored(token, "toy", npy(toy.scores()))["id"]
    scores_nN = toy.scores()
    scores_nN[0, 0] = np.inf
    bad = service.settled(service.submit(token, "toy", npy(scores_nN)).json()["id"])["id"]
    for response in (
        service.client.get("/compare", params={"a": good, "b": bad}),
        service.client.get(f"/submissions/{bad}/per-target.npz"),
    ):
        assert response.status_code == 409
        assert response.json()["code"] == "submission.not_scored"
        assert "rejected" in response.json()["got"]
