"""The database moves from SQLite to PostgreSQL and back: every value arrives, and a killed or refused move changes nothing."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import closing
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import delete, select, text, update
from sqlalchemy.exc import IntegrityError

from app.accounts import users
from app.db import copying, migration
from app.db.accounts import Audit, Token, User
from app.db.base import Base
from app.db.migration import upgrade
from app.db.models import Attribution, Benchmark, Evaluation, Event, File, Measurement, Submission, Version
from app.db.sessions import Database
from tests.app.moving import dump, fill, is_empty, literals, move, moved, opened
from tests.app.service import ROOT

if TYPE_CHECKING:
    from pathlib import Path

    from sqlalchemy.orm import Session

    from tests.app.benchmarks import Example
    from tests.app.test_filled_migrations import FilledDatabase
    from tests.postgresql import Cluster


@pytest.fixture
def filled(tmp_path: Path, toy: Example) -> FilledDatabase:
    """A database with rows in every table and values in every column."""
    return fill(tmp_path, toy)


def test_every_row_arrives_on_postgresql_and_comes_back(
    filled: FilledDatabase, cluster: Cluster, tmp_path: Path
) -> None:
    before, typed = literals(filled), dump(filled.url)
    assert all(before.values())
    there, back = cluster.create(), tmp_path / "back.sqlite3"
    printed = moved(tmp_path, filled.url, there)
    assert dump(there) == typed
    moved(tmp_path, there, f"sqlite:///{back}")
    assert literals(opened(back)) == before
    opened(back).assert_sound()
    assert back.stat().st_mode & 0o777 == 0o600
    assert (literals(filled), dump(there)) == (before, typed), "the sources are kept"
    for name, rows in before.items():
        assert f"{name} {len(rows)}" in [" ".join(line.split()) for line in printed.splitlines()]
    assert f"Moved {sum(map(len, before.values()))} rows of {len(before)} tables" in printed


def test_every_table_of_the_schema_has_a_model_that_is_copied(tmp_path: Path) -> None:
    # In a process of its own: other tests import modules that define tables.
    printing = "from app.db.copying import tables; print(*sorted(table.name for table in tables()))"
    named = subprocess.run([sys.executable, "-c", printing], cwd=ROOT, capture_output=True, text=True, check=True)
    upgrade(url := f"sqlite:///{tmp_path / 'new.sqlite3'}")
    with closing(Database(url)) as database, database.read() as session:
        found = session.scalars(text("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")).all()
        assert copying.unknown_columns(session.connection()) == []
    assert named.stdout.split() == sorted({*found} - {migration.VERSION_TABLE})


def test_table_without_a_model_stops_the_move(
    filled: FilledDatabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = {name: table for name, table in Base.metadata.tables.items() if name != "seen_jti"}
    monkeypatch.setattr(copying, "known_tables", lambda: known)
    target = f"sqlite:///{tmp_path / 'new.sqlite3'}"
    done = move(tmp_path, filled.url, target)
    assert (done.exit_code, "This release has no model of seen_jti" in done.stderr) == (2, True)
    assert is_empty(target)


def test_table_of_other_software_is_named_and_stays(filled: FilledDatabase, tmp_path: Path) -> None:
    filled.execute("CREATE TABLE notes (body TEXT)")
    filled.execute('ALTER TABLE "user" ADD COLUMN shoe_size INTEGER')
    printed = moved(tmp_path, filled.url, f"sqlite:///{tmp_path / 'new.sqlite3'}")
    assert "Not moved, because LDSBoard has no such tables or columns: notes, user.shoe_size." in printed


TEXTS = [
    "",
    " ",
    "O'Brien \\ %s :name",
    "ß ñ 漢字 🙂 \u200f",
    "line\r\nline\ttab",
    "\x01\x1f\x7f",
    "e\u0301 \u00e9",
    "\ufffe\uffff",
]
NUMBERS = [float("inf"), float("-inf"), 5e-324, -2.2250738585072009e-308, 1.7976931348623157e308, 0.1, 1 / 3, 2.0**53]
DOCUMENTS = [
    '{"a": 1, "a": 2}', "null", "[]", '{"n": 12345678901234567890123, "x": 1e400, "y": -0.0, "z": 1.10}',
    '{"nul": "\\u0000", "pair": "\\ud83d\\ude42", "é": "\\u00e9"}', '  {"spaces" :  1 }',
]  # fmt: skip
TIMES = [
    datetime(1, 1, 1, tzinfo=UTC),
    datetime(2026, 3, 29, 1, 30, 0, 1, tzinfo=UTC),
    datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC),
]


def add_odd_values(session: Session) -> None:
    """Add rows whose texts, numbers, times, JSON and bytes are hard to copy."""
    session.add(Benchmark(name="toy", current_version=1))
    session.flush()
    session.add(User(id=2**31 - 2, name="ada", ranked_per_day=-(2**31), ban=None))
    session.add(Version(benchmark_id=1, version=2**31 - 1, manifest={"split": "protected"}, scorer_version=0))
    session.flush()
    session.add(File(sha256="0" * 64, size=2**63 - 1, references=1))
    for number, odd in enumerate(TEXTS):
        session.add(Token(id=number + 1, user_id=2**31 - 2, name=odd, digest=str(number), scopes=[odd]))
    for number, document in enumerate(DOCUMENTS):
        name = f"{number:016}"
        session.add(Submission(id=name, user_id=2**31 - 2, version_id=1, kind="ranked", method="m", title="", size=0))
        session.flush()
        # As text: SQLAlchemy would write its own JSON.
        session.execute(text("UPDATE submission SET cost = :cost WHERE id = :id"), {"cost": document, "id": name})
    session.execute(update(Submission).where(Submission.id == f"{0:016}").values(cost=text("NULL")))
    for number, seconds in enumerate(NUMBERS):
        session.add(
            Evaluation(id=number + 1, submission_id=f"{0:016}", version_id=1, scorer_version=number, seconds=seconds)
        )
    session.flush()
    names = ("std_error", "ci_low", "ci_high", "mean_p", "z_random", "p_random", "grid_loss")
    session.add(
        Measurement(
            evaluation_id=1,
            part="public",
            lds=-1.5,
            constant_predictions=0,
            warnings=[],
            influence=bytes(range(256)),
            per_target=b"",
            **dict(zip(names, NUMBERS, strict=False)),
        )
    )
    session.add(
        Attribution(evaluation_id=1, target=0, examples=b"\0", scores=b"\\x00'", predictions=os.urandom(200_000))
    )
    session.add_all(Event(submission_id=f"{0:016}", after="x", at=moment) for moment in TIMES)


@pytest.mark.parametrize("backend", ["sqlite", "postgresql"])
def test_odd_values_arrive_equal(backend: str, cluster: Cluster, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    urls = {"sqlite": f"sqlite:///{tmp_path / 'data/odd.sqlite3'}", "postgresql": cluster.create()}
    source = urls.pop(backend)
    upgrade(source)
    with closing(Database(source)) as database, database.write() as session:
        add_odd_values(session)
    before = dump(source)
    assert [len(before[name]) for name in ("token", "submission", "evaluation", "event")] == [8, 6, 8, 3]
    (target,) = urls.values()
    moved(tmp_path, source, target)
    assert dump(target) == before == dump(source)


def test_more_rows_than_a_batch(cluster: Cluster, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    upgrade(source := f"sqlite:///{tmp_path / 'data/many.sqlite3'}")
    with closing(Database(source)) as database, database.write() as session:
        session.add_all(User(name=f"user-{number}") for number in range(2 * copying.BATCH + 1))
    moved(tmp_path, source, target := cluster.create())
    assert dump(target) == dump(source)


def test_digits_of_floats_arrive_although_the_operator_chose_fewer(cluster: Cluster, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    source, name = cluster.create(), ""
    with closing(Database(source)) as database, database.write() as session:
        name = session.scalar(text("SELECT current_database()")) or ""
        session.execute(text(f"ALTER DATABASE {name} SET extra_float_digits = 0"))
        add_odd_values(session)
    moved(tmp_path, source, target := f"sqlite:///{tmp_path / 'new.sqlite3'}")
    with closing(Database(target)) as database, database.read() as session:
        assert session.scalars(select(Evaluation.seconds).order_by(Evaluation.id)).all() == NUMBERS


def test_sqlite_gets_zero_for_negative_zero_and_refuses_nan(cluster: Cluster, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    source, target = cluster.create(), f"sqlite:///{tmp_path / 'new.sqlite3'}"
    with closing(Database(source)) as database:
        with database.write() as session:
            add_odd_values(session)
            session.execute(update(Evaluation).where(Evaluation.id == 2).values(seconds=float("nan")))
            session.execute(update(Evaluation).where(Evaluation.id == 1).values(seconds=-0.0))
        refused = move(tmp_path, source, target)
        assert refused.exit_code == 2
        assert "table evaluation, row id = 2, column seconds: NaN, which SQLite cannot store" in refused.stderr
        assert not (tmp_path / "new.sqlite3").exists()
        with database.write() as session:
            session.execute(update(Evaluation).where(Evaluation.id == 2).values(seconds=None))
    moved(tmp_path, source, target)
    with closing(Database(target)) as database, database.read() as session:
        assert session.scalars(select(Evaluation.seconds).order_by(Evaluation.id)).all()[:2] == [0.0, None]


def test_next_rows_and_rules_work_on_the_target(filled: FilledDatabase, cluster: Cluster, tmp_path: Path) -> None:
    filled.execute("DELETE FROM provenance")
    moved(tmp_path, filled.url, target := cluster.create())
    with closing(Database(target)) as database:
        with database.write() as session:
            largest = {name: session.scalars(text(f'SELECT max(id) FROM "{name}"')).one() for name in ("user", "audit")}  # noqa: S608
            added = [users.add_user(session, "next"), Audit(actor="ada", action="x", subject="y")]
            session.add(added[1])
            session.flush()
            assert [each.id for each in added] == [largest["user"] + 1, largest["audit"] + 1]  # type: ignore[attr-defined]
            assert session.scalar(text("SELECT nextval('provenance_id_seq')")) == 1
        for change in (update(Audit).values(actor="eve"), delete(User), text('UPDATE file SET "references" = 0')):
            with pytest.raises(IntegrityError), database.write() as session:
                session.execute(change)
