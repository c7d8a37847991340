"""Settings of the property tests, and the random problem that most tests in this folder score.

Legend: M subsets, R runs, n training examples, N targets.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np
import pytest
from hypothesis import settings

from ldsboard import cache, cli
from ldsboard.bundle import write_bundle
from ldsboard.subsets import draw_masks

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

    Run = Callable[..., tuple[int, str, str]]

# Fixed examples and no deadline, so that no test fails because the machine is busy.
settings.register_profile("ldsboard", derandomize=True, deadline=None, max_examples=40, database=None)
settings.load_profile("ldsboard")


class Problem(NamedTuple):
    """Scores float64 (n, N), masks bool (M, n) of half the examples, margins float64 (M, N) partly explained by the scores."""

    scores: NDArray[np.float64]
    masks: NDArray[np.bool_]
    margins: NDArray[np.float64]


class MakeProblem(Protocol):
    def __call__(self, M: int = 40, n: int = 30, N: int = 5, *, seed: int = 0) -> Problem: ...


class Large(NamedTuple):
    """Scores float32 (n, N), masks bool (M, n) of half the examples, margins float32 (M, N)."""

    scores: NDArray[np.float32]
    masks: NDArray[np.bool_]
    margins: NDArray[np.float32]


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(20230329)


@pytest.fixture
def make_problem() -> MakeProblem:
    def make(M: int = 40, n: int = 30, N: int = 5, *, seed: int = 0) -> Problem:
        rng = np.random.default_rng(seed)
        scores_nN = rng.normal(size=(n, N))
        masks_Mn = rng.permuted(np.tile(np.arange(n) < n // 2, (M, 1)), axis=1)
        noise_MN = rng.normal(size=(M, N)) * np.sqrt(n) / 2
        return Problem(scores_nN, masks_Mn, masks_Mn @ scores_nN + noise_MN)

    return make


@pytest.fixture(scope="session")
def large() -> Large:
    """Scores with ties and constant columns, large enough that a BLAS splits the product over threads."""
    rng = np.random.default_rng(8)
    scores_nN = rng.normal(size=(400, 300)).astype(np.float32)
    scores_nN[:, 50:90] = rng.integers(-1, 2, size=(400, 40)) * np.float32(0.1)
    scores_nN[:, 130] = 0.7
    masks_Mn = rng.permuted(np.tile(np.arange(400) < 200, (150, 1)), axis=1)
    return Large(scores_nN, masks_Mn, rng.normal(size=(150, 300)).astype(np.float32))


@pytest.fixture
def scores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make_problem: MakeProblem) -> Path:
    """Write a benchmark into the cache, and return a score file that partly explains its margins."""
    monkeypatch.setenv("LDSBOARD_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("LDSBOARD_SERVER", "http://localhost:9")
    M, n, N = 40, 30, 5
    masks_Mn = draw_masks(7, M, n, 0.5)
    effects_nN, _, noise_MN = make_problem(M, n, N)
    words = dict.fromkeys(("title", "description", "licence"), "none") | {"name": "toy", "output_function": "margin"}
    numbers = {"version": 1, "alpha": 0.5, "public_seed": 7, "split": "open", "ranking": (4, M)}
    empty: dict[str, Any] = {"dataset": {}, "recipe": {}, "provenance": {}}
    margins_MRN = np.stack([masks_Mn @ effects_nN + noise_MN] * 2, axis=1).astype(np.float32)
    write_bundle(
        cache.folder("http://localhost:9", "toy", 1),
        {**words, **numbers, **empty},
        masks_Mn=masks_Mn,
        margins_MRN=margins_MRN,
        labels={},
    )
    np.save(tmp_path / "scores.npy", effects_nN)
    return tmp_path / "scores.npy"


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Return a function that runs a command, and returns its exit code, standard output and standard error."""

    def call(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["ldsboard", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        return int(ended.value.code or 0), *capsys.readouterr()

    return call
