"""The reserve: which hidden subsets it holds, what a benchmark folder declares, and the check of a file against it."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from scipy import stats

from ldsboard import GroundTruth
from ldsboard.bundle import Bundle, write_bundle
from ldsboard.core.reserve import check_reserve
from ldsboard.manifest import BundleError
from ldsboard.subsets import FEWEST_ANSWERED, draw_reserve
from tests.ldsboard.bundle.example import DESCRIPTION, HIDDEN, LABELS, MARGINS, MASKS

if TYPE_CHECKING:
    from pathlib import Path

    from ldsboard.hidden_file import HiddenPart

SEEDS = (1, 2**127 + 5)
ROWS = (1, 4)
"""A small reserve; `draw_reserve` gives none to so few subsets."""


def write(folder: Path, hidden: HiddenPart) -> Bundle:
    write_bundle(folder, DESCRIPTION, masks_Mn=MASKS, margins_MRN=MARGINS, labels=LABELS, hidden=hidden)
    return Bundle.open(folder)


def edit(folder: Path, reserve: Any) -> None:
    """Write the field `reserve` of ``hidden.json``."""
    path = folder / "hidden" / "hidden.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"reserve": reserve}))


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("count", [125, 126, 127, 128, 129, 800])
def test_reserve_holds_a_fifth_of_the_hidden_subsets(seed: int, count: int) -> None:
    rows = draw_reserve(seed, count)
    assert len(rows) == round(count / 5)
    assert count - len(rows) >= FEWEST_ANSWERED
    assert list(rows) == sorted(set(rows) & set(range(count)))


@pytest.mark.parametrize("count", [0, 4, 100, 124])
def test_too_few_hidden_subsets_have_no_reserve(count: int) -> None:
    assert draw_reserve(SEEDS[0], count) == ()


def test_more_subsets_keep_the_reserve_of_fewer() -> None:
    few, many = (set(draw_reserve(SEEDS[1], count)) for count in (200, 1000))
    assert few == {row for row in many if row < 200}


def test_rows_depend_on_the_hidden_seed_only_and_are_spread_evenly() -> None:
    drawn = np.array([draw_reserve(seed, 1000) for seed in range(20)]) % 5
    assert len({row.tobytes() for row in drawn}) == 20
    # 4,000 draws of a third each: 3 Monte Carlo errors are 67.
    assert np.all(abs(np.bincount(drawn.ravel(), minlength=3) - 4000 / 3) < 90)


def test_ranking_is_the_answered_rows_and_so_are_the_numbers_of_the_manifest(tmp_path: Path) -> None:
    M = len(HIDDEN.masks_Mn)
    answered = [row for row in range(M) if row not in ROWS]
    bundle = write(tmp_path, replace(HIDDEN, reserve=ROWS))
    hidden, (masks_Mn, margins_MRN, parts) = bundle.hidden(), bundle.scored_arrays()
    assert hidden.reserve == ROWS
    assert np.array_equal(hidden.masks_Mn, HIDDEN.masks_Mn)
    assert list(parts) == ["public", "ranking", "reserve"]
    for part, rows in (("ranking", answered), ("reserve", list(ROWS))):
        assert np.array_equal(masks_Mn[parts[part]], HIDDEN.masks_Mn[rows])
        assert np.array_equal(margins_MRN[parts[part]], HIDDEN.margins_MRN[rows])
    assert bundle.manifest.subsets == {"public": len(MASKS), "ranking": M - 2}
    truth = GroundTruth(HIDDEN.masks_Mn[answered], HIDDEN.margins_MRN[answered])
    assert bundle.manifest.attempts_spectrum == truth.margin_spectrum().attempts
    assert bundle.manifest.null_band["shared"] == truth.margin_spectrum().shared


def test_folder_that_declares_no_reserve_has_none(tmp_path: Path) -> None:
    bundle = write(tmp_path, HIDDEN)
    assert "reserve" not in json.loads((tmp_path / "hidden" / "hidden.json").read_text())
    masks_Mn, margins_MRN, parts = bundle.scored_arrays()
    assert parts == {"public": slice(0, len(MASKS)), "ranking": slice(len(MASKS), len(MASKS) + len(HIDDEN.masks_Mn))}
    assert np.array_equal(masks_Mn, np.concatenate([MASKS, HIDDEN.masks_Mn]))
    assert np.array_equal(margins_MRN, np.concatenate([MARGINS, HIDDEN.margins_MRN]))
    assert bundle.manifest.subsets["ranking"] == len(HIDDEN.masks_Mn)


def test_public_part_does_not_name_the_rows(tmp_path: Path) -> None:
    write(tmp_path, replace(HIDDEN, reserve=ROWS))
    assert "reserve" not in (tmp_path / "public" / "benchmark.json").read_text()


@pytest.mark.parametrize("rows", [(4, 1), (1, 1), (99,), (-1,), tuple(range(len(HIDDEN.masks_Mn)))])
def test_impossible_reserve_is_an_error(rows: tuple[int, ...]) -> None:
    with pytest.raises(BundleError, match="reserve"):
        replace(HIDDEN, reserve=rows)


@pytest.mark.parametrize("field", [None, 3, [1.5], ["1"], [True], [-1], {"rows": [1]}, [4, 1]])
def test_damaged_reserve_is_an_error_that_quotes_nothing(field: Any, tmp_path: Path) -> None:
    bundle = write(tmp_path, HIDDEN)
    edit(tmp_path, field)
    with pytest.raises(BundleError, match="reserve") as raised:
        bundle.hidden()
    assert f"{HIDDEN.seed:032x}" not in str(raised.value)


def test_check_is_a_welch_test_from_both_standard_errors() -> None:
    rng = np.random.default_rng(3)
    a, b = rng.normal(0.5, 1, 640), rng.normal(0.1, 2, 160)
    expected = stats.ttest_ind(a, b, equal_var=False, alternative="greater")
    check = check_reserve(*((x.mean(), x.std(ddof=1) / math.sqrt(x.size), x.size) for x in (a, b)))
    assert check.z == pytest.approx(expected.statistic, rel=1e-12)
    assert check.p_value == pytest.approx(expected.pvalue, rel=1e-9)


@pytest.mark.parametrize(("lds", "flagged"), [(0.5499, False), (0.5501, True), (0.2, False)])
def test_more_than_three_standard_errors_above_the_reserve_are_flagged(lds: float, flagged: bool) -> None:
    check = check_reserve((lds, 0.03, 640), (0.4, 0.04, 160))
    assert check.std_error == pytest.approx(0.05)
    assert check.is_flagged == flagged


@pytest.mark.parametrize(("lds", "z", "p"), [(1.0, math.inf, 0.0), (0.5, 0.0, 0.5), (0.2, -math.inf, 1.0)])
def test_check_without_error(lds: float, z: float, p: float) -> None:
    check = check_reserve((lds, 0.0, 100), (0.5, 0.0, 25))
    assert (check.z, check.p_value) == (z, p)
