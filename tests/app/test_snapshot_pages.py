"""Snapshots on a running server: the command, the page, the API calls, the links to them, and removals."""

from __future__ import annotations

import re
import subprocess
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from sqlalchemy import select
from typer.testing import CliRunner

from app.__main__ import cli
from app.accounts import users
from app.db.accounts import Audit
from app.db.models import Benchmark, Version
from app.leaderboard.ranking import note_change, update_ranks
from tests.app.benchmarks import write_benchmark
from tests.app.commands import run_in_process
from tests.app.factories import add_entries, add_entry
from tests.app.pages.markup import Markup
from tests.app.service import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sqlalchemy.orm import Session

    from tests.app.service import Service

GUIDE = (ROOT / "docs/how-to/cite-a-board.md").read_text(encoding="utf-8")
NAME = "dated"
API = f"/benchmarks/{NAME}"


class Dated:
    """The benchmark `NAME` with 60 entries on a running server, a browser, and the snapshot that the command has taken."""

    def __init__(self, service: Service, folder: Path) -> None:
        self.service = service
        service.publish(write_benchmark(folder, NAME).folder)
        with service.database.write() as session:
            add_entries(session, self.version(session), 60)
        self.browser = httpx.Client(base_url=service.url, headers={"Accept": "text/html"}, trust_env=False)
        self.unlinked = (
            self.browser.get(f"/benchmarks/{NAME}").text + self.browser.get(f"/benchmarks/{NAME}/about").text
        )
        self.output = run_in_process(service, "snapshot", NAME).output
        (self.link,) = self.api("/snapshots")

    def version(self, session: Session) -> Version:
        return session.scalars(select(Version).join(Benchmark).where(Benchmark.name == NAME)).one()

    def api(self, path: str) -> Any:
        response = self.service.client.get(f"{API}{path}")
        assert response.status_code == 200, response.text
        return response.json()

    @property
    def place(self) -> str:
        """The end of the address of the snapshot."""
        return str(self.link["page"].removeprefix(API))


@pytest.fixture(scope="module")
def dated(service: Service, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dated]:
    made = Dated(service, tmp_path_factory.mktemp("dated"))
    yield made
    made.browser.close()


def test_command_prints_folder_address_and_hash(dated: Dated) -> None:
    day = dated.link["date"]
    view = dated.api(dated.place)
    folder = dated.service.settings.snapshots_dir / NAME / "1" / day
    sums = next(file for file in view["files"] if file["name"] == "SHA256SUMS")
    assert dated.output == (
        f"Wrote {folder}\nPermanent address: {dated.service.settings.public_url}/benchmarks/{NAME}/versions/1/{day}\n"
        f"SHA-256 of SHA256SUMS: {sums['sha256']}\n"
    )
    again = run_in_process(dated.service, "snapshot", NAME, "--version", "1").output
    assert again.startswith(f"The snapshot of today exists, with the same content: {folder}\n")
    with dated.service.database.read() as session:
        rows = session.scalars(select(Audit).where(Audit.subject == f"{NAME} 1 {day}")).all()
        assert [(row.action, row.detail) for row in rows] == [("snapshot.taken", {"sha256sums": sums["sha256"]})]


def test_unknown_benchmark_and_stray_reason_are_errors(dated: Dated) -> None:
    for arguments in (["nobody"], [NAME, "--version", "9"], [NAME, "--reason", "None."], [NAME, "--remove", "../1"]):
        failed = run_in_process(dated.service, "snapshot", *arguments)
        assert failed.exit_code == 2, failed.output
        assert failed.stderr.startswith("Error: ")


