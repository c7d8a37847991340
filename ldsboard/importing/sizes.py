"""Divide ground truth by subset size, because all subsets of a benchmark must have one size.

Legend: M subsets, n training examples, N targets, s sizes.
"""

from __future__ import annotations

import shlex
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ldsboard.arrays.sizes import rows_by_size, sizes_in_words
from ldsboard.counts import count
from ldsboard.groundtruth import GroundTruth
from ldsboard.importing.benchmarks import ranking_rows
from ldsboard.importing.origins import Origin, name_files_in_errors
from ldsboard.importing.tables import TableError
from ldsboard.manifest import BundleError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ldsboard.bundle import Bundle
    from ldsboard.core.result import Result
    from ldsboard.importing.reading import ImportedArrays


MAX_LEFT_OUT = 0.05
"""`only_board` leaves out subsets of other sizes up to this share of all subsets, and one such subset whatever its share."""

MAX_NAMED = 10


class Minimum(NamedTuple):
    """The smallest numbers of subsets for the public LDS (`public`) and of ranking subsets that a benchmark can have."""

    public: int
    ranking: int


class OneSize(NamedTuple):
    """The subsets of one size: `rows` has their indices in ascending order.

    With `ranking` = (start, stop), the ranking subsets are ``rows[start:stop]``. If neighbouring sizes count as one (see
    `rows_by_size`), `size` is the lower median over the subsets.
    """

    size: int
    rows: NDArray[np.intp]
    ranking: tuple[int, int]


class Board(NamedTuple):
    """One benchmark of an import: the arguments `found` and `about` of `ldsboard.importing.benchmarks.write_import`."""

    found: ImportedArrays
    about: dict[str, Any]


def only_board(
    origin: Origin, found: ImportedArrays, about: dict[str, Any], requested: str | None, minimum: Minimum
) -> Board:
    """Return the one benchmark of an import, with all subsets, or with the subsets of the most frequent size.

    Subsets of other sizes are left out if there is only one of them, or if they are at most 5 % of all subsets. The last note of
    the returned arrays then lists the subsets that were left out.

    Parameters
    ----------
    origin, found
        The imported files, and the arrays that were read from these files.
    about
        The manifest fields name, version, title, description, licence and output_function.
    requested
        The ranking subsets as rows of all subsets, see `ranking_rows`.
    minimum
        The smallest numbers of subsets of a benchmark; not checked if all subsets have one size.

    Raises
    ------
    TableError
        More subsets have other sizes, or no size has enough subsets for `minimum`; the message states the LDS of a file of ones.
        Or `requested` is invalid.
    """
    ranking = ranking_rows(len(found.masks_Mn), requested)
    sizes_M, n = found.masks_Mn.sum(axis=1), found.masks_Mn.shape[1]
    if len(rows_by_size(sizes_M, n)) == 1:
        return Board(found, about | {"ranking": ranking})
    chosen = large_sizes(sizes_M, n, ranking if requested else None, minimum)
    most = max(chosen, key=lambda one: len(one.rows), default=None)
    if most is not None and len(sizes_M) - len(most.rows) <= max(1, MAX_LEFT_OUT * len(sizes_M)):
        return _without_other_sizes(found, about, most)
    with name_files_in_errors(origin.margins):
        ones = score_of_ones(found)
    raise TableError(
        f"{origin.masks} holds {sizes_in_words(sizes_M)}, but all subsets of a benchmark must have one size. Otherwise a part "
        f"of the LDS comes from the sizes alone: here a file of ones has an LDS of {ones.lds:.3f}, {abs(ones.z_random):.1f} "
        "standard deviations from chance. "
        + ("Add --by-size to make a benchmark of each size." if chosen else _none_is_large(minimum))
    )


def _without_other_sizes(found: ImportedArrays, about: dict[str, Any], kept: OneSize) -> Board:
    """Return the benchmark of the subsets of one size, with a note that names the others."""
    others = np.delete(np.arange(len(found.masks_Mn)), kept.rows)
    note = (
        f"Left out because of another size than {count(kept.size, 'example')}: "
        + ", ".join(f"subset {row} of {count(int(found.masks_Mn[row].sum()), 'example')}" for row in others[:MAX_NAMED])
        + (f" and {len(others) - MAX_NAMED} more." if len(others) > MAX_NAMED else ".")
    )
    rows = kept.rows
    arrays = replace(
        found, masks_Mn=found.masks_Mn[rows], margins_MRN=found.margins_MRN[rows], notes=(*found.notes, note)
    )
    return Board(arrays, about | {"ranking": kept.ranking})


