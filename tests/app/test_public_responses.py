"""Kept responses of public addresses, through a real server: they are never out of date, and skip no check."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from app.db.models import Submission
from ldsboard.client import VERSION_HEADER
from tests.app.service import npy

if TYPE_CHECKING:
    from tests.app.benchmarks import Example
    from tests.app.service import Service

BOARD = "/benchmarks/toy/leaderboard"


@pytest.fixture(scope="module")
def entry(service: Service, toy: Example) -> tuple[str, str]:
    """Return the token of a user, and the id of their listed submission."""
    token = service.token("public-responses")
    return token, service.submit_and_score(token, "toy", npy(toy.scores(0.3)), method="kept", title="First")["id"]


def title(service: Service, submission_id: str) -> str | None:
    """Return the title that the public leaderboard shows for an entry; None if the entry is not listed."""
    rows: list[dict[str, Any]] = service.client.get(BOARD).json()["rows"]
    return next((str(row["title"]) for row in rows if row["id"] == submission_id), None)


def test_next_request_after_an_edit_shows_the_edit(service: Service, entry: tuple[str, str]) -> None:
    token, submission_id = entry
    for new in ("Second", "Third"):
        title(service, submission_id)
        changed = service.client.patch(
            f"/submissions/{submission_id}", json={"title": new}, headers={"Authorization": f"Bearer {token}"}
        )
        assert changed.status_code == 200
        assert title(service, submission_id) == new


def test_next_request_shows_a_change_by_another_process(service: Service, entry: tuple[str, str]) -> None:
    title(service, entry[1])
    with service.database.write() as session:  # the database is open in this process and in the server
        session.get_one(Submission, entry[1]).title = "Changed elsewhere"
    assert title(service, entry[1]) == "Changed elsewhere"


def test_entry_that_is_made_private_is_gone_from_the_next_response(service: Service, entry: tuple[str, str]) -> None:
    token, submission_id = entry
    for visibility, listed in (("private", False), ("public", True)):
        title(service, submission_id)
        service.client.patch(
            f"/submissions/{submission_id}",
            json={"visibility": visibility},
            headers={"Authorization": f"Bearer {token}"},
        ).raise_for_status()
        assert (title(service, submission_id) is not None) == listed


def test_outdated_client_is_rejected_although_the_response_is_kept(service: Service) -> None:
    assert service.client.get(BOARD).status_code == 200
    refused = service.client.get(BOARD, headers={VERSION_HEADER: "0.0.1"})
    assert refused.json()["code"] == "client.outdated"


def test_owner_and_visitors_get_different_responses(service: Service, entry: tuple[str, str], toy: Example) -> None:
    token, _ = entry
    content = npy(toy.scores(0.7))
    private = service.submit_and_score(token, "toy", content, method="own", kind="practice")["id"]
    owner = {"Authorization": f"Bearer {token}"}
    service.client.patch(f"/submissions/{private}", json={"visibility": "private"}, headers=owner).raise_for_status()
    for _ in range(2):
        assert service.client.get(f"/submissions/{private}", headers=owner).status_code == 200
        assert service.client.get(f"/submissions/{private}").status_code == 404
