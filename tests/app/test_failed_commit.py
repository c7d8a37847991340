"""A database commit that fails after the file was received: the client gets an error, and nothing is saved or counted."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from sqlalchemy import text

from tests.app.multipart_upload import MultipartUpload
from tests.app.service import Service, npy

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.app.benchmarks import Example

# A deferred foreign key, which fails at the commit.
BREAK_COMMITS = (
    "CREATE TABLE broken (id INTEGER REFERENCES nowhere (id) DEFERRABLE INITIALLY DEFERRED)",
    "CREATE TABLE nowhere (id INTEGER PRIMARY KEY)",
    "CREATE TRIGGER breaking AFTER INSERT ON evaluation BEGIN INSERT INTO broken VALUES (1); END",
)
REPAIR_COMMITS = ("DROP TRIGGER IF EXISTS breaking", "DROP TABLE IF EXISTS broken", "DROP TABLE IF EXISTS nowhere")


@pytest.fixture(scope="module")
def intact_service(tmp_path_factory: pytest.TempPathFactory, toy: Example) -> Iterator[Service]:
    with Service(tmp_path_factory.mktemp("service"), ranked_per_day=1) as running:
        running.publish(toy.folder)
        yield running


@pytest.fixture
def service(intact_service: Service) -> Iterator[Service]:
    """A server whose commits fail until `REPAIR_COMMITS` is executed."""
    _execute(intact_service, *BREAK_COMMITS)
    yield intact_service
    _execute(intact_service, *REPAIR_COMMITS)


def _execute(service: Service, *statements: str) -> None:
    with service.database.write() as session:
        for statement in statements:
            session.execute(text(statement))


def test_failed_commit_rejects_a_single_upload(service: Service, toy: Example) -> None:
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
    _execute(service, *REPAIR_COMMITS)
    response = service.submit(token, "toy", content, key="k")
    assert response.status_code == 202
    assert service.wait_until_final(response.json()["id"])["attempts"] == 1


def test_failed_commit_lets_a_multipart_upload_be_completed_later(service: Service, toy: Example) -> None:
    upload = MultipartUpload(service, service.token("ben"), "toy", npy(toy.scores())).started()
    upload.put_all_parts()
    files = service.files()
    response = upload.complete()
    assert (response.status_code, response.json()["code"]) == (500, "internal.failed")
    assert service.row(upload.id).state == "uploading"
    assert service.files() == files, "only the received part is stored"
    assert upload.received_parts() == [0]
    _execute(service, *REPAIR_COMMITS)
    assert upload.complete().status_code == 202
    assert service.wait_until_final(upload.id)["attempts"] == 1
