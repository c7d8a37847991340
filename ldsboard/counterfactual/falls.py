"""The falls of margins after retraining, and their statistics over targets.

Targets are the sample. All score files of a benchmark have the same targets, and models with the same seeds, so two of them are
compared in pairs over targets: by `ldsboard.core.comparison.compare_influences`, with the difference between the fall of each
target and the mean fall.

Legend: N targets of the benchmark, T targets of the plan, R runs, D random controls.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ldsboard.core.significance import half_width, two_sided_p

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]


class Outputs(NamedTuple):
    """What models say of all N targets: margins and losses (cross-entropy), float32, and whether the prediction is right, bool.

    The arrays have shape (models..., N).
    """

    margins: NDArray[np.float32]
    losses: NDArray[np.float32]
    correct: NDArray[np.bool_]


class OwnOutputs(NamedTuple):
    """What each model says of one target, in arrays of one shape, such as (T, R).

    Attributes
    ----------
    margins, losses, correct
        Margin and loss, float32, and whether the prediction is right, bool.
    others
        Mean margin of the other targets of the same class, float64; nan if there are none.
    """

    margins: NDArray[np.float32]
    losses: NDArray[np.float32]
    correct: NDArray[np.bool_]
    others: Floats

    @classmethod
    def of(cls, outputs: Outputs, targets: NDArray[np.integer], labels_N: NDArray[np.integer]) -> OwnOutputs:
        """Select one target for each model: indices of targets, for outputs of shape (*targets.shape, N)."""
        own = targets[..., None]
        same = labels_N[own] == labels_N
        np.put_along_axis(same, own, values=False, axis=-1)
        with np.errstate(invalid="ignore"):
            others = np.where(same, outputs.margins, 0).sum(-1, dtype=np.float64) / same.sum(-1)
        chosen: list[Any] = [np.take_along_axis(values, own, -1)[..., 0] for values in outputs]
        return cls(chosen[0], chosen[1], chosen[2], others)


class Known(NamedTuple):
    """What is the same for all score files of a benchmark: the outputs of models that were trained without any scores.

    Attributes
    ----------
    everything
        Outputs of the models trained on all examples, (R, N).
    controls
        Outputs of the models trained without random examples, (D, R, N), by number of removed examples.
    labels_N
        Classes of all targets, integers.
    """

    everything: Outputs
    controls: dict[int, Outputs]
    labels_N: NDArray[np.integer]


class Falls(NamedTuple):
    """The falls of single targets after one kind of removal, means over runs, float64 (T,).

    Attributes
    ----------
    margin
        Fall of the margin: of the models trained on everything, minus that of the retrained models.
    loss
        Rise of the loss.
    flipped
        Fall of the share of runs that predict the right class.
    others
        Fall of the margin of the other targets of the same class, averaged over these; nan for the only target of a class.
    control
        Fall of the margin after removing as many random examples.
    by_run
        Fall of the margin, averaged over targets instead of runs, float64 (R,).
    by_control
        Fall of the margin after removing random examples, averaged over targets and runs, float64 (D,).
    """

    margin: Floats
    loss: Floats
    flipped: Floats
    others: Floats
    control: Floats
    by_run: Floats
    by_control: Floats

    @classmethod
    def of(cls, after_TR: OwnOutputs, known: Known, targets: Sequence[int], removed: int) -> Falls:
        """Return the falls of the targets with the indices `targets` (T,).

        Parameters
        ----------
        after_TR
            For each target and each run, the output of the model trained without the examples of the target, (T, R).
        known
            Models that were trained without any scores.
        targets
            Indices of the T targets.
        removed
            Number of removed examples.
        """
        T, R = after_TR.margins.shape
        repeated_TR = np.broadcast_to(np.array(targets)[:, None], (T, R))
        everything_TRN: list[Any] = [np.broadcast_to(values, (T, *values.shape)) for values in known.everything]
        before_TR = OwnOutputs.of(Outputs(*everything_TRN), repeated_TR, known.labels_N)
        control_DRT = known.controls[removed].margins[..., list(targets)]
        control_fall_DRT = before_TR.margins.T.astype(np.float64) - control_DRT
        fall_TR = before_TR.margins.astype(np.float64) - after_TR.margins
        return cls(
            fall_TR.mean(1),
            (after_TR.losses.astype(np.float64) - before_TR.losses).mean(1),
            (before_TR.correct.astype(np.float64) - after_TR.correct).mean(1),
            (before_TR.others - after_TR.others).mean(1),
            control_fall_DRT.mean((0, 1)),
            fall_TR.mean(0),
            control_fall_DRT.mean((1, 2)),
        )


@dataclass(frozen=True)
class Summary:
    """The mean fall over targets, with its uncertainty.

    Attributes
    ----------
    fall, std_error, confidence_interval
        Mean fall of the margin, its standard error over targets, and a 95 % interval by Student's t.
    std_error_runs
        Standard error of the mean fall over runs: how far other seeds would move it. All score files of a benchmark have the same
        seeds, so most of this error is common to them. nan for one run.
    loss, flipped, others, control
        Means over targets of the columns of `Falls`; `others` over the targets that have it, nan if none has.
    above_control, p_value
        Difference between the mean fall and that of the random control, in standard errors of the difference; and its two-sided
        p-value. The random examples are the same for all targets, so to the error over targets is added that over the D random
        controls. The degrees of freedom are those of Welch and Satterthwaite.
    """

    fall: float
    std_error: float
    confidence_interval: tuple[float, float]
    std_error_runs: float
    loss: float
    flipped: float
    others: float
    control: float
    above_control: float
    p_value: float

    @classmethod
    def of(cls, falls: Falls) -> Summary:
        """Summarise the falls of T targets. With one target, standard errors and what follows from them are nan."""
        T, R = falls.margin.size, falls.by_run.size
        fall, error = float(falls.margin.mean()), _standard_error(falls.margin)
        half = half_width(error, T)
        z, p_value = _against_control(falls.margin - falls.control, falls.by_control)
        return cls(
            fall,
            error,
            (fall - half, fall + half),
            float(falls.by_run.std(ddof=1)) / math.sqrt(R) if R > 1 else math.nan,
            float(falls.loss.mean()),
            float(falls.flipped.mean()),
            float(np.nanmean(falls.others)) if not np.isnan(falls.others).all() else math.nan,
            float(falls.control.mean()),
            z,
            p_value,
        )


def _standard_error(values_T: Floats) -> float:
    return float(values_T.std(ddof=1)) / math.sqrt(values_T.size) if values_T.size > 1 else math.nan


def _against_control(excess_T: Floats, by_control_D: Floats) -> tuple[float, float]:
    """Return the mean excess of the falls over the random control in standard errors, and its p-value; nan for one target."""
    excess, parts = float(excess_T.mean()), (excess_T, by_control_D)
    if excess_T.size == 1:
        return math.nan, math.nan
    squares = [_standard_error(part) ** 2 for part in parts]
    if not any(squares):
        z = math.copysign(math.inf, excess) if excess else 0.0
        return z, float(two_sided_p(z, excess_T.size - 1))
    total = math.fsum(squares)
    degrees = total**2 / math.fsum(square**2 / (part.size - 1) for square, part in zip(squares, parts, strict=True))
    z = excess / math.sqrt(total)
    return z, float(two_sided_p(z, degrees))
