"""The command line against a running server: what it prints, and the exit code of every outcome."""

from __future__ import annotations

import json
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from ldsboard import GroundTruth, cache, cli, exits
from ldsboard.manifest import BundleError
from tests.app.service import npy

if TYPE_CHECKING:
    from pathlib import Path

    from tests.app.benchmarks import Example
    from tests.app.service import Service


@dataclass
class Ran:
    """A command that ended: its exit code and what it printed."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


class Shell:
    """Runs commands as a shell would, with the environment of a researcher."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self.environment, self._capsys = monkeypatch, capsys

    def __call__(self, *arguments: str) -> Ran:
        self.environment.setattr("sys.argv", ["ldsboard", *arguments])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        printed = self._capsys.readouterr()
        code = ended.value.code
        return Ran(code if isinstance(code, int) else 0, printed.out, printed.err)


@pytest.fixture
def shell(
    service: Service, token: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Shell:
    monkeypatch.setenv("LDSBOARD_SERVER", service.url)
    monkeypatch.setenv("LDSBOARD_TOKEN", token)
    monkeypatch.setenv("LDSBOARD_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.setattr("ldsboard.client.PAUSE_SECONDS", 0)
    return Shell(monkeypatch, capsys)


@pytest.fixture
def scores(toy: Example, tmp_path: Path) -> Path:
    path = tmp_path / "scores.npy"
    np.save(path, toy.scores())
    return path


def test_a_pulled_benchmark_is_the_published_folder_and_scores_offline(
    shell: Shell, toy: Example, scores: Path, service: Service
) -> None:
    folder = shell("pull", "toy").out.strip()
    assert folder == str(cache.folder(service.url, "toy", 1) / "public")
    assert shell("pull", "toy").out.strip() == folder
    manifest = toy.bundle.manifest
    pulled = cache.pulled("toy", service.url)
    assert {path.relative_to(pulled / "public").as_posix() for path in pulled.rglob("*.*")} >= set(manifest.files)
    assert not (pulled / "hidden").exists()

    expected = toy.offline(toy.scores())["public"]
    assert GroundTruth.from_pulled("toy").score(scores).lds == expected.lds
    printed = shell("score", str(scores), "toy", "--json").json
    assert printed["lds"] == expected.lds
    assert f"{expected.lds:.4f}" in shell("score", str(scores), "toy").out
    assert shell("validate", str(scores), "toy").code == 0


def test_an_unpulled_benchmark_is_a_usage_error_that_says_how_to_pull(shell: Shell, scores: Path) -> None:
    ran = shell("score", str(scores), "toy")
    assert ran.code == exits.USAGE
    assert "ldsboard pull toy" in ran.err
    with pytest.raises(BundleError, match="ldsboard pull nothing"):
        GroundTruth.from_pulled("nothing")


def test_submitting_waits_and_prints_what_the_server_computed(shell: Shell, toy: Example, scores: Path) -> None:
    ran = shell("submit", str(scores), "toy", "--method", "cli", "--seconds", "1.5", "--device", "cpu", "--json")
    assert ran.code == 0, ran.err
    assert ran.json["state"] == "scored"
    assert ran.json["kind"] == "ranked"
    assert ran.json["cost"] == {"seconds": 1.5, "device": "cpu"}
    assert ran.json["public"]["lds"] == toy.offline(toy.scores())["public"].lds

    shown = shell("status", ran.json["id"])
    assert "scored" in shown.out
    assert f"{ran.json['hidden']['lds']:.4f}" in shown.out
    assert shell("status", ran.json["id"], "--wait", "--json").json == ran.json
    assert "cli" in shell("leaderboard", "toy").out
    assert ran.json["id"] in {row["id"] for row in shell("leaderboard", "toy", "--json").json["rows"]}


def test_in_ci_a_submission_is_practice_unless_said_otherwise(shell: Shell, scores: Path) -> None:
    shell.environment.setenv("CI", "true")
    practice = shell("submit", str(scores), "toy", "--method", "ci", "--json")
    assert practice.json["kind"] == "practice"
    assert practice.json["hidden"] is None
    ranked = shell("submit", str(scores), "toy", "--method", "ci", "--kind", "ranked", "--no-wait")
    assert ranked.code == 0
    assert "ranked" in ranked.out


def test_comparing_online_and_offline(shell: Shell, toy: Example, scores: Path, tmp_path: Path) -> None:
    worse = tmp_path / "worse.npy"
    np.save(worse, toy.scores(noise=5))
    a, b = (shell("submit", str(path), "toy", "--method", path.stem, "--json").json["id"] for path in (scores, worse))
    online = shell("compare", a, b, "--json").json
    assert online["difference"] > 0
    assert online["part"] == "ranking"
    assert "on the ranking subsets" in shell("compare", a, b).out
    shell("pull", "toy")
    offline = shell("compare", str(scores), str(worse), "--benchmark", "toy", "--json").json
    parts = toy.offline(toy.scores()), toy.offline(toy.scores(noise=5))
    assert offline["difference"] == parts[0]["public"].lds - parts[1]["public"].lds

    gate = shell("submit", str(worse), "toy", "--method", "worse", "--no-regress-from", a)
    assert gate.code == exits.GATE
    assert "worse than" in gate.err
    assert shell("submit", str(scores), "toy", "--method", "scores", "--no-regress-from", b).code == 0


def test_gates(shell: Shell, scores: Path) -> None:
    assert shell("submit", str(scores), "toy", "--method", "gate", "--min-lds", "0.1").code == 0
    ran = shell("submit", str(scores), "toy", "--method", "gate", "--min-lds", "0.999")
    assert ran.code == exits.GATE
    assert "expected an LDS of at least 0.999" in ran.err


def broken(kind: str, scores_nN: np.ndarray[Any, Any], path: Path) -> Path:
    match kind:
        case "scores.transposed":
            np.save(path, scores_nN.T)
        case "scores.shape":
            np.save(path, scores_nN[:, :-1])
        case "scores.dtype":
            np.save(path, scores_nN.astype(np.int32))
        case "scores.object":
            np.save(path, scores_nN.astype(object))
        case "scores.nonfinite":
            np.save(path, np.where(scores_nN > 2, np.nan, scores_nN))
        case "scores.truncated":
            np.save(path, scores_nN)
            path.write_bytes(path.read_bytes()[:-1])
        case "scores.empty":
            path.write_bytes(b"")
        case _:
            path.write_bytes(b"not an array")
    return path


@pytest.mark.parametrize(
    "code",
    [
        "scores.transposed",
        "scores.shape",
        "scores.dtype",
        "scores.object",
        "scores.nonfinite",
        "scores.truncated",
        "scores.empty",
        "scores.unreadable",
    ],
)
def test_a_bad_file_has_the_same_code_offline_and_online(shell: Shell, toy: Example, tmp_path: Path, code: str) -> None:
    path = broken(code, toy.scores(), tmp_path / "bad.npy")
    shell("pull", "toy")
    offline = shell("validate", str(path), "toy")
    online = shell("submit", str(path), "toy", "--method", "bad", "--kind", "practice")
    assert offline.code == online.code == exits.REJECTED
    assert f"[{code}]" in offline.err
    assert f"[{code}]" in online.err


def test_who_may_not_submit_is_told_so(shell: Shell, service: Service, scores: Path) -> None:
    shell.environment.setenv("LDSBOARD_TOKEN", "ldsb_wrong")
    assert shell("submit", str(scores), "toy", "--method", "x").code == exits.NOT_ALLOWED
    shell.environment.setenv("LDSBOARD_TOKEN", service.token("poor", ranked_per_day=0))
    ran = shell("submit", str(scores), "toy", "--method", "x")
    assert ran.code == exits.QUOTA
    assert "Try again after" in ran.err


def test_usage_errors(shell: Shell, scores: Path) -> None:
    assert shell("submit", str(scores), "toy", "--method", "x", "--kind", "secret").code == exits.USAGE
    assert shell("submit", "nowhere.npy", "toy", "--method", "x").code == exits.USAGE
    assert shell("submit", str(scores), "nothing", "--method", "x").code == exits.USAGE
    assert shell("status", "0000").code == exits.USAGE
    assert shell("frobnicate").code == exits.USAGE


def test_a_timeout_says_how_to_go_on_and_an_unfinished_submission_has_its_code(
    shell: Shell, scores: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    submission = shell("submit", str(scores), "toy", "--method", "slow", "--no-wait", "--json").json
    outcomes = [("queued", exits.TIMED_OUT), ("expired", exits.FAILED), ("withdrawn", exits.FAILED)]
    for state, code in outcomes:
        with pytest.raises(SystemExit) as ended:
            exits.exit_unless_scored(submission | {"state": state})
        assert ended.value.code == code
    assert f"ldsboard status --wait {submission['id']}" in capsys.readouterr().err
    problem = {"detail": "died", "code": "internal.failed"}
    with pytest.raises(SystemExit) as ended:
        exits.exit_unless_scored(submission | {"state": "failed", "error": problem})
    assert ended.value.code == exits.FAILED


def test_a_server_that_is_not_there(shell: Shell) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        shell.environment.setenv("LDSBOARD_SERVER", f"http://127.0.0.1:{unused.getsockname()[1]}")
        ran = shell("leaderboard", "toy")
    assert ran.code == exits.UNREACHABLE
    assert "LDSBOARD_SERVER" in ran.err


def test_a_server_that_is_something_else(shell: Shell, service: Service) -> None:
    shell.environment.setenv("LDSBOARD_SERVER", f"{service.url}/elsewhere")
    assert shell("leaderboard", "toy").code in (exits.UNEXPECTED, exits.USAGE)


def test_warnings_are_said_in_words(shell: Shell, toy: Example, tmp_path: Path) -> None:
    path = tmp_path / "flipped.npy"
    np.save(path, -toy.scores())
    ran = shell("submit", str(path), "toy", "--method", "flipped", "--kind", "practice")
    assert "Is the sign flipped?" in ran.err


def test_what_newcomers_do_wrong_is_met_with_what_to_do(
    shell: Shell, service: Service, toy: Example, tmp_path: Path
) -> None:
    braces = tmp_path / "a{b}[bold].npy"
    np.save(braces, toy.scores())
    assert shell("submit", str(braces), "toy", "--method", "braces", "--kind", "practice").code == 0
    assert "--benchmark NAME" in shell("compare", str(braces), str(braces)).err
    shell("pull", "toy")
    assert "a{b}[bold].npy" in shell("validate", str(braces), "toy").out
    assert shell("status", "../benchmarks").code == exits.USAGE
    shell.environment.setenv("LDSBOARD_TOKEN", "ldsb_secret\nand more")
    ran = shell("submit", str(braces), "toy", "--method", "x")
    assert ran.code == exits.NOT_ALLOWED
    assert "secret" not in ran.err
    shell.environment.setenv("LDSBOARD_TOKEN", "")
    assert "LDSBOARD_TOKEN" in shell("submit", str(braces), "toy", "--method", "x").err
    shell.environment.setenv("LDSBOARD_SERVER", f"localhost:{service.port}")
    assert "expected an address such as http://" in shell("leaderboard", "toy").err


def test_the_reason_of_a_rejection_is_shown_by_status(shell: Shell, service: Service, token: str, toy: Example) -> None:
    scores_nN = toy.scores()
    scores_nN[3, 2] = np.inf
    submitted = service.submit(token, "toy", npy(scores_nN), kind="practice").json()["id"]
    service.wait_until_final(submitted)
    assert "the first at (row, column) (3, 2)" in shell("status", submitted).err


def test_a_damaged_pulled_benchmark_is_fetched_again(shell: Shell, service: Service) -> None:
    shell("pull", "toy")
    path = cache.pulled("toy", service.url) / "public" / "margins.npy"
    path.write_bytes(b"damaged")
    assert shell("pull", "toy").code == 0
    assert path.read_bytes() != b"damaged"
