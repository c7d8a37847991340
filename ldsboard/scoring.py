"""The linear datamodeling score of one array of scores, in one call.

Legend: M subsets, R runs, n training examples, N targets.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ldsboard.groundtruth import GroundTruth
from ldsboard.margins import margins_array
from ldsboard.scores import check_shape, read_scores

if TYPE_CHECKING:
    from ldsboard.result import Result


def lds(scores: Any, masks: Any, margins: Any, *, packed: bool = False) -> Result:
    r"""Compute the linear datamodeling score (LDS) of data attribution scores, exactly, with its uncertainty.

    For every target, the scores of the examples in each training subset are summed. These predictions are compared with what
    the models trained on the subsets really did, the margins, by Spearman's rank correlation. The LDS is the mean of the
    correlations over targets [1]_.

    Parameters
    ----------
    scores : array_like or path, shape (n, N)
        How much the presence of each of n training examples raises the margin of each of N targets. float16, float32, float64,
        or integers up to 2**53; anything with ``__array__`` or DLPack (a torch tensor on the CPU too), or the path of a ``.npy``
        file, which is read in blocks. Where n equals N a transposed array cannot be told from a correct one.
    masks : array_like, shape (M, n), or sequence of M index lists
        The subsets: bool or 0/1, 1 where the example was trained on; or for each subset the indices of its examples, unique
        and in [0, n), of equal or different number.
    margins : array_like, shape (M, N) or (M, R, N)
        Output of the model trained on each subset for each target, usually the log-odds of the correct class; with R runs of
        every subset, their mean in float64 is used.
    packed : bool, default False
        Whether `masks` are packed bits, uint8 of shape (M, ceil(n / 8)), bits in little order.

    Returns
    -------
    Result
        An object with attributes:

        lds : float
            The linear datamodeling score, between -1 and 1.
        std_error : float
            Its standard error over subsets; nan for M < 4.
        confidence_interval : tuple of float
            95 % interval (low, high), for these targets and this way of training.
        per_target, p_values : ndarray, shape (N,)
            Spearman's rho of each target, and its two-sided p-value as in `scipy.stats.spearmanr`.
        influence : ndarray, shape (M,)
            psi, the influence of each subset on the LDS; sums to 0. All that `compare` needs to compare two results.
        z_random : float
            Distance from chance in standard deviations. Within 3 of 0, the scores cannot be told from random ones.
        std_error_new_targets : float
            Standard error for a fresh draw of targets as well as of subsets; nan for N = 1.
        constant_predictions, duplicate_subsets : int
            Targets whose predictions are all equal, and subsets that repeat an earlier one.
        grid_loss, grid_loss_target : float, int
            Worst rounding of a prediction, in standard deviations of that target's predictions (or, where most scores were
            coarsely rounded, of what sums of typical ones spread), and the target.
        warnings : list of str
            Codes of what a reader should know, such as ``"scores.sign_flipped"``.

    Raises
    ------
    ProblemError
        A ValueError that says what was expected, what came, and what to do: shapes that do not fit (saying "transposed" where
        that is it), values that are not finite, margins that are equal for all subsets, fewer than 2 or more than 50,000 subsets.

    See Also
    --------
    GroundTruth : The same for many arrays of scores, on parts of the subsets, with noise ceiling and GPU.
    compare : Whether two results on the same subsets differ by more than chance.
    scipy.stats.spearmanr : Spearman's correlation of two lists.

    Notes
    -----
    With :math:`S_i` the i-th subset, :math:`\tau_{kj}` the score of example k for target j and :math:`m_{ij}` the margin,

    .. math:: \mathrm{LDS} = \frac{1}{N} \sum_{j=1}^{N}
              \rho\Bigl(\bigl(\textstyle\sum_{k \in S_i} \tau_{kj}\bigr)_{i=1}^{M}, \bigl(m_{ij}\bigr)_{i=1}^{M}\Bigr)

    *Exactness.* Each column of scores is rounded to integers of ``53 - n.bit_length()`` bits, so that float64 sums any of them
    without error: equal sums are ties, and `lds`, `per_target` and `influence` are the same bits on every machine, with any
    BLAS and any number of threads. Ties share their average rank.

    *Uncertainty.* Targets share the subsets, so that their spread says little about the error of their mean. The standard
    error is that of a mean of M influences, from the influence function of Spearman's rho [2]_, extended to ties. The interval
    uses Student's t with M - 1 degrees of freedom, and allows for the bias of rho at small M.

    *Degenerate targets.* One whose predictions are all equal counts as rho 0 with p-value 1. Nothing else is left out or
    replaced.

    References
    ----------
    .. [1] S. M. Park, K. Georgiev, A. Ilyas, G. Leclerc and A. Madry, "TRAK: Attributing Model Behavior at Scale", ICML 2023,
           section 2.
    .. [2] C. Croux and C. Dehon, "Influence functions of the Spearman and Kendall correlation measures", Statistical Methods &
           Applications 19 (2010), 497-515.

    Examples
    --------
    Four hundred models, each trained on a random half of 60 examples; every example has an effect on each of five targets.

    >>> import numpy as np
    >>> from ldsboard import compare, lds
    >>> rng = np.random.default_rng(0)
    >>> effects = rng.normal(size=(60, 5))
    >>> masks = rng.permuted(np.tile(np.arange(60) < 30, (400, 1)), axis=1)
    >>> margins = masks @ effects + 2 * rng.normal(size=(400, 5))

    The effects themselves are the best scores that there can be; only the noise of training keeps them from 1.

    >>> best = lds(effects, masks, margins)
    >>> best
    Result(lds=0.8696 [0.8571, 0.8835], M=400, N=5)

    A method that knows them roughly, and whether it is worse by more than chance:

    >>> rough = lds(effects + rng.normal(size=(60, 5)), masks, margins)
    >>> round(rough.lds, 3), round(rough.std_error, 3)
    (0.613, 0.015)
    >>> compare(best, rough).p_value < 0.001
    True

    Scores that have nothing to do with the subsets, and scores with the wrong sign, are named:

    >>> lds(rng.normal(size=(60, 5)), masks, rng.normal(size=(400, 5))).warnings
    ['scores.random']
    >>> lds(-effects, masks, margins).warnings
    ['scores.sign_flipped']
    """
    scores_nN = read_scores(scores)
    array = margins_array(margins)
    # Without this, transposed scores would make the masks look wrong, and not themselves.
    n, N = scores_nN.shape
    targets = array.shape[-1] if array.ndim else 0
    check_shape((n, N), N if n == targets != N else n, targets if n == targets else N)
    truth = GroundTruth(masks, array, n_train=n, packed=packed)
    return truth.score(scores_nN)
