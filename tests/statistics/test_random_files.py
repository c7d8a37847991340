"""Random score files are reported as random, except for their true LDS, which is of order 1 / sqrt(n).

The predictions of a file of normal scores are normal over files; their covariance is the Gram matrix of the masks. If there are
more examples than subsets, predictions are drawn from this distribution instead of from files.

Legend: M subsets, n training examples, N targets, c components of the margins, f files.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pytest

from ldsboard import GroundTruth
from ldsboard.core.chance import flipped_z
from tests.statistics.figures import Mean, share_error
from tests.statistics.populations import subsets, unit_ranks

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tests.statistics.conftest import Report
    from tests.statistics.figures import Draws

    Floats = NDArray[np.float64]

pytestmark = pytest.mark.slow

N = 40
FLIPPED = 0.00135
"""Share of files below -3 standard deviations of `z_random` over files."""

TRUTHS = 5
"""Number of draws of subsets and margins; the Monte Carlo error is computed from their shares."""


class Setting(NamedTuple):
    """A benchmark: M, n, the components of its margins, the share of their variance that the examples explain, and the limit."""

    M: int
    n: int
    components: int
    explained: float
    least: float


SETTINGS = {
    "one component, all explained": Setting(1000, 5000, 1, 1.0, 0.98),
    "five components, half explained": Setting(1000, 5000, 5, 0.5, 0.98),
    "the size of the digits benchmark, all explained": Setting(800, 1200, 1, 1.0, 0.97),
    "more subsets than examples, all explained": Setting(2000, 1200, 1, 1.0, 0.92),
    "more subsets than examples, half explained": Setting(2000, 1200, 5, 0.5, 0.96),
    "seven subsets for each example, all explained": Setting(2000, 300, 1, 1.0, 0.7),
}


def margins_of(rng: np.random.Generator, masks_Mn: NDArray[np.float32], setting: Setting) -> Floats:
    """Return margins that share components of both signs; the examples explain part of the variance."""
    M, n, c, explained, _ = setting
    loadings_cN = rng.normal(size=(c, N))
    effects_nN = rng.normal(size=(n, c)) @ loadings_cN + 0.3 * rng.normal(size=(n, N))
    noise_MN = rng.normal(size=(M, c)) @ loadings_cN + 0.3 * rng.normal(size=(M, N))
    return np.asarray(np.sqrt(explained) * (masks_Mn @ effects_nN) + np.sqrt((1 - explained) * n / 4) * noise_MN)


def factor_of_gram(masks_Mn: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return a matrix whose product with normal numbers has the distribution of predictions: masks, or a Cholesky factor."""
    M, n = masks_Mn.shape
    if n <= M:
        return masks_Mn
    masks = masks_Mn.astype(np.float64)
    return np.linalg.cholesky(masks @ masks.T).astype(np.float32)


def distances(unit_fNM: Floats, margins_NM: Floats) -> Floats:
    """Return z_random of files, (f,), from the unit ranks of their predictions; N is 1 for files with one vector."""
    M = margins_NM.shape[1]
    lds_f = np.einsum("fNM,NM->f", unit_fNM, margins_NM)
    gram_fNN = unit_fNM @ unit_fNM.swapaxes(1, 2)
    return np.asarray(lds_f / np.sqrt((gram_fNN * (margins_NM @ margins_NM.T)).sum(axis=(1, 2))) * np.sqrt(M - 1))


def random_distances(
    rng: np.random.Generator, masks_Mn: NDArray[np.float32], margins_MN: Floats, count: int
) -> dict[str, Floats]:
    """Return z_random of `count` random files of three sorts."""
    factor = factor_of_gram(masks_Mn)
    margins_NM = unit_ranks(margins_MN.T)
    first_N = np.linalg.eigh(margins_NM @ margins_NM.T)[1][:, -1]

    def unit(files: int) -> Floats:
        predictions_Mf = factor @ rng.standard_normal((factor.shape[1], files), dtype=np.float32)
        return unit_ranks(predictions_Mf.T.astype(np.float64))

    shared_f1M = unit(10 * count)[:, None]
    # With one vector for all targets, the LDS and its spread depend on the sum of the targets' ranks only.
    found = {
        "one vector": distances(shared_f1M, margins_NM.sum(axis=0, keepdims=True)),
        "one vector, signs of the first component": distances(shared_f1M, np.sign(first_N)[None] @ margins_NM),
    }
    unrelated = [distances(unit(N)[None], margins_NM) for _ in range(count)]
    return found | {"unrelated columns": np.concatenate(unrelated)}


def test_distances_equal_those_of_results() -> None:
    rng = np.random.default_rng(51)
    masks_Mn = subsets(rng, 90, 40).astype(np.float32)
    margins_MN = rng.normal(size=(90, 5)) + rng.normal(size=(90, 1))
    truth, margins_NM = GroundTruth(masks_Mn.astype(np.bool_), margins_MN), unit_ranks(margins_MN.T)
    scores_nN, signs_N = rng.normal(size=(40, 5)), np.array([1, -1, 1, 1, -1])
    unrelated = distances(unit_ranks((masks_Mn @ scores_nN).T)[None], margins_NM)
    assert unrelated == pytest.approx([truth.score(scores_nN).z_random], rel=1e-4)
    shared = distances(unit_ranks((masks_Mn @ scores_nN[:, :1]).T)[None], signs_N[None] @ margins_NM)
    assert shared == pytest.approx([truth.score(scores_nN[:, :1] * signs_N).z_random], rel=1e-4)


@pytest.mark.parametrize("name", SETTINGS)
def test_random_files_count_as_random(name: str, draws: Draws, report: Report) -> None:
    setting = SETTINGS[name]
    count = max(draws.count // TRUTHS, 20)
    found: dict[str, list[Floats]] = {}
    for seed in range(TRUTHS):
        rng = np.random.default_rng([52, seed, setting.M, setting.components])
        masks_Mn = subsets(rng, setting.M, setting.n).astype(np.float32)
        for sort, z_f in random_distances(rng, masks_Mn, margins_of(rng, masks_Mn, setting), count).items():
            found.setdefault(sort, []).append(z_f)
    for sort, z_tf in found.items():
        random = Mean.of([np.mean(np.abs(z_f) < 3) for z_f in z_tf], as_share=True)
        spread = np.concatenate(z_tf).std()
        text = (
            f"{name}: {sort}, M {setting.M}, n {setting.n}, {np.concatenate(z_tf).size} files, spread of z {spread:.2f}"
        )
        report(text, random, f"at least {setting.least:.0%}")
        error = max(random.error, share_error(setting.least, np.concatenate(z_tf).size))
        assert random.value >= setting.least - draws.slack * error
        flipped = Mean.of([np.mean(z_f <= flipped_z(setting.M, setting.n)) for z_f in z_tf], as_share=True)
        negative = Mean.of([np.mean(z_f <= -3) for z_f in z_tf], as_share=True)
        report(f"{name}: {sort}, called flipped", flipped, "at most 0.135%")
        report(f"{name}: {sort}, below -3, for comparison", negative)
        assert flipped.value <= FLIPPED + max(draws.slack, 3) * share_error(FLIPPED, np.concatenate(z_tf).size)
        expected = np.sqrt(1 + setting.explained * setting.M / setting.n)
        # The ranks of the margins are explained a little less well than the margins.
        assert abs(spread / expected - 1) <= 0.05 + draws.slack / np.sqrt(2 * TRUTHS * count)
