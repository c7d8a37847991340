"""The gates of `ldsboard submit`: which submissions pass, and which options are refused because a gate would compare nothing."""

from __future__ import annotations

import json
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from ldsboard.commands import exits
from ldsboard.commands.gates import ANY_DIFFERENCE, TOLERANCE, regressed
from ldsboard.commands.queries import history
from ldsboard.core.significance import half_width
from tests.client.http_proxy import Answer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.app.benchmarks import Example
    from tests.app.service import Service
    from tests.client.http_proxy import HttpProxy
    from tests.client.shell import Shell

BASELINE = "--no-regress-from"


@pytest.fixture
def worse(toy: Example, tmp_path: Path) -> Path:
    path = tmp_path / "worse.npy"
    np.save(path, toy.scores(noise=5))
    return path


@pytest.fixture
def nothing_sent(service: Service) -> Iterator[None]:
    before = service.rows()["submission"]
    yield
    assert service.rows()["submission"] == before


def submitted(shell: Shell, path: Path, *options: str, benchmark: str = "toy") -> str:
    """Submit a file and return the id of the submission."""
    result = shell("submit", str(path), benchmark, "--method", "baseline", "--json", *options)
    assert result.code == 0, result.err
    return str(result.json["id"])


@pytest.mark.usefixtures("nothing_sent")
@pytest.mark.parametrize("option", ["--min-lds", "--tolerance", "--seconds", "--timeout"])
@pytest.mark.parametrize("value", ["nan", "-NaN", "inf", "-inf", "", "high"])
def test_number_that_is_not_finite_is_usage_error(shell: Shell, scores: Path, option: str, value: str) -> None:
    result = shell("submit", str(scores), "toy", "--method", "x", f"{option}={value}", "--practice")
    assert result.code == exits.USAGE
    assert option in result.err


@pytest.mark.usefixtures("nothing_sent")
@pytest.mark.parametrize("option", ["--tolerance", "--seconds", "--timeout", "--models"])
def test_negative_number_is_usage_error(shell: Shell, scores: Path, option: str) -> None:
    assert shell("submit", str(scores), "toy", "--method", "x", f"{option}=-1", "--practice").code == exits.USAGE


@pytest.mark.usefixtures("nothing_sent")
@pytest.mark.parametrize("gate", [("--min-lds", "0.9"), (BASELINE, "latest"), (BASELINE, "0123456789abcdef")])
@pytest.mark.parametrize("option", ["--no-wait", "--dry-run"])
def test_gate_that_would_not_be_looked_at_is_usage_error(
    shell: Shell, scores: Path, gate: tuple[str, str], option: str
) -> None:
    result = shell("submit", str(scores), "toy", "--method", "x", "--practice", *gate, option)
    assert result.code == exits.USAGE
    assert option in result.err


@pytest.mark.usefixtures("nothing_sent")
@pytest.mark.parametrize("baseline", ["", " ", "0123456789abcdef", "../users/me", "."])
def test_unknown_baseline_is_found_before_the_file_is_sent(shell: Shell, scores: Path, baseline: str) -> None:
    result = shell("submit", str(scores), "toy", "--method", "x", "--practice", f"{BASELINE}={baseline}")
    assert result.code == exits.USAGE
    assert BASELINE in result.err


def test_unusable_baseline_is_found_before_the_file_is_sent(
    shell: Shell, service: Service, token: str, scores: Path, toy: Example, open_toy: Example, tmp_path: Path
) -> None:
    foreign = tmp_path / "foreign.npy"
    np.save(foreign, open_toy.scores())
    spoiled = tmp_path / "spoiled.npy"
    np.save(spoiled, toy.scores())
    withdrawn = submitted(shell, scores, "--practice")
    owner = {"Authorization": f"Bearer {token}"}
    assert service.client.delete(f"/submissions/{withdrawn}", headers=owner).is_success
    private = service.submit(service.token("ben"), "toy", scores.read_bytes(), visibility="private", kind="practice")
    cases = {
        withdrawn: "is withdrawn",
        submitted(shell, foreign, "--practice", benchmark="open-toy"): "is one to open-toy version 1",
        private.json()["id"]: "No submission",
    }
    before = service.rows()["submission"]
    for baseline, words in cases.items():
        result = shell("submit", str(spoiled), "toy", "--method", "x", "--practice", BASELINE, baseline)
        assert result.code == exits.USAGE
        assert words in result.err
    assert service.rows()["submission"] == before


def test_baseline_of_another_version_is_found_before_the_file_is_sent(
    shell: Shell, service: Service, scores: Path
) -> None:
    baseline = submitted(shell, scores, "--practice")
    before, newer = service.rows()["submission"], {"name": "toy", "version": 2, "subsets": {}}
    with shell.environment.context() as patch:
        patch.setattr("ldsboard.client.Client.benchmark", lambda *_: newer)
        result = shell("submit", str(scores), "toy", "--method", "x", "--practice", BASELINE, baseline)
    assert result.code == exits.USAGE
    assert "expected a submission to toy version 2" in result.err
    assert service.rows()["submission"] == before


