"""Errors of the command line with a running server: messages and exit codes."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from ldsboard import GroundTruth
from ldsboard.commands import exits
from ldsboard.manifest import BundleError
from ldsboard.problems import Problem
from tests.app.service import npy

if TYPE_CHECKING:
    from tests.app.benchmarks import Example
    from tests.app.service import Service
    from tests.client.shell import Shell


def test_score_of_benchmark_that_was_not_pulled_is_usage_error(shell: Shell, scores: Path) -> None:
    result = shell("score", str(scores), "toy")
    assert result.code == exits.USAGE
    assert "ldsboard pull toy" in result.err
    with pytest.raises(BundleError, match="ldsboard pull nothing"):
        GroundTruth.from_pulled("nothing")


def test_missing_file_is_named_with_the_current_folder(
    shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shell("pull", "toy")
    monkeypatch.chdir(tmp_path)
    result = shell("validate", "missing.npy", "toy")
    assert result.code == exits.USAGE
    assert result.err == f"Error: There is no file missing.npy. Check the path; the current folder is {Path.cwd()}.\n"


def test_raw_file_is_refused_with_all_forms_that_the_command_line_reads(shell: Shell, tmp_path: Path) -> None:
    shell("pull", "toy")
    (tmp_path / "scores.raw").write_bytes(bytes([0xB5, 0xFF, 0, 1] * 100))
    result = shell("validate", str(tmp_path / "scores.raw"), "toy")
    assert result.code == exits.REJECTED
    assert "xpected scores in a .npy, .safetensors, .npz, .pt, .csv or .json file" in result.err


def test_submit_exits_with_gate_code_below_min_lds(shell: Shell, scores: Path) -> None:
    assert shell("submit", str(scores), "toy", "--method", "gate", "--min-lds", "0.1").code == 0
    result = shell("submit", str(scores), "toy", "--method", "gate", "--min-lds", "0.999")
    assert result.code == exits.GATE
    assert "Expected an LDS of at least 0.999" in result.err


def write_malformed(kind: str, scores_nN: np.ndarray[Any, Any], path: Path) -> Path:
    match kind:
        case "scores.shape":
            np.save(path, scores_nN[:, :-1])
        case "scores.dtype":
            np.save(path, scores_nN.astype(np.complex64))
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
        "scores.shape",
        "scores.dtype",
        "scores.object",
        "scores.nonfinite",
        "scores.truncated",
        "scores.empty",
        "scores.unreadable",
    ],
)
def test_malformed_file_has_same_error_code_offline_and_online(
    shell: Shell, toy: Example, tmp_path: Path, code: str
) -> None:
    path = write_malformed(code, toy.scores(), tmp_path / "bad.npy")
    shell("pull", "toy")
    offline = shell("validate", str(path), "toy")
    online = shell("submit", str(path), "toy", "--method", "bad", "--kind", "practice")
    assert offline.code == online.code == exits.REJECTED
    assert f"[{code}]" in offline.err
    assert f"[{code}]" in online.err


@pytest.mark.parametrize("options", [[], ["--dry-run"]])
def test_missing_token_is_reported_before_the_file_is_read(shell: Shell, tmp_path: Path, options: list[str]) -> None:
    shell.environment.delenv("LDSBOARD_TOKEN")
    result = shell("submit", str(tmp_path / "absent.npy"), "toy", "--method", "x", *options)
    assert (result.code, "[auth.missing] Set LDSBOARD_TOKEN" in result.err) == (exits.NOT_ALLOWED, True)


def test_submit_reports_wrong_token_and_exhausted_quota(shell: Shell, service: Service, scores: Path) -> None:
    shell.environment.setenv("LDSBOARD_TOKEN", "ldsb_wrong")
    assert shell("submit", str(scores), "toy", "--method", "x").code == exits.NOT_ALLOWED
    shell.environment.setenv("LDSBOARD_TOKEN", service.token("poor", ranked_per_day=0))
    result = shell("submit", str(scores), "toy", "--method", "x")
    assert result.code == exits.QUOTA
    assert "Try again after" in result.err


def test_commands_report_usage_errors(shell: Shell, scores: Path) -> None:
    assert shell("submit", str(scores), "toy", "--method", "x", "--kind", "secret").code == exits.USAGE
    assert shell("submit", "nowhere.npy", "toy", "--method", "x").code == exits.USAGE
    assert shell("submit", str(scores), "nothing", "--method", "x").code == exits.USAGE
    assert shell("status", "0000").code == exits.USAGE
    assert shell("frobnicate").code == exits.USAGE


def test_timeout_and_unscored_submissions_have_their_exit_codes(
    shell: Shell, scores: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    submission = shell("submit", str(scores), "toy", "--method", "slow", "--no-wait", "--json").json
    outcomes = [("queued", exits.TIMED_OUT), ("expired", exits.FAILED), ("withdrawn", exits.FAILED)]
    for state, code in outcomes:
        with pytest.raises(SystemExit) as ended:
            exits.exit_unless_scored(submission | {"state": state})
        assert ended.value.code == code
    assert f"ldsboard status --wait {submission['id']}" in capsys.readouterr().err
    problem = {"code": "internal.failed", "detail": "A process died.", "hint": "Send the file again."}
    with pytest.raises(SystemExit) as ended:
        exits.exit_unless_scored(submission | {"state": "failed", "error": problem})
    assert ended.value.code == exits.FAILED
    assert "A process died. Send the file again. [internal.failed]" in capsys.readouterr().err


def test_unreachable_server_has_its_exit_code(shell: Shell) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        shell.environment.setenv("LDSBOARD_SERVER", f"http://127.0.0.1:{unused.getsockname()[1]}")
        result = shell("leaderboard", "toy")
    assert result.code == exits.UNREACHABLE
    assert "LDSBOARD_SERVER" in result.err


def test_server_without_api_has_its_exit_code(shell: Shell, service: Service) -> None:
    shell.environment.setenv("LDSBOARD_SERVER", f"{service.url}/elsewhere")
    assert shell("leaderboard", "toy").code in (exits.UNEXPECTED, exits.USAGE)


def test_common_mistakes_get_helpful_messages(shell: Shell, service: Service, toy: Example, tmp_path: Path) -> None:
    braces = tmp_path / "a{b}[bold].npy"
    np.save(braces, toy.scores())
    assert shell("submit", str(braces), "toy", "--method", "braces", "--kind", "practice").code == 0
    assert "--benchmark NAME" in shell("compare", str(braces), str(braces)).err
    shell("pull", "toy")
    assert "a{b}[bold].npy" in shell("validate", str(braces), "toy").out
    assert shell("status", "../benchmarks").code == exits.USAGE
    shell.environment.setenv("LDSBOARD_TOKEN", "ldsb_secret\nand more")
    result = shell("submit", str(braces), "toy", "--method", "x")
    assert result.code == exits.NOT_ALLOWED
    assert "secret" not in result.err
    shell.environment.setenv("LDSBOARD_TOKEN", "")
    assert "LDSBOARD_TOKEN" in shell("submit", str(braces), "toy", "--method", "x").err
    shell.environment.setenv("LDSBOARD_SERVER", f"localhost:{service.port}")
    assert "expected an address such as http://" in shell("leaderboard", "toy").err


def test_status_shows_reason_of_rejection(shell: Shell, service: Service, token: str, toy: Example) -> None:
    scores_nN = toy.scores()
    scores_nN[3, 2] = np.inf
    submitted = service.submit(token, "toy", npy(scores_nN), kind="practice").json()["id"]
    service.wait_until_final(submitted)
    assert "the first at (row, column) (3, 2)" in shell("status", submitted).err


@pytest.mark.parametrize(
    ("problem", "expected"),
    [
        ("quota.exceeded", exits.QUOTA),
        ("quota.bytes", exits.QUOTA),
        ("quota.uploads", exits.QUOTA),
        ("auth.scope", exits.NOT_ALLOWED),
        ("scores.shape", exits.REJECTED),
        ("internal.full", exits.UNEXPECTED),
        ("client.outdated", exits.USAGE),
    ],
)
def test_problem_has_its_exit_code(problem: str, expected: int) -> None:
    assert exits.exit_code(Problem(problem, "Wrong.", "Try again.")) == expected
