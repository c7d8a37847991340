"""A server whose database moves to PostgreSQL and back serves the same board, and scores new submissions."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from app.db.sessions import Database
from tests.app.moving import dump
from tests.app.service import Service, npy

if TYPE_CHECKING:
    from pathlib import Path

    from tests.app.benchmarks import Example
    from tests.postgresql import Cluster


def board(service: Service) -> object:
    response = service.client.get("/benchmarks/toy/leaderboard")
    assert response.status_code == 200
    return response.json()


def move_server(service: Service, target: str) -> None:
    """Move the database of a stopped server, and use the printed setting."""
    done = service.run("move", "--database", target)
    assert done.returncode == 0, done.stderr
    last = done.stdout.splitlines()[-1].strip()
    if last == "unset LDSBOARD_DATABASE_URL":
        del service.environment["LDSBOARD_DATABASE_URL"]
    else:
        (setting,) = shlex.split(last.removeprefix("export "))
        name, url = setting.split("=", 1)
        assert name == "LDSBOARD_DATABASE_URL"
        service.environment[name] = url
    service.database.close()
    service.database = Database(
        service.environment.get("LDSBOARD_DATABASE_URL", service.settings.resolved_database_url)
    )


def test_server_runs_on_the_moved_database_and_back(tmp_path: Path, cluster: Cluster, toy: Example) -> None:
    service = Service(tmp_path)
    default = tmp_path / "data/ldsboard.sqlite3"
    there = cluster.create("template0")
    with service:
        service.publish(toy.folder)
        token = service.token("ada")
        sent = [
            service.submit_and_score(token, "toy", npy(toy.scores(noise)), method=f"m{noise}") for noise in (0.3, 0.9)
        ]
        refused = service.run("move", "--database", there)
        assert (refused.returncode, refused.stdout) == (2, "")
        assert "Stop all servers and workers, then repeat the command." in refused.stderr
        shown = board(service)
        service.stop()
        before = dump(service.settings.resolved_database_url)
        move_server(service, there)
        assert dump(there) == before
        service.start()
        assert board(service) == shown
        sent.append(service.submit_and_score(token, "toy", npy(toy.scores(0.6)), method="m0.6"))
        assert sent[-1]["public"]["lds"] == toy.offline(toy.scores(0.6))["public"].lds
        shown = board(service)
        service.stop()
        doctor = service.run("doctor")
        assert (doctor.returncode, doctor.stdout) == (0, "Database rows and files agree.\n")
        # The old file is kept, so that the way back to its path begins by renaming it.
        assert dump(f"sqlite:///{default}") == before
        default.rename(tmp_path / "old.sqlite3")
        before = dump(there)
        move_server(service, f"sqlite:///{default}")
        assert "LDSBOARD_DATABASE_URL" not in service.environment
        assert dump(f"sqlite:///{default}") == before
        service.start()
        assert board(service) == shown
        assert service.submit_and_score(token, "toy", npy(toy.scores(0.5)), method="m0.5")["state"] == "scored"
        service.stop()
        doctor = service.run("doctor")
        assert (doctor.returncode, doctor.stdout) == (0, "Database rows and files agree.\n")
