"""A server whose score files are in an S3-compatible store, also while the store is away."""

from __future__ import annotations

import hashlib
import shutil
from typing import TYPE_CHECKING

import psutil
import pytest

from ldsboard.formats.score_files import HEADER_LIMIT
from tests.app.commands import run_in_process
from tests.app.multipart_upload import MultipartUpload, float64_file
from tests.app.service import Service, npy, until
from tests.openstack_swift import ACCESS_KEY, SECRET_KEY

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.app.benchmarks import Example
    from tests.openstack_swift import Swift


@pytest.fixture(scope="module")
def stored_service(
    swift: Swift, tmp_path_factory: pytest.TempPathFactory, toy: Example, wide: Example
) -> Iterator[Service]:
    settings = swift.settings("board/files") | {"part_bytes": HEADER_LIMIT, "retry_seconds": 0}
    with Service(tmp_path_factory.mktemp("stored"), **settings) as running:
        running.publish(toy.folder)
        running.publish(wide.folder)
        yield running
        log = running.log.read_text()
        assert "Traceback" not in log
        for secret in (ACCESS_KEY, SECRET_KEY):
            assert secret not in log


@pytest.fixture(autouse=True)
def available(swift: Swift) -> Iterator[None]:
    swift.start()
    yield
    swift.start()


def local_files(service: Service) -> list[Path]:
    """Return the score files and upload parts in the data folder."""
    return [path for path in (service.settings.data_dir / "arriving").rglob("*") if path.is_file()]


def test_file_is_scored_from_the_store_like_from_a_folder(
    stored_service: Service, service: Service, toy: Example
) -> None:
    content = npy(toy.scores())
    view, expected = (each.submit_and_score(each.token("ann"), "toy", content) for each in (stored_service, service))
    assert view["public"] == expected["public"]
    assert view["file_sha256"] == hashlib.sha256(content).hexdigest()
    assert local_files(stored_service) == []
    assert not stored_service.settings.storage_dir.exists()
    assert run_in_process(stored_service, "doctor").exit_code == 0


def test_withdrawn_file_is_deleted_from_the_store(stored_service: Service, swift: Swift, toy: Example) -> None:
    token = stored_service.token("bea")
    before = len(swift.objects())
    view = stored_service.submit_and_score(token, "toy", npy(toy.scores(seed=7)), kind="practice")
    assert len(swift.objects()) == before + 1
    answer = stored_service.client.delete(f"/submissions/{view['id']}", headers={"Authorization": f"Bearer {token}"})
    assert answer.is_success, answer.text
    assert len(swift.objects()) == before


def test_refused_file_leaves_no_object(stored_service: Service, swift: Swift, toy: Example) -> None:
    content = npy(toy.scores(seed=8))
    before = len(swift.objects())
    answer = stored_service.submit(stored_service.token("cem"), "toy", content, sha256="0" * 64)
    assert (answer.status_code, answer.json()["code"]) == (422, "upload.hash")
    assert len(swift.objects()) == before
    assert local_files(stored_service) == []


def test_received_parts_survive_the_loss_of_the_local_files(
    stored_service: Service, swift: Swift, wide: Example
) -> None:
    before = len(swift.objects())
    upload = MultipartUpload(stored_service, stored_service.token("dan"), "wide", float64_file(wide)).started()
    for number in (0, 2):
        assert upload.put_part(number).status_code == 200
    assert local_files(stored_service) == []
    stored_service.stop()
    shutil.rmtree(stored_service.settings.data_dir / "arriving")
    stored_service.start()
    assert upload.received_parts() == [0, 2]
    assert upload.put_part(1).status_code == 200
    answer = upload.complete()
    assert answer.status_code == 202, answer.text
    assert stored_service.wait_until_final(upload.id)["state"] == "scored"
    assert len(swift.objects()) == before + 1  # the parts are deleted


def test_uploads_are_refused_while_the_store_is_away_and_nothing_is_lost(
    stored_service: Service, swift: Swift, toy: Example, wide: Example
) -> None:
    token = stored_service.token("eva", ranked_per_day=2)
    upload = MultipartUpload(stored_service, token, "wide", float64_file(wide, seed=1)).started()
    assert upload.put_part(0).status_code == 200
    queued = MultipartUpload(stored_service, token, "wide", float64_file(wide, seed=2)).started()
    queued.put_all_parts()
    swift.kill()
    single = {"kind": "ranked"}
    answers = [
        upload.put_part(1),
        queued.complete(),
        stored_service.submit(token, "toy", npy(toy.scores(seed=9)), **single),
    ]
    for answer in answers:
        assert (answer.status_code, answer.json()["code"]) == (503, "internal.storage"), answer.text
        assert int(answer.headers["Retry-After"]) > 0
        assert "Nothing was saved or counted." in answer.json()["hint"]
    ready = stored_service.client.get(f"{stored_service.url}/readyz")
    assert (ready.status_code, ready.json()["code"]) == (503, "internal.unready")
    assert upload.received_parts() == [0]
    found = run_in_process(stored_service, "doctor")
    assert found.exit_code == 2
    assert "cannot be used (no answer)" in found.stderr

    swift.start()
    until(lambda: stored_service.client.get(f"{stored_service.url}/readyz").status_code == 200, "a ready server")
    for number in (1, 2):
        assert upload.put_part(number).status_code == 200
    # The refused calls used no quota: two ranked submissions to a benchmark are allowed.
    assert upload.complete().status_code == 202
    assert queued.complete().status_code == 202
    assert stored_service.submit(token, "toy", npy(toy.scores(seed=9)), **single).status_code == 202
    stored_service.wait_until_idle()
    for sent in (upload, queued):
        assert stored_service.row(sent.id).state == "scored"
        assert stored_service.failure_count(sent.id) == 0
    assert "storage.away" in stored_service.log.read_text()


def test_scoring_processes_do_not_get_the_credentials(stored_service: Service) -> None:
    server = psutil.Process(stored_service.process.pid)
    environments = [process.environ() for process in server.children(recursive=True)]
    assert environments
    assert SECRET_KEY in server.environ().values()
    for environment in environments:
        assert not any(name.startswith("AWS_") for name in environment)


@pytest.mark.parametrize(
    ("name", "value"), [("AWS_SECRET_ACCESS_KEY", "hunter2"), ("LDSBOARD_STORAGE_URL", "s3://none/files")]
)
def test_server_does_not_start_without_a_usable_bucket(service: Service, swift: Swift, name: str, value: str) -> None:
    environment = service.environment | {
        "LDSBOARD_DATA_DIR": f"{service.settings.data_dir}-2",
        "LDSBOARD_STORAGE_URL": "s3://scores/other",
        "AWS_ENDPOINT_URL": swift.url,
        "AWS_ACCESS_KEY_ID": ACCESS_KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
    }
    ended = service.run("serve", "--port", "0", environment=environment | {name: value})
    assert ended.returncode == 2
    assert "cannot be used (" in ended.stderr
    for hidden in ("Traceback", "hunter2", ACCESS_KEY, SECRET_KEY):
        assert hidden not in ended.stderr + ended.stdout
