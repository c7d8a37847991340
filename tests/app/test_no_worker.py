"""While no worker is running, senders are told that nothing is scored, and see no estimate. And the names of processes."""

from __future__ import annotations

import os
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import text, update

from app import data_lock
from app.db.base import now
from app.db.models import Evaluation
from app.db.presence import Presence, Use, process_name, processes
from app.db.sessions import Database
from app.results.submission_views import NO_WORKER
from tests.app.service import Service, npy

if TYPE_CHECKING:
    from pathlib import Path

    from tests.app.benchmarks import Example
    from tests.postgresql import Cluster

pytestmark = pytest.mark.server


def test_sender_is_told_while_no_worker_is_connected(cluster: Cluster, tmp_path: Path, toy: Example) -> None:
    with Service(tmp_path, database_url=cluster.create(), scoring_processes=0) as service:
        service.publish(toy.folder)
        token = service.token("ada")
        answer, other = (service.submit(token, "toy", npy(toy.scores(noise))).json() for noise in (0.4, 0.5))
        path, headers = f"/submissions/{answer['id']}", {"Authorization": f"Bearer {token}"}

        def notice() -> str | None:
            found: str | None = service.client.get(path, headers=headers).json()["notice"]
            return found

        def page(seconds: float) -> str:
            with service.database.write() as session:  # pages are kept until a commit
                scored = update(Evaluation).where(Evaluation.submission_id == other["id"])
                session.execute(scored.values(scored_at=now(), seconds=seconds))
            return " ".join(service.client.get(service.url + path).text.split())

        assert answer["notice"] == notice() == NO_WORKER
        assert f"{NO_WORKER} Position 1 in the queue." in page(seconds=3)
        folder = data_lock.folder_id(service.settings.data_dir, create=False)
        with closing(Presence(service.database, Use.WORKER, folder)):
            assert notice() is None
            assert "Position 1 in the queue, about 4 s." in page(seconds=4)
        assert notice() == NO_WORKER


def test_process_of_a_database_that_tracks_no_activities_does_not_count_as_frozen(cluster: Cluster) -> None:
    with closing(Database(cluster.create())) as database:
        with database.write() as session:
            name = session.scalar(text("SELECT current_database()"))
            session.execute(text(f"ALTER DATABASE {name} SET track_activities = off"))
        database.engine.dispose()  # the setting is that of new connections
        with closing(Presence(database, Use.WORKER)), database.read() as session:
            (worker,) = processes(session)
            assert (worker.seen_at, worker.is_silent) == (worker.since, False)


def test_first_process_of_a_container_has_another_name_than_before_a_restart(monkeypatch: pytest.MonkeyPatch) -> None:
    names = set()
    for start in ("ab12", "cd34"):
        monkeypatch.setattr(os, "getpid", lambda: 1)
        monkeypatch.setattr("app.db.presence.START", start)
        names.add(process_name().rpartition("/")[2])
    assert names == {"1-ab12", "1-cd34"}
