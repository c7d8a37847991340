"""Commands that work without a server, on a benchmark in the cache."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

import numpy as np
import pytest

from ldsboard import GroundTruth, cli, compare
from ldsboard.commands import exits
from ldsboard.core.kernel import ROUTE_VARIABLE

if TYPE_CHECKING:
    from pathlib import Path

    from tests.ldsboard.conftest import Run


def test_score_command_equals_library(scores: Path, run: Run) -> None:
    truth = GroundTruth.from_pulled("toy")
    expected = truth.score(np.load(scores))
    code, out, _ = run("score", scores, "toy", "--json")
    assert (code, json.loads(out)["lds"]) == (0, expected.lds)
    assert (json.loads(out)["part"], json.loads(out)["subsets"], len(truth.masks_Mn)) == ("public", 4, 4)
    assert f"{expected.lds:.4f}" in run("score", scores, "toy")[1]
    assert run("validate", scores, "toy")[0] == 0


def test_unknown_route_is_a_usage_error(
    scores: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(ROUTE_VARIABLE, "abacus")
    monkeypatch.setattr(sys, "argv", ["ldsboard", "score", str(scores), "toy"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 2
    said = " ".join(capsys.readouterr().err.split())
    assert said.endswith(
        "LDSBOARD_PRODUCT: expected auto, avx512, avx2, portable or blas, got 'abacus'. Unset LDSBOARD_PRODUCT."
    )


def test_compare_command_equals_library(scores: Path, run: Run) -> None:
    worse = scores.with_name("worse.npy")
    np.save(worse, np.load(scores) + np.random.default_rng(1).normal(size=np.load(scores).shape))
    truth = GroundTruth.from_pulled("toy")
    code, out, _ = run("compare", scores, worse, "--benchmark", "toy", "--json")
    difference = compare(truth.score(scores), truth.score(worse)).difference
    assert (code, json.loads(out)["difference"]) == (0, difference)


def test_commands_report_error_code_and_exit_code(scores: Path, run: Run) -> None:
    cut = scores.with_name("cut.npy")
    np.save(cut, np.load(scores)[1:])
    code, _, err = run("validate", cut, "toy")
    assert code == exits.REJECTED
    assert "[scores.shape]" in err
    assert run("score", scores.with_name("absent.npy"), "toy")[0] == exits.USAGE
    code, _, err = run("score", scores, "other")
    assert code == exits.USAGE
    assert "ldsboard pull other" in err
