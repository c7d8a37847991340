"""Both kinds of database: addresses, migrations, one writer at a time, snapshots, the audit log, and large files."""

from __future__ import annotations

import os
import threading
from contextlib import closing
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from sqlalchemy import delete, func, insert, select, text, update
from sqlalchemy.exc import DatabaseError, DataError, IntegrityError, OperationalError

from app.accounts import users
from app.database_url import database_url
from app.db import presence
from app.db.accounts import Audit, User
from app.db.base import Base, now
from app.db.database_errors import is_away, is_busy
from app.db.migration import SCRIPTS, MigrationError, is_own_table, upgrade
from app.db.models import File
from app.db.presence import Presence, Use
from app.db.sessions import Database
from tests.app.service import until

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from tests.postgresql import Cluster

pytestmark = pytest.mark.database

OWN = {"include_name": is_own_table}
"""Options of Alembic: the tables of procrastinate do not belong to the models."""


def steady_revision(database: Database) -> int:
    """Return the revision, once a connection watches for commits."""
    until(lambda: database.revision() == database.revision(), "a steady revision")
    return database.revision()


def address(database: Database) -> str:
    return database.engine.url.render_as_string(hide_password=False)


def test_postgresql_is_migrated_to_the_models_and_back(cluster: Cluster) -> None:
    url = cluster.create()
    config = Config()
    config.set_main_option("script_location", str(SCRIPTS))
    config.set_main_option("sqlalchemy.url", url.replace("%", "%%"))
    with closing(Database(url)) as database:
        for turn in range(2):
            with database.engine.connect() as connection:
                assert list(compare_metadata(MigrationContext.configure(connection, opts=OWN), Base.metadata)) == []
            if turn == 0:
                command.downgrade(config, "base")
                command.upgrade(config, "head")


def test_second_process_waits_for_the_writer(database: Database) -> None:
    # Two connection pools are two processes for the database: each has its own lock for its own threads.
    with closing(Database(address(database))) as other:
        entered, name = threading.Event(), "ada"
        found: list[bool] = []

        def add_user() -> None:
            entered.set()
            with other.write() as session:
                found.append(session.scalar(select(User.id).where(User.name == name)) is not None)

        thread = threading.Thread(target=add_user)
        with database.write() as session:
            users.add_user(session, name)  # the first statement takes the write lock
            thread.start()
            entered.wait()
        thread.join()
        assert found == [True], "the second writer sees what the first has committed"


def test_writer_that_waits_too_long_is_told_that_the_database_is_busy(database: Database) -> None:
    with closing(Database(address(database), busy_seconds=0.05)) as impatient, database.write() as session:
        users.add_user(session, "ada")
        with pytest.raises(OperationalError) as refused, impatient.write() as late:
            users.add_user(late, "bob")
        assert (is_busy(refused.value), is_away(refused.value)) == (True, False)


def test_connection_that_postgresql_ends_says_that_the_database_is_away(cluster: Cluster) -> None:
    with closing(Database(cluster.create())) as database, database.read() as session:
        pid = session.scalar(text("SELECT pg_backend_pid()"))
        with database.read() as other:
            other.execute(text("SELECT pg_terminate_backend(:pid)"), {"pid": pid})
        with pytest.raises(OperationalError) as ended:
            session.execute(text("SELECT 1"))
    assert (is_busy(ended.value), is_away(ended.value)) == (False, True)


def test_reading_session_keeps_its_snapshot(database: Database) -> None:
    count = select(func.count()).select_from(User)
    with database.read() as reading:
        assert reading.scalar(count) == 0
        with database.write() as session:
            users.add_user(session, "ada")
        assert reading.scalar(count) == 0
    with database.read() as reading:
        assert reading.scalar(count) == 1


def test_commit_of_this_process_changes_the_revision_at_once(database: Database) -> None:
    before = steady_revision(database)
    with database.write() as session:
        users.add_user(session, "ada")
    after = database.revision()
    assert after != before
    with database.read() as session:
        assert session.scalar(select(func.count()).select_from(User)) == 1
    assert database.revision() == after


