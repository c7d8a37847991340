"""`python -m ldsboard.ci` in this process, on a running server: what it prints and writes for GitHub, GitLab and other CIs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import numpy as np
import pytest

from ldsboard.ci.actions import SUMMARY_BYTES
from ldsboard.ci.inputs import check_file
from ldsboard.ci.job import main
from ldsboard.commands import exits
from tests.acceptance import ci_events
from tests.acceptance.action_runner import read_commands, read_outputs
from tests.client.http_proxy import HttpProxy, page

if TYPE_CHECKING:
    from pathlib import Path

    from tests.app.benchmarks import Example
    from tests.app.service import Service

MERGE_REQUEST = {
    "CI": "true",
    "GITLAB_CI": "true",
    "CI_COMMIT_SHA": ci_events.HEAD,
    "CI_DEFAULT_BRANCH": "main",
    "CI_MERGE_REQUEST_IID": "7",
    "CI_MERGE_REQUEST_PROJECT_PATH": "lab/attribution",
    "CI_MERGE_REQUEST_SOURCE_BRANCH_NAME": "faster",
    "CI_MERGE_REQUEST_SOURCE_PROJECT_PATH": "lab/attribution",
    "CI_PROJECT_PATH": "lab/attribution",
}
FORK = {"CI_MERGE_REQUEST_SOURCE_PROJECT_PATH": "fork/attribution", "CI_PROJECT_PATH": "fork/attribution"}


@pytest.fixture
def inputs(
    service: Service, token: str, scores: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> dict[str, str]:
    monkeypatch.chdir(tmp_path)
    return {
        "HOME": str(tmp_path),
        "LDSBOARD_CACHE": str(tmp_path / "cache"),
        "LDSBOARD_FILE": scores.name,
        "LDSBOARD_BENCHMARK": "toy",
        "LDSBOARD_METHOD": "in-ci",
        "LDSBOARD_SERVER": service.url,
        "LDSBOARD_TOKEN": token,
        "RUNNER_TEMP": str(tmp_path),
    }


@pytest.fixture
def files(tmp_path: Path) -> dict[str, str]:
    paths = {name: tmp_path / name.lower() for name in ("GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY")}
    return {name: str(path) for name, path in paths.items()}


def read(folder: Path, name: str) -> str:
    return (folder / name).read_text(encoding="utf-8")


def test_push_on_github_has_outputs_summary_and_one_annotation(
    inputs: dict[str, str], files: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(inputs | files | ci_events.push(tmp_path)) == 0
    annotations, masked = read_commands(capsys.readouterr().out)
    assert masked == [inputs["LDSBOARD_TOKEN"]]
    assert [level for level, _, _ in annotations] == ["notice"]
    outputs = read_outputs(read(tmp_path, "github_output"))
    assert outputs["status"] == "scored"
    assert outputs["url"] in read(tmp_path, "github_step_summary")


def test_difference_that_nobody_asked_for_leaves_min_lds_on_the_ranking_subsets(
    inputs: dict[str, str], files: dict[str, str], toy: Example, tmp_path: Path
) -> None:
    assert main(inputs | files | ci_events.push(tmp_path) | {"LDSBOARD_METHOD": "gated"}) == 0
    baseline = read_outputs(read(tmp_path, "github_output"))["submission-id"]
    np.save(tmp_path / "scores.npy", toy.scores(noise=2))
    ranked = inputs | files | ci_events.manual(tmp_path) | {"LDSBOARD_METHOD": "gated", "LDSBOARD_KIND": "ranked"}
    ranked |= {"GITHUB_SHA": "4" * 40}  # both runs have this commit, so their baseline is the practice submission
    assert main(ranked) == 0
    submission = json.loads(read(tmp_path, read_outputs(read(tmp_path, "github_output"))["json-path"]))
    (gate,) = submission["gates"]
    assert (gate["baseline"], gate["part"]) == (baseline, "public")
    on_ranking, on_public = submission["hidden"]["lds"], submission["public"]["lds"]
    code = exits.GATE if on_ranking < on_public else 0
    middle = (on_ranking + on_public) / 2
    assert main(ranked | {"LDSBOARD_MIN_LDS": repr(middle)}) == code
    assert f"min-lds {middle:g} on the ranking subsets" in read(tmp_path, "github_step_summary")


def test_pull_request_whose_event_cannot_be_read_is_not_scored_offline(
    inputs: dict[str, str], files: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    variables = inputs | files | ci_events.pull_request(tmp_path)
    (tmp_path / "event.json").write_text("{")
    assert main(variables | {"LDSBOARD_TOKEN": ""}) == exits.NOT_ALLOWED
    capsys.readouterr()
    assert main(variables | {"LDSBOARD_NO_REGRESS_FROM": "latest"}) == exits.USAGE
    (((_, _, message),), _) = read_commands(capsys.readouterr().out)
    assert "event.json, cannot be read" in message
    assert main(inputs | files | ci_events.pull_request(tmp_path, None) | {"LDSBOARD_TOKEN": ""}) == 0
    assert read_outputs(read(tmp_path, "github_output"))["status"] == "public-only"  # the fork was deleted


@pytest.mark.parametrize("name", ["GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY"])
def test_full_disk_is_an_error_that_names_the_result(
    inputs: dict[str, str], files: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    variables = inputs | files | ci_events.push(tmp_path) | {name: "/dev/full"}
    assert main(variables) == exits.UNEXPECTED
    *_, (level, _, message) = read_commands(capsys.readouterr().out)[0]
    assert (level, "LDS 0." in message, "No space left on device" in message) == ("error", True, True)
    assert main(variables | {"LDSBOARD_FAIL_ON_ERROR": "false"}) == 0


@pytest.mark.parametrize("name", ["GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY"])
def test_report_that_cannot_be_written_fails_the_job_before_anything_is_sent(
    inputs: dict[str, str],
    files: dict[str, str],
    service: Service,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    name: str,
) -> None:
    before = service.rows()["submission"]
    absent = {name: str(tmp_path / "absent" / "file")}
    assert main(inputs | files | ci_events.push(tmp_path) | absent) == exits.USAGE
    (((level, _, message),), _) = read_commands(capsys.readouterr().out)
    assert level == "error"
    assert message.startswith(f"{name} must be the path of a file that can be written")
    assert service.rows()["submission"] == before
    check_file(str(tmp_path))  # a folder, in which a library can save scores


@pytest.mark.parametrize(
    ("variables", "named"), [({"RUNNER_TEMP": "/absent"}, "RUNNER_TEMP"), ({"GITLAB_CI": "true"}, "ldsboard-report")]
)
def test_report_without_a_folder_fails_the_job_unless_errors_may_pass(
    inputs: dict[str, str],
    files: dict[str, str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    variables: dict[str, str],
    named: str,
) -> None:
    (tmp_path / "ldsboard-report").touch()
    lenient = {"LDSBOARD_FAIL_ON_ERROR": "false"}
    assert [main(inputs | files | variables | more) for more in ({}, lenient)] == [exits.USAGE, 0]
    assert named in capsys.readouterr().out
    assert read_outputs(read(tmp_path, "github_output"))["status"] == "usage-error"
    assert "Nothing was sent" in read(tmp_path, "github_step_summary")


def test_texts_that_the_encoding_of_the_runner_lacks_are_printed_and_written(
    inputs: dict[str, str], files: dict[str, str], tmp_path: Path
) -> None:
    texts = {"LDSBOARD_FILE": "é.npy", "LDSBOARD_METHOD": os.fsdecode(b"\xe9"), "PYTHONIOENCODING": "ascii:strict"}
    command = [sys.executable, "-m", "ldsboard.ci"]
    done = subprocess.run(command, env=inputs | files | texts, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (exits.USAGE, b"")
    assert "'é.npy'" in done.stdout.decode()
    assert "? on toy" in read(tmp_path, "github_step_summary")


def test_command_reads_and_prints_utf8_whatever_the_encoding_of_the_runner(
    inputs: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "python"
    program.write_text('#!/bin/sh\necho "Error: $*" >&2\nexit 1\n', encoding="utf-8")
    program.chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(program))
    assert main(inputs) == exits.UNEXPECTED
    assert "-I -X utf8 -m ldsboard submit" in capsys.readouterr().out  # -I ignores PYTHONUTF8


def test_variable_that_denies_actions_means_no_actions(
    inputs: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(inputs | {"GITHUB_ACTIONS": "false", "LDSBOARD_FILE": "absent.npy"}) == exits.USAGE
    assert "::" not in capsys.readouterr().out


def test_missing_score_file_fails_the_job_before_anything_is_sent(
    inputs: dict[str, str], service: Service, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = service.rows()["submission"]
    assert main(inputs | ci_events.push(tmp_path) | {"LDSBOARD_FILE": "absent.npy"}) == exits.USAGE
    (((level, _, message),), _) = read_commands(capsys.readouterr().out)
    assert level == "error"
    assert message.startswith(f"The folder {tmp_path} has no score file 'absent.npy'. Nothing was sent.")
    assert service.rows()["submission"] == before


def test_summary_without_room_is_named_in_the_log(
    inputs: dict[str, str], files: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "github_step_summary").write_text("x" * SUMMARY_BYTES)
    assert main(inputs | files | ci_events.push(tmp_path)) == 0
    assert "The summary of this step is full" in capsys.readouterr().out
    assert read(tmp_path, "github_step_summary") == "x" * SUMMARY_BYTES


def test_interrupted_upload_names_the_next_run_and_no_command_for_this_machine(
    inputs: dict[str, str], service: Service, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rule = lambda method, _: page(200, "Sign in") if method == "PUT" else None  # noqa: E731
    variables = inputs | ci_events.push(tmp_path) | {"LDSBOARD_METHOD": "cut-off"}
    with HttpProxy(service.port, rule) as proxy:
        assert main(variables | {"LDSBOARD_SERVER": proxy.url}) == exits.UNREACHABLE
    out = capsys.readouterr().out
    assert "Run the job again to send the file." in out
    assert "--resume" not in out
    assert main(variables | {"LDSBOARD_CACHE": str(tmp_path / "of-a-new-machine")}) == 0


def test_merge_request_on_gitlab_has_reports(
    inputs: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(inputs | MERGE_REQUEST | {"LDSBOARD_MIN_LDS": "0.999"}) == exits.GATE
    assert "::" not in capsys.readouterr().out.replace("://", "")
    folder = tmp_path / "ldsboard-report"
    submission = json.loads(read(folder, "submission.json"))
    lines = read(folder, "variables.env").splitlines()
    variables = dict(line.split("=", 1) for line in lines)
    assert variables["LDSBOARD_SUBMISSION_ID"] == submission["id"]
    assert variables["LDSBOARD_STATUS"] == "gate-not-met"
    assert "LDSBOARD_RANK" not in variables  # a practice submission has none
    assert read(folder, "metrics.txt") == f"ldsboard_lds {submission['public']['lds']!r}\n"
    (link,) = json.loads(read(folder, "annotations.json"))["LDSBoard"]
    assert link["external_link"]["url"].endswith(submission["id"])
    suite = ET.fromstring(read(folder, "junit.xml"))[0]  # noqa: S314 -- of this test
    assert (suite.get("tests"), suite.get("failures")) == ("1", "1")
    assert "at least 0.999" in (suite.findtext("testcase/failure") or "")


def test_merge_request_from_fork_on_gitlab_scores_the_public_part(
    inputs: dict[str, str], service: Service, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = service.rows()["submission"]
    identity = {"LDSBOARD_TOKEN": "", "LDSBOARD_ID_TOKEN": "of-the-fork"}
    assert main(inputs | MERGE_REQUEST | FORK | identity) == 0
    assert service.rows()["submission"] == before
    out = capsys.readouterr().out
    assert "This merge request comes from a fork" in out
    assert "Nothing was submitted" in out
    assert "pull request" not in out
    assert "LDSBOARD_STATUS=public-only" in read(tmp_path / "ldsboard-report", "variables.env")
    assert json.loads(read(tmp_path / "ldsboard-report", "annotations.json")) == {"LDSBoard": []}


def test_file_that_the_benchmark_does_not_fit_is_rejected_also_for_a_fork(
    inputs: dict[str, str], files: dict[str, str], toy: Example, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    np.save(tmp_path / "scores.npy", toy.scores()[:-1])
    variables = inputs | files | ci_events.pull_request(tmp_path, ci_events.FORK) | {"LDSBOARD_TOKEN": ""}
    assert main(variables) == exits.REJECTED
    (((level, properties, message),), _) = read_commands(capsys.readouterr().out)
    assert (level, properties["file"]) == ("error", "scores.npy")
    assert "scores.shape" in message


def test_text_of_others_is_no_command(
    inputs: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = "x\n::error::injected\n::stop-commands::x"
    assert main(inputs | ci_events.push(tmp_path) | {"LDSBOARD_METHOD": words}) == exits.USAGE
    (((level, _, message),), _) = read_commands(capsys.readouterr().out)
    assert level == "error"
    assert message != "injected"
