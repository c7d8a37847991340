"""Settings are read from the environment, and unsafe values are rejected at the start."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import ValidationError
from typer.testing import CliRunner

from app.__main__ import cli, main
from app.db.tickets import Queue, note_ticket
from app.settings import Settings

if TYPE_CHECKING:
    from tests.app.service import Service
    from tests.postgresql import Cluster


def test_defaults_need_no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LDSBOARD_DATA_DIR", raising=False)
    settings = Settings()
    assert settings.data_dir == Path(".ldsboard")
    assert settings.resolved_database_url == f"sqlite:///{Path.cwd() / '.ldsboard' / 'ldsboard.sqlite3'}"
    assert settings.storage_dir == Path(".ldsboard/files")
    assert settings.benchmarks_dir == Path(".ldsboard/benchmarks")
    assert (settings.ranked_per_day, settings.ranked_per_version, settings.uploads_per_user) == (5, 30, 20)
    assert (settings.practice_per_day, settings.uploads_per_day, settings.edits_per_day) == (500, 1000, 1000)
    assert (settings.tokens_per_day, settings.tokens_per_user) == (200, 100)
    assert (settings.event_days, settings.practice_days, settings.audit_days) == (90, 180, 400)


def test_environment_variables_set_the_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LDSBOARD_DATA_DIR", "/srv/lds")
    monkeypatch.setenv("LDSBOARD_STORAGE_URL", "/mnt/scores")
    monkeypatch.setenv("LDSBOARD_PUBLIC_URL", "https://lds.example.org/")
    monkeypatch.setenv("LDSBOARD_RANKED_PER_DAY", "7")
    settings = Settings()
    assert settings.resolved_database_url == "sqlite:////srv/lds/ldsboard.sqlite3"
    assert settings.storage_dir == Path("/mnt/scores")
    assert settings.public_url == "https://lds.example.org"
    assert settings.ranked_per_day == 7


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("database_url", "mysql://localhost/lds"),
        ("database_url", "postgresql+asyncpg://localhost/lds"),
        ("database_url", "sqlite://"),
        ("database_url", "sqlite:///:memory:"),
        ("storage_url", "s3://bucket/prefix"),  # without credentials
        ("storage_url", "gs://bucket/prefix"),
        ("public_url", "lds.example.org"),
        ("public_url", "javascript:alert(1)"),
        ("max_upload_bytes", 0),
        ("max_upload_bytes", "2 GB"),
        ("ranked_per_day", -1),
        ("ranked_per_version", -1),
        ("bytes_per_user", -1),
        ("uploads_per_user", -1),
        ("practice_per_day", -1),
        ("uploads_per_day", -1),
        ("edits_per_day", -1),
        ("tokens_per_day", -1),
        ("tokens_per_user", -1),
        ("event_days", 6),
        ("practice_days", 6),
        ("audit_days", 365),
        ("scoring_processes", -1),
        ("scoring_processes", 65),
        ("metrics_token", "x" * 31),
        ("metrics_token", f"{'x' * 32},{'y' * 31}"),
        ("session_key", f"{'x' * 32}\n{'y' * 31}"),
    ],
)
def test_unsafe_values_are_rejected(name: str, value: Any) -> None:
    with pytest.raises(ValidationError):
        Settings(**{name: value})


def test_only_postgresql_can_leave_scoring_to_workers() -> None:
    address = "postgresql://ldsboard@db.example.org/ldsboard"
    assert Settings(scoring_processes=0, database_url=address).scoring_processes == 0
    Settings(scoring_processes=0, database_url=address).check_serving()
    with pytest.raises(ValueError, match="LDSBOARD_SCORING_PROCESSES=0 needs PostgreSQL"):
        Settings(scoring_processes=0).check_serving()
    assert not Settings(scoring_processes=0).workers_score


@pytest.mark.parametrize(
    "settings",
    [
        {"LDSBOARD_SCORING_PROCESSES": "0"},
        {"LDSBOARD_STORAGE_PUBLIC_URL": "https://s3.example.org"},
    ],
)
def test_settings_of_servers_do_not_stop_other_commands(
    settings: dict[str, str], tmp_path: Path, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment = {"LDSBOARD_DATA_DIR": str(tmp_path / "data")} | settings
    target, back = cluster.create(), f"sqlite:///{tmp_path / 'back.sqlite3'}"
    for arguments, changed in (
        (["migrate"], {}),
        (["user", "add", "ada"], {}),
        (["doctor"], {}),
        (["backup", str(tmp_path / "backup")], {}),
        (["doctor"], {"LDSBOARD_DATA_DIR": str(tmp_path / "backup")}),
        (["move", "--database", target], {}),
        (["move", "--database", back], {"LDSBOARD_DATABASE_URL": target}),
    ):
        done = CliRunner().invoke(cli, arguments, env=environment | changed, catch_exceptions=False)
        assert done.exit_code == 0, done.output
    monkeypatch.setattr("app.scoring.rescoring.queue_rescorings", lambda session: note_ticket(session, Queue.SCORING))
    done_again = CliRunner().invoke(cli, ["rescore"], env=environment, catch_exceptions=False)
    assert done_again.exit_code == 0, done_again.output
    name = next(iter(settings))
    assert ("unset LDSBOARD_SCORING_PROCESSES" in done.stdout) == (name == "LDSBOARD_SCORING_PROCESSES")
    for command in ("serve", "work"):
        refused = CliRunner().invoke(cli, [command], env=environment, catch_exceptions=False)
        assert (refused.exit_code, name in refused.stderr) == (2, True)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("LDSBOARD_RANKED_PER_DAY", "many", "LDSBOARD_RANKED_PER_DAY: input should be a valid integer"),
        ("LDSBOARD_PUBLIC_URL", "board", "LDSBOARD_PUBLIC_URL: relative URL"),
        ("LDSBOARD_GITHUB_URL", "board", "LDSBOARD_GITHUB_URL: relative URL"),
        ("LDSBOARD_TRUSTED_PROXIES", "proxy", "LDSBOARD_TRUSTED_PROXIES: 'proxy' does not appear"),
        ("LDSBOARD_SESSION_KEY", "secret", "LDSBOARD_SESSION_KEY needs at least 32"),
        ("LDSBOARD_OIDC_CLIENT_ID", "id", "Set all of LDSBOARD_OIDC_ISSUER"),
        ("LDSBOARD_LOG_FORMAT", "xml", "LDSBOARD_LOG_FORMAT: input should be"),
        ("AWS_ENDPOINT_URL", "store", "must be an http:// or https:// URL"),
    ],
)
def test_message_about_an_invalid_setting_is_not_that_of_pydantic(
    name: str, value: str, message: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    bucket = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "key", "LDSBOARD_STORAGE_URL": "s3://bucket"}
    for variable, content in ((bucket if name.startswith("AWS") else {}) | {name: value}).items():
        monkeypatch.setenv(variable, content)
    monkeypatch.setattr("sys.argv", ["app", "doctor"])
    monkeypatch.setattr("app.__main__.configure_logs", lambda _: None)  # would hold for the following tests
    with pytest.raises(SystemExit) as ended:
        main()
    said = capsys.readouterr().err
    assert ended.value.code == 2
    assert said.startswith("Error: invalid settings: ")
    assert message in said
    assert said.count("\n") == 1
    for raw in ("pydantic", "validation error", "Value error", "Settings"):
        assert raw not in said


KEYS = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret"}


def test_bucket_and_its_credentials_are_read_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (KEYS | {"AWS_ENDPOINT_URL": "https://s3.example.org", "AWS_REGION": "eu-1"}).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("LDSBOARD_STORAGE_URL", "s3://lds.example/board/files/")
    settings = Settings()
    assert settings.bucket == ("lds.example", "board/files")
    assert (settings.aws_access_key_id.get_secret_value(), settings.aws_endpoint_url) == (
        "key",
        "https://s3.example.org",
    )
    assert (settings.aws_secret_access_key.get_secret_value(), settings.aws_region) == ("secret", "eu-1")
    assert "secret'" not in repr(settings)
    assert "'key'" not in repr(settings)


@pytest.mark.parametrize(
    ("url", "changed", "message"),
    [
        ("s3://", {}, "needs the name of a bucket"),
        ("s3:///prefix", {}, "needs the name of a bucket"),
        ("s3://hidden:secret@bucket/prefix", {}, "needs the name of a bucket"),
        ("s3://bucket/../other", {}, "The prefix"),
        ("s3://bucket/a//b", {}, "The prefix"),
        ("s3://bucket/prefix", {"AWS_SECRET_ACCESS_KEY": ""}, "needs AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"),
        ("s3://bucket/prefix", {"AWS_ACCESS_KEY_ID": ""}, "needs AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"),
        ("s3://bucket", {"AWS_ENDPOINT_URL": "https://hidden:secret@store"}, "without credentials"),
        ("s3://bucket", {"AWS_ENDPOINT_URL": "store:9000"}, "must be an http:// or https:// URL"),
    ],
)
def test_unusable_address_of_a_bucket_is_refused_without_showing_it(
    monkeypatch: pytest.MonkeyPatch, url: str, changed: dict[str, str], message: str
) -> None:
    for name, value in (KEYS | {"LDSBOARD_STORAGE_URL": url} | changed).items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ValidationError) as refused:
        Settings()
    assert message in str(refused.value)
    assert "hidden" not in str(refused.value)


def test_server_with_unsafe_settings_reports_the_reason_and_exits(service: Service) -> None:
    ended = service.run("serve", environment=service.environment | {"LDSBOARD_STORAGE_URL": "gs://bucket"})
    assert ended.returncode == 2
    assert "the address of a bucket, s3://BUCKET/PREFIX; this gs:// URL is neither." in ended.stderr
    assert "Traceback" not in ended.stderr
