"""What ``score`` and ``validate`` say beside the LDS: warnings, zeros, signs of targets, and the order of the axes."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from ldsboard.arrays.scores import zero_lines
from ldsboard.commands.conversion import TARGET_TRAIN, TRAIN_TARGET, print_note
from ldsboard.commands.exits import errors
from ldsboard.commands.offline import score_visibly
from ldsboard.commands.printing import format_interval, output, print_new_targets, print_warnings
from ldsboard.core.chance import p_random_text
from ldsboard.core.negative_targets import FEW_SUBSETS, are_many, negative_targets

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ldsboard.core.result import Result
    from ldsboard.formats.headers import ScoreArray
    from ldsboard.groundtruth import GroundTruth

NEGATIVE = "scores.negative_targets"
CLEAR_Z, CHANCE_Z = 5, 3
"""Limits for proposing the other order of the axes, in standard deviations from random scores.

The other order is proposed if its LDS is at least CLEAR_Z above random scores, and the LDS of the present order is less than
CHANCE_Z away from random scores. In 900 simulated files of either order, this proposal was never wrong."""

SHOWN_INDICES = 8


def numbers_of(result: Result, n: int) -> dict[str, Any]:
    """Return the numbers that ``score --json`` prints for a result on the public subsets; `n` counts the training examples."""
    M, N = len(result.influence), len(result.per_target)
    negative = negative_targets(result.per_target, M, n)
    is_warned = M >= FEW_SUBSETS and are_many(negative, N) and "scores.sign_flipped" not in result.warnings
    return {
        "part": "public",
        "subsets": M,
        "lds": result.lds,
        "std_error": result.std_error,
        "ci": list(result.confidence_interval),
        "mean_p": result.mean_p,
        "z_random": result.z_random,
        "p_random": result.p_random,
        "std_error_new_targets": None if math.isnan(result.std_error_new_targets) else result.std_error_new_targets,
        "targets": asdict(result.target_summary),
        "negative_targets": negative,
        "warnings": result.warnings + ([NEGATIVE] if is_warned else []),
    }


def print_result(numbers: dict[str, Any]) -> None:
    """Print the numbers that `numbers_of` returned as text on standard output, and warnings on standard error."""
    N = numbers["targets"]["count"]
    p_value = p_random_text(numbers["p_random"], numbers["subsets"])
    output.print(
        f"LDS {format_interval(numbers)} on the {numbers['subsets']:,} public subsets, mean p-value {numbers['mean_p']:.3g}, "
        f"{numbers['z_random']:.1f} standard deviations from random scores (p-value {p_value})"
    )
    print_new_targets(numbers, N)
    print_warnings([code for code in numbers["warnings"] if code != NEGATIVE])
    told = (
        f"{numbers['negative_targets']} of {N} targets are clearly negative. Is the sign of their scores flipped? A high score "
        "means that the training example raises the margin."
    )
    if NEGATIVE in numbers["warnings"]:
        errors.print(f"Warning: {told} [{NEGATIVE}]", markup=False)
    elif are_many(numbers["negative_targets"], N) and "scores.sign_flipped" not in numbers["warnings"]:
        print_note(f"{told} With fewer than {FEW_SUBSETS} subsets, chance can be the cause.")


def print_zeros(scores_nN: ScoreArray) -> None:
    """Print which targets and training examples have only zeros as scores."""
    rows, columns = zero_lines(scores_nN)
    for what, zeros, total in (("targets", columns, scores_nN.shape[1]), ("training examples", rows, len(scores_nN))):
        if zeros.size:
            errors.print(
                f"Warning: {zeros.size} of {total} {what} have only zeros as scores: {_indices(zeros.tolist())}. "
                "Unfinished scores look like this, for instance those of TRAK.",
                markup=False,
            )


def print_orientation(truth: GroundTruth, scores_nN: ScoreArray, result: Result, axes: str) -> None:
    """Print whether the rows are taken for training examples or for targets.

    If there are as many targets as training examples, the shape does not tell. Then the transposed scores are scored too, which
    takes as long as the first scoring, and the LDS of both orders are printed. A warning proposes the other order if that order
    fits much better.

    Parameters
    ----------
    scores_nN
        The scores as they were read, (n, N).
    result
        The result of these scores.
    axes
        The order in which the file was read: `TRAIN_TARGET` or `TARGET_TRAIN`.
    """
    if truth.n_train != truth.n_targets:
        output.print("Rows are training examples, and columns are targets, after any transposition that is noted.")
        return
    other = score_visibly(truth, scores_nN.T, "the transposed scores")
    other_axes = TRAIN_TARGET if axes == TARGET_TRAIN else TARGET_TRAIN
    output.print(
        f"There are as many targets as training examples, so the shape does not tell the axes. Read as {axes}: LDS "
        f"{result.lds:.4f}, {result.z_random:.1f} standard deviations from random. Read as {other_axes}: LDS {other.lds:.4f}, "
        f"{other.z_random:.1f} standard deviations from random."
    )
    if other.z_random >= CLEAR_Z and abs(result.z_random) < CHANCE_Z:
        errors.print(
            f"Warning: the file seems to be {other_axes}. If it is, add --axes {other_axes}: no LDS decides this.",
            markup=False,
        )


def _indices(found: Sequence[int]) -> str:
    more = f" and {len(found) - SHOWN_INDICES} more" if len(found) > SHOWN_INDICES else ""
    return ", ".join(map(str, found[:SHOWN_INDICES])) + more