def test_baseline_that_is_not_scored_yet_is_waited_for(shell: Shell, scores: Path, worse: Path) -> None:
    baseline = shell("submit", str(scores), "toy", "--method", "x", "--no-wait", "--json", "--practice").json
    result = shell("submit", str(worse), "toy", "--method", "x", "--practice", BASELINE, baseline["id"])
    assert result.code == exits.GATE, result.err


@pytest.mark.parametrize(
    ("own", "other", "part"),
    [("ranked", "ranked", "ranking"), ("ranked", "practice", "public"), ("practice", "ranked", "public")],
)
def test_both_gates_look_at_the_same_part_and_print_difference_with_interval(
    shell: Shell, toy: Example, scores: Path, worse: Path, own: str, other: str, part: str
) -> None:
    baseline = submitted(shell, worse, "--kind", other)
    options = ("--method", "x", "--kind", own, "--min-lds", "-1", BASELINE, baseline)
    result = shell("submit", str(scores), "toy", *options, "--json")
    assert result.code == 0, result.err
    view, (least, regress) = result.json, result.json["gates"]
    numbers = view["hidden"] if part == "ranking" else view["public"]
    assert (least["part"], least["lds"], least["met"]) == (part, numbers["lds"], True)
    assert (regress["part"], regress["baseline"], regress["met"]) == (part, baseline, True)
    assert regress["difference"] > 0
    half = half_width(regress["std_error"], toy.bundle.manifest.subsets[part])
    assert regress["ci"] == pytest.approx([regress["difference"] - half, regress["difference"] + half], abs=6e-5)
    assert regress["note"] == "these two files; how much a rerun moves is not known"
    low, high = regress["ci"]
    printed = f"{regress['difference']:+.4f} [{low:+.4f}, {high:+.4f}]"
    assert f"on the {part} subsets" in result.err
    assert printed in result.err
    swapped = shell("submit", str(worse), "toy", "--method", "x", "--kind", own, BASELINE, view["id"])
    expected_part = "ranking" if own == "ranked" else "public"
    assert swapped.code == exits.GATE
    assert f"on the {expected_part} subsets is significantly worse than that of {view['id']}, by -" in swapped.err


def test_min_lds_of_practice_looks_at_the_public_part(shell: Shell, scores: Path) -> None:
    result = shell("submit", str(scores), "toy", "--method", "x", "--practice", "--min-lds", "0.999", "--json")
    assert result.code == exits.GATE
    assert "on the public subsets, got" in result.err
    assert result.json["gates"][0]["met"] is False


def test_drop_within_tolerance_passes(shell: Shell, scores: Path, worse: Path) -> None:
    baseline = submitted(shell, scores, "--practice")
    arguments = ("submit", str(worse), "toy", "--method", "x", "--practice", BASELINE, baseline)
    assert shell(*arguments, "--tolerance", "2").code == 0
    failed = shell(*arguments)
    assert failed.code == exits.GATE
    assert f"more than the tolerance of {TOLERANCE}" in failed.err


@pytest.mark.parametrize(
    ("difference", "p_value", "expected"),
    [
        (-0.1, 1e-9, True),
        (-0.1, 0.06, False),  # a large drop that could be chance
        (-0.004, 1e-9, False),  # a significant drop that is small
        (-0.005, 1e-9, False),
        (0.1, 1e-9, False),
        (-0.1, None, True),  # no test is possible: the gate does not pass for that reason
        (0.0, None, False),
    ],
)
def test_regression_is_a_significant_drop_beyond_the_tolerance(
    difference: float, p_value: float | None, expected: bool
) -> None:
    assert regressed(difference, p_value, TOLERANCE) is expected


def push(shell: Shell, tmp_path: Path, branch: str = "main", commit: str = "a", **event: Any) -> None:
    """Set the variables of a run in GitHub Actions, on a push to `branch` or on the pull request that `event` describes."""
    path = tmp_path / "event.json"
    path.write_text(json.dumps({"repository": {"full_name": "lab/x", "default_branch": "main"}, **event}))
    variables = {
        "CI": "true",
        "GITHUB_ACTIONS": "true",
        "GITHUB_EVENT_PATH": str(path),
        "GITHUB_REPOSITORY": "lab/x",
        "GITHUB_SHA": commit * 40,
        "GITHUB_EVENT_NAME": "pull_request" if event else "push",
        "GITHUB_REF": "refs/pull/7/merge" if event else f"refs/heads/{branch}",
    }
    for name, value in variables.items():
        shell.environment.setenv(name, value)


