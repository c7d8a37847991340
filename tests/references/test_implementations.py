"""Every number of the page about other implementations that concerns a whole score file, and what it says of quanda's models.

Legend: M subsets, n training examples, N targets.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from ldsboard import ProblemError, lds
from tests.references.answers import Answer, Case, ask, run_with_references
from tests.references.page import table

if TYPE_CHECKING:
    from numpy.typing import NDArray

pytestmark = pytest.mark.slow

ROWS = {row[0]: row[1:] for row in table("One score file, changed")}
M, n, N = 64, 40, 20


def set_to(array: NDArray[Any], index: Any, value: float) -> NDArray[Any]:
    """Return a copy of an array with other values at `index`."""
    changed = array.copy()
    changed[index] = value
    return changed


def all_cases() -> dict[str, Case]:
    """Return the score file of the page and its changes, by the first cells of the table."""
    rng = np.random.default_rng(0)
    masks_Mn = rng.permuted(np.tile(np.arange(n) < n // 2, (M, 1)), axis=1)
    scores_nN = (rng.integers(-4, 5, size=(n, N)) / 4).astype(np.float32)
    margins_MN = (masks_Mn @ scores_nN + rng.normal(size=(M, N))).astype(np.float32)
    signs_nN = np.sign(scores_nN)
    scores: dict[str, NDArray[Any]] = {
        "as it is": scores_nN,
        "in float16": scores_nN.astype(np.float16),
        "times 4, in int64": (scores_nN * 4).astype(np.int64),
        "-1, 0 or 1": signs_nN,
        "-0.1, 0 or 0.1": signs_nN / np.float32(10),
        "1,000,000 added": scores_nN + np.float32(1e6),
        "1,000,000 added, in float64": scores_nN + np.float64(1e6),
        "500 added, in float16": (scores_nN + 500).astype(np.float16),
        "two targets with equal scores": set_to(scores_nN, np.s_[:, :2], 1),
        "one score is nan": set_to(scores_nN, (0, 0), np.nan),
    }
    margins: dict[str, NDArray[Any]] = {
        "two targets with equal margins": set_to(margins_MN, np.s_[:, :2], 1),
        "one margin is nan": set_to(margins_MN, (0, 0), np.nan),
    }
    cases = {name: Case(changed, masks_Mn, margins_MN) for name, changed in scores.items()}
    return cases | {name: Case(scores_nN, masks_Mn, changed) for name, changed in margins.items()}


@pytest.fixture(scope="module")
def answers() -> dict[str, dict[str, Answer]]:
    return ask(all_cases(), "dattri", "quanda")


def cell(value: float) -> str:
    """Return a number as the table shows it."""
    return "nan" if np.isnan(value) else f"{value:.4f}"


def our_cell(case: Case) -> str:
    try:
        return cell(lds(*case).lds)
    except ProblemError as error:
        return type(error).__name__


def test_table_has_a_row_for_every_change() -> None:
    assert ROWS.keys() == all_cases().keys()


@pytest.mark.parametrize("name", ROWS)
def test_row_shows_the_lds_of_every_library(name: str, answers: dict[str, dict[str, Answer]]) -> None:
    dattri, quanda = answers[name]["dattri"], answers[name]["quanda"]
    assert (dattri.version, quanda.version) == ("0.3.0", "0.5.0")
    found = [our_cell(all_cases()[name]), cell(dattri.per_target.mean()), cell(float(np.nanmean(dattri.per_target)))]
    found.append(quanda.error.partition(":")[0] or cell(quanda.per_target.mean()))
    assert found == ROWS[name]


def test_models_of_quandas_subsets_start_from_the_model_that_has_seen_every_example() -> None:
    begun = json.loads(run_with_references("-m", "tests.references.quanda_models"))
    assert begun == {"version": "0.5.0", "subsets": 3, "start from the explained model": 3}
