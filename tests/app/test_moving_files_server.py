"""A server moves to PostgreSQL and a bucket by one command, goes on with its open uploads, and moves back."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

from sqlalchemy import select, update

from app.db.models import Evaluation, File, Version
from app.db.sessions import Database
from app.settings import Settings
from app.submissions.opened_storage import open_storage
from ldsboard.core import result
from ldsboard.formats.score_files import HEADER_LIMIT
from tests.app.commands import run_in_process
from tests.app.moving import dump
from tests.app.multipart_upload import MultipartUpload, float64_file
from tests.app.service import Service, npy, until
from tests.openstack_swift import ACCESS_KEY, SECRET_KEY

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from app.submissions.storage import Storage
    from tests.app.benchmarks import Example
    from tests.openstack_swift import Swift
    from tests.postgresql import Cluster


def board(service: Service) -> object:
    response = service.client.get("/benchmarks/toy/leaderboard")
    assert response.status_code == 200
    return response.json()


def move_server(service: Service, *options: str) -> None:
    """Move a stopped server, and paste the printed settings into the shell that starts it."""
    done = service.run("move", *options)
    assert done.returncode == 0, done.stderr
    assert not any(secret in done.stdout + done.stderr for secret in (ACCESS_KEY, SECRET_KEY))
    settings = done.stdout.split("for all servers, workers and commands:\n")[1]
    shell = ["/bin/bash", "-c", f"{settings}\nenv -0"]
    pasted = subprocess.run(shell, env=service.environment, capture_output=True, text=True, check=True)
    service.environment = dict(line.split("=", 1) for line in pasted.stdout.split("\0") if line)
    service.database.close()
    service.database = Database(
        service.environment.get("LDSBOARD_DATABASE_URL", service.settings.resolved_database_url)
    )


def storage(service: Service, monkeypatch: pytest.MonkeyPatch) -> Storage:
    """Return the place of the files that the environment of a server names."""
    with monkeypatch.context() as patched:
        for name, value in service.environment.items():
            patched.setenv(name, value)
        if "LDSBOARD_STORAGE_URL" not in service.environment:
            patched.delenv("LDSBOARD_STORAGE_URL", raising=False)
        return open_storage(Settings())


def contents(service: Service, monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes]:
    """Return the bytes of all score files of which the database has a row."""
    found = storage(service, monkeypatch)
    with service.database.read() as session:
        hashes = session.scalars(select(File.sha256)).all()
    assert sorted(found.stored_hashes()) == sorted(hashes)
    return {sha256: b"".join(found.read(found.key(sha256))) for sha256 in hashes}


def rescore(service: Service, ids: list[str], earlier: int) -> None:
    """Have the stopped server score all files again when it starts, as if an earlier scorer had made all results.

    Check that the results are equal.
    """
    before = [{part: each.lds for part, each in service.measurements(sent).items()} for sent in ids]
    with service.database.write() as session:
        for table in (Version, Evaluation):
            of_this = table.scorer_version == result.SCORER_VERSION
            session.execute(update(table).where(of_this).values(scorer_version=earlier))
    service.start()

    def look() -> bool:
        with service.database.read() as session:
            return set(session.scalars(select(Version.scorer_version))) == {result.SCORER_VERSION}

    until(look, "all boards with new results")
    with service.database.read() as session:
        query = select(Evaluation.submission_id).where(Evaluation.scorer_version == result.SCORER_VERSION)
        assert set(ids) <= set(session.scalars(query.where(Evaluation.scored_at.is_not(None))))
    assert [{part: each.lds for part, each in service.measurements(sent).items()} for sent in ids] == before


def assert_sound(service: Service) -> None:
    doctor = run_in_process(service, "doctor")
    assert (doctor.exit_code, doctor.stdout) == (0, "Database rows and files agree.\n")


def test_installation_moves_to_postgresql_and_a_bucket_and_back(
    tmp_path: Path,
    cluster: Cluster,
    swift: Swift,
    toy: Example,
    wide: Example,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    store = swift.settings("") | {"storage_url": ""}
    service = Service(tmp_path, part_bytes=HEADER_LIMIT, **store)
    with service:
        for each in (toy, wide):
            service.publish(each.folder)
        token = service.token("ada")
        ids = [
            str(service.submit_and_score(token, "toy", npy(toy.scores(noise)), method=f"m{noise}")["id"])
            for noise in (0.3, 0.9)
        ]
        upload = MultipartUpload(service, token, "wide", float64_file(wide)).started()
        for number in (0, 2):
            assert upload.put_part(number).status_code == 200
        shown = board(service)
        service.stop()
        before, rows = contents(service, monkeypatch), dump(service.settings.resolved_database_url)
        move_server(service, "--database", there := cluster.create("template0"), "--storage", "s3://scores/moved")
        assert contents(service, monkeypatch) == before
        assert dump(there) == rows
        assert_sound(service)
        (tmp_path / "data/files").rename(tmp_path / "old files")  # nothing reads them any more
        (tmp_path / "data/ldsboard.sqlite3").rename(tmp_path / "old.sqlite3")

        rescore(service, ids, 0)
        assert board(service) == shown
        assert upload.received_parts() == [0, 2]
        assert upload.put_part(1).status_code == 200
        assert upload.complete().status_code == 202
        assert service.wait_until_final(upload.id)["state"] == "scored"
        ids.append(str(service.submit_and_score(token, "toy", npy(toy.scores(0.6)), method="m0.6")["id"]))
        upload = MultipartUpload(service, token, "wide", float64_file(wide, seed=1)).started()
        for number in (1, 2):
            assert upload.put_part(number).status_code == 200
        shown = board(service)
        service.stop()
        assert not (tmp_path / "data/files").exists()

        before, rows = contents(service, monkeypatch), dump(there)
        back = f"sqlite:///{tmp_path / 'data/ldsboard.sqlite3'}"
        move_server(service, "--database", back, "--storage", str(tmp_path / "data/files"))
        assert {"LDSBOARD_DATABASE_URL", "LDSBOARD_STORAGE_URL"}.isdisjoint(service.environment)
        assert contents(service, monkeypatch) == before
        assert dump(back) == rows
        assert_sound(service)
        for name in [name for name in service.environment if name.startswith("AWS_")]:
            del service.environment[name]  # nothing reads the bucket any more
        rescore(service, ids, -1)
        assert board(service) == shown
        assert upload.received_parts() == [1, 2]
        assert upload.put_part(0).status_code == 200
        assert upload.complete().status_code == 202
        assert service.wait_until_final(upload.id)["state"] == "scored"
        service.stop()
        assert_sound(service)
