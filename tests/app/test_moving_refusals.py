"""A move of the database that is refused, killed or impossible changes nothing, and the hints of the refusals work."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import select, text

from app.accounts import users
from app.data_lock import lock_data_folder
from app.database_url import database_url
from app.db.accounts import Token
from app.db.migration import upgrade
from app.db.models import Event
from app.db.presence import Presence, Use
from app.db.sessions import Database
from tests.app.moving import dump, fill, is_empty, literals, move, moved
from tests.app.ports import reserved_port
from tests.app.service import ROOT
from tests.app.test_filled_migrations import REVISIONS, migrate

if TYPE_CHECKING:
    from tests.app.benchmarks import Example
    from tests.app.test_filled_migrations import FilledDatabase
    from tests.postgresql import Cluster

PASSWORD = "s3cret@:/%"


@pytest.fixture
def filled(tmp_path: Path, toy: Example) -> FilledDatabase:
    """A database with rows in every table and values in every column."""
    return fill(tmp_path, toy)


def refusal(folder: Path, source: str, target: str, *options: str) -> str:
    """Return the error of a move that is refused, without line breaks."""
    done = move(folder, source, target, *options)
    assert (done.exit_code, done.stdout) == (2, "")
    return " ".join(done.stderr.split())


def paste(command: str, folder: Path, source: str) -> subprocess.CompletedProcess[str]:
    """Run a printed command in a shell, with the settings of `move`."""
    environment = os.environ | {"LDSBOARD_DATA_DIR": str(folder / "data"), "LDSBOARD_DATABASE_URL": source}
    environment["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), environment["PATH"]])
    return subprocess.run(
        ["/bin/bash", "-c", command], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )


def of_ordinary_user(url: str) -> str:
    """Give a database to a user who may create no databases; return its address for this user. `postgres` may create some."""
    address = database_url(url)
    with closing(Database(url)) as database, database.write() as session:
        for role in ("postgres SUPERUSER", "board"):
            if session.scalar(text("SELECT to_regrole(:name)"), {"name": role.split()[0]}) is None:
                session.execute(text(f"CREATE ROLE {role} LOGIN"))
        session.execute(text(f"ALTER DATABASE {address.database} OWNER TO board"))
        for each in session.scalars(text("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")).all():
            session.execute(text(f'ALTER TABLE "{each}" OWNER TO board'))
    return address.set(username="board").render_as_string(hide_password=False)


def hinted(message: str) -> str:
    """Return the command at the end of a message."""
    return message.rsplit(": ", 1)[1]


def test_running_server_is_not_moved(filled: FilledDatabase, tmp_path: Path, cluster: Cluster) -> None:
    target = f"sqlite:///{tmp_path / 'new.sqlite3'}"
    with lock_data_folder(tmp_path / "data"):
        assert "A server or a worker uses the data folder" in refusal(tmp_path, filled.url, target)
    with closing(Database(used := cluster.create())) as server:
        for use in Use:  # on another machine, with another data folder
            with closing(Presence(server, use)):
                assert "A server or a worker uses the database. Stop all servers and workers" in refusal(
                    tmp_path, used, target
                )
                assert "A server or a worker uses the target" in refusal(tmp_path, filled.url, used)
    assert not (tmp_path / "new.sqlite3").exists()
    assert is_empty(used)
    moved(tmp_path, filled.url, used)


def test_server_of_another_data_folder_is_not_moved(filled: FilledDatabase, tmp_path: Path) -> None:
    (tmp_path / "wrong" / "data").mkdir(parents=True)
    target = f"sqlite:///{tmp_path / 'new.sqlite3'}"
    with lock_data_folder(tmp_path / "data"):
        message = refusal(tmp_path / "wrong", filled.url, target)
        assert f"A server or a worker uses the data folder {tmp_path / 'data'}." in message
        upgrade(other := f"sqlite:///{tmp_path / 'other.sqlite3'}")
        message = refusal(tmp_path / "wrong", other, f"sqlite:///{tmp_path / 'data' / 'empty.sqlite3'}")
        assert f"A server or a worker uses the data folder {tmp_path / 'data'}." in message
    assert "There is no data folder" in refusal(tmp_path / "missing", filled.url, target)
    assert not (tmp_path / "missing").exists()
    assert not (tmp_path / "new.sqlite3").exists()
    moved(tmp_path, filled.url, target)


def test_target_that_cannot_be_used_is_named(filled: FilledDatabase, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no database" * 1000)
    message = refusal(tmp_path, filled.url, f"sqlite:///{tmp_path / 'notes.txt'}")
    assert message == f"Error: The target {tmp_path / 'notes.txt'} cannot be used: file is not a database"
    with reserved_port() as port:
        message = refusal(tmp_path, filled.url, f"postgresql://ada:{PASSWORD[:6]}@localhost:{port}/board")
    assert f"The target postgresql://ada@localhost:{port}/board cannot be used: connection" in message
    assert PASSWORD[:6] not in message


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_target_with_rows_is_refused_until_the_hint_is_followed(
    kind: str, filled: FilledDatabase, cluster: Cluster, tmp_path: Path
) -> None:
    target = f"sqlite:///{tmp_path / 'new.sqlite3'}" if kind == "sqlite" else of_ordinary_user(cluster.create())
    upgrade(target)
    with closing(Database(target)) as database, database.write() as session:
        users.add_user(session, "ada")
    before = dump(target)
    message = refusal(tmp_path, filled.url, target)
    assert "The target holds 1 row in user. A target must be empty." in message
    assert dump(target) == before
    done = paste(hinted(message), tmp_path, filled.url)
    assert done.returncode == 0, done.stderr
    if kind == "sqlite":
        assert dump(f"sqlite:///{tmp_path / 'new-2.sqlite3'}") == dump(filled.url)
    else:
        url = database_url(target)
        moved(tmp_path, filled.url, str(url.set(database=f"{url.database}_new")))


def test_target_with_rows_of_other_software_is_refused(
    filled: FilledDatabase, tmp_path: Path, cluster: Cluster
) -> None:
    with closing(Database(target := cluster.create("template0"))) as database, database.write() as session:
        session.execute(text('CREATE TABLE "Notes" (body text)'))
        session.execute(text("INSERT INTO \"Notes\" VALUES ('x')"))
    assert "The target holds 1 row in Notes." in refusal(tmp_path, filled.url, target)
    with closing(Database(target)) as database, database.write() as session:
        session.execute(text('TRUNCATE "Notes"'))
    moved(tmp_path, filled.url, target)


def test_outdated_source_is_refused_until_it_is_migrated(filled: FilledDatabase, tmp_path: Path) -> None:
    filled.migrate(REVISIONS[-2], down=True)
    before = literals(filled)
    message = refusal(tmp_path, filled.url, f"sqlite:///{tmp_path / 'new.sqlite3'}")
    assert f"has revision {REVISIONS[-2]}, and this release has {REVISIONS[-1]}" in message
    assert literals(filled) == before
    assert paste(hinted(message), tmp_path, filled.url).returncode == 0
    moved(tmp_path, filled.url, f"sqlite:///{tmp_path / 'new.sqlite3'}")


def test_empty_target_of_an_older_release_is_migrated(filled: FilledDatabase, tmp_path: Path, cluster: Cluster) -> None:
    migrate(target := cluster.create(), REVISIONS[-2], down=True)
    moved(tmp_path, filled.url, target)
    assert dump(target) == dump(filled.url)


def test_schemas_of_other_releases_are_refused(filled: FilledDatabase, tmp_path: Path) -> None:
    newer, target = f"sqlite:///{tmp_path / 'newer.sqlite3'}", f"sqlite:///{tmp_path / 'new.sqlite3'}"
    upgrade(newer)
    with closing(Database(newer)) as database, database.write() as session:
        session.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    message = refusal(tmp_path, filled.url, newer)
    assert "The target has revision 9999 of another release" in message
    assert "The database has revision 9999 of another release" in refusal(tmp_path, newer, target)
    assert paste(hinted(message), tmp_path, filled.url).returncode == 0
    assert dump(f"sqlite:///{tmp_path / 'newer-2.sqlite3'}") == dump(filled.url)


def test_source_that_is_the_target_is_refused_until_the_hint_is_followed(
    filled: FilledDatabase, cluster: Cluster, tmp_path: Path
) -> None:
    # The operator has set the new address before the move.
    target = cluster.create()
    message = refusal(tmp_path, target, target)
    assert "LDSBOARD_DATABASE_URL names the target" in message
    done = paste(hinted(message), tmp_path, target)
    assert done.returncode == 0, done.stderr
    assert dump(target) == dump(filled.url)
    message = refusal(tmp_path, "", f"sqlite:///{tmp_path}/data/../data/ldsboard.sqlite3")
    assert "--database names the database that is to be moved." in message
    assert paste(hinted(message), tmp_path, "").returncode == 0


def test_missing_source_is_refused_and_not_created(tmp_path: Path, cluster: Cluster) -> None:
    (tmp_path / "data").mkdir()
    missing = tmp_path / "data/ldsboard.sqlite3"
    assert f"There is no database at {missing}" in refusal(tmp_path, "", f"sqlite:///{tmp_path / 'new.sqlite3'}")
    assert list((tmp_path / "data").iterdir()) == []
    assert "holds no tables of LDSBoard" in refusal(tmp_path, cluster.create("template0"), f"sqlite:///{missing}")


def test_missing_folder_of_the_target_is_refused_until_it_is_created(filled: FilledDatabase, tmp_path: Path) -> None:
    target = f"sqlite:///{tmp_path / 'a folder/new.sqlite3'}"
    assert paste(hinted(refusal(tmp_path, filled.url, target)), tmp_path, filled.url).returncode == 0
    moved(tmp_path, filled.url, target)


def test_target_with_another_encoding_is_refused(filled: FilledDatabase, tmp_path: Path, cluster: Cluster) -> None:
    target = of_ordinary_user(cluster.create("template0 ENCODING 'LATIN1'"))
    message = refusal(tmp_path, filled.url, target)
    assert "has the encoding LATIN1" in message
    assert paste(hinted(message), tmp_path, filled.url).returncode == 0
    url = database_url(target)
    moved(tmp_path, filled.url, str(url.set(database=f"{url.database}_new")))


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ("UPDATE token SET user_id = 99 WHERE id = 3", "row 3 of table token refers to a missing row of table user"),
        ("UPDATE token SET created_at = 5", "table token holds a value that cannot be read: fromisoformat"),
    ],
)
def test_damaged_source_is_refused(change: str, fault: str, filled: FilledDatabase, tmp_path: Path) -> None:
    filled.execute(change)
    message = refusal(tmp_path, filled.url, f"sqlite:///{tmp_path / 'new.sqlite3'}")
    assert f"The database is damaged: {fault}" in message
    assert fault in paste(hinted(message), tmp_path, filled.url).stdout


@pytest.mark.parametrize("target", ["sqlite://", "mysql://ada:secret@db/lds", "postgresql://db/lds?password=secret"])
def test_address_that_names_no_database_is_refused(filled: FilledDatabase, target: str, tmp_path: Path) -> None:
    message = refusal(tmp_path, filled.url, target)
    assert "--database" in message
    assert "secret" not in message


def test_nul_characters_are_named_and_replaced_on_demand(
    filled: FilledDatabase, cluster: Cluster, tmp_path: Path
) -> None:
    filled.execute("UPDATE token SET name = 'a' || char(0) || 'b' WHERE id IN (1, 3)")
    filled.execute("UPDATE token SET name = 'ab' WHERE id = 2")
    filled.execute("UPDATE idempotency SET key = char(0)")
    target = cluster.create()
    message = refusal(tmp_path, filled.url, target)
    for row in (
        "table token, row id = 1, column name",
        "table token, row id = 3, column name",
        "key = '\\x00', column key",
    ):
        assert f"{row}: a NUL character, which text may not have" in message
    assert is_empty(target)
    moved(tmp_path, filled.url, target, "--replace-nul")
    with closing(Database(target)) as database, database.read() as session:
        assert session.scalars(select(Token.name).where(Token.id < 4).order_by(Token.id)).all() == [
            "a\ufffdb",
            "ab",
            "a\ufffdb",
        ]


UNFIT = {
    "UPDATE token SET name = printf('%.65c', 'x') WHERE id = 2": "table token, row id = 2, column name: a text of 65 characters",
    'UPDATE "user" SET ranked_per_day = 2147483648 WHERE id = 2': "column ranked_per_day: 2147483648 is no integer of 32 bits",
    "UPDATE \"user\" SET ranked_per_day = 'x' WHERE id = 1": "column ranked_per_day: 'x' is no integer of 32 bits",
    'UPDATE "user" SET verified = 7 WHERE id = 2': "row id = 2, column verified: 7 is neither true nor false",
    "UPDATE evaluation SET seconds = 'x' WHERE id = 2": "table evaluation, row id = 2, column seconds: 'x' is no number",
    "UPDATE token SET digest = X'00' WHERE id = 2": "row id = 2, column digest: b'\\x00' is no text",
    "UPDATE attribution SET scores = 'x' WHERE evaluation_id = 3": "target = 0, column scores: 'x' is no binary value",
    'UPDATE "user" SET ban = \'{"a": NaN}\' WHERE id = 2': "row id = 2, column ban: '{\"a\": NaN}' is no JSON",
}
"""Changes of an SQLite file that PostgreSQL would refuse, and how the message names each."""


def test_values_that_postgresql_refuses_are_named(filled: FilledDatabase, cluster: Cluster, tmp_path: Path) -> None:
    for change in UNFIT:
        filled.execute(change)
    target = cluster.create()
    message = refusal(tmp_path, filled.url, target)
    assert [found for found in UNFIT.values() if found not in message] == []
    assert is_empty(target)


def test_many_unfit_values_are_counted(filled: FilledDatabase, cluster: Cluster, tmp_path: Path) -> None:
    with closing(Database(filled.url)) as database, database.write() as session:
        session.add_all(Event(submission_id="00000000000000a1", after="x", detail="") for _ in range(2000))
    filled.execute("UPDATE event SET detail = char(0) WHERE detail = ''")
    assert "and 1,990 more values Repeat the command with --replace-nul" in refusal(
        tmp_path, filled.url, cluster.create()
    )


def test_password_is_not_printed(filled: FilledDatabase, cluster: Cluster, tmp_path: Path) -> None:
    target = database_url(cluster.create()).set(password=PASSWORD).render_as_string(hide_password=False)
    assert PASSWORD not in (printed := moved(tmp_path, filled.url, target))
    assert "export LDSBOARD_DATABASE_URL='postgresql://ldsboard:PASSWORD@/" in printed
    message = refusal(tmp_path, filled.url, target)
    assert PASSWORD not in message
    assert "createdb --host=/" in message
    assert " --username=postgres --owner=ldsboard --template=template0 --encoding=UTF8 test_" in message