def test_snapshot_needs_the_permanent_address_of_the_server(dated: Dated, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LDSBOARD_PUBLIC_URL", raising=False)
    monkeypatch.setenv("LDSBOARD_DATA_DIR", str(dated.service.settings.data_dir))
    refused = CliRunner().invoke(cli, ["snapshot", NAME], catch_exceptions=False)
    assert refused.exit_code == 2
    assert "LDSBOARD_PUBLIC_URL is not set" in refused.stderr


def test_downloads_pass_sha256sum(dated: Dated, tmp_path: Path) -> None:
    view = dated.api(dated.place)
    assert (view["entries"], view["page"], view["scorer_version"]) == (60, dated.link["page"], 1)
    for file in view["files"]:
        response = dated.browser.get(file["url"])
        assert response.headers["content-disposition"] == f'attachment; filename="{file["name"]}"'
        assert len(response.content) == file["size"]
        (tmp_path / file["name"]).write_bytes(response.content)
    command = ["sha256sum", "--strict", "-c", "SHA256SUMS"]
    checked = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (checked.returncode, checked.stdout.count(": OK\n")) == (0, 7), checked


def test_commands_of_the_guide_list_download_and_check(dated: Dated, tmp_path: Path) -> None:
    (block,) = re.findall(r"^```text\n(.*?)^```$", GUIDE, re.DOTALL | re.MULTILINE)
    written = {"https://board.example.org": dated.service.url, "fashion5k-mlp": NAME, "2026-11-28": dated.link["date"]}
    for example, here in written.items():
        assert example in block
        block = block.replace(example, here)
    command = ["bash", "-euo", "pipefail", "-c", block]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("[{")
    assert done.stdout.count(": OK\n") == 7


def test_page_shows_every_entry_and_how_to_cite(dated: Dated) -> None:
    text = dated.browser.get(dated.link["page"]).text
    board, files = Markup(text).tables
    rows = dated.api("/leaderboard")["rows"]
    assert [line[-1] for line in board[1:]] == [row["id"] for row in rows]
    assert [line[2].split()[0] for line in board[1:]] == [
        f"{row['lds']:.4f}".replace("-", "\N{MINUS SIGN}") for row in rows
    ]
    hashes = {file["name"]: file["sha256"] for file in dated.api(dated.place)["files"]}
    assert {line[0]: line[2] for line in files[1:]} == hashes
    assert f"@misc{{ldsboard-{NAME}-1-{dated.link['date']}," in text
    assert f"url          = {{{dated.service.settings.public_url}{dated.link['page']}}}" in text
    assert rf"\texttt{{{hashes['SHA256SUMS']}}}" in text


def test_page_and_files_tell_means_and_declared_entries(service: Service, tmp_path: Path) -> None:
    service.publish(write_benchmark(tmp_path, "marked", split="open").folder)
    with service.database.write() as session:
        version = session.scalars(select(Version).join(Benchmark).where(Benchmark.name == "marked")).one()
        owner = users.add_user(session, "seeds-and-fits")
        seeds = [add_entry(session, version, owner, "seeds", 0.3 + 0.01 * day, day) for day in range(3)]
        for submission in seeds[1:]:
            submission.replicate_of = seeds[0].id
        add_entry(session, version, owner, "fits", 0.99, 9).uses_subsets = True
        update_ranks(session, version)
    run_in_process(service, "snapshot", "marked")
    (link,) = service.client.get("/benchmarks/marked/snapshots").json()
    text = httpx.get(f"{service.url}{link['page']}", headers={"Accept": "text/html"}, trust_env=False).text
    _, mean, declared = Markup(text).tables[0]
    assert mean[0] == "1"
    assert mean[1].endswith("mean of 3 replicates")
    assert declared[1].endswith("declared: fitted to these subsets")
    assert declared[0] == "\N{EN DASH}"
    assert declared[2].startswith("0.9900")
    assert "more than the runs allow" not in text
    rows = service.client.get(f"{link['page']}/leaderboard.json").json()["rows"]
    assert [(row["replicates"], row["uses_subsets"]) for row in rows] == [(3, False), (1, True)]


def test_board_and_about_page_link_the_snapshot_at_once(dated: Dated) -> None:
    assert dated.link["page"] not in dated.unlinked
    for page in (f"/benchmarks/{NAME}", f"/benchmarks/{NAME}?version=1", f"/benchmarks/{NAME}/about"):
        assert f'href="{dated.link["page"]}"' in dated.browser.get(page).text


def test_new_entry_changes_the_board_and_nothing_of_the_snapshot(dated: Dated) -> None:
    addresses = [dated.link["page"], *(file["url"] for file in dated.api(dated.place)["files"])]
    before = [dated.browser.get(address).content for address in addresses]
    board = dated.browser.get(f"/benchmarks/{NAME}").text
    with dated.service.database.write() as session:
        add_entry(session, dated.version(session), users.add_user(session, "late"), "late", 0.95, day=300)
        note_change(session, dated.version(session))
    changed = run_in_process(dated.service, "snapshot", NAME)
    assert changed.exit_code == 2
    assert "exists with other content" in changed.stderr
    assert dated.browser.get(f"/benchmarks/{NAME}").text != board
    assert len(dated.api("/leaderboard")["rows"]) == 61
    assert [dated.browser.get(address).content for address in addresses] == before


@pytest.mark.parametrize("place", ["versions/1/2026-01-01", "versions/9/{day}", "versions/1/{day}/hidden.json"])
def test_unknown_snapshots_and_files_are_not_found(dated: Dated, place: str) -> None:
    response = dated.service.client.get(f"{API}/{place.format(day=dated.link['date'])}")
    assert response.status_code == 404
    assert response.json()["code"] in ("snapshot.unknown", "benchmark.unknown")


@pytest.mark.parametrize("place", ["versions/1/today", "versions/0/2026-01-01", "versions/1/..%2f1"])
def test_malformed_addresses_are_refused(dated: Dated, place: str) -> None:
    assert dated.service.client.get(f"{API}/{place}").status_code in (404, 422)


def test_removed_snapshot_states_the_reason(service: Service, tmp_path: Path) -> None:
    service.publish(write_benchmark(tmp_path, "removed").folder)
    address = re.findall(r"https?://\S+", run_in_process(service, "snapshot", "removed").output)[0]
    page = address.removeprefix(service.settings.public_url)
    with httpx.Client(base_url=service.url, headers={"Accept": "text/html"}, trust_env=False) as browser:
        assert "The leaderboard had no entries." in browser.get(page).text
        removal = ["snapshot", "removed", "--remove", page[-10:]]
        assert run_in_process(service, *removal).exit_code == 2
        run = run_in_process(service, *removal, "--reason", "An order <of> a court.")
        assert run.output == f"Removed the snapshot of {page[-10:]}. Also remove it from archives and backups.\n"
        gone = browser.get(page)
        assert gone.status_code == 410
        assert "An order &lt;of&gt; a court." in gone.text
        assert browser.get(f"/api/v1{page}/leaderboard.csv").json()["code"] == "snapshot.removed"
    assert service.client.get("/benchmarks/removed/snapshots").json() == []
