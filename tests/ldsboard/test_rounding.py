"""Margins that float32 cannot hold: refused, or shifted and scaled so that their order stays.

Legend: M subsets, R runs, N targets.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from ldsboard import GroundTruth
from ldsboard.arrays.margins import mean_over_runs
from ldsboard.importing.benchmarks import summary, write_import
from ldsboard.importing.plausibility import check_sign
from ldsboard.importing.reading import read_origin
from ldsboard.importing.rounding import BLOCK, rescaled, round_margins
from ldsboard.importing.tables import TableError
from tests.ldsboard.origin_files import MASKS, M, N, n, save_origin

if TYPE_CHECKING:
    from numpy.typing import NDArray

rng = np.random.default_rng(8)
MARGINS = rng.normal(size=(M, 3, N))
FILE = Path("margins.npy")


def ranks(margins_MRN: NDArray[np.floating]) -> NDArray[np.intp]:
    return mean_over_runs(margins_MRN).argsort(axis=0)


LOST: dict[str, NDArray[Any]] = {
    "a negative offset": MARGINS - 1e8,
    "a larger offset": MARGINS - 1e9,
    "an offset of one target": MARGINS + np.array([0, 0, 1e7, 0]),
    "an offset of one run": MARGINS + np.array([[0], [1e8], [0]]),
    "integers": np.rint(20 * MARGINS).astype(np.int64) - 2**27,
    "an outlier": np.where(np.arange(M)[:, None, None] == 3, -1e12, MARGINS + 1e8),
    "values below the range": MARGINS * 1e-60,
    "values above the range": MARGINS * 1e60,
}


@pytest.mark.parametrize("name", LOST)
def test_margins_that_float32_cannot_hold_are_refused_and_rescaled_on_request(name: str, tmp_path: Path) -> None:
    margins = LOST[name]
    with pytest.raises(TableError, match=r"val_margins\.npy.* float32") as refused:
        read_origin(save_origin(tmp_path, MASKS, margins))
    assert "Add --rescale, which" in str(refused.value)
    if name == "an offset of one target":
        assert "of 1 target, such as target 2 with margins from 9" in str(refused.value)
    found = read_origin(save_origin(tmp_path, MASKS, margins, rescale=True))
    assert np.array_equal(ranks(found.margins_MRN), ranks(margins))
    assert found.margins_MRN.dtype == np.float32
    assert 0.5 <= np.abs(found.margins_MRN).max() < 1
    scores = rng.normal(size=(n, N))
    exact, rounded = GroundTruth(MASKS, margins).score(scores), GroundTruth(MASKS, found.margins_MRN).score(scores)
    assert exact.per_target.tobytes() == rounded.per_target.tobytes()


def test_the_smallest_offsets_that_are_refused_are_few_steps_of_float32() -> None:
    margins_MRN = rng.normal(size=(1000, 1, 20))
    for offset, is_held in ((0, True), (10, True), (1000, True), (1e5, False), (1e6, False)):
        if is_held:
            rounded = round_margins(FILE, margins_MRN + offset, rescale=False)
            assert np.array_equal(rounded.margins_MRN, (margins_MRN + offset).astype("f4"))
            assert rounded.changed
            assert rounded.tied == {0: 1, 10: 2, 1000: 20}[int(offset)]
        else:
            with pytest.raises(
                TableError, match="cannot hold the order of the margins of 20 targets, such as target 0"
            ):
                round_margins(FILE, margins_MRN + offset, rescale=False)


def test_an_outlier_does_not_hide_what_the_other_margins_lose() -> None:
    """The standard deviation with the outlier is 3e7, and the ranks lose 1e-5."""
    margins_MRN = rng.normal(size=(1000, 1, 2)) + 1e5
    margins_MRN[7] = 1e9
    with pytest.raises(TableError, match="of 2 targets, such as target 0"):
        round_margins(FILE, margins_MRN, rescale=False)


def test_two_new_ties_of_few_subsets_are_counted_and_three_are_refused() -> None:
    for ties, is_held in ((1, True), (2, True), (3, False)):
        margins_MRN = np.arange(12.0)[:, None, None].repeat(2, axis=2)
        margins_MRN[range(1, 2 * ties, 2), 0, 1] = margins_MRN[range(0, 2 * ties, 2), 0, 1] + 1e-9
        margins_MRN += 1
        if is_held:
            assert round_margins(FILE, margins_MRN, rescale=False).tied == 1
        else:
            with pytest.raises(TableError, match=r"of 1 target, such as target 1 .* Leave out these targets"):
                round_margins(FILE, margins_MRN, rescale=False)


def test_ties_of_coarse_decimals_are_no_loss() -> None:
    """Means over runs of decimals with one digit tie up to rounding, and float32 breaks such ties in other ways."""
    for rows in (8, 20, 1000):
        margins_MRN = rng.normal(size=(rows, 3, 50)).round(1)
        assert round_margins(FILE, margins_MRN, rescale=False).tied == 0
        assert round_margins(FILE, np.rint(100 * margins_MRN), rescale=False).changed is False


def test_one_lost_target_of_many_is_named() -> None:
    margins_MRN = rng.normal(size=(50, 2, 2 * BLOCK + 3))
    margins_MRN[:, 1, 2 * BLOCK + 1] += 1e8
    with pytest.raises(TableError, match=f"of 1 target, such as target {2 * BLOCK + 1} with margins from -"):
        round_margins(FILE, margins_MRN, rescale=False)


def test_margins_that_no_shift_and_scale_makes_float32_hold_are_refused() -> None:
    clouds = np.where(np.arange(M) % 2, 1e12, -1e12)[:, None, None]
    large = 1e9 * rng.normal(size=(M, 1, 1)) * [[1], [-1], [0]]
    for margins_MRN in (MARGINS + clouds, MARGINS + large):  # two clouds of margins; large margins that cancel out
        for rescale in (False, True):
            with pytest.raises(TableError, match=r"such as target 0 .* Leave out these targets\."):
                round_margins(FILE, margins_MRN, rescale=rescale)


def test_equal_margins_are_no_loss_but_are_refused_as_equal(tmp_path: Path) -> None:
    margins = np.concatenate([MARGINS, np.full((M, 3, 1), 0.1)], axis=2)
    assert round_margins(FILE, margins, rescale=False).tied == 0
    assert not rescaled(margins)[:, :, N].any()
    origin = save_origin(tmp_path, MASKS, margins)
    with pytest.raises(TableError, match=r"1 constant target: 4\. .*equal for all subsets"):
        write_import(tmp_path / "made", origin, read_origin(origin), {"ranking": (0, M)})


def test_margins_that_are_equal_for_some_rows_only_are_named_with_these_rows(tmp_path: Path) -> None:
    for rows, words in (
        (slice(0, 9), r"public subsets \(rows 0 to 8\)"),
        (slice(9, M), r"ranking subsets \(rows 9 to 29\)"),
    ):
        margins = MARGINS[:, 0].copy()
        margins[rows, 1] = 2
        origin = save_origin(tmp_path, MASKS, margins)
        with pytest.raises(
            TableError, match=rf"differ between {words}, got 1 constant target: 1\. .* equal for all {words}"
        ):
            write_import(tmp_path / "made", origin, read_origin(origin), {"ranking": (9, M)})


def test_rescaling_keeps_order_and_differences_of_runs() -> None:
    margins_MRN = MARGINS * [1, 1e-200, 1e200, 0] + [5e3, 0, 0, 0]
    found = rescaled(margins_MRN)
    assert np.array_equal(ranks(found), ranks(margins_MRN))
    assert not found[:, :, 3].any()
    ratio = (found - found[0])[1:, :, :3] / (margins_MRN - margins_MRN[0])[1:, :, :3]
    np.testing.assert_allclose(ratio, np.broadcast_to(ratio[0, 0], ratio.shape), rtol=1e-5)
    assert np.abs(np.median(found, axis=0)).max() < 1e-12


def test_values_of_losses_are_noticed_though_they_are_rescaled(tmp_path: Path) -> None:
    origin = save_origin(tmp_path, MASKS, np.abs(MARGINS) + 1e8, rescale=True)
    with pytest.raises(TableError, match="holds no value below 0, as losses do"):
        check_sign(origin, read_origin(origin), None)
    tiny = save_origin(tmp_path, MASKS, MARGINS * 1e-60, rescale=True)
    check_sign(tiny, read_origin(tiny), None)


def test_manifest_and_summary_say_that_margins_were_rescaled_or_tied(tmp_path: Path) -> None:
    about = {
        "name": "one",
        "version": 1,
        "title": "One",
        "description": "",
        "licence": "",
        "output_function": "margin",
        "ranking": (0, M),
    }
    for margins, rescale, words in (
        (MARGINS - 1e8, True, "The margins of each target were shifted and scaled; their order is that of the file."),
        (MARGINS + 100, False, "float32, and a few became equal in 1 target."),
        (MARGINS, False, "Some margins changed when they were rounded to float32.\n"),
    ):
        margins_MRN = margins.copy()
        if not rescale and margins is not MARGINS:
            margins_MRN[0, 0, 1] = margins_MRN[1, 0, 1] + 1e-7
        origin = save_origin(tmp_path, MASKS, margins_MRN, rescale=rescale)
        made = write_import(tmp_path / f"made{rescale}{margins[0, 0, 0]}", origin, read_origin(origin), about)
        assert words in summary(made)
        assert made.provenance["rescaled"] is rescale
        assert ("shifted" in summary(made)) is rescale
