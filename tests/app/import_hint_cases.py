"""Imports that are refused with a remedy, and what the import reads after the remedy.

Legend: M subsets, R runs, n training examples, N targets.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

M, R, n, N = 70, 3, 21, 4
rng = np.random.default_rng(12)
MASKS = rng.permuted(np.tile(np.arange(n) < n // 2, (M, 1)), axis=1)
MARGINS = rng.normal(size=(M, N)).astype(np.float32)
RUNS = rng.normal(size=(M, R, N)).astype(np.float32)
LABELS = {"train.npy": np.arange(n) % N, "target.npy": np.arange(N)}
SAME = (LABELS["train.npy"][:, None] == LABELS["target.npy"]).astype(np.float32)
HELPFUL = (MASKS @ SAME - 2.5 + 0.1 * MARGINS).astype(np.float32)
"""Margins that examples of the target's class raise."""
WITH_LABELS = "--train-labels train.npy --target-labels target.npy"
WIDE = rng.permuted(np.tile(np.arange(99) < 9, (1000, 1)), axis=1)
ROWS = rng.normal(size=(1000, 500)).astype(np.float32)
STANDARD = "--masks masks.npy --margins margins.npy"


def with_index(path: str, values: NDArray[Any]) -> None:
    """Write a CSV as pandas does by default: with a header and with the numbers of the rows."""
    rows = [",".join(map(str, [i, *row])) for i, row in enumerate(values.tolist())]
    Path(path).write_text("\n".join([",".join(map(str, ["", *range(values.shape[1])])), *rows]))


def with_commas(path: str, values: NDArray[Any]) -> None:
    """Write one number a line, with a decimal comma."""
    Path(path).write_text("\n".join(str(value).replace(".", ",") for value in values))


def raw(path: str, values: NDArray[Any]) -> None:
    """Save an array without a header."""
    values.tofile(path)


@dataclass(frozen=True)
class Refused:
    """An import that is refused.

    Attributes
    ----------
    remedy
        Parts of the message that are pasted: options, words such as ``omit --order``, and code.
    options
        Options of the refused import.
    masks, margins
        Content of masks.npy and margins.npy.
    more
        Content of further files, by their names.
    expected
        The margins that the import reads after the remedy, float32 (M, N) or (M, R, N).
    subsets
        The subsets that it reads, bool (M, n).
    known
        Values of options that the message names without a value, since only the user knows them, and of variables in code.
    write
        Function that writes margins.npy.
    """

    remedy: tuple[str, ...]
    options: str = STANDARD
    masks: Any = field(default_factory=lambda: MASKS)
    margins: Any = field(default_factory=lambda: MARGINS)
    more: dict[str, Any] = field(default_factory=dict)
    expected: NDArray[np.float32] = field(default_factory=lambda: MARGINS)
    subsets: NDArray[np.bool_] = field(default_factory=lambda: MASKS)
    known: dict[str, Any] = field(default_factory=dict)
    write: Callable[[str, Any], None] = np.save


def numbered(table: NDArray[Any]) -> NDArray[Any]:
    """Return a table with the number of each row before the row."""
    return np.column_stack([np.arange(len(table)), table])


def same(options: str, *remedy: str, **changes: Any) -> Refused:
    """Return a refused import whose options come after those of the two files."""
    return Refused(remedy, f"{STANDARD} {options}", **changes)


