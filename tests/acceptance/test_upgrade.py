"""Two releases side by side on one PostgreSQL database, as while an installation is upgraded server by server.

The previous release is this code. The next release is a copy of it with one more migration, which only expands the schema, and
one more column of a model, whose value tells which release accepted a submission.
"""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from itertools import count
from shutil import copytree
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import func, select, text

from app.db.migration import revisions
from app.db.models import Evaluation, State
from tests.app.commands import run_in_process
from tests.app.service import ROOT, Service, npy, until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.app.benchmarks import Example
    from tests.postgresql import Cluster

pytestmark = pytest.mark.server

SEEDS = count(1)
"""Seeds of the score files, which all differ."""

HEAD = revisions()[0]
EXPANDED, CONTRACTED = (f"{int(HEAD) + step:04}" for step in (1, 2))

HEADER = "import sqlalchemy as sa\nfrom alembic import op\n\nrevision = {!r}\ndown_revision = {!r}\n"

EXPANDING = """
def upgrade():
    op.add_column('submission', sa.Column('release', sa.Integer(), nullable=False, server_default='1'))
    op.create_table('remark',
        sa.Column('submission_id', sa.String(16), sa.ForeignKey('submission.id', ondelete='CASCADE'), primary_key=True))
"""

CONTRACTING = f"""
oldest_code = {EXPANDED!r}

def upgrade():
    op.drop_column('submission', 'release')
"""

MODEL = "    uses_subsets: Mapped[bool]"
NEW_MODEL = f'    release: Mapped[int] = mapped_column(default=2, server_default="1")\n{MODEL}'


def _write_next_release(folder: Path) -> Path:
    """Copy this code, with a migration and a column of a model that this code does not know; return the folder."""
    for name in ("app", "ldsboard", "alembic", "templates"):
        copytree(ROOT / name, folder / name)
    (folder / f"alembic/versions/{EXPANDED}_next.py").write_text(HEADER.format(EXPANDED, HEAD) + EXPANDING)
    models = folder / "app/db/models.py"
    written = models.read_text()
    assert written.count(MODEL) == 1
    models.write_text(written.replace(MODEL, NEW_MODEL))
    return folder


@contextmanager
def _worker(release: Service) -> Iterator[subprocess.Popen[bytes]]:
    """Run a worker of a release; kill it at the end, unless it has ended."""
    command = [sys.executable, "-m", "app", "work"]
    with release.log.open("ab") as log:
        process = subprocess.Popen(command, cwd=release.root, env=release.environment, stdout=log, stderr=log)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


class Installation:
    """A server of this code and one of the next release, which is not started yet, and the score files sent to them."""

    def __init__(self, previous: Service, following: Service, toy: Example) -> None:
        self.previous, self.following = previous, following
        self._toy = toy
        self.token = previous.token("ada", ranked_per_day=1000, ranked_per_version=1000)
        self.sent: dict[str, tuple[float, int]] = {}

    def send(self, server: Service) -> str:
        """Send a score file; return the id of its submission."""
        seed = next(SEEDS)
        scores = self._toy.scores(0.1 * seed, seed=seed)
        answer = server.submit(self.token, "toy", npy(scores), method=f"m{seed}")
        assert answer.status_code == 202, answer.text
        submission_id = str(answer.json()["id"])
        release = 1 if server is self.previous else 2
        self.sent[submission_id] = self._toy.offline(scores)["public"].lds, release
        return submission_id

    def assert_all_scored_once(self, server: Service) -> None:
        """Wait, with requests to a server, until all files are scored; check the numbers and that each was scored once."""
        for submission_id, (lds, release) in self.sent.items():
            view = server.wait_until_final(submission_id)
            assert (view["state"], view["public"]["lds"]) == ("scored", lds), view
            assert sum(after == State.SCORED for _, after in server.events(submission_id)) == 1
            with server.database.read() as session:
                evaluations = select(func.count()).where(Evaluation.submission_id == submission_id)
                assert session.scalar(evaluations) == 1
                accepted_by = text("SELECT release FROM submission WHERE id = :id")
                assert session.scalar(accepted_by, {"id": submission_id}) == release

    def wait_until_all_listed(self, server: Service) -> None:
        """Wait until a server lists all files.

        Two workers that save results at the same time cannot both rank the board in the transaction of their result: the ranks
        follow in a transaction of their own.
        """

        def look() -> bool:
            rows = server.client.get("/benchmarks/toy/leaderboard").json()["rows"]
            return {row["id"] for row in rows} == self.sent.keys()

        until(look, "a leaderboard that lists all files")


