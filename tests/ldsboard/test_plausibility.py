"""Noticing a wrong sign of ground truth, and examples about which the subsets say nothing.

Legend: M subsets, n training examples, N targets.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from ldsboard import GroundTruth
from ldsboard.importing import plausibility
from ldsboard.importing.plausibility import check_sign, coverage_notes, label_warning
from ldsboard.importing.reading import ImportedArrays, read_origin
from ldsboard.importing.tables import TableError
from tests.ldsboard.origin_files import MARGINS, MASKS, M, N, n, rng, save_labels, save_origin

if TYPE_CHECKING:
    from pathlib import Path

    from ldsboard.importing.origins import Origin

POSITIVE = MARGINS - MARGINS.min()


def check(folder: Path, values: Any, output_function: str | None = None, **options: Any) -> None:
    origin = save_origin(folder, MASKS, values, **options)
    check_sign(origin, read_origin(origin), output_function)


def test_values_without_a_negative_one_are_no_margins_by_default(tmp_path: Path) -> None:
    with pytest.raises(TableError, match=r"val_margins\.npy holds no value below 0, as losses do.*add --losses"):
        check(tmp_path, POSITIVE)
    check(tmp_path, POSITIVE, losses=True)
    check(tmp_path, POSITIVE, output_function="probability")
    check(tmp_path, POSITIVE, output_function="margin")
    check(tmp_path, MARGINS)
    check(tmp_path, POSITIVE - np.float32(1e-6))


def test_losses_without_a_positive_one_were_negated_already(tmp_path: Path) -> None:
    with pytest.raises(TableError, match=r"no value above 0, but losses are above 0.*--output-function negative_loss"):
        check(tmp_path, -POSITIVE, losses=True)
    with pytest.raises(TableError, match="negated already"):
        check(tmp_path, -POSITIVE, output_function="negative_loss", losses=True)
    check(tmp_path, -POSITIVE, output_function="negative_loss")
    check(tmp_path, -POSITIVE, negated=True, output_function="negative_loss")
    check(tmp_path, -POSITIVE, negated=True)
    check(tmp_path, MARGINS, losses=True)


def test_negated_margins_are_negated_again_and_are_no_losses(tmp_path: Path) -> None:
    found = read_origin(save_origin(tmp_path, MASKS, -MARGINS, negated=True))
    assert np.array_equal(found.margins_MRN[:, 0], MARGINS)
    with pytest.raises(TableError, match="--losses and --negated: give only one"):
        check(tmp_path, MARGINS, losses=True, negated=True)


def labelled(folder: Path, strength: float, **options: Any) -> tuple[Origin, ImportedArrays]:
    """Return ground truth in which examples of a target's class raise its margin by `strength`, lower if negative."""
    train_n, target_N = np.arange(n) % 3, np.arange(N) % 3
    effects_nN = strength * (train_n[:, None] == target_N)
    labels = save_labels(folder, "train", train_n) | save_labels(folder, "target", target_N)
    origin = save_origin(folder, MASKS, MASKS @ effects_nN + MARGINS, **labels, **options)
    return origin, read_origin(origin)


def distance(found: ImportedArrays) -> float:
    same_nN = found.labels["train"][:, None] == found.labels["target"]
    return GroundTruth(found.masks_Mn, found.margins_MRN).score(same_nN.astype(float)).z_random


def test_labels_refuse_a_sign_that_is_clearly_wrong_and_warn_of_a_suspect_one(tmp_path: Path) -> None:
    found = {strength: labelled(tmp_path, strength) for strength in (2, 0, -0.5, -2)}
    z = {strength: distance(arrays) for strength, (_, arrays) in found.items()}
    assert z[2] > 5
    assert -3 < z[0] < 3
    assert -5 < z[-0.5] <= -3
    assert z[-2] <= -5
    assert label_warning(*found[2]) == label_warning(*found[0]) == ""
    warning = label_warning(*found[-0.5])
    assert warning.startswith("Warning: The subsets in ")
    assert f"is {z[-0.5]:.1f} standard deviations. Check the sign: add --removed if" in warning
    with pytest.raises(TableError, match=r"have lower values in .*val_margins\.npy.* Check the order of the labels"):
        label_warning(*found[-2])


@pytest.mark.parametrize(("z", "kind"), [(-2.999, ""), (-3.0, "warned"), (-4.999, "warned"), (-5.0, "refused")])
def test_labels_decide_at_3_and_at_5(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, z: float, kind: str) -> None:
    origin, found = labelled(tmp_path, -0.5)
    scale = distance(found) / z
    monkeypatch.setattr(plausibility, "SUSPECT", plausibility.SUSPECT * scale)
    monkeypatch.setattr(plausibility, "WRONG", plausibility.WRONG * scale)
    if kind == "refused":
        with pytest.raises(TableError, match="Check the sign"):
            label_warning(origin, found)
    else:
        assert bool(label_warning(origin, found)) == (kind == "warned")


def test_forgotten_option_removed_is_noticed_with_both_labels(tmp_path: Path) -> None:
    origin, found = labelled(tmp_path, 2, removed=True)
    with pytest.raises(TableError, match="Check the sign: omit --removed, and"):
        label_warning(origin, found)
    for part in ("train", "target"):
        one = ImportedArrays(found.masks_Mn, found.margins_MRN, {part: found.labels[part]}, rounded=False)
        assert label_warning(origin, one) == ""


def test_examples_in_no_subset_and_in_all_subsets_are_counted() -> None:
    masks_Mn = rng.random((M, n)) < 0.5
    assert coverage_notes(ImportedArrays(masks_Mn, MARGINS[:, None], {}, rounded=False)) == []
    masks_Mn[:, 3:8], masks_Mn[:, 9] = False, True
    none, every = coverage_notes(ImportedArrays(masks_Mn, MARGINS[:, None], {}, rounded=False))
    assert none == f"5 of {n} training examples are in no subset. If n is smaller, correct --n-train."
    assert every.startswith(f"1 training example of {n} are in all subsets")
