"""Options of `ldsboard submit` and of the commands that read score files: what reaches the server, and what is printed."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from ldsboard.client import UnreachableError
from ldsboard.commands import exits

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

    from tests.app.benchmarks import Example
    from tests.app.service import Service
    from tests.client.shell import Shell


@pytest.mark.parametrize(
    ("options", "environment", "kind"),
    [
        (["--practice"], {}, "practice"),
        (["--ranked"], {"CI": "true"}, "ranked"),
        (["--kind", "practice", "--practice"], {}, "practice"),
        ([], {}, "ranked"),
        ([], {"CI": "true"}, "practice"),
        ([], {"CI": "false"}, "ranked"),
        ([], {"CI": ""}, "ranked"),
        (["--kind", ""], {"GITLAB_CI": "true"}, "practice"),
    ],
)
def test_kind_is_stated_or_depends_on_the_environment(
    shell: Shell, service: Service, scores: Path, options: list[str], environment: dict[str, str], kind: str
) -> None:
    rows = service.rows()
    for name, value in environment.items():
        shell.environment.setenv(name, value)
    result = shell("submit", str(scores), "toy", "--method", "kinds", "--dry-run", "--json", *options)
    assert result.code == 0, result.err
    assert result.json["kind"] == kind
    assert service.rows() == rows


@pytest.mark.parametrize(
    "options", [["--practice", "--ranked"], ["--practice", "--kind", "ranked"], ["--kind", "both"]]
)
def test_contradicting_kinds_are_usage_errors(shell: Shell, scores: Path, options: list[str]) -> None:
    assert shell("submit", str(scores), "toy", "--method", "x", "--dry-run", *options).code == exits.USAGE


def test_every_command_takes_the_benchmark_as_an_option(shell: Shell, scores: Path) -> None:
    file = str(scores)
    commands = [
        ("pull",),
        ("leaderboard",),
        ("score", file),
        ("validate", file),
        ("compare", file, file),
        ("submit", file, "--method", "x", "--dry-run"),
    ]
    for command in commands:
        named = shell(*command, "--benchmark", "toy")
        assert named.code == 0, named.err
        assert shell(*command, "toy", "--benchmark", "toy").out == named.out
        different = shell(*command, "toy", "--benchmark", "open-toy")
        assert different.code == exits.USAGE
        assert "'open-toy' as --benchmark" in different.err
        if command[0] != "compare":
            assert shell(*command).code == exits.USAGE
            assert shell(*command, "--benchmark", "").code == exits.USAGE


def test_all_fields_reach_the_server(shell: Shell, scores: Path) -> None:
    links = {"paper": "https://arxiv.org/abs/2303.14186", "code": "https://github.com/lab/x"}
    result = shell(
        *("submit", str(scores), "toy", "--method", "fields", "--practice", "--json", "--title", "All of it"),
        *("--description", "Two\nlines.", "--tag", "influence", "--tag", "fast"),
        *(word for name, value in links.items() for word in (f"--{name}", value)),
        *("--seconds", "2.5", "--device", "cpu", "--models", "3", "--visibility", "private"),
    )
    assert result.code == 0, result.err
    view = result.json
    expected = {
        "title": "All of it",
        "description": "Two\nlines.",
        "tags": ["influence", "fast"],
        "visibility": "private",
    }
    assert view | expected | links == view
    assert view["cost"] == {"seconds": 2.5, "device": "cpu", "models": 3}
    assert view["provenance"] is None
    assert "gates" not in view


def test_provenance_of_a_pull_request_is_its_head_and_options_override_it(
    shell: Shell, scores: Path, tmp_path: Path
) -> None:
    head = {"ref": "faster", "sha": "1" * 40, "repo": {"full_name": "fork/attribution"}}
    event = tmp_path / "event.json"
    event.write_text(
        json.dumps({"pull_request": {"number": 7, "head": head}, "repository": {"default_branch": "main"}})
    )
    variables = {
        "CI": "true",
        "GITHUB_ACTIONS": "true",
        "GITHUB_EVENT_NAME": "pull_request",
        "GITHUB_EVENT_PATH": str(event),
        "GITHUB_REPOSITORY": "lab/attribution",
        "GITHUB_SHA": "9" * 40,
        "GITHUB_SERVER_URL": "https://github.com",
        "GITHUB_RUN_ID": "42",
    }
    for name, value in variables.items():
        shell.environment.setenv(name, value)
    submit = ("submit", str(scores), "toy", "--method", "origin", "--json")
    expected = {
        "repository": "fork/attribution",
        "commit": "1" * 40,
        "branch": "faster",
        "number": 7,
        "provider": "github",
        "url": "https://github.com/lab/attribution/actions/runs/42",
        "verified": False,
    }
    assert shell(*submit).json["provenance"] == expected
    stated = shell(*submit, "--commit", "abcdef1", "--repository", "own/x", "--branch", "mine").json["provenance"]
    assert stated == expected | {"commit": "abcdef1", "repository": "own/x", "branch": "mine"}
    event.unlink()
    unknown = shell(*submit)
    assert unknown.code == 0
    assert "--commit" in unknown.err
    assert not {"commit", "repository", "branch"} & unknown.json["provenance"].keys()


def test_dry_run_prints_what_would_be_accepted_and_finds_what_would_not(
    shell: Shell, service: Service, toy: Example, scores: Path
) -> None:
    rows = service.rows()
    dry_run = ("submit", str(scores), "toy", "--method", "dry", "--dry-run", "--tag", "a", "--tag", "b")
    accepted = shell(*dry_run, "--seconds", "1", "--commit", "abcdef1")
    assert accepted.code == 0, accepted.err
    assert "would be accepted by toy version 1, as a ranked submission of dry" in accepted.out
    assert shell(*dry_run, "--quiet").out == ""
    assert shell(*dry_run, "--tag", "No Tag").code == exits.USAGE
    assert shell(*dry_run, "--commit", "no commit").code == exits.USAGE
    assert shell(*dry_run, "--resume").code == exits.USAGE
    np.save(scores, toy.scores()[:, :-1])
    refused = shell(*dry_run)
    assert refused.code == exits.REJECTED
    assert "[scores.shape]" in refused.err
    np.save(scores, np.full_like(toy.scores(), np.nan))
    assert "[scores.nonfinite]" in shell(*dry_run).err
    assert service.rows() == rows


def test_quiet_prints_errors_and_warnings_only(shell: Shell, toy: Example, scores: Path, tmp_path: Path) -> None:
    quiet = ("--method", "quiet", "--practice", "--quiet")
    done = shell("submit", str(scores), "toy", *quiet)
    assert (done.code, done.out, done.err) == (0, "", "")
    gated = shell("submit", str(scores), "toy", *quiet, "--min-lds", "-1", "--json")
    assert (gated.code, gated.err) == (0, "")
    assert gated.json["state"] == "scored"
    failed = shell("submit", str(scores), "toy", *quiet, "--min-lds", "0.999")
    assert (failed.code, failed.out) == (exits.GATE, "")
    assert "Expected an LDS of at least 0.999" in failed.err
    flipped = tmp_path / "flipped.npy"
    np.save(flipped, -toy.scores())
    assert "Is the sign flipped?" in shell("submit", str(flipped), "toy", *quiet).err


def save_npz(path: Path, arrays: dict[str, NDArray[Any]]) -> None:
    np.savez(path, **arrays)  # type: ignore[arg-type]  # allow_pickle


def save_safetensors(path: Path, arrays: dict[str, NDArray[Any]]) -> None:
    save_file({name: np.ascontiguousarray(array) for name, array in arrays.items()}, path)


def save_torch(path: Path, arrays: dict[str, NDArray[Any]]) -> None:
    torch.save({name: torch.from_numpy(np.ascontiguousarray(array)) for name, array in arrays.items()}, path)


SEVERAL = {".npz": save_npz, ".safetensors": save_safetensors, ".pt": save_torch}


@pytest.mark.parametrize(("suffix", "save"), SEVERAL.items())
def test_axes_and_key_select_the_scores_for_every_command(
    shell: Shell,
    toy: Example,
    scores: Path,
    tmp_path: Path,
    suffix: str,
    save: Callable[[Path, dict[str, NDArray[Any]]], None],
) -> None:
    shell("pull", "toy")
    several = tmp_path / f"several{suffix}"
    save(several, {"order": np.arange(3.0), "influence": toy.scores().T})
    before = sorted(tmp_path.rglob("*"))
    select = ("--axes", "target,train", "--key", "influence")
    expected = shell("score", str(scores), "toy", "--json").json
    assert shell("score", str(several), "toy", "--json", *select).json == expected
    assert shell("validate", str(several), "toy", *select).code == 0
    both = shell("compare", str(several), str(several), "toy", "--json", *select).json
    assert both["difference"] == 0
    assert shell("submit", str(several), "toy", "--method", "x", "--dry-run", *select).code == 0
    assert sorted(tmp_path.rglob("*")) == before
    assert shell("score", str(several), "toy", "--json").json == expected  # the only table, which only fits transposed
    unknown = shell("score", str(several), "toy", "--key", "nothing")
    assert unknown.code == exits.REJECTED
    assert "'influence', 'order'" in unknown.err
    transposed = shell("submit", str(several), "toy", "--method", f"turned{suffix}", "--practice", "--json")
    assert transposed.json["public"]["lds"] == expected["lds"]
    assert transposed.json["warnings"] == [*expected["warnings"], "scores.was_transposed"]
    sent = shell("submit", str(several), "toy", "--method", f"axes{suffix}", "--practice", "--json", *select)
    assert sent.json["public"]["lds"] == expected["lds"]


def test_axes_transpose_a_file_of_one_array(shell: Shell, toy: Example, scores: Path, tmp_path: Path) -> None:
    shell("pull", "toy")
    transposed = tmp_path / "transposed.npy"
    np.save(transposed, toy.scores().T)
    expected = shell("score", str(scores), "toy", "--json").json
    for axes in ("target,train", "target, train", "Target,Train"):
        assert shell("score", str(transposed), "toy", "--json", "--axes", axes).json == expected
    assert shell("score", str(scores), "toy", "--json", "--axes", "train,target").json == expected
    turned = shell("score", str(transposed), "toy", "--json")
    assert turned.json == expected
    assert "was transposed" in turned.err
    wrong = shell("score", str(scores), "toy", "--axes", "target,train")
    assert (wrong.code, "Leave out --axes" in wrong.err) == (exits.REJECTED, True)
    for axes in ("", "train", "train,train", "auto"):
        wrong = shell("score", str(scores), "toy", "--axes", axes)
        assert wrong.code == exits.USAGE
        assert "target,train" in wrong.err
    unnamed = shell("score", str(scores), "toy", "--key", "scores")
    assert unnamed.code == exits.REJECTED
    assert "--key" in unnamed.err


@pytest.mark.parametrize(("suffix", "save"), SEVERAL.items())
def test_interrupted_upload_of_converted_file_is_resumed_under_its_own_name(
    shell: Shell,
    service: Service,
    toy: Example,
    tmp_path: Path,
    suffix: str,
    save: Callable[[Path, dict[str, NDArray[Any]]], None],
) -> None:
    several = tmp_path / f"several{suffix}"
    save(several, {"order": np.arange(3.0), "influence": toy.scores(seed=3).T})
    rows = service.rows()["submission"]

    def unreachable(*_: object) -> None:
        raise UnreachableError("The line is cut.")

    select = ("--axes", "target,train", "--key", "influence")
    with shell.environment.context() as patch:
        patch.setattr("ldsboard.client.Client.send_part", unreachable)
        cut = shell("submit", str(several), "toy", "--method", f"cut{suffix}", "--practice", *select)
    assert cut.code == exits.UNREACHABLE
    assert f"ldsboard submit --resume {several}" in cut.err
    resumed = shell("submit", "--resume", str(several), "--json", "--min-lds", "-1")
    assert resumed.code == 0, resumed.err
    assert resumed.json["public"]["lds"] == toy.offline(toy.scores(seed=3))["public"].lds
    assert service.rows()["submission"] == rows + 1
    assert shell("submit", "--resume", str(several)).code == exits.USAGE
