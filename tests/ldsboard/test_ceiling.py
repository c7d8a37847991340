"""The noise ceiling and the margin spectrum, compared with simulation and the full correlation matrix.

Legend: M subsets, R runs, N targets.
"""

from __future__ import annotations

import math
from itertools import combinations

import numpy as np
import pytest
from scipy import stats

from ldsboard import GroundTruth, ProblemError
from ldsboard.core import agreement
from ldsboard.core.agreement import agreement_on_unions
from ldsboard.core.ceiling import attempt_gain, margin_spectrum, noise_ceiling, share_of_ceiling
from tests.ceilings import uncorrected_ceiling


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


@pytest.mark.parametrize("R", [2, 3])
@pytest.mark.parametrize("decimals", [0, 8], ids=["ties", "no ties"])
def test_agreement_on_unions_equals_correlations_of_their_subsets(
    R: int, decimals: int, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    margins_MRN = np.round(rng.normal(size=(23, R, 5)) + rng.normal(size=(23, 1, 5)), decimals)
    unions_Pg = np.array(
        [[True] * 4, [True, False, True, True], [False, True, True, False], [False, False, False, True]]
    )
    expected_PN = [
        [
            np.mean([stats.spearmanr(margins_MRN[rows][:, [r, s], j]).statistic for r, s in combinations(range(R), 2)])
            for j in range(5)
        ]
        for rows in (union_g[np.arange(23) % 4] for union_g in unions_Pg)
    ]
    found_PN = agreement_on_unions(margins_MRN, unions_Pg)
    assert found_PN == pytest.approx(np.array(expected_PN), rel=1e-12)
    monkeypatch.setattr(agreement, "BLOCK_NUMBERS", 2 * 23 * R * 4)  # blocks of two targets
    assert (agreement_on_unions(margins_MRN, unions_Pg) == found_PN).all()


def test_agreement_with_a_run_that_is_constant_on_a_union_is_zero(rng: np.random.Generator) -> None:
    margins_MRN = rng.normal(size=(8, 2, 1))
    margins_MRN[::2, 0] = 1
    agreement_PN = agreement_on_unions(margins_MRN, np.array([[True, False], [True, True]]))
    assert agreement_PN[0] == 0
    assert agreement_PN[1] != 0


def test_ceiling_is_below_spearman_brown_of_averaged_correlations() -> None:
    # Two runs: the runs of one target agree fully, the ranks of the other target's runs are uncorrelated.
    margins_MRN = np.array([[[1, 1], [1, 2]], [[2, 2], [2, 4]], [[3, 3], [3, 1]], [[4, 4], [4, 3]]])
    r_N = agreement_on_unions(margins_MRN, np.ones((1, 1), dtype=np.bool_))[0]
    assert r_N == pytest.approx([1, 0], abs=1e-12)
    averaged_first = math.sqrt(2 * np.mean(r_N) / (1 + np.mean(r_N)))
    assert uncorrected_ceiling(margins_MRN) == 0.5
    assert averaged_first - 0.5 == pytest.approx(0.32, abs=0.005)  # the figure stated in the guide


def test_ceiling_counts_targets_with_disagreeing_runs_as_zero(rng: np.random.Generator) -> None:
    run_MN = rng.normal(size=(70, 4))
    margins_MRN = np.stack([run_MN, run_MN * [1, -1, 1, -1]], axis=1)
    ceiling = noise_ceiling(margins_MRN)
    assert ceiling.value == 0.5
    assert ceiling.unreliable_targets == 2


@pytest.mark.parametrize("R", [2, 3])
def test_ceiling_and_error_are_jackknife_over_halves_of_ten_groups(R: int, rng: np.random.Generator) -> None:
    margins_MRN = rng.normal(size=(93, R, 3)) + rng.normal(size=(93, 1, 3))
    group_M = np.arange(93) % 10
    halves = {half: uncorrected_ceiling(margins_MRN[np.isin(group_M, half)]) for half in combinations(range(10), 5)}
    assert len(halves) == 252
    corrected = []
    for k in range(10):
        without = [value for half, value in halves.items() if k not in half]
        corrected.append((9 * uncorrected_ceiling(margins_MRN[group_M != k]) - 5 * np.mean(without)) / 4)
    ceiling = noise_ceiling(margins_MRN)
    whole = uncorrected_ceiling(margins_MRN)
    assert ceiling.value == pytest.approx(2 * whole - np.mean(list(halves.values())), rel=1e-12)
    assert ceiling.value != pytest.approx(whole, abs=1e-4)
    assert ceiling.std_error == pytest.approx(math.sqrt(9 * np.var(corrected)), rel=1e-9)


@pytest.mark.parametrize(("step", "limit"), [(100, 1.0), (0, 0.0)])
def test_ceiling_is_limited_to_0_and_1(step: float, limit: float) -> None:
    # The runs agree on the order of the groups, or, with this seed, disagree: without limits, the values are 1.005 and -0.165.
    margins_MRN = step * (np.arange(100) % 10)[:, None, None] + np.random.default_rng(5).normal(size=(100, 2, 1))
    assert noise_ceiling(margins_MRN).value == limit


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


def test_share_of_ceiling_needs_a_precise_ceiling() -> None:
    assert share_of_ceiling(0.3, 0.5, 0.05) == 0.6
    assert share_of_ceiling(0.3, 0.5, 0.0501) is None
    assert share_of_ceiling(0.3, 0.0, 0.0) is None


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
