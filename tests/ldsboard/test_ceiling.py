"""The noise ceiling and the margin spectrum, compared with simulation and the full correlation matrix.

Legend: M subsets, R runs, N targets.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from ldsboard import GroundTruth, ProblemError
from ldsboard.core.ceiling import attempt_gain, margin_spectrum, noise_ceiling, uncorrected_ceiling


@pytest.mark.parametrize("R", [2, 3, 5])
def test_ceiling_equals_lds_of_noiseless_signal(R: int, rng: np.random.Generator) -> None:
    M, N = 1200, 12
    signal_MN = rng.normal(size=(M, N))
    noise = np.linspace(0.2, 2.5, N)
    margins_MRN = (signal_MN[:, None] + noise * rng.normal(size=(M, R, N))).astype(np.float32)
    reached = [stats.spearmanr(signal_MN[:, j], margins_MRN[:, :, j].mean(axis=1)).statistic for j in range(N)]
    ceiling = noise_ceiling(margins_MRN)
    assert ceiling.value == pytest.approx(np.mean(reached), abs=0.02)
    assert 0 < ceiling.std_error < 0.02
    assert ceiling.unreliable_targets == 0


def test_ceiling_averages_spearman_brown_values_of_targets(rng: np.random.Generator) -> None:
    margins_MRN = rng.normal(size=(30, 3, 2)) + rng.normal(size=(30, 1, 2)) * np.array([4.0, 0.5])
    values = []
    for j in range(2):
        runs = margins_MRN[:, :, j].T
        r = np.mean([stats.spearmanr(runs[a], runs[b]).statistic for a, b in ((0, 1), (0, 2), (1, 2))])
        values.append(math.sqrt(3 * r / (1 + 2 * r)))
    assert uncorrected_ceiling(margins_MRN)[0] == pytest.approx(np.mean(values), rel=1e-12)


def test_ceiling_is_below_spearman_brown_of_averaged_correlations() -> None:
    # Two runs: the runs of one target agree fully, the ranks of the other target's runs are uncorrelated.
    margins_MRN = np.array([[[1, 1], [1, 2]], [[2, 2], [2, 4]], [[3, 3], [3, 1]], [[4, 4], [4, 3]]])
    r_N = [stats.spearmanr(*margins_MRN[:, :, j].T).statistic for j in range(2)]
    assert r_N == pytest.approx([1, 0], abs=1e-12)
    averaged_first = math.sqrt(2 * np.mean(r_N) / (1 + np.mean(r_N)))
    ceiling, _ = uncorrected_ceiling(margins_MRN.astype(np.float64))
    assert ceiling == 0.5
    assert averaged_first - ceiling == pytest.approx(0.32, abs=0.005)  # the figure stated in the guide


def test_ceiling_counts_targets_with_disagreeing_runs_as_zero(rng: np.random.Generator) -> None:
    run_MN = rng.normal(size=(70, 4))
    margins_MRN = np.stack([run_MN, run_MN * [1, -1, 1, -1]], axis=1)
    ceiling = noise_ceiling(margins_MRN)
    assert ceiling.value == 0.5
    assert ceiling.unreliable_targets == 2


def test_ceiling_and_error_are_jackknife_over_groups_of_every_20th_subset(rng: np.random.Generator) -> None:
    margins_MRN = rng.normal(size=(90, 2, 3)) + rng.normal(size=(90, 1, 3))
    left_out = [uncorrected_ceiling(np.delete(margins_MRN, np.s_[group::20], axis=0))[0] for group in range(20)]
    error = math.sqrt(19 / 20 * np.sum((np.array(left_out) - np.mean(left_out)) ** 2))
    ceiling = noise_ceiling(margins_MRN)
    assert ceiling.std_error == pytest.approx(error, rel=1e-12)
    assert ceiling.value == pytest.approx(20 * uncorrected_ceiling(margins_MRN)[0] - 19 * np.mean(left_out), rel=1e-12)
    assert ceiling.value != pytest.approx(uncorrected_ceiling(margins_MRN)[0], abs=1e-4)


@pytest.mark.parametrize(("seed", "limit"), [(1104, 1.0), (1, 0.0)])
def test_ceiling_of_unrelated_runs_is_limited_to_0_and_1(seed: int, limit: float) -> None:
    # Selected seeds: without limits, the corrected values are 1.08 and -0.89.
    assert noise_ceiling(np.random.default_rng(seed).normal(size=(64, 2, 1))).value == limit


def test_ceiling_error_equals_spread_over_draws(rng: np.random.Generator) -> None:
    found = []
    for _ in range(80):
        margins_MRN = rng.normal(size=(80, 2, 3)) + rng.normal(size=(80, 1, 3))
        ceiling = noise_ceiling(margins_MRN)
        found.append((ceiling.value, ceiling.std_error))
    values, errors = np.array(found).T
    # The spread of 80 draws has a relative error of 8 %; a jackknife error tends to be too large.
    assert np.mean(errors) == pytest.approx(values.std(ddof=1), rel=3 * 0.08)


@pytest.mark.parametrize(
    ("M", "R", "hint"),
    [(100, 1, "Train at least 2 models"), (3, 1, "Train at least 2 models"), (63, 2, "too few subsets")],
)
def test_ceiling_rejects_too_few_runs_or_subsets(M: int, R: int, hint: str, rng: np.random.Generator) -> None:
    got = rf"at least 2 runs of at least 64 subsets, .*got {R} runs? of {M} subsets\. .*{hint}"
    with pytest.raises(ProblemError, match=got) as caught:
        noise_ceiling(rng.normal(size=(M, R, 2)))
    assert caught.value.problem.code == "margins.invalid"


def test_ceiling_of_64_subsets_is_known(rng: np.random.Generator) -> None:
    margins_MRN = rng.normal(size=(64, 2, 3)) + 2 * rng.normal(size=(64, 1, 3))
    assert 0.7 < noise_ceiling(margins_MRN).value < 1


@pytest.mark.parametrize(("M", "N"), [(40, 7), (12, 30)], ids=["M > N", "M < N"])
def test_margin_spectrum_equals_eigenvalues_of_rank_correlation_matrix(
    M: int, N: int, rng: np.random.Generator
) -> None:
    margins_MN = rng.normal(size=(M, 1)) + rng.normal(size=(M, N))
    ranks_NM = stats.rankdata(margins_MN, axis=0).T
    correlation_NN = np.corrcoef(ranks_NM)
    spectrum = margin_spectrum(margins_MN)
    assert spectrum.unrelated == pytest.approx(3 / math.sqrt(N * (M - 1)), rel=1e-12)
    assert spectrum.shared == pytest.approx(3 * math.sqrt(correlation_NN.mean() / (M - 1)), rel=1e-6)
    assert spectrum.attempts == pytest.approx(np.linalg.eigvalsh(correlation_NN)[-1] / N, rel=1e-6)


def test_margin_spectrum_bands_are_three_spreads_of_random_scores(rng: np.random.Generator) -> None:
    M, N = 30, 8
    margins_MN = rng.normal(size=(M, 1)) + rng.normal(size=(M, N))
    margins = stats.zscore(stats.rankdata(margins_MN, axis=0))
    spectrum = margin_spectrum(margins_MN)
    for width, columns in ((spectrum.unrelated, N), (spectrum.shared, 1)):
        draws = stats.zscore(rng.permuted(np.tile(np.arange(M)[:, None, None], (1, 3000, columns)), axis=0))
        lds_k = (draws * margins[:, None]).mean(axis=0).mean(axis=1)
        # The standard deviation of 3,000 draws has a relative error of 1.3 %.
        assert width == pytest.approx(3 * lds_k.std(), rel=3 * 0.013)


def test_ground_truth_computes_ceiling_and_spectrum_of_any_rows(rng: np.random.Generator) -> None:
    margins_MRN = rng.normal(size=(90, 2, 3)) + rng.normal(size=(90, 1, 3))
    truth = GroundTruth(rng.random((90, 9)) < 0.5, margins_MRN)
    assert truth.noise_ceiling() == noise_ceiling(margins_MRN)
    assert truth.noise_ceiling(slice(10, 80)) == noise_ceiling(margins_MRN[10:80])
    with pytest.raises(ProblemError, match="too few subsets to know the noise ceiling"):
        truth.noise_ceiling(slice(30))
    assert truth.margin_spectrum() == margin_spectrum(margins_MRN.mean(axis=1))
    assert truth.margin_spectrum(slice(10, None)) == margin_spectrum(margins_MRN.mean(axis=1)[10:])


def test_attempt_gain_inverts_bound_on_lds_gained_by_attempts() -> None:
    for before in (0.0, 0.1, 0.4):
        after = math.sqrt(before**2 + 20 * 0.3 / 799)
        assert attempt_gain(after, 20, 0.3, 800) == pytest.approx(after - before, abs=1e-8)
    assert attempt_gain(0.4, 0, 0.3, 800) == 0
    assert attempt_gain(0.05, 20, 0.3, 800) == 0.05  # the whole LDS
    assert attempt_gain(-0.2, 5, 0.3, 800) == 0
    assert attempt_gain(0.1, 9, 0.3, 800) > attempt_gain(0.5, 9, 0.3, 800)