def test_latest_is_newest_submission_from_default_branch_and_never_of_a_pull_request(
    shell: Shell, toy: Example, scores: Path, worse: Path, tmp_path: Path
) -> None:
    submit = ("submit", str(scores), "toy", "--method", "followed", "--json", BASELINE, "latest")
    push(shell, tmp_path)
    first = shell(*submit)
    assert first.code == 0, first.err
    assert "no baseline" in first.err
    assert first.json["gates"] == [{"gate": "no-regress-from", "met": True, "baseline": None, "tolerance": TOLERANCE}]
    head = {"sha": "b" * 40, "ref": "main", "repo": {"full_name": "fork/x"}}
    push(shell, tmp_path, number=7, pull_request={"number": 7, "head": head})
    pulled = shell("submit", str(worse), *submit[2:])
    assert pulled.code == exits.GATE, pulled.err
    assert pulled.json["gates"][0]["baseline"] == first.json["id"]
    push(shell, tmp_path, "topic", commit="e")
    assert shell("submit", str(worse), *submit[2:]).code == exits.GATE
    better = tmp_path / "better.npy"
    np.save(better, toy.scores(noise=0.1))
    push(shell, tmp_path, commit="c")
    again = shell("submit", str(better), *submit[2:])
    assert (again.code, again.json["gates"][0]["baseline"]) == (0, first.json["id"])
    push(shell, tmp_path, commit="d")
    newest = shell("submit", str(worse), *submit[2:])
    assert newest.json["gates"][0]["baseline"] == again.json["id"]
    assert newest.json["gates"][0]["part"] == "public"

    # The newest row of the branch is a pull request's from now on, and each page has one row.
    push(shell, tmp_path, number=7, pull_request={"number": 7, "head": head})
    shell("submit", str(better), *submit[2:])
    shell.environment.setattr("ldsboard.commands.gates.history", partial(history, limit="1"))
    paged = shell("submit", str(worse), *submit[2:])
    assert paged.json["gates"][0]["baseline"] == newest.json["id"]


def test_repeated_run_is_not_its_own_baseline(
    shell: Shell, toy: Example, scores: Path, worse: Path, tmp_path: Path
) -> None:
    options = ("toy", "--method", "repeated", "--json", BASELINE, "latest")
    push(shell, tmp_path)
    good = shell("submit", str(scores), *options).json["id"]
    push(shell, tmp_path, commit="b")
    also_worse = tmp_path / "also.npy"
    np.save(also_worse, toy.scores(noise=6))
    refs = ("refs/heads/main", "refs/heads/main", "refs/heads/release", "refs/tags/v1")
    for path, ref in ((also_worse, refs[0]), *((worse, ref) for ref in refs)):
        shell.environment.setenv("GITHUB_REF", ref)
        result = shell("submit", str(path), *options, "--commit", "b" * (7 if path == also_worse else 40))
        assert (result.code, result.json["gates"][0]["baseline"]) == (exits.GATE, good)


def test_difference_that_is_only_reported_leaves_the_other_gate_as_it_is(
    shell: Shell, scores: Path, worse: Path
) -> None:
    baseline = submitted(shell, worse, "--practice")
    options = ("toy", "--method", "x", "--ranked", "--min-lds", "-1", BASELINE, baseline, "--json")
    parts = {}
    for tolerance in (TOLERANCE, ANY_DIFFERENCE):
        gates = shell("submit", str(scores), *options, "--tolerance", str(tolerance)).json["gates"]
        parts[tolerance] = [gate["part"] for gate in gates]
    assert parts == {TOLERANCE: ["public", "public"], ANY_DIFFERENCE: ["ranking", "public"]}


def test_resume_checks_the_gates_with_the_announced_visibility(shell: Shell, proxy: HttpProxy, scores: Path) -> None:
    proxy.rule = lambda method, _: Answer(502) if method == "PUT" else None
    begun = shell("submit", str(scores), "toy", "--method", "unnamed", "--practice", "--visibility", "anonymous")
    assert begun.code == exits.UNREACHABLE
    proxy.rule = lambda *_: None
    refused = shell("submit", "--resume", BASELINE, "latest")
    assert (refused.code, "anonymous submissions are in no history" in refused.err) == (exits.USAGE, True)
    assert shell("submit", "--resume", "--min-lds", "-1", "--no-wait").code == exits.USAGE
    assert shell("submit", "--resume", "--min-lds", "-1").code == 0


@pytest.mark.usefixtures("nothing_sent")
def test_latest_without_known_default_branch_is_usage_error(shell: Shell, scores: Path, tmp_path: Path) -> None:
    submit = ("submit", str(scores), "toy", "--method", "unseen", "--practice", BASELINE, "latest")
    assert "--default-branch" in shell(*submit).err
    push(shell, tmp_path)
    (tmp_path / "event.json").write_text("{")
    result = shell(*submit)
    assert result.code == exits.USAGE
    assert "cannot be read" in result.err
    anonymous = shell(*submit, "--default-branch", "main", "--visibility", "anonymous")
    assert anonymous.code == exits.USAGE
    shell.environment.setenv("LDSBOARD_TOKEN", "")
    assert shell(*submit, "--default-branch", "main").code == exits.NOT_ALLOWED


def test_latest_takes_the_stated_default_branch(shell: Shell, scores: Path, worse: Path) -> None:
    submit = ("toy", "--method", "stated", "--practice", "--branch", "trunk", "--default-branch", "trunk")
    gate = (BASELINE, "latest", "--json")
    assert shell("submit", str(scores), *submit, *gate).json["gates"][0]["baseline"] is None
    assert shell("submit", str(worse), *submit, *gate).code == exits.GATE
