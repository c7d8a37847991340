"""Finding out whether the runs of a subset, or the subsets of a run, are neighbours among the rows of the margins.

Legend: M subsets, R runs, N targets.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from ldsboard.importing.origins import RowOrder
from ldsboard.importing.reading import read_origin
from ldsboard.importing.runs import NONE, SURE, run_agreement
from ldsboard.importing.tables import TableError
from tests.ldsboard.origin_files import MASKS, RUNS_MN, M, N, save_origin

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray


def rows_in_order(margins_MRN: NDArray[Any], order: RowOrder) -> NDArray[Any]:
    return (margins_MRN if order is RowOrder.SUBSET else margins_MRN.swapaxes(0, 1)).reshape(-1, margins_MRN.shape[2])


def agreeing_runs(noise: float = 0.3, offset: float = 0.0) -> NDArray[np.float32]:
    """Return margins of 3 runs that agree but for the noise, and an offset of each run, (M, R, N)."""
    rng = np.random.default_rng(4)
    margins_MRN = rng.normal(size=(M, 1, N)) + noise * rng.normal(size=(M, 3, N)) + offset * rng.normal(size=(1, 3, 1))
    return margins_MRN.astype(np.float32)


@pytest.mark.parametrize("order", list(RowOrder))
@pytest.mark.parametrize("offset", [0, 30])
def test_agreement_of_the_runs_decides_the_order(tmp_path: Path, order: RowOrder, offset: float) -> None:
    margins_MRN = agreeing_runs(offset=offset)
    found = read_origin(save_origin(tmp_path, MASKS, rows_in_order(margins_MRN, order), runs=3))
    assert np.array_equal(found.margins_MRN, margins_MRN)
    assert (found.order, bool(found.notes)) == (order, order is RowOrder.RUN)


@pytest.mark.parametrize("order", list(RowOrder))
def test_the_operator_decides_the_order_of_runs_that_do_not_agree(tmp_path: Path, order: RowOrder) -> None:
    rows = rows_in_order(RUNS_MN, order)
    with pytest.raises(
        TableError, match=r"in an order that the agreement .*Add --order subset if .*, or --order run if"
    ):
        read_origin(save_origin(tmp_path, MASKS, rows, runs=3))
    found = read_origin(save_origin(tmp_path, MASKS, rows, runs=3, order=order))
    assert np.array_equal(found.margins_MRN, RUNS_MN)
    assert (found.order, found.notes) == (order, ())


def test_order_is_not_decided_if_both_orders_agree(tmp_path: Path) -> None:
    """Each row equals its neighbour, and the row M later."""
    rows = np.tile(np.repeat(np.random.default_rng(0).normal(size=(M // 2, N)), 2, axis=0), (2, 1))
    assert min(run_agreement(rows, 2, order) for order in RowOrder) >= NONE
    with pytest.raises(TableError, match="Add --order subset"):
        read_origin(save_origin(tmp_path, MASKS, rows, runs=2))


def test_order_is_refused_where_it_is_known(tmp_path: Path) -> None:
    for masks, margins, runs in ((MASKS, RUNS_MN, 1), (np.repeat(MASKS, 3, axis=0), RUNS_MN.reshape(-1, N), 3)):
        with pytest.raises(TableError, match=r"the order is known\. Omit --order"):
            read_origin(save_origin(tmp_path, masks, margins, runs=runs, order=RowOrder.RUN))


def test_evaluations_are_averaged_before_the_order_is_found_out(tmp_path: Path) -> None:
    rows = rows_in_order(agreeing_runs(), RowOrder.RUN)
    repeated = np.stack([rows - 50, rows + 50], axis=1)
    found = read_origin(save_origin(tmp_path, MASKS, repeated, runs=3, evaluations=2))
    np.testing.assert_allclose(found.margins_MRN, agreeing_runs(), atol=1e-4)


def test_agreement_is_0_without_an_order() -> None:
    for rows in (np.ones((6, 2)), np.ones((2, 2))):
        assert run_agreement(rows, 2, RowOrder.SUBSET) == 0


def test_only_varying_targets_are_compared() -> None:
    rows = rows_in_order(agreeing_runs(), RowOrder.SUBSET)
    with_constant = np.concatenate([rows, np.ones((len(rows), 1))], axis=1)
    for order in RowOrder:
        assert run_agreement(with_constant, 3, order) == run_agreement(rows, 3, order)


def test_a_decision_is_never_wrong() -> None:
    """In 150 draws of sizes, noise and offsets of runs, some are decided, and all of these rightly.

    If 1 of 100 decisions were wrong, about 50 decisions would all be right with probability .6: this guards against gross errors.
    """
    rng = np.random.default_rng(1)
    decided = 0
    for draw in range(150):
        subsets, runs, targets = (int(rng.choice(sizes)) for sizes in ([8, 20, 64, 100], [2, 3, 5], [1, 5, 30]))
        signal = rng.choice([0.05, 0.2, 1, 4])
        margins_MRN = signal * rng.normal(size=(subsets, 1, targets)) + rng.normal(size=(subsets, runs, targets))
        margins_MRN += rng.choice([0, 10]) * rng.normal(size=(1, runs, rng.choice([1, targets])))
        true = list(RowOrder)[draw % 2]
        rows = rows_in_order(margins_MRN, true)
        agreement = {order: run_agreement(rows, runs, order) for order in RowOrder}
        if max(agreement.values()) >= SURE and min(agreement.values()) < NONE:
            decided += 1
            assert agreement[true] >= SURE
    assert decided > 40