def test_lost_connection_to_postgresql_counts_as_a_commit(cluster: Cluster) -> None:
    with closing(Database(cluster.create())) as database, closing(Database(address(database))) as other:
        before = steady_revision(database)
        others = "datname = current_database() AND pid <> pg_backend_pid()"
        ended = f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {others}"  # noqa: S608 -- a literal
        with other.writer.connect() as connection:
            connection.exec_driver_sql(ended)
        until(lambda: database.revision() != before, "a new revision")
        steady_revision(database)  # a connection listens again
        with database.write() as session:  # connections of the pool are checked before they are used
            users.add_user(session, "ada")


def test_commit_of_another_process_changes_the_revision(database: Database) -> None:
    before = steady_revision(database)
    with closing(Database(address(database))) as other, other.write() as session:
        users.add_user(session, "ada")
    until(lambda: database.revision() != before, "a new revision")
    after = database.revision()
    assert database.revision() == after
    with closing(Database(address(database))) as other, other.write() as session:
        session.execute(select(User)).all()
    with database.write() as session:
        session.execute(select(User)).all()
    assert database.revision() == after, "a transaction that changes nothing leaves caches as they are"


def test_writer_sees_what_was_committed_while_it_waited(cluster: Cluster) -> None:
    url = cluster.create()
    with closing(Database(url)) as database, closing(Database(url)) as other:
        with database.write() as session:
            name = session.connection().exec_driver_sql("SELECT current_database()").scalar()
            session.connection().exec_driver_sql(
                f"ALTER DATABASE {name} SET default_transaction_isolation = 'repeatable read'"
            )
        with database.write() as session:
            users.add_user(session, "ada")
            waiting = threading.Thread(target=lambda: seen.append(_count_users(other)))
            seen: list[int | None] = []
            waiting.start()
            with database.read() as watching:
                query = "SELECT 1 FROM pg_stat_activity WHERE wait_event = 'advisory' AND datname = current_database()"
                connection = watching.connection()
                until(lambda: _fresh(connection, query), "a writer that waits")
        waiting.join()
        assert seen == [1]


def _count_users(database: Database) -> int | None:
    with database.write() as session:
        return session.scalar(select(func.count()).select_from(User))


def _fresh(connection: Connection, query: str) -> object:
    """Return the first row of a query about the activity of the server, which is otherwise the same for a whole transaction."""
    connection.exec_driver_sql("SELECT pg_stat_clear_snapshot()")
    return connection.exec_driver_sql(query).first()


def test_second_server_of_a_database_is_refused(cluster: Cluster) -> None:
    url = cluster.create()
    with closing(Database(url)) as database:
        with closing(Presence(database, Use.ALONE)), pytest.raises(RuntimeError, match="Another server or worker uses"):
            Presence(database, Use.ALONE)
        Presence(database, Use.ALONE).close()


def test_only_servers_and_workers_have_a_longest_pause_within_a_transaction(cluster: Cluster) -> None:
    shown = text("SHOW idle_in_transaction_session_timeout")
    for serving, limit in ((True, "1min"), (False, "0")):
        with closing(Database(cluster.create(), serving=serving)) as database:
            with database.write() as session:
                assert session.scalar(shown) == limit
            with database.read() as session:  # ranks are computed for longer within it
                assert session.scalar(shown) == "0"


def _listed(database: Database) -> list[presence.Process]:
    with database.read() as session:
        return presence.processes(session)


def test_processes_that_use_a_database_are_listed(cluster: Cluster) -> None:
    with closing(Database(cluster.create())) as database, closing(Database(cluster.create())) as elsewhere:
        opened = [Presence(database, use) for use in (Use.SERVER, Use.WORKER, Use.SERVER)]
        other = Presence(elsewhere, Use.WORKER)
        assert opened[2].leads()
        assert [(each.use, each.pid, each.leads) for each in _listed(database)] == [
            ("server", str(os.getpid()), False),
            ("server", str(os.getpid()), True),
            ("worker", str(os.getpid()), False),
        ]
        for each in (*opened, other):
            each.close()
        until(lambda: _listed(database) == [], "a database that nobody uses")


