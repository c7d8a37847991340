"""A commit that fails after a body was received: the caller is told so, and nothing is left or counted."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from sqlalchemy import text

from tests.app.sending import Sending
from tests.app.service import Service, npy

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.app.benchmarks import Example

# A reference that is checked no sooner than at the commit, and then fails it.
BREAK = (
    "CREATE TABLE broken (id INTEGER REFERENCES nowhere (id) DEFERRABLE INITIALLY DEFERRED)",
    "CREATE TABLE nowhere (id INTEGER PRIMARY KEY)",
    "CREATE TRIGGER breaking AFTER INSERT ON evaluation BEGIN INSERT INTO broken VALUES (1); END",
)
MEND = ("DROP TRIGGER IF EXISTS breaking", "DROP TABLE IF EXISTS broken", "DROP TABLE IF EXISTS nowhere")


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory, toy: Example) -> Iterator[Service]:
    with Service(tmp_path_factory.mktemp("service"), ranked_per_day=1) as running:
        running.publish(toy.folder)
        yield running


@pytest.fixture
def service(sound: Service) -> Iterator[Service]:
    """A server whose commits fail until it is mended."""
    _execute(sound, *BREAK)
    yield sound
    _execute(sound, *MEND)


def _execute(service: Service, *statements: str) -> None:
    with service.database.write() as session:
        for statement in statements:
            session.execute(text(statement))


def test_a_file_in_one_piece_is_not_accepted(service: Service, toy: Example) -> None:
    token = service.token("ann")
    content = npy(toy.scores(seed=1))
    rows, files = service.rows(), service.files()
    response = service.submit(token, "toy", content, key="k")
    assert (response.status_code, response.json()["code"]) == (500, "internal.failed")
    assert "FOREIGN KEY constraint failed" in service.log.read_text()
    assert service.files() == files
    more = {name: count - rows[name] for name, count in service.rows().items()}
    assert {name: more[name] for name in ("submission", "event", "file", "evaluation")} == {
        "submission": 1,
        "event": 2,
        "file": 0,
        "evaluation": 0,
    }
    _execute(service, *MEND)
    response = service.submit(token, "toy", content, key="k")
    assert response.status_code == 202
    assert service.settled(response.json()["id"])["attempts"] == 1


def test_a_file_in_parts_is_not_accepted_and_can_be_completed_later(service: Service, toy: Example) -> None:
    sending = Sending(service, service.token("ben"), "toy", npy(toy.scores())).started()
    sending.put_all()
    files = service.files()
    response = sending.complete()
    assert (response.status_code, response.json()["code"]) == (500, "internal.failed")
    assert service.row(sending.id).state == "uploading"
    assert service.files() == files, "the part alone"
    assert sending.received() == [0]
    _execute(service, *MEND)
    assert sending.complete().status_code == 202
    assert service.settled(sending.id)["attempts"] == 1
