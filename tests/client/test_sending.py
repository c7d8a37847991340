"""Sending a score file with the command line: upload parts, and interruptions of the client and the server."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from ldsboard import cli, sending
from ldsboard.client import Client
from ldsboard.commands import exits
from ldsboard.formats.score_files import HEADER_LIMIT
from ldsboard.pending import PendingUpload, pending_uploads
from tests.app.multipart_upload import MultipartUpload
from tests.app.service import ROOT, Service, until
from tests.app.tcp_proxy import TcpProxy

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.app.benchmarks import Example

SECOND_PART = "/parts/1"


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory, wide: Example) -> Iterator[Service]:
    with Service(tmp_path_factory.mktemp("service"), part_bytes=HEADER_LIMIT) as running:
        running.publish(wide.folder)
        yield running


@pytest.fixture
def scores(wide: Example, tmp_path: Path) -> Path:
    path = tmp_path / "scores.npy"
    np.save(path, wide.scores().astype(np.float64))
    return path


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LDSBOARD_CACHE", str(tmp_path / "cache"))
    for name in ("CI", "GITHUB_SHA", "GITHUB_REPOSITORY", "LDSBOARD_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "cache"


@contextmanager
def running_command(*arguments: str, **environment: str) -> Iterator[subprocess.Popen[str]]:
    """Run the command line as a subprocess, and kill the subprocess at the end of the block."""
    process = subprocess.Popen(
        [sys.executable, "-m", "ldsboard.cli", *arguments],
        cwd=ROOT,
        env=os.environ | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


def run_command(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    """Run a command in this process and return its exit code."""
    monkeypatch.setattr("sys.argv", ["ldsboard", *arguments])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    return int(ended.value.code or 0)


def leave_interrupted_upload(
    service: Service, scores: Path, owner: str, *sent_parts: int, server: str = "", **fields: Any
) -> MultipartUpload:
    """Start an upload, send some of its parts, and save its record, as a killed command does."""
    upload = MultipartUpload(
        service, service.token(owner, ranked_per_day=1), "wide", scores.read_bytes(), **fields
    ).started()
    for number in sent_parts:
        upload.put_part(number)
    view, expires_at = upload.view, upload.view["expires_at"]
    address = server or service.url
    PendingUpload(
        address, upload.id, upload.view["capability"], str(scores), view["size"], view["sha256"], expires_at
    ).save()
    return upload


def test_resume_after_killed_command_uses_upload_token_and_sends_only_missing_parts(
    service: Service, scores: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], wide: Example
) -> None:
    before = service.rows()["part"]
    with TcpProxy(service.port, blocked_suffix=SECOND_PART) as proxy:
        arguments = ("submit", str(scores), "wide", "--method", "ours", "--server", proxy.url)
        with running_command(*arguments, LDSBOARD_TOKEN=service.token("amy", ranked_per_day=1)) as process:
            until(lambda: service.rows()["part"] == before + 2, "all parts but one")
            process.kill()
        (record,) = pending_uploads(proxy.url)
        assert record.file.stat().st_mode & 0o777 == 0o600
        assert record.capability.startswith("ldsu_")
        proxy.blocked_suffix = ""
        proxy.requests.clear()
        assert run_command(monkeypatch, "submit", "--resume", "--server", proxy.url, "--json") == 0
        view = json.loads(capsys.readouterr().out)
        assert [line for line in proxy.requests if line.startswith("PUT")] == [
            f"PUT /api/v1/submissions/{view['id']}/parts/1"
        ]
        assert pending_uploads(proxy.url) == []
    assert (view["state"], view["attempts"]) == ("scored", 1)
    assert view["public"]["lds"] == wide.offline(wide.scores())["public"].lds


def test_submit_waits_for_restart_of_killed_server(
    service: Service, scores: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = service.rows()["part"]
    monkeypatch.setenv("LDSBOARD_TOKEN", service.token("bob", ranked_per_day=1))
    monkeypatch.setattr("ldsboard.client.PAUSE_SECONDS", 0.2)
    with TcpProxy(service.port, blocked_suffix=SECOND_PART) as proxy, ThreadPoolExecutor(1) as executor:
        arguments = ("submit", str(scores), "wide", "--method", "ours", "--server", proxy.url, "--no-wait", "--json")
        ended = executor.submit(run_command, monkeypatch, *arguments)
        until(lambda: service.rows()["part"] == before + 2, "all parts but one")
        proxy.blocked_suffix = ""
        service.stop(signal.SIGKILL)
        service.start()
        code = ended.result()
    printed = capsys.readouterr()
    assert code == 0, printed.err
    view = json.loads(printed.out)
    assert service.wait_until_final(view["id"])["attempts"] == 1
    assert sum(line.startswith("POST") and line.endswith("submissions") for line in proxy.requests) == 1


def test_resume_keeps_record_if_server_is_unreachable(
    service: Service, scores: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with TcpProxy(service.port) as proxy:
        pass
    leave_interrupted_upload(service, scores, "cat", server=proxy.url)
    monkeypatch.setattr("ldsboard.client.PAUSE_SECONDS", 0)
    assert run_command(monkeypatch, "submit", str(scores), "--resume", "--server", proxy.url) == exits.UNREACHABLE
    assert f"submit --resume {scores}" in capsys.readouterr().err
    assert len(pending_uploads(proxy.url)) == 1


def test_resume_gives_up_the_upload_of_a_changed_file(
    service: Service, scores: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    upload = leave_interrupted_upload(service, scores, "dee", 0)
    content = bytearray(scores.read_bytes())
    content[-1] ^= 1
    scores.write_bytes(content)
    assert run_command(monkeypatch, "submit", "--resume", "--server", service.url) == exits.REJECTED
    err = capsys.readouterr().err
    assert "[upload.changed]" in err
    assert str(scores) in err
    assert service.row(upload.id).state == "expired"
    assert pending_uploads(service.url) == []


def test_resume_of_missing_file_keeps_the_upload(
    service: Service, scores: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    upload = leave_interrupted_upload(service, scores, "una", 0)
    scores.unlink()
    assert run_command(monkeypatch, "submit", "--resume", "--server", service.url) == exits.USAGE
    assert str(scores) in capsys.readouterr().err
    assert upload.received_parts() == [0]


def test_resume_sends_damaged_part_again(service: Service, scores: Path) -> None:
    upload = leave_interrupted_upload(service, scores, "eli", 0, 1, 2)
    upload.put_part(1, bytes(HEADER_LIMIT))
    with Client(service.url) as client:
        assert sending.resume(client, pending_uploads(service.url)[0])["id"] == upload.id
    assert service.wait_until_final(upload.id)["state"] == "scored"


def test_resume_of_completed_private_upload_requires_owners_token(
    service: Service, scores: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    upload = leave_interrupted_upload(service, scores, "iva", 0, 1, 2, visibility="private")
    assert upload.complete().status_code == 202
    resume_command = ("submit", "--resume", "--server", service.url, "--json")
    assert run_command(monkeypatch, *resume_command) == exits.NOT_ALLOWED
    assert "LDSBOARD_TOKEN" in capsys.readouterr().err
    assert [record.id for record in pending_uploads(service.url)] == [upload.id]
    monkeypatch.setenv("LDSBOARD_TOKEN", upload.token)
    assert run_command(monkeypatch, *resume_command) == 0
    view = json.loads(capsys.readouterr().out)
    assert (view["id"], view["state"], view["visibility"]) == (upload.id, "scored", "private")
    assert pending_uploads(service.url) == []
    assert run_command(monkeypatch, "status", upload.id, "--server", service.url, "--wait") == 0
    monkeypatch.delenv("LDSBOARD_TOKEN")
    assert run_command(monkeypatch, "status", upload.id, "--server", service.url) == exits.USAGE


def test_resume_deletes_record_of_upload_that_expired_on_server(
    service: Service, scores: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    upload = leave_interrupted_upload(service, scores, "fox")
    upload.put_part(0, b"not an array".ljust(HEADER_LIMIT))
    assert run_command(monkeypatch, "submit", "--resume", "--server", service.url) == exits.FAILED
    assert "[upload.expired]" in capsys.readouterr().err
    assert pending_uploads(service.url) == []
    assert run_command(monkeypatch, "submit", "--resume", "--server", service.url) == exits.USAGE
    assert "got none" in capsys.readouterr().err


def test_pending_uploads_deletes_expired_record(service: Service, scores: Path) -> None:
    PendingUpload(service.url, "0", "ldsu_x", str(scores), 1, "0", "2026-01-01T00:00:00Z").save()
    assert pending_uploads(service.url) == []
    assert not list((scores.parent / "cache" / "uploads").iterdir())


@pytest.mark.parametrize("content", ["", "{", "[]", '{"server": "x"}', '{"from": "another version"}'])
def test_pending_uploads_deletes_damaged_record(service: Service, scores: Path, content: str) -> None:
    PendingUpload(service.url, "0", "ldsu_x", str(scores), 1, "0", "2999-01-01T00:00:00Z").save()
    (record,) = (scores.parent / "cache" / "uploads").iterdir()
    record.write_text(content)
    assert pending_uploads(service.url) == []
    assert not record.exists()


def test_resume_requires_file_if_several_uploads_are_pending(
    service: Service, scores: Path, wide: Example, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    other = scores.with_name("other.npy")
    np.save(other, wide.scores(seed=1))
    uploads = [leave_interrupted_upload(service, path, path.stem) for path in (scores, other)]
    assert run_command(monkeypatch, "submit", "--resume", "--server", service.url) == exits.USAGE
    assert f"{other}" in capsys.readouterr().err
    assert run_command(monkeypatch, "submit", str(other), "--resume", "--server", service.url, "--json") == 0
    assert json.loads(capsys.readouterr().out)["id"] == uploads[1].id


def test_submit_reports_progress_and_sends_commit(service: Service, scores: Path) -> None:
    progress: list[int] = []
    with Client(service.url, service.token("gus")) as client:
        view = sending.submit(
            client,
            "wide",
            scores,
            method="ours",
            provenance={"repository": "gus/x", "commit": "0123abc"},
            advance=progress.append,
        )
    assert sum(progress) == scores.stat().st_size
    assert view["provenance"] == {"repository": "gus/x", "commit": "0123abc", "verified": False}


def test_further_attempt_takes_back_the_bytes_of_the_attempt_before() -> None:
    reported: list[int] = []
    body = sending.counted(lambda: iter([b"ab", b"c", b"def"]), reported.append)
    broken = body()
    assert [next(broken), next(broken)] == [b"ab", b"c"]
    assert b"".join(body()) == b"abcdef"
    assert sum(reported) == 6


@pytest.mark.parametrize("name", ["", "x" * 256])
def test_submit_works_without_usable_cache(
    service: Service, scores: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv("LDSBOARD_CACHE", str(scores.parent / name if name else scores))
    with Client(service.url, service.token("hut")) as client:
        assert sending.submit(client, "wide", scores, method="ours")["state"] in {"queued", "scoring", "scored"}
    assert pending_uploads(service.url) == []