@pytest.mark.parametrize("encoding", ["SQL_ASCII", "LATIN1"])
def test_database_with_another_encoding_is_not_migrated(cluster: Cluster, encoding: str) -> None:
    url = cluster.create(f"template0 ENCODING '{encoding}'")
    with pytest.raises(MigrationError, match=f"has the encoding {encoding}"):
        upgrade(url)


def test_audit_log_only_grows_for_a_year(database: Database) -> None:
    with database.write() as session:
        session.add_all(Audit(at=now(), actor="ada", action="x", subject=subject) for subject in "xy")
    for change in (update(Audit).values(actor="eve"), delete(Audit)):
        with pytest.raises(IntegrityError, match="the audit log"), database.write() as session:
            session.execute(change)
    with database.write() as session:
        session.add(Audit(at=now() - timedelta(days=366), actor="ada", action="x", subject="old"))
    with database.write() as session:
        session.execute(delete(Audit).where(Audit.subject == "old"))
    with database.read() as session:
        assert sorted(session.scalars(select(Audit.subject))) == ["x", "y"]


def test_size_of_a_file_can_exceed_32_bits(database: Database) -> None:
    with database.write() as session:
        session.add(File(sha256="0" * 64, size=2**40, references=1))
    with database.read() as session:
        assert session.scalar(select(File.size)) == 2**40


def test_text_with_nul_is_refused(database: Database) -> None:
    with pytest.raises(DataError), database.write() as session:
        session.add(Audit(at=now(), actor="a\0b", action="x", subject="y"))
    with pytest.raises(DataError), database.write() as session:
        session.execute(insert(Audit), [{"actor": name, "action": "x", "subject": "y"} for name in ("a", "\0")])
    with pytest.raises(DataError), database.write() as session:  # one statement with several rows
        session.add_all(Audit(at=now(), actor=name, action="x", subject="y") for name in ("a", "b\0", "c"))
    with pytest.raises(DataError), database.read() as session:
        session.scalar(select(User).where(User.name == "\0"))
    with database.write() as session:
        session.add(Audit(at=now(), actor="\1", action="x", subject="y", detail={"a": "\0"}))
    with database.read() as session:
        assert [(row.actor, row.detail) for row in session.scalars(select(Audit))] == [("\1", {"a": "\0"})]


def test_reading_session_on_postgresql_cannot_write(cluster: Cluster) -> None:
    with (
        closing(Database(cluster.create())) as database,
        pytest.raises(DatabaseError, match="read-only transaction"),
        database.read() as session,
    ):
        users.add_user(session, "ada")


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg"])
def test_address_with_an_odd_password(scheme: str) -> None:
    url = database_url(f"{scheme}://ada:p%40%3A%2F%25@db.example.org:5433/lds")
    assert (url.username, url.password, url.host, url.port, url.database) == (
        "ada", "p@:/%", "db.example.org", 5433, "lds",
    )  # fmt: skip
    assert url.get_backend_name() == "postgresql"
    assert url.get_driver_name() == "psycopg"


@pytest.mark.parametrize("rest", ["ada@db/lds?password=secret", "ada@db/lds?sslpassword=secret", "ada:a@secret@db/lds"])
def test_password_that_messages_would_show_is_refused(rest: str) -> None:
    with pytest.raises(ValueError, match=r"write the password before the host|must be written as %40") as refused:
        database_url(f"postgresql://{rest}")
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize("text", ["mysql://ada:secret@db/lds", "postgresql+asyncpg://ada:secret@db/lds", "secret"])
def test_other_databases_are_refused_without_repeating_the_password(text: str) -> None:
    with pytest.raises(ValueError, match="sqlite:///PATH or postgresql://") as refused:
        database_url(text)
    assert "secret" not in str(refused.value)
