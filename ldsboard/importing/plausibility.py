"""Notice ground truth whose sign is wrong, and training examples about which the subsets say nothing.

Legend: M subsets, R runs, n training examples, N targets.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ldsboard.counts import count
from ldsboard.groundtruth import GroundTruth
from ldsboard.importing.origins import Origin, name_files_in_errors
from ldsboard.importing.tables import TableError

if TYPE_CHECKING:
    from ldsboard.importing.reading import ImportedArrays

SUSPECT, WRONG = -3.0, -5.0
"""Limits of the distance from chance in `label_warning`, in standard deviations: at SUSPECT or below, the operator is warned; at
WRONG or below, the import is refused."""


def check_sign(origin: Origin, found: ImportedArrays, output_function: str | None) -> None:
    """Raise a TableError if the signs of the imported values contradict the options or their defaults.

    Parameters
    ----------
    origin, found
        The imported files, and the arrays that were read from these files.
    output_function
        Name of the output function as the operator gave it; None if the operator gave none.

    Raises
    ------
    TableError
        ``--losses`` is given, and no value in the file is above 0. Or no value in the file is below 0, none of ``--losses`` and
        ``--negated`` is given, and `output_function` is None or ``negative_loss``. The message has the options to choose from. Or
        both ``--losses`` and ``--negated`` are given.
    """
    if origin.losses and origin.negated:
        raise TableError("--losses and --negated: give only one. Negated losses are margins: omit both for them.")
    if found.lowest < 0:
        return
    if origin.losses:
        raise TableError(
            f"{origin.margins} holds no value above 0, but losses are above 0: they seem to be negated already, as by dattri. "
            "Give --output-function negative_loss in place of --losses. If they are losses that can be negative, give "
            "--negated --output-function negative_loss in place of --losses."
        )
    if output_function == "negative_loss" and not origin.negated:
        raise TableError(
            f"{origin.margins} holds no value below 0, but negated losses are below 0. If the values are losses, give "
            "--losses in place of --output-function negative_loss."
        )
    if output_function is None and not origin.negated:
        raise TableError(
            f"{origin.margins} holds no value below 0, as losses do. If a lower value is better, add --losses. If a higher value "
            "is better, name the values: add --output-function probability, or --output-function margin if they are margins."
        )


def label_warning(origin: Origin, found: ImportedArrays) -> str:
    """Return a warning if examples of a target's class seem to lower the target's margin, otherwise ``""``.

    The function scores an array that is 1 where training example and target have the same label, and 0 elsewhere, on all subsets.
    The distance from chance is `z_random` of this result. At `SUSPECT` or below, the function warns. Correct ground truth with
    few subsets can have a distance near 0, so there is no warning above `SUSPECT`. Without the labels of training examples or of
    targets, nothing is scored.

    Raises
    ------
    TableError
        The distance from chance is `WRONG` or below. Or scoring fails: a target has equal margins for all subsets, or there are
        fewer than 2 or more than 50,000 subsets.
    """
    if set(found.labels) != {"train", "target"}:
        return ""
    same_nN = found.labels["train"][:, None] == found.labels["target"]
    with name_files_in_errors(origin.margins):
        z = GroundTruth(found.masks_Mn, found.margins_MRN).score(same_nN.astype(np.float16)).z_random
    if z > SUSPECT:
        return ""
    words = (
        f"The subsets in {origin.masks} that hold more examples of a target's class have lower values in {origin.margins}: the "
        f"distance from chance of the labels as scores is {z:.1f} standard deviations."
    )
    switch = "omit --removed" if origin.removed else "add --removed if the masks mark what was left out"
    remedy = f"Check the sign: {switch}, and --losses if the values are losses. Check the order of the labels."
    if z <= WRONG:
        raise TableError(f"{words} {remedy}")
    return f"Warning: {words} {remedy}"


def coverage_notes(found: ImportedArrays) -> list[str]:
    """Return a sentence about training examples in none of the subsets, and one about those in all of them, if there are any."""
    held_n, n = found.masks_Mn.sum(axis=0), found.masks_Mn.shape[1]
    none, every = int((held_n == 0).sum()), int((held_n == len(found.masks_Mn)).sum())
    notes = []
    if none:
        verb = "is" if none == 1 else "are"
        notes.append(f"{none:,} of {n:,} training examples {verb} in no subset. If n is smaller, correct --n-train.")
    if every:
        notes.append(
            f"{count(every, 'training example')} of {n:,} are in all subsets, so nothing shows what their scores are worth."
        )
    return notes