INDICES = np.stack([np.flatnonzero(mask_n) for mask_n in MASKS])
WINDOWS = (np.arange(n)[:, None] + np.arange(n // 2)) % n
POWERS = np.array([*itertools.combinations([1, 2, 4, 8, 16], 3)])
BIG, LITTLE = np.packbits(MASKS, axis=1), np.packbits(MASKS, axis=1, bitorder="little")
ONE_RUN = {"masks": np.repeat(MASKS, R, axis=0), "margins": RUNS.reshape(-1, N), "expected": RUNS}
QUARTERS = (np.arange(M, dtype="f4") - 20) / 4
RESCALED = np.stack([(QUARTERS - np.median(QUARTERS)) / 16] * 2, axis=1)
PROBABILITIES = np.abs(MARGINS)
TWO_TABLES = {"a": MASKS, "b": MASKS, "margins": MARGINS}
UNTRAINED = np.arange(M) >= 3
HALF_TRAINED = MASKS & UNTRAINED[:, None]

REFUSED: dict[str, Refused] = {
    "index lists": same("", "--n-train N", masks=INDICES),
    "packed bits": same("", "--n-train N", "--packed big", masks=BIG),
    "packed bits, little": same("", "--n-train N", "--packed little", masks=LITTLE),
    "packed bits of known n": same(f"--n-train {n}", "Add --packed big", masks=BIG),
    "packed bits of known n, little": same(f"--n-train {n}", "--packed little", masks=LITTLE),
    "index lists that could be packed bits": same(
        f"--n-train {n}",
        "masks.astype(int)",
        masks=POWERS.astype(np.uint8),
        margins=MARGINS[: len(POWERS)],
        expected=MARGINS[: len(POWERS)],
        subsets=np.stack([np.isin(np.arange(n), powers) for powers in POWERS]),
        known={"masks": POWERS.astype(np.uint8), "made": "masks.npy"},
    ),
    "packed bits without n": same("--packed big", "--n-train N", masks=BIG),
    "packed bits of another n": same("--packed big --n-train 40", "--n-train", masks=BIG, known={"--n-train": n}),
    "masks that are not packed": same(f"--packed big --n-train {n}", "omit --packed"),
    "the other bit order": same(f"--packed little --n-train {n}", "--packed big", masks=BIG),
    "the other bit order, big": same(f"--packed big --n-train {n}", "--packed little", masks=LITTLE),
    "a smaller n": same(f"--packed big --n-train {n - 4}", "--n-train", masks=BIG, known={"--n-train": n}),
    "values above 0": same("", "add --losses", margins=PROBABILITIES, expected=-PROBABILITIES),
    "values above 0 that are probabilities": same(
        "", "--output-function probability", margins=PROBABILITIES, expected=PROBABILITIES
    ),
    "values above 0 that are margins": same(
        "", "--output-function margin", margins=PROBABILITIES, expected=PROBABILITIES
    ),
    "negated losses": same(
        "--losses",
        "Give --output-function negative_loss in place of --losses",
        margins=-PROBABILITIES,
        expected=-PROBABILITIES,
    ),
    "losses below 0": same(
        "--losses",
        "--negated --output-function negative_loss in place of --losses",
        margins=-PROBABILITIES,
        expected=PROBABILITIES,
    ),
    "losses called negated": same(
        "--output-function negative_loss",
        "--losses in place of --output-function negative_loss",
        margins=PROBABILITIES,
        expected=-PROBABILITIES,
    ),
    "losses and negated": same(
        "--losses --negated",
        "--losses and --negated",
        "omit both",
    ),
    "what was left out": same(
        WITH_LABELS, "add --removed", masks=~MASKS, margins=HELPFUL, expected=HELPFUL, more=LABELS
    ),
    "what was not left out": same(
        f"{WITH_LABELS} --removed", "omit --removed", margins=HELPFUL, expected=HELPFUL, more=LABELS
    ),
    "losses, by the labels": same(WITH_LABELS, "--losses", margins=-HELPFUL, expected=HELPFUL, more=LABELS),
    "losses called margins": same("--losses --output-function margin", "such as negative_loss", expected=-MARGINS),
    "losses called loss": same("--output-function loss", "give --losses", "such as negative_loss", expected=-MARGINS),
    "margins called loss": same("--output-function loss", "such as margin"),
    "two files and runs": same(
        "--margins second.npy --runs 2",
        "without --runs",
        more={"second.npy": RUNS[:, 0]},
        expected=np.stack([MARGINS, RUNS[:, 0]], axis=1),
    ),
    "two files and evaluations": same(
        "--margins second.npy --evaluations 2",
        "and --evaluations",
        more={"second.npy": RUNS[:, 0]},
        expected=np.stack([MARGINS, RUNS[:, 0]], axis=1),
    ),
    "models that were not trained": same(
        "",
        "add --completed _completed.npy",
        masks=HALF_TRAINED,
        more={"_completed.npy": UNTRAINED},
        expected=MARGINS[UNTRAINED],
        subsets=MASKS[UNTRAINED],
    ),
    "one table for both": Refused(
        ("--masks for", "--margins for"),
        "--masks masks.npy",
        known={"--masks": "masks.npy", "--margins": "margins.npy"},
    ),
    "an order that is known": same("--order run", "Omit --order"),
    "evaluations without an axis": same(
        "--evaluations 3",
        "numpy.stack(evaluations, axis=1)",
        known={"evaluations": list(RUNS.swapaxes(0, 1)), "made": "margins.npy"},
        expected=RUNS.astype("f8").mean(axis=1).astype("f4"),
    ),
    "another number of evaluations": same(
        "--evaluations 2",
        "correct --evaluations",
        margins=RUNS,
        known={"--evaluations": R},
        expected=RUNS.astype("f8").mean(axis=1).astype("f4"),
    ),
    "runs": same("", f"give --runs {R}", **ONE_RUN),
    "another number of runs": same("--runs 2", "Check --runs", **ONE_RUN, known={"--runs": R}),
    "runs in an unknown order": same(f"--runs {R}", "--order subset", margins=RUNS.reshape(-1, N), expected=RUNS),
    "runs in an unknown order, run by run": same(
        f"--runs {R}", "--order run", margins=RUNS.swapaxes(0, 1).reshape(-1, N), expected=RUNS
    ),
    "a raw file": Refused(
        ("--dtype float32 --shape 1000,500",), masks=WIDE, subsets=WIDE, margins=ROWS, expected=ROWS, write=raw
    ),
    "a raw file of another size": same(
        "--dtype float32 --shape 7,4", "Correct --dtype", write=raw, known={"--dtype": "float32", "--shape": f"{M},{N}"}
    ),
    "a raw file of another type": same(
        f"--dtype float64 --shape {M},{N}", "or --shape", write=raw, known={"--dtype": "float32", "--shape": f"{M},{N}"}
    ),
    "a header of pandas": same("", "python -c", write=with_index, known={"--margins": "margins.numbers.csv"}),
    "row numbers before the margins": same(
        "",
        "numpy.delete(margins, 0, axis=1)",
        margins=numbered(MARGINS),
        known={"margins": numbered(MARGINS), "made": "margins.npy"},
    ),
    "row numbers from 1 before the margins": same(
        "",
        "numpy.delete(margins, 0, axis=1)",
        margins=numbered(MARGINS) + np.eye(1, N + 1),
        known={"margins": numbered(MARGINS), "made": "margins.npy"},
    ),
    "row numbers before the masks": same(
        "",
        "numpy.delete(masks, 0, axis=1)",
        masks=numbered(MASKS),
        known={"masks": numbered(MASKS), "made": "masks.npy"},
    ),
    "row numbers before index lists": same(
        f"--n-train {n}",
        "numpy.delete(masks, 0, axis=1)",
        masks=numbered(INDICES),
        known={"masks": numbered(INDICES), "made": "masks.npy"},
    ),
    "windows that begin at the row number": same(
        f"--n-train {n}",
        "numpy.sort(masks, axis=1)",
        masks=WINDOWS,
        margins=MARGINS[:n],
        expected=MARGINS[:n],
        subsets=np.stack([np.isin(np.arange(n), window) for window in WINDOWS]),
        known={"masks": WINDOWS, "made": "masks.npy"},
    ),
    "margins that float32 cannot hold": same(
        "", "Add --rescale", margins=QUARTERS[:, None] * [1.0, 4.0] - 1e9, expected=RESCALED
    ),
    "margins beyond float32": same(
        "", "Add --rescale", margins=QUARTERS[:, None] * [2.0**900, 2.0**-900], expected=RESCALED
    ),
    "decimal commas": same(
        "",
        "python -c",
        margins=QUARTERS,
        expected=QUARTERS[:, None],
        write=with_commas,
        known={"--margins": "margins.points.csv"},
    ),
    "transposed masks": same("", "masks.T", masks=MASKS.T, known={"masks": MASKS.T, "made": "masks.npy"}),
    "transposed masks of known n": same(
        f"--n-train {n}", "Give masks.T", masks=MASKS.T, known={"masks": MASKS.T, "made": "masks.npy"}
    ),
    "transposed margins": same(
        "", "numpy.moveaxis(margins, 1, 0)", margins=MARGINS.T, known={"margins": MARGINS.T, "made": "margins.npy"}
    ),
    "two tables of masks": Refused(
        ("--masks-key NAME",),
        "--masks both.npz --margins margins.npy",
        more={"both.npz": TWO_TABLES},
        known={"NAME": "a"},
    ),
    "two tables of margins": Refused(
        ("--margins-key NAME",),
        "--masks masks.npy --margins both.npz",
        more={"both.npz": {"a": MARGINS, "b": RUNS[:, 0]}},
        known={"NAME": "a"},
    ),
}