@pytest.fixture
def installation(cluster: Cluster, tmp_path: Path, toy: Example) -> Iterator[Installation]:
    tree = _write_next_release(tmp_path / "tree")
    shared = {"database_url": cluster.create(), "scoring_processes": 0, "data_dir": tmp_path / "data"}
    with Service(tmp_path / "previous", **shared) as previous:
        previous.publish(toy.folder)
        with closing(Service(tmp_path / "following", **shared)) as following:
            following.root = tree
            yield Installation(previous, following, toy)


def test_releases_share_a_database_while_servers_and_workers_are_replaced(installation: Installation) -> None:
    previous, following = installation.previous, installation.following
    with _worker(previous), ThreadPoolExecutor(1) as thread:
        # The previous release accepts and scores files before, while and after the next one migrates the database.
        installation.send(previous)
        sending = thread.submit(lambda: [installation.send(previous) for _ in range(10)])
        migrated = following.run("migrate")
        assert (migrated.returncode, migrated.stderr) == (0, "")
        sending.result()
        following.start()
        installation.send(following)
        installation.assert_all_scored_once(previous)
    with _worker(following):
        installation.send(previous)
        installation.send(following)
        installation.assert_all_scored_once(following)
    # A supervisor can start processes of the previous release again.
    previous.process.kill()
    previous.process.wait()
    previous.start()
    with _worker(previous), _worker(following):
        for server in (previous, following) * 4:
            installation.send(server)
        installation.assert_all_scored_once(previous)
        for server in (previous, following):
            installation.wait_until_all_listed(server)


def test_previous_release_works_alone_on_the_next_schema(installation: Installation, tmp_path: Path) -> None:
    previous, following = installation.previous, installation.following
    following.start()  # migrates
    kept = installation.send(following)
    assert following.stop() == 0
    with previous.database.write() as session:
        session.execute(text("INSERT INTO remark VALUES (:id)"), {"id": kept})
    assert previous.stop() == 0
    previous.start()
    noticed = run_in_process(previous, "migrate")
    assert noticed.exit_code == 0
    assert f"schema {EXPANDED} of a later release" in noticed.stderr
    with _worker(previous):
        installation.send(previous)
        installation.assert_all_scored_once(previous)
    refused = run_in_process(previous, "backup", str(tmp_path / "backup"))
    assert (refused.exit_code, f"schema {EXPANDED} of a later release" in refused.stderr) == (2, True)
    assert (
        run_in_process(previous, "user", "delete", "ada", "--yes").exit_code == 0
    )  # with rows that only the next release knows


def test_schema_that_the_previous_release_cannot_use(installation: Installation) -> None:
    previous, following = installation.previous, installation.following
    assert following.run("migrate").returncode == 0
    (following.root / f"alembic/versions/{CONTRACTED}_later.py").write_text(
        HEADER.format(CONTRACTED, EXPANDED) + CONTRACTING
    )
    refused = following.run("migrate")
    assert refused.returncode == 2
    assert f"a server or worker of an earlier release, of schema {HEAD}, uses it" in refused.stderr
    installation.send(previous)
    assert previous.stop() == 0
    assert following.run("migrate").returncode == 0
    reason = f"The database has schema {CONTRACTED} of a later release, which this release cannot use"
    started = previous.run("serve", "--port", "0")
    assert (started.returncode, reason in started.stderr) == (2, True), started.stderr
    for command in ("work", "doctor"):
        ended = run_in_process(previous, command)
        assert (ended.exit_code, reason in ended.stderr) == (2, True), ended.stderr
