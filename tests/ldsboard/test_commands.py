"""Commands that work without a server, on a benchmark in the cache."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from ldsboard import GroundTruth, cache, cli, compare
from ldsboard.bundle import write_bundle
from ldsboard.commands import exits
from ldsboard.subsets import draw_masks

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.ldsboard.conftest import MakeProblem

    Run = Callable[..., tuple[int, str, str]]

n, N, M = 30, 5, 40
MASKS = draw_masks(7, M, n, 0.5)


@pytest.fixture
def scores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make_problem: MakeProblem) -> Path:
    """Write a benchmark into the cache, and return a score file that partly explains its margins."""
    monkeypatch.setenv("LDSBOARD_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("LDSBOARD_SERVER", "http://localhost:9")
    effects_nN, _, noise_MN = make_problem(M, n, N)
    words = dict.fromkeys(("title", "description", "licence"), "none") | {"name": "toy", "output_function": "margin"}
    numbers = {"version": 1, "alpha": 0.5, "public_seed": 7, "split": "open", "ranking": (4, M)}
    empty: dict[str, Any] = {"dataset": {}, "recipe": {}, "provenance": {}}
    margins_MRN = np.stack([MASKS @ effects_nN + noise_MN] * 2, axis=1).astype(np.float32)
    write_bundle(
        cache.folder("http://localhost:9", "toy", 1),
        {**words, **numbers, **empty},
        masks_Mn=MASKS,
        margins_MRN=margins_MRN,
        labels={},
    )
    np.save(tmp_path / "scores.npy", effects_nN)
    return tmp_path / "scores.npy"


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    def call(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["ldsboard", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        return int(ended.value.code or 0), *capsys.readouterr()

    return call


def test_score_command_equals_library(scores: Path, run: Run) -> None:
    expected = GroundTruth.from_pulled("toy").score(np.load(scores))
    code, out, _ = run("score", scores, "toy", "--json")
    assert (code, json.loads(out)["lds"]) == (0, expected.lds)
    assert f"{expected.lds:.4f}" in run("score", scores, "toy")[1]
    assert run("validate", scores, "toy")[0] == 0


def test_compare_command_equals_library(scores: Path, run: Run) -> None:
    worse = scores.with_name("worse.npy")
    np.save(worse, np.load(scores) + np.random.default_rng(1).normal(size=(n, N)))
    truth = GroundTruth.from_pulled("toy")
    code, out, _ = run("compare", scores, worse, "--benchmark", "toy", "--json")
    difference = compare(truth.score(scores), truth.score(worse)).difference
    assert (code, json.loads(out)["difference"]) == (0, difference)


def test_commands_report_error_code_and_exit_code(scores: Path, run: Run) -> None:
    turned = scores.with_name("turned.npy")
    np.save(turned, np.load(scores).T)
    code, _, err = run("validate", turned, "toy")
    assert code == exits.REJECTED
    assert "[scores.transposed]" in err
    assert run("score", scores.with_name("absent.npy"), "toy")[0] == exits.USAGE
    code, _, err = run("score", scores, "other")
    assert code == exits.USAGE
    assert "ldsboard pull other" in err
