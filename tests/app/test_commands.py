"""The operator's commands, called inside the test process; the acceptance tests run them in a shell."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from contextlib import ExitStack
from typing import TYPE_CHECKING

import httpx
import pytest
from sqlalchemy import select
from typer.testing import CliRunner

from app.__main__ import cli
from app.accounts.users import authenticate
from app.db.accounts import Token, User
from app.db.sessions import Database
from app.settings import Settings
from ldsboard.core.kernel import ROUTE_VARIABLE, choose_route
from tests.app.ports import reserved_port
from tests.app.service import PATIENCE_SECONDS, ROOT, Service, until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from typer.testing import Result

    from tests.app.benchmarks import Example


@pytest.fixture
def data_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LDSBOARD_DATA_DIR", str(tmp_path / "data"))
    return tmp_path / "data"


@pytest.fixture
def opened(data_dir: Path) -> Iterator[Database]:
    assert _run("migrate").exit_code == 0
    database = Database(Settings(data_dir=data_dir).resolved_database_url)
    yield database
    database.close()


def _run(*arguments: str) -> Result:
    return CliRunner().invoke(cli, arguments)


def test_migrate_creates_a_private_data_folder(data_dir: Path) -> None:
    for _ in range(2):
        assert _run("migrate").exit_code == 0
    assert (data_dir / "ldsboard.sqlite3").is_file()
    assert data_dir.stat().st_mode & 0o077 == 0


def test_user_add_creates_one_user_and_updates_quotas(opened: Database) -> None:
    assert _run("user", "add", "alice").exit_code == 0
    assert _run("user", "add", "alice", "--ranked-per-day", "9").exit_code == 0
    assert _run("user", "add", "alice", "--ranked-per-version", "99").exit_code == 0
    with opened.read() as session:
        users = session.scalars(select(User)).all()
    assert [(user.name, user.ranked_per_day, user.ranked_per_version) for user in users] == [("alice", 9, 99)]


@pytest.mark.parametrize("name", ["Alice", "=x", "", "a b", "../a", "a" * 65])
def test_invalid_user_name_is_rejected(opened: Database, name: str) -> None:
    result = _run("user", "add", "--", name)
    assert result.exit_code == 2
    assert f"{name!r} is not a user name. Use at most 64 lower-case letters, digits, '.', '_' and '-'" in result.stderr
    with opened.read() as session:
        assert session.scalar(select(User)) is None


def test_token_create_prints_only_the_token_and_stores_only_its_hash(opened: Database, data_dir: Path) -> None:
    _run("user", "add", "alice")
    result = _run("token", "create", "alice")
    assert result.exit_code == 0
    token = result.stdout.removesuffix("\n")
    assert token.startswith("ldsb_")
    assert token.isprintable()
    assert len(token) > 40
    with opened.read() as session:
        assert authenticate(session, f"Bearer {token}").name == "alice"
        assert token not in session.scalars(select(Token.digest)).all()
    opened.close()
    secret = token.removeprefix("ldsb_").encode()
    assert not any(secret in path.read_bytes() for path in data_dir.rglob("*") if path.is_file())


def test_token_create_rejects_an_unknown_user(opened: Database) -> None:
    result = _run("token", "create", "nobody")
    assert result.exit_code == 2
    assert "-m app user add nobody" in result.stderr
    assert result.stdout == ""
    with opened.read() as session:
        assert session.scalar(select(Token)) is None


def test_benchmarks_are_published_once_and_listed(
    data_dir: Path, toy: Example, open_toy: Example, tmp_path: Path
) -> None:
    for example in (toy, open_toy):
        assert _run("benchmark", "publish", str(example.folder)).stdout == (
            f"Published {example.name} version 1 in the data folder {data_dir}.\n"
        )
    assert _run("benchmark", "list").stdout == (
        "open-toy version 1, open, 0 entries\ntoy version 1, protected, 0 entries\n"
    )
    again = _run("benchmark", "publish", str(toy.folder))
    assert again.exit_code == 2
    assert "toy version 1 is published already" in again.stderr
    nothing = _run("benchmark", "publish", str(tmp_path / "nothing"))
    assert nothing.exit_code == 2
    assert "Cannot read the benchmark manifest" in nothing.stderr
    assert data_dir.is_dir()


@pytest.mark.parametrize(("queued", "printed"), [(1, "Queued: 1 rescoring. "), (2, "Queued: 2 rescorings. ")])
def test_rescore_prints_the_number_of_rescorings(
    opened: Database, monkeypatch: pytest.MonkeyPatch, queued: int, printed: str
) -> None:
    del opened
    monkeypatch.setattr("app.scoring.rescoring.queue_rescorings", lambda _: queued)
    assert _run("rescore").stdout.startswith(printed)


@pytest.mark.server
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_server_stops_on_signal_without_log_output(tmp_path: Path, number: signal.Signals) -> None:
    with Service(tmp_path) as service:
        assert service.stop(number) in {0, -number}
        assert service.log.read_text() == (
            f"The site is at {service.url}. Press Ctrl-C to stop the server.\nScores are added with {choose_route()}.\n"
        )


@pytest.mark.server
@pytest.mark.parametrize("command", ["serve --port 0", "benchmark publish {}"])
def test_unknown_route_is_a_usage_error(command: str, tmp_path: Path, toy: Example) -> None:
    environment = os.environ | {"LDSBOARD_DATA_DIR": str(tmp_path), ROUTE_VARIABLE: "abacus"}
    ended = subprocess.run(
        [sys.executable, "-m", "app", *command.format(toy.folder).split()],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 2, ended.stderr
    assert "Traceback" not in ended.stderr
    said = " ".join(ended.stderr.split())
    assert (
        "LDSBOARD_PRODUCT: expected auto, avx512, avx2, portable or blas, got 'abacus'. Unset LDSBOARD_PRODUCT." in said
    )


@pytest.mark.server
def test_port_0_listens_on_a_free_port_and_prints_it(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "app", "serve", "--port", "0"]
    environment = os.environ | {"LDSBOARD_DATA_DIR": str(tmp_path)}
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        try:
            message = re.fullmatch(
                r"The site is at (http://localhost:[1-9][0-9]*)\. Press Ctrl-C to stop the server\.\n",
                server.stdout.readline(),
            )
            assert message is not None
            # The server listens already; the request waits until the start is complete.
            assert httpx.get(f"{message[1]}/readyz", timeout=PATIENCE_SECONDS, trust_env=False).is_success
        finally:
            server.send_signal(signal.SIGINT)
    assert server.returncode in {0, -signal.SIGINT}


@pytest.mark.server
def test_second_server_on_the_same_port_reports_that_it_is_taken(tmp_path: Path) -> None:
    with reserved_port() as port, ExitStack() as ending:
        servers = []
        for name in ("first", "second"):
            command = [sys.executable, "-m", "app", "serve", "--port", str(port)]
            environment = os.environ | {"LDSBOARD_DATA_DIR": str(tmp_path / name)}
            servers.append(subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True))
            ending.enter_context(servers[-1])
            ending.callback(servers[-1].kill)
        until(lambda: any(server.poll() is not None for server in servers), "the exit of one server")
        (refused,) = (server for server in servers if server.poll() is not None)
        assert refused.returncode == 2
        assert refused.stderr is not None
        assert f"Cannot listen on 127.0.0.1:{port}" in refused.stderr.read()
        assert httpx.get(f"http://localhost:{port}/healthz", timeout=PATIENCE_SECONDS, trust_env=False).is_success


def test_demo_rejects_port_0() -> None:
    refused = _run("demo", "--port", "0")
    assert refused.exit_code == 2
    assert "greater than or equal to 1" in refused.stderr


def test_existing_user_becomes_admin_only_with_promote(opened: Database) -> None:
    assert _run("user", "add", "stranger").exit_code == 0
    refused = _run("user", "add", "stranger", "--role", "admin")
    assert refused.exit_code == 2
    assert "add --promote if you know this user" in refused.stderr

    def role() -> str:
        with opened.read() as session:
            return session.scalars(select(User.role).where(User.name == "stranger")).one()

    assert role() == "user"
    assert _run("user", "add", "stranger", "--role", "admin", "--promote").exit_code == 0
    assert role() == "admin"
    assert _run("user", "add", "stranger", "--role", "admin").exit_code == 0
    assert _run("user", "add", "newcomer", "--role", "admin").exit_code == 0
