"""Compute the linear datamodeling score of one array of scores in one call.

Legend: M subsets, R runs, n training examples, N targets.
"""

from __future__ import annotations

import warnings
from os import PathLike
from typing import TYPE_CHECKING, Any, overload

from ldsboard.arrays.dattri import on_cpu, values_and_indices
from ldsboard.arrays.margins import margins_array
from ldsboard.arrays.masks import read_indices
from ldsboard.arrays.scores import TURNED, check_shape, read_scores
from ldsboard.groundtruth import GroundTruth

if TYPE_CHECKING:
    from ldsboard.core.result import Result


@overload
def lds(scores: Any, masks: Any, margins: Any, *, packed: bool = False) -> Result: ...
@overload
def lds(scores: Any, masks: tuple[Any, Any]) -> Result: ...
def lds(scores: Any, masks: Any, margins: Any = None, *, packed: bool = False) -> Result:
    r"""Compute the linear datamodeling score (LDS) of data attribution scores, exactly and with its uncertainty.

    For each target, the prediction for a training subset is the sum of the scores of its examples. Spearman's rank correlation
    compares these predictions with the margins of the models that were trained on the subsets. The LDS is the mean correlation
    over targets [1]_.

    Parameters
    ----------
    scores : array_like or path, shape (n, N)
        How much the presence of each of n training examples raises the margin of each of N targets: float16, float32, float64, or
        integers of magnitude up to 2**53. An array, any object with ``__array__`` or DLPack (such as a torch tensor on the CPU),
        or the path of a file or folder in which an attribution library saved scores. A file is transposed, with a warning, if
        only its transpose fits. If n equals N, a transposed array or file is not detected.
    masks : array_like, shape (M, n), or sequence of M index lists, or tuple (values, indices)
        The subsets: bool or 0/1, 1 where the example is in the training subset; or for each subset the unique indices in [0, n)
        of its examples. The index lists can differ in length. Without `margins`: the ground truth of ``dattri.metric.lds``, a
        tuple of margins and index lists (see Notes).
    margins : array_like, shape (M, N) or (M, R, N)
        Output of the model of each subset at each target, usually the log-odds of the correct class. With R runs of every subset,
        their mean in float64 is used. Omit the margins if `masks` is a tuple (values, indices).
    packed : bool, default False
        Whether `masks` holds packed bits, uint8 of shape (M, ceil(n / 8)), little bit order.

    Returns
    -------
    Result
        An object with attributes:

        lds : float
            The linear datamodeling score, between -1 and 1.
        std_error : float
            Standard error of the LDS over subsets; nan for M < 4.
        confidence_interval : tuple of float
            95 % interval (low, high) of the LDS for these targets and this recipe.
        per_target, p_values : ndarray, shape (N,)
            Spearman's rho of each target, and the two-sided p-value of each rho, as in `scipy.stats.spearmanr`.
        influence : ndarray, shape (M,)
            psi, the influence of each subset on the LDS; sums to 0 up to rounding. `compare` needs psi.
        z_random : float
            LDS divided by the standard deviation of the LDS when subsets are matched to margins at random.
        p_random : float
            Two-sided p-value of the LDS when subsets are matched to margins at random. If `p_random` is above .0027, the scores
            are not distinguishable from random scores. For M >= 64 this is the same as `z_random` between -3 and 3.
        std_error_new_targets : float
            Standard error of the LDS over draws of both subsets and targets; nan for N = 1 or M < 4.
        constant_predictions, duplicate_subsets : int
            Number of targets whose predictions are equal for all subsets, and number of subsets that are equal to an earlier
            subset.
        grid_loss, grid_loss_target : float, int
            How much rounding the scores can matter. For each target, the largest possible rounding error of a prediction is
            divided by the standard deviation of the target's predictions. `grid_loss` is the largest of these ratios over
            targets, and `grid_loss_target` the index of the target that has this ratio. See `ldsboard.Result`.
        warnings : list of str
            Warning codes, such as ``"scores.sign_flipped"``.

    Raises
    ------
    ProblemError
        A ValueError: an argument has an unsupported form or type, the shapes do not fit (the error names a transposed array),
        values are not finite, the margins of a target are equal for all subsets, or there are fewer than 2 or more than 50,000
        subsets. The message says what to do.

    See Also
    --------
    GroundTruth : Score many arrays, on some of the subsets or on a GPU; estimate the noise ceiling.
    compare : Test whether two results on the same subsets differ.
    scipy.stats.spearmanr : Spearman's rank correlation of two lists.

    Notes
    -----
    With :math:`S_i` the i-th subset, :math:`\tau_{kj}` the score of example k for target j and :math:`m_{ij}` the margin,

    .. math:: \mathrm{LDS} = \frac{1}{N} \sum_{j=1}^{N}
              \rho\Bigl(\bigl(\textstyle\sum_{k \in S_i} \tau_{kj}\bigr)_{i=1}^{M}, \bigl(m_{ij}\bigr)_{i=1}^{M}\Bigr)

    *Exactness.* Each column of scores is scaled and rounded to integers of ``53 - n.bit_length()`` bits, so that float64 adds any
    of them without error. Equal sums are therefore ties, which share their average rank, and `lds`, `per_target` and `influence`
    have the same bits on every machine, with any BLAS and any number of threads.

    *Uncertainty.* The spread of rho over targets does not measure the error of the LDS, because all targets share the same
    subsets. The standard error is therefore computed over subsets, as the standard error of a mean of M influences. The
    influences follow from the influence function of Spearman's rho [2]_, extended to ties. The interval uses Student's t with
    M - 1 degrees of freedom. For M < 64, the interval is computed for ``atanh(LDS)`` with M - 2 degrees of freedom and converted
    back. The interval includes the bias of rho at small M.

    *Degenerate targets.* A target with equal predictions for all subsets counts as rho 0 with p-value 1. No other value is left
    out or replaced.

    *The arguments of dattri.* ``lds(score, (values, indices))`` takes the arguments of ``dattri.metric.lds`` (dattri 0.3.0) and
    gives dattri's correlations as `per_target`, their mean as `lds`, and dattri's p-values as `p_values`. No sign is changed:
    a score is positive if the example raises the value, and dattri's ``calculate_lds_ground_truth`` has already negated the loss.
    Tensors can be on any device. Integers are indices; masks must be bool, or uint8 zeros and ones of width n. Zeros and ones of
    another integer type and of width n are rejected for n > 2, because they are probably masks. Repeated and negative indices are
    rejected too, and so are values with more targets than the scores. (dattri counts a repeated index twice, counts a negative
    index from the end, and ignores the additional targets.) The results differ where rounding in dattri breaks ties between
    equal sums.

    References
    ----------
    .. [1] S. M. Park, K. Georgiev, A. Ilyas, G. Leclerc and A. Madry, "TRAK: Attributing Model Behavior at Scale", ICML 2023,
           section 2.
    .. [2] C. Croux and C. Dehon, "Influence functions of the Spearman and Kendall correlation measures", Statistical Methods &
           Applications 19 (2010), 497-515.

    Examples
    --------
    Simulate 400 models, each trained on a random half of 60 examples, where every example affects each of 5 targets:

    >>> import numpy as np
    >>> from ldsboard import compare, lds
    >>> rng = np.random.default_rng(0)
    >>> effects = rng.normal(size=(60, 5))
    >>> masks = rng.permuted(np.tile(np.arange(60) < 30, (400, 1)), axis=1)
    >>> margins = masks @ effects + 2 * rng.normal(size=(400, 5))

    The effects themselves are the best possible scores; their LDS is below 1 only because of the noise in the margins:

    >>> best = lds(effects, masks, margins)
    >>> best
    Result(lds=0.8696 [0.8571, 0.8835], M=400, N=5)

    Scores with errors have a lower LDS, and the difference is significant:

    >>> rough = lds(effects + rng.normal(size=(60, 5)), masks, margins)
    >>> round(rough.lds, 3), round(rough.std_error, 3)
    (0.613, 0.015)
    >>> compare(best, rough).p_value < 0.001
    True

    Warnings mark scores that are unrelated to the margins, and scores with the wrong sign:

    >>> lds(rng.normal(size=(60, 5)), masks, rng.normal(size=(400, 5))).warnings
    ['scores.random']
    >>> lds(-effects, masks, margins).warnings
    ['scores.sign_flipped']
    """
    indices = None
    if margins is None:
        margins, indices = values_and_indices(masks, packed=packed)
        scores = on_cpu(scores)
    scores_nN = read_scores(scores)
    array = margins_array(margins)
    # Check the orientation of the scores first: otherwise the error for transposed scores would blame the masks.
    n, N = scores_nN.shape
    targets = array.shape[-1] if array.ndim else 0
    if n == targets != N and isinstance(scores, str | PathLike):
        warnings.warn(TURNED, stacklevel=2)
        scores_nN, n, N = scores_nN.T, N, n
    check_shape((n, N), N if n == targets != N else n, targets if n == targets else N)
    truth = GroundTruth(masks if indices is None else read_indices(indices, n), array, n_train=n, packed=packed)
    return truth.score(scores_nN)
