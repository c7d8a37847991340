"""The files of existing ground truth, and the options for reading these files.

Legend: M subsets, R runs, n training examples, N targets, P rows of a file, one row for each model or each subset.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from ldsboard.importing.tables import RawArray, TableError
from ldsboard.problems import ProblemError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class RowOrder(StrEnum):
    """Which rows of the margins are neighbours: the runs of one subset (``subset``), or the subsets of one run (``run``)."""

    SUBSET = "subset"
    RUN = "run"


class BitOrder(StrEnum):
    """Which bit of a byte comes first: the highest (``big``, the default of ``numpy.packbits``) or the lowest (``little``)."""

    BIG = "big"
    LITTLE = "little"


@dataclass(frozen=True)
class Origin:
    """The files of existing ground truth, and the options for reading these files.

    Attributes
    ----------
    masks
        File of the subsets: 0/1 (P, n), index lists, or packed bits, in a format of `ldsboard.importing.tables.read_table`. The
        file has one row for each model, or one for each subset.
    margins
        File of the model outputs: (P, N); (M, R, N); (R, M, N), if R is not M; or (M,) for one target.
    n_train
        Number of training examples n; required for index lists and packed bits unless `train_labels` is given.
    packed
        Bit order of the packed bits in `masks`; None if `masks` does not hold packed bits.
    removed
        Whether `masks` marks the examples that a model was *not* trained on.
    losses
        Whether `margins` holds losses; the margins are then the negated losses.
    runs
        Number of rows in `margins` for each subset: R if every run has its own row; 1 if the shape is (M, R, N) or R is 1.
    evaluations
        Number K of repeated evaluations of each model. The evaluations of a model are neighbours on the middle axis of `margins`:
        (M, R K, N), or (P, K, N) if every run has its own row. The mean of the K evaluations is one margin.
    completed
        File with a flag for each row, bool or 0/1 (P,), as in stores of the datamodels project. Rows of `masks` and `margins`
        with the flag 0 are left out, and so are subsets of which fewer than `runs` rows remain.
    train_labels, target_labels
        Files with the labels of the training examples, integers (n,), and of the targets, integers (N,).
    further_runs
        Files with the margins of further runs, (M, N), one run each. `margins` must then be one run of the same shape, and `runs`
        and `evaluations` must be 1.
    negated
        Whether `margins` holds negated margins, as dattri's ``calculate_lds_ground_truth`` writes them. Not for `losses`.
    order
        Order of the rows of `margins` if every run has its own row there but `masks` has one row for each subset. With None, the
        margins decide, see `ldsboard.importing.runs.in_order_of_subsets`. In every other case, None is required.
    rescale
        Whether to shift and scale the margins of each target before they are rounded to float32, see
        `ldsboard.importing.rounding.rescaled`.
    masks_key, margins_key
        Names of the tables in files that hold several tables, see `ldsboard.importing.containers.choose`.
    raw
        Types and shapes of the files without a header: first that of `masks`, then one for `margins` and `further_runs` together.
        Files with a header have no place in `raw`.
    """

    masks: Path
    margins: Path
    n_train: int | None = None
    packed: BitOrder | None = None
    removed: bool = False
    losses: bool = False
    runs: int = 1
    evaluations: int = 1
    completed: Path | None = None
    train_labels: Path | None = None
    target_labels: Path | None = None
    further_runs: tuple[Path, ...] = ()
    negated: bool = False
    order: RowOrder | None = None
    rescale: bool = False
    masks_key: str | None = None
    margins_key: str | None = None
    raw: tuple[RawArray, ...] = ()

    @property
    def files(self) -> dict[str, Path]:
        """Path of each given file, by the name of its attribute; further runs are ``margins_of_run_2`` and so on."""
        names = ("masks", "margins", "completed", "train_labels", "target_labels")
        found = {name: path for name in names if (path := getattr(self, name)) is not None}
        return found | {f"margins_of_run_{run}": path for run, path in enumerate(self.further_runs, 2)}


@contextmanager
def name_files_in_errors(*paths: Path) -> Iterator[None]:
    """Turn a ProblemError in the ``with`` block into a TableError whose message begins with `paths`."""
    try:
        yield
    except ProblemError as error:
        raise TableError(f"{' and '.join(map(str, paths))}: {error}") from error