def boards_by_size(
    origin: Origin, found: ImportedArrays, about: dict[str, Any], requested: str | None, minimum: Minimum
) -> tuple[list[Board], str]:
    """Return a benchmark of each size with enough subsets, and a message that lists the sizes with too few subsets, or ``""``.

    The name of a benchmark ends in ``-size-`` and the size.

    Parameters
    ----------
    origin, found, about
        The imported files, the arrays that were read from these files, and the manifest fields, see `only_board`.
    requested
        The ranking subsets of all benchmarks, as rows of the whole ground truth. With None, each size gets the default of
        `ranking_rows`.
    minimum
        The smallest numbers of subsets of a benchmark.

    Raises
    ------
    TableError
        Every size has too few subsets. Or `requested` is invalid.
    """
    ranking = ranking_rows(len(found.masks_Mn), requested)
    sizes_M, n = found.masks_Mn.sum(axis=1), found.masks_Mn.shape[1]
    chosen = large_sizes(sizes_M, n, ranking if requested else None, minimum)
    if not chosen:
        raise TableError(f"{origin.masks} holds {sizes_in_words(sizes_M)}. {_none_is_large(minimum)}")
    boards = []
    for size, rows, own_ranking in chosen:
        arrays = replace(found, masks_Mn=found.masks_Mn[rows], margins_MRN=found.margins_MRN[rows])
        own = {"name": f"{about['name']}-size-{size}", "title": f"{about['title']}, subsets of {size:,}"}
        boards.append(Board(arrays, about | own | {"ranking": own_ranking}))
    left_out_M = np.delete(sizes_M, np.concatenate([one.rows for one in chosen]))
    message = (
        f"Not published, because a benchmark needs {minimum.public} public and {minimum.ranking} ranking subsets of one size: "
        f"{sizes_in_words(left_out_M)}."
    )
    return boards, message if left_out_M.size else ""


def large_sizes(
    sizes_M: NDArray[np.integer], n: int, ranking: tuple[int, int] | None, minimum: Minimum
) -> list[OneSize]:
    """Return the subsets of each size that has enough subsets for a benchmark, the smallest size first.

    Parameters
    ----------
    sizes_M
        Number of training examples in each subset, integers (M,).
    n
        Number of training examples.
    ranking
        The first row of the ranking subsets among the M subsets, and the row after the last; None: the
        default of `ranking_rows` for the subsets of each size. If all M subsets are ranking subsets, so are those of each size.
    minimum
        The smallest numbers of subsets of a benchmark.
    """
    chosen = []
    for rows in rows_by_size(sizes_M, n):
        size = int(np.sort(sizes_M[rows])[(len(rows) - 1) // 2])
        if ranking is None or ranking == (0, len(sizes_M)):
            start, stop = ranking_rows(len(rows), None if ranking is None else "all")
            public = start or stop
        else:
            start, stop = np.searchsorted(rows, ranking).tolist()
            public = start
        if public >= minimum.public and stop - start >= minimum.ranking:
            chosen.append(OneSize(size, rows, (start, stop)))
    return chosen


def _none_is_large(minimum: Minimum) -> str:
    return f"No size has {minimum.public} public and {minimum.ranking} ranking subsets. Train models on more subsets of one size."


def score_of_ones(found: ImportedArrays) -> Result:
    """Return the result of a file whose scores are all 1, over all subsets; its predictions are the sizes of the subsets.

    In the result, `n_train` and `fingerprint` are not those of `found`, because one example stands for all subsets of a size.

    Raises
    ------
    ProblemError
        The margins of a target are equal for all subsets, or there are fewer than 2 or more than 50,000 subsets.
    """
    # One example for each size, in place of n examples, gives the same predictions by a smaller product.
    sizes_s, size_M = np.unique(found.masks_Mn.sum(axis=1), return_inverse=True)
    truth = GroundTruth(np.eye(len(sizes_s), dtype=np.bool_)[size_M], found.margins_MRN)
    return truth.score(np.repeat(sizes_s[:, None], truth.n_targets, axis=1))


def check_one_size(bundle: Bundle, sizes_M: NDArray[np.int64], minimum: Minimum) -> None:
    """Raise a BundleError unless all subsets of a benchmark, of the sizes (M,), have one size; see `rows_by_size`.

    If some sizes of an open benchmark have enough subsets, the message has the command that publishes a benchmark of each.
    """
    manifest, public = bundle.manifest, bundle.folder / "public"
    if len(rows_by_size(sizes_M, manifest.n_train)) == 1:
        return
    options = {
        "--masks": public / "masks.npy",
        "--packed": "little",
        "--n-train": manifest.n_train,
        "--margins": public / "margins.npy",
        "--output-function": manifest.output_function,
        "--version": manifest.version,
    }
    words = [str(word) for option in options.items() for word in option]
    command = shlex.join(["python", "-m", "app", "benchmark", "import", manifest.name, "--by-size", *words])
    can_split = manifest.split == "open" and large_sizes(sizes_M, manifest.n_train, None, minimum)
    raise BundleError(
        f"{bundle.folder} holds {sizes_in_words(sizes_M)}, but all subsets of a benchmark must have one size. "
        + (f"Publish a benchmark of each size: {command}" if can_split else "Train models on subsets of one size.")
    )
