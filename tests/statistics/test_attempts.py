"""Two attacks that use published values of the hidden LDS gain less than the stated bound.

The attacker starts with one file and adds random vectors to the columns of all targets at once, since targets that share most of
their variance respond most to a shared vector. An answer is the hidden LDS as published. The vectors are orthogonal to every
effect, so the answers contain no true information and every gain is due to chance.

Legend: M hidden subsets, P subsets in all, n training examples, N targets, k attempts.
"""

from __future__ import annotations

import math
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pytest

from ldsboard import GroundTruth
from ldsboard.core.ceiling import attempt_gain, margin_spectrum
from tests.statistics.populations import Population, correlated_columns, unit_ranks

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tests.statistics.conftest import Report
    from tests.statistics.figures import Draws

    Floats = NDArray[np.float64]

pytestmark = pytest.mark.slow

M, n, N = 800, 1200, 20
DECIMALS = 4
STEP = 0.2
"""The step of the climbing attack, in standard deviations of the file's scores."""


class Hidden(NamedTuple):
    """Hidden margins as unit ranks, (N, M); the methods take predictions instead of score files."""

    unit_NM: Floats

    def answer(self, predictions_MN: Floats) -> float:
        """Return the published LDS of a file."""
        return float(np.round(np.sum(unit_ranks(predictions_MN.T) * self.unit_NM) / N, DECIMALS))

    def answers(self, vectors_Mk: Floats) -> Floats:
        """Return the published LDS of k files, (k,); column i of `vectors_Mk` has the predictions of file i for every target."""
        return np.asarray(np.round(unit_ranks(vectors_Mk.T) @ self.unit_NM.mean(axis=0), DECIMALS))


def combine(hidden: Hidden, first_MN: Floats, vectors_Mk: Floats) -> Floats:
    """Submit the file and every vector but the last two separately; weight each by its answer."""
    return np.array([hidden.answer(first_MN), *hidden.answers(vectors_Mk[:, :-2]), 0, 0])


def climb(hidden: Hidden, first_MN: Floats, vectors_Mk: Floats) -> Floats:
    """Submit the file, then add one vector after another and keep those that raise the answer."""
    weights, best, current_MN = [1.0], hidden.answer(first_MN), first_MN
    for vector_M in vectors_Mk[:, :-1].T:
        trial_MN = current_MN + STEP * vector_M[:, None]
        answer = hidden.answer(trial_MN)
        weights.append(STEP * (answer > best))
        if answer > best:
            best, current_MN = answer, trial_MN
    return np.array([*weights, 0])


ATTACKS = {"combine": combine, "climb": climb}


class Outcome(NamedTuple):
    """The outcome of an attack.

    Attributes
    ----------
    gained
        Rise of the hidden LDS from the first file to the last.
    elsewhere
        Rise of the LDS on other subsets.
    bound
        The bound on the gain.
    after
        Hidden LDS of the last file.
    spectrum
        Spectrum value for attempts, which a board knows.
    """

    gained: float
    elsewhere: float
    bound: float
    after: float
    spectrum: float


class World(NamedTuple):
    """A population, its masks as float32, a score file with standard deviation 1, its predictions, a basis of the effects."""

    population: Population
    masks_Pn: NDArray[np.float32]
    file_nN: Floats
    first_PN: Floats
    basis_nN: Floats


@cache
def world(level: float) -> World:
    """Return a world whose score file has the large-M value `level`."""
    population = Population.simulated(21, n=n, N=N)
    file_nN = population.scores_at_level(correlated_columns(np.random.default_rng(22), (n, N), own=0.2), level)
    file_nN /= file_nN.std(axis=0)
    masks_Pn = population.masks_Pn.astype(np.float32)
    return World(population, masks_Pn, file_nN, masks_Pn @ file_nN, np.linalg.qr(population.effects_nN).Q)


@cache
def run_attacks(attack: str, level: float, k: int, count: int) -> tuple[Outcome, ...]:
    return tuple(run_attack(attack, level, k, np.random.default_rng([23, k, draw])) for draw in range(count))


def run_attack(attack: str, level: float, k: int, rng: np.random.Generator) -> Outcome:
    population, masks_Pn, file_nN, first_PN, basis_nN = world(level)
    vectors_nk = rng.normal(size=(n, k))
    vectors_nk -= basis_nN @ (basis_nN.T @ vectors_nk)
    hidden_M, others_P = np.split(rng.permutation(len(masks_Pn)), [M])
    hidden = Hidden(unit_ranks(population.margins_PN[hidden_M].T))
    first_MN = first_PN[hidden_M]
    weights = ATTACKS[attack](hidden, first_MN, masks_Pn[hidden_M] @ vectors_nk)
    last_PN = masks_Pn @ (weights[0] * file_nN + (vectors_nk @ weights[1:])[:, None])
    before, after = hidden.answer(first_MN), hidden.answer(last_PN[hidden_M])
    others = Hidden(unit_ranks(population.margins_PN[others_P].T))
    elsewhere = others.answer(last_PN[others_P]) - others.answer(first_PN[others_P])
    spectrum = margin_spectrum(population.margins_PN[hidden_M]).attempts
    level = max(before, 0.0)
    bound = math.sqrt(level**2 + k * spectrum / (M - 1)) - level
    return Outcome(after - before, elsewhere, bound, after, spectrum)


def summary(found: tuple[Outcome, ...]) -> tuple[Outcome, Outcome]:
    """Return the means over the draws and the Monte Carlo errors of the means."""
    return Outcome(*np.mean(found, axis=0)), Outcome(*np.std(found, axis=0, ddof=1) / np.sqrt(len(found)))


def test_simulated_answers_equal_published_scores() -> None:
    population, masks_Pn, file_nN, first_PN, _ = world(0.4)
    truth = GroundTruth(population.masks_Pn[:M], population.margins_PN[:M])
    hidden = Hidden(unit_ranks(population.margins_PN[:M].T))
    assert hidden.answer(first_PN[:M]) == round(truth.score(file_nN).lds, DECIMALS)
    vector_n = np.random.default_rng(24).normal(size=(n, 1))
    lds = truth.score(np.repeat(vector_n, N, axis=1)).lds
    assert hidden.answers(masks_Pn[:M] @ vector_n) == pytest.approx([lds], abs=0.5001 * 10**-DECIMALS)


@pytest.mark.parametrize("k", [20, 200])
@pytest.mark.parametrize(("attack", "level"), [("combine", 0.0), ("combine", 0.4), ("climb", 0.4)])
def test_attacks_gain_less_than_bound(attack: str, level: float, k: int, draws: Draws, report: Report) -> None:
    mean, errors = summary(run_attacks(attack, level, k, draws.count // 20))
    setting = f"{attack}, {k} attempts from LDS {level}, M {M}"
    report(f"{setting}: gained", f"{mean.gained:.4f} ± {errors.gained:.4f}", f"bound {mean.bound:.4f}")
    report(f"{setting}: gained on other subsets", f"{mean.elsewhere:+.4f} ± {errors.elsewhere:.4f}")
    assert mean.gained <= mean.bound + draws.slack * errors.gained
    # An attack without any effect would stay within the bound too.
    assert mean.gained > mean.bound / 10
    # The displayed gain is derived from the bound and holds on average; for an attack from LDS 0 it equals the gain up to the
    # Monte Carlo error.
    shown = attempt_gain(mean.after, k, mean.spectrum, M)
    report(f"{setting}: what a board shows", f"{shown:.4f}")
    assert mean.gained <= shown + 3 * errors.gained
