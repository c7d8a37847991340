"""Imports: ground truth from elsewhere becomes an open benchmark.

Everybody may have its files, so nothing of it can be hidden: the result is a practice board.

Legend: M subsets, R runs, n training examples, N targets.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from ldsboard.bundle import sha256, write_bundle
from ldsboard.margins import check_margins_differ, mean_over_runs
from ldsboard.origins import ImportedArrays, Origin, name_files_in_errors
from ldsboard.tables import TableError

if TYPE_CHECKING:
    from pathlib import Path

    from ldsboard.manifest import Manifest

PRACTICE_SHARE = 5
"""By default one of this many subsets is there to practise on; the others rank."""

MARGIN, NEGATIVE_LOSS = "margin", "negative_loss"


def ranking_rows(M: int, wanted: str | None) -> tuple[int, int]:
    """Return the rows that rank: those wanted, as ``A-B``, by default the last 80 %.

    Raises
    ------
    TableError
        They are none of M rows, or leave none before them.
    """
    wanted = f"{M // PRACTICE_SHARE}-{M}" if wanted is None else wanted
    rows = re.fullmatch(r"(\d{1,9})-(\d{1,9})", wanted)
    if rows is None or not 0 < int(rows[1]) < int(rows[2]) <= M:
        raise TableError(
            f"expected ranking rows as A-B with 0 < A < B <= {M}, from A up to and without B, and some before A to practise on; "
            f"got {wanted!r}"
        )
    return int(rows[1]), int(rows[2])


def output_function(origin: Origin, wanted: str | None) -> str:
    """Return what the margins are called: as wanted, by default ``margin``, or ``negative_loss`` for losses.

    Raises
    ------
    TableError
        The name is none, or contradicts the origin.
    """
    name = wanted if wanted is not None else NEGATIVE_LOSS if origin.losses else MARGIN
    if not re.fullmatch(r"[a-z][a-z0-9_]{0,63}", name) or name == (MARGIN if origin.losses else "loss"):
        raise TableError(
            f"expected the output function of {origin.margins} in lower-case letters, digits and '_', such as {MARGIN} or, for "
            f"losses, {NEGATIVE_LOSS}, got {name!r}. Losses are negated by --losses; a margin is none."
        )
    return name


def write_import(folder: Path, origin: Origin, found: ImportedArrays, about: dict[str, Any]) -> Manifest:
    """Write the folder of an open benchmark.

    Parameters
    ----------
    folder
        Where ``public/`` goes.
    origin, found
        The files, and what they hold.
    about
        name, version, title, description, licence, output_function, and ranking: the rows that rank.

    Raises
    ------
    TableError
        A ValueError: some targets have the same margin for all subsets of a part; they are named.
    BundleError
        A ValueError: the folder is that of a protected benchmark.
    """
    start, stop = about["ranking"]
    with name_files_in_errors(origin.margins):
        for rows in (slice(0, start), slice(start, stop)):
            check_margins_differ(mean_over_runs(found.margins_MRN[rows]))
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
            "rounded_to_float32": found.rounded,
            "subset_sizes": {"smallest": int(sizes_M.min()), "largest": int(sizes_M.max())},
        },
    }
    return write_bundle(
        folder, about | description, masks_Mn=found.masks_Mn, margins_MRN=found.margins_MRN, labels=found.labels
    )


def summary(manifest: Manifest) -> str:
    """Return what an operator should look at after an import: a wrong number here is a wrong option."""
    sizes = manifest.provenance["subset_sizes"]
    start, stop = manifest.ranking or (0, 0)
    each = f"{sizes['smallest']:,}" + (f" to {sizes['largest']:,}" if sizes["largest"] > sizes["smallest"] else "")
    lines = [
        f"{manifest.n_train:,} training examples, of which each subset holds {each}.",
        f"{manifest.n_targets:,} targets, output function {manifest.output_function}, {manifest.runs} run(s) of each subset.",
        f"{start:,} subsets to practise on, and {stop - start:,} that rank: rows {start} to {stop - 1}.",
        f"Noise ceiling {manifest.ceiling:.3f}."
        if manifest.ceiling
        else "The noise ceiling is not known: that takes two runs.",
    ]
    if manifest.provenance["rounded_to_float32"]:
        lines.append("Margins were rounded to float32.")
    return "\n".join([*lines, f"Published {manifest.name} version {manifest.version} as a practice board."])
