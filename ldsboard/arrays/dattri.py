"""Take apart ground truth in the form of ``dattri.metric.lds``: a tuple (values, indices).

The metric of dattri 0.3.0 takes this form [1]_, and dattri's ``calculate_lds_ground_truth`` returns it [2]_. The values are
outputs of the retrained models, (M, N). The indices are the training examples of each subset, (M, m).
``calculate_lds_ground_truth`` negates its target function, which is usually a loss, so that a higher value is better. The metric
does not change the sign of the values. The values are therefore margins in the sense of this library.

.. [1] https://github.com/TRAIS-Lab/dattri/blob/main/dattri/metric/metrics.py
.. [2] https://github.com/TRAIS-Lab/dattri/blob/main/dattri/metric/ground_truth.py

Legend: M subsets, m training examples of one subset, N targets.
"""

from __future__ import annotations

from typing import Any

from ldsboard.problems import ProblemError


def on_cpu(array: Any) -> Any:
    """Return a torch tensor on the CPU and without gradients, and any other object unchanged; torch is not imported."""
    return array.detach().cpu() if hasattr(array, "detach") and hasattr(array, "cpu") else array


def values_and_indices(ground_truth: Any, *, packed: bool) -> tuple[Any, Any]:
    """Return the values and the indices of a tuple (values, indices); torch tensors are moved to the CPU.

    Parameters
    ----------
    ground_truth
        The tuple. A list of length 2 is accepted too.
    packed
        Whether the caller said that the subsets are packed bits, which this form cannot hold.

    Raises
    ------
    ProblemError
        ``margins.invalid``: `ground_truth` is not a tuple or list of length 2.
        ``masks.invalid``: `packed` is True.
    """
    if not isinstance(ground_truth, tuple | list) or len(ground_truth) != 2:  # noqa: PLR2004 -- values and indices
        size = f" of length {len(ground_truth)}" if isinstance(ground_truth, tuple | list) else ""
        raise ProblemError.mismatch(
            "margins.invalid",
            expected="masks and margins, or a tuple (values, indices) as for dattri's metric",
            got=f"{type(ground_truth).__name__}{size} without margins",
            hint="Call lds(scores, masks, margins), or lds(scores, (values, indices)).",
        )
    if packed:
        raise ProblemError.mismatch(
            "masks.invalid",
            expected="indices or bool masks in a tuple (values, indices)",
            got="packed=True",
            hint="Omit packed; for packed bits, call lds(scores, bits, values, packed=True).",
        )
    values, indices = ground_truth
    return on_cpu(values), on_cpu(indices)
