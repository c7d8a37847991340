"""Write imported ground truth as an open benchmark, and summarize the import.

Other people can have the imported files. No subset can therefore be hidden, and the leaderboard is a practice board.

Legend: M subsets, R runs, n training examples, N targets.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from ldsboard.arrays.margins import check_margins_differ, mean_over_runs
from ldsboard.bundle import sha256, write_bundle
from ldsboard.core.ceiling import ceiling_text
from ldsboard.counts import count
from ldsboard.importing.origins import Origin, name_files_in_errors
from ldsboard.importing.tables import TableError

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from ldsboard.importing.reading import ImportedArrays
    from ldsboard.manifest import Manifest

PRACTICE_SHARE = 5
"""By default, the public LDS is on the first 1 / PRACTICE_SHARE of the subsets, and the others are ranking subsets."""

MIN_DIVIDED = 64
"""By default, fewer subsets than this are not divided: all are ranking subsets, and the public LDS is on all of them, too."""

CROSS_SEED = "cross-seed: the models behind the scores have other seeds than the models of the ground truth"

MARGIN, NEGATIVE_LOSS = "margin", "negative_loss"


def ranking_rows(M: int, requested: str | None) -> tuple[int, int]:
    """Return the rows of the ranking subsets: the first row, and the row after the last.

    Parameters
    ----------
    M
        Number of subsets.
    requested
        The rows as text ``A-B``, from A up to but not including B; or ``all`` for all rows, on which the public LDS is then
        computed, too. With None, the rows are the last 80 %, or all rows if there are fewer than `MIN_DIVIDED`.

    Raises
    ------
    TableError
        The text is malformed, A is not below B, B exceeds M, or A is 0.
    """
    if requested is None or requested == "all":
        return (M // PRACTICE_SHARE if requested is None and M >= MIN_DIVIDED else 0, M)
    rows = re.fullmatch(r"(\d{1,9})-(\d{1,9})", requested)
    if rows is None or not 0 < int(rows[1]) < int(rows[2]) <= M:
        raise TableError(
            f"Invalid ranking rows {requested!r}: give A-B with 0 < A < B <= {M}. "
            "Rows A to B - 1 are the ranking subsets; the rows before A are public. "
            "Or give all: all rows are both ranking and public subsets, and the board has no ranks."
        )
    return int(rows[1]), int(rows[2])


def output_function(origin: Origin, requested: str | None) -> str:
    """Return the name of the output function: `requested`, or by default ``negative_loss`` for losses, ``margin`` otherwise.

    Raises
    ------
    TableError
        The name has other characters than lower-case letters, digits and ``_``, does not begin with a letter, or has more than 64
        characters. Or the name is ``margin`` for a file of losses, or ``loss`` for a file that does not hold losses.
    """
    name = requested if requested is not None else NEGATIVE_LOSS if origin.losses else MARGIN
    if not re.fullmatch(r"[a-z][a-z0-9_]{0,63}", name) or name == (MARGIN if origin.losses else "loss"):
        raise TableError(
            f"Invalid output function {name!r} for {origin.margins}: use lower-case letters, digits and '_'. "
            f"If the file holds losses, give --losses and a name other than '{MARGIN}', such as {NEGATIVE_LOSS}. "
            f"Otherwise give a name other than 'loss', such as {MARGIN}."
        )
    return name


def how_drawn(masks_Mn: NDArray[np.bool_]) -> str:
    """Return a phrase for the manifest that says how the subsets seem to be drawn.

    The subsets count as disjoint parts if every training example is in at most one of them, and as all parts but one if every
    training example is missing from at most one of them. Otherwise the phrase says that the files do not state it.
    """
    held_n = masks_Mn.sum(axis=0)
    if (held_n <= 1).all():
        return "disjoint parts of the training examples"
    if (held_n >= len(masks_Mn) - 1).all():
        return "all training examples but one of several disjoint parts"
    return "not stated by the files; overlapping, as of independent draws"


def write_import(folder: Path, origin: Origin, found: ImportedArrays, about: dict[str, Any]) -> Manifest:
    """Write imported ground truth as the folder of an open benchmark.

    Parameters
    ----------
    folder
        Parent of ``public/``. An open benchmark in `folder` is replaced.
    origin, found
        The imported files, and the arrays that were read from these files.
    about
        The manifest fields name, version, title, description, licence, output_function and ranking (see `ranking_rows`).

    Returns
    -------
    Manifest
        The manifest that was written.

    Raises
    ------
    TableError
        The margins of a target are equal for all subsets of the public LDS, or for all ranking subsets. The message names the
        file of the margins.
    BundleError
        `folder` holds the hidden part of a protected benchmark, or two subsets are equal.
    """
    start, stop = about["ranking"]
    with name_files_in_errors(origin.margins):
        for first, end, part in ((0, start or stop, "public subsets"), (start, stop, "ranking subsets")):
            which = "subsets" if end - first == len(found.margins_MRN) else f"{part} (rows {first} to {end - 1})"
            check_margins_differ(mean_over_runs(found.margins_MRN[first:end]), which)
    sizes_M = found.masks_Mn.sum(axis=1)
    description = {
        "dataset": {"name": "not stated"},
        "recipe": {"name": "not stated"},
        "alpha": float(found.masks_Mn.mean()),
        "public_seed": None,
        "split": "open",
        "provenance": {
            "imported": {
                name: {"file": path.name, "sha256": None if path.is_dir() else sha256(path)}
                for name, path in origin.files.items()
            },
            "packed": origin.packed,
            "removed_inverted": origin.removed,
            "losses_negated": origin.losses,
            "margins_negated": origin.negated,
            "order_of_rows": found.order and found.order.value,
            "evaluations_averaged": origin.evaluations,
            "rescaled": origin.rescale,
            "rounded_to_float32": found.rounded,
            "targets_with_new_ties": found.tied,
            "subset_sizes": {"smallest": int(sizes_M.min()), "largest": int(sizes_M.max())},
            "subsets_drawn": how_drawn(found.masks_Mn),
            "seeds": CROSS_SEED,
        },
    }
    return write_bundle(
        folder, about | description, masks_Mn=found.masks_Mn, margins_MRN=found.margins_MRN, labels=found.labels
    )


def summary(manifest: Manifest) -> str:
    """Return a text that summarizes an import: the numbers of examples, targets, runs and subsets, and the noise ceiling.

    From these numbers, the operator can see whether the options of the import were right. The last line of the text says that the
    benchmark is published. `manifest` is what `write_import` returned.
    """
    sizes = manifest.provenance["subset_sizes"]
    start, stop = manifest.ranking or (0, 0)
    each = f"{sizes['smallest']:,}" + (f" to {sizes['largest']:,}" if sizes["largest"] > sizes["smallest"] else "")
    lines = [
        f"{manifest.n_train:,} training examples; {each} in each subset.",
        (
            f"{count(manifest.n_targets, 'target')}, output function {manifest.output_function}, "
            f"{count(manifest.runs, 'run')} of each subset."
        ),
        f"{start:,} public subsets and {stop - start:,} ranking subsets (rows {start} to {stop - 1})."
        if start
        else f"{count(stop, 'subset')}, all public and all used for the LDS of entries: the board has no ranks.",
        f"Noise ceiling {ceiling_text(manifest.ceiling, manifest.ceiling_std_error, manifest.runs)}.",
    ]
    if (evaluations := manifest.provenance["evaluations_averaged"]) > 1:
        lines.append(f"Each margin is the mean of {evaluations} evaluations of one model.")
    if manifest.provenance["rescaled"]:
        lines.append("The margins of each target were shifted and scaled; their order is that of the file.")
    if manifest.provenance["rounded_to_float32"]:
        targets = manifest.provenance["targets_with_new_ties"]
        ties = f", and a few became equal in {count(targets, 'target')}" if targets else ""
        lines.append(f"Some margins changed when they were rounded to float32{ties}.")
    return "\n".join([*lines, f"Published {manifest.name} version {manifest.version} as a practice board."])
