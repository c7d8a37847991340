"""Choose the scores in a safetensors file with several tensors, and read the files of kronfluence.

kronfluence 1.0.1 saves scores with one row for each target (its *query*) and one column for each training example, under the
name ``all_modules``. With its option ``compute_per_module_scores``, it saves one tensor for each module of the model; the scores
are the sum of these tensors. With partitions, each file holds the scores of some modules and some training examples [1]_.

.. [1] https://github.com/pomonam/kronfluence/blob/main/kronfluence/computer/score_computer.py
"""

from __future__ import annotations

import json
import re
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np

from ldsboard.formats import safetensors
from ldsboard.formats.containers import SHOWN_NAMES, listed, several_tables
from ldsboard.formats.headers import is_shape
from ldsboard.formats.named_arrays import BF16, read_stored, stored_tensors
from ldsboard.problems import ProblemError

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

ALL_MODULES = "all_modules"
WHOLE = "pairwise_scores.safetensors"
SETTINGS = "score_arguments.json"
PARTITION = re.compile(r"pairwise_scores_data_partition(\d+)_module_partition(\d+)\.safetensors")
PER_MODULE = "compute_per_module_scores"
"""Name of a setting that kronfluence saves in the metadata of each file of scores."""


def read_tables(path: Path) -> tuple[NDArray[Any], tuple[str, ...]]:
    """Return the scores in a safetensors file, without transposing them, and sentences about how the scores were made.

    The scores are the table ``all_modules``. Without this table, the scores are the only table of floating-point numbers, or, if
    there is none, the only table of other numbers. If a file of kronfluence has several tables of one shape, the scores are the
    sum of these tables in float64.

    Raises
    ------
    ProblemError
        ``scores.several``: the file has no table, or several tables that are not summed.
        ``scores.unreadable``, ``scores.truncated``, ``scores.dtype``: the file cannot be read.
    """
    with path.open("rb") as file:
        tensors, begin = stored_tensors(file)
        shapes = {name: _shape(tensor) for name, tensor in tensors.items() if name != safetensors.METADATA}
        every = [name for name, shape in shapes.items() if len(shape) == 2]  # noqa: PLR2004 -- dimensions
        tables = [name for name in every if tensors[name].get("dtype") in (*safetensors.TYPES, BF16)] or every
        tables = [ALL_MODULES] if ALL_MODULES in tables else tables
        if len(tables) == 1:
            return read_stored(file, tensors, begin, tables[0]), ()
        if not tables:
            raise _no_table(shapes)
        settings = tensors.get(safetensors.METADATA)
        is_kronfluence = path.name.startswith("pairwise_scores") or (
            isinstance(settings, dict) and PER_MODULE in settings
        )
        if not is_kronfluence or len({shapes[name] for name in tables}) > 1:
            raise several_tables(tables)
        total = np.zeros(shapes[tables[0]])
        for name in tables:
            total += read_stored(file, tensors, begin, name)
        return total, (f"The scores of {len(tables)} modules of kronfluence were summed.",)


def partitions(folder: Path) -> dict[tuple[int, int], Path]:
    """Return the files of kronfluence's partitions in a folder, by (number of data partition, number of module partition)."""
    found = ((PARTITION.fullmatch(path.name), path) for path in folder.iterdir())
    return {(int(match[1]), int(match[2])): path for match, path in found if match}


def join_partitions(files: dict[tuple[int, int], Path]) -> NDArray[np.float64]:
    """Return one table of the scores in all of kronfluence's partitions, float64, with one row for each target.

    Module partitions are summed, and data partitions are put side by side. `files` is what `partitions` returns, and not empty.

    Raises
    ------
    ProblemError
        ``scores.several``: a partition is missing. The number of partitions is that of kronfluence's `SETTINGS` in the folder.
        Without this file, missing partitions after the last number that `files` has are not noticed.
        ``scores.shape``: the partitions do not fit together.
        Also the errors of `read_tables`.
    """
    stated = _stated_partitions(next(iter(files.values())).parent)
    data, modules = (max(stated[side], *(1 + numbers[side] for numbers in files)) for side in (0, 1))
    if count := data * modules - len(files):
        every = ((i, j) for i in range(data) for j in range(modules))
        missing = islice((pair for pair in every if pair not in files), SHOWN_NAMES)
        raise ProblemError.mismatch(
            "scores.several",
            expected=f"{data} data partitions of {modules} module partitions each",
            got=f"no file of the partitions {', '.join(map(str, missing))}, {count} in total",
            hint="Compute the missing partitions, or copy their files to the folder.",
        )
    try:
        return np.concatenate(
            [np.sum([read_tables(files[i, j])[0].astype("f8") for j in range(modules)], axis=0) for i in range(data)],
            axis=1,
        )
    except ProblemError:
        raise
    except ValueError as error:
        raise ProblemError.mismatch(
            "scores.shape",
            expected="partitions of the same queries, and modules of the same training examples",
            got=f"partitions of other shapes ({str(error)[:100]})",
            hint="Check that the files belong to the same run.",
        ) from error


def check_is_whole(path: Path) -> None:
    """Raise ``scores.several`` for a single file of kronfluence's partitions: its scores lack modules or training examples."""
    if PARTITION.fullmatch(path.name):
        raise ProblemError.mismatch(
            "scores.several",
            expected="the scores of all modules and training examples",
            got="one of kronfluence's partitions",
            hint="Give the folder that holds the files of all partitions.",
        )


def _stated_partitions(folder: Path) -> tuple[int, int]:
    """Return the numbers of data and module partitions in kronfluence's `SETTINGS`; 1 and 1 if the file does not state them."""
    try:
        settings = json.loads((folder / SETTINGS).read_text(encoding="utf-8"))
        return int(settings["data_partitions"]), int(settings["module_partitions"])
    except (OSError, ValueError, KeyError, TypeError):
        return 1, 1


def _shape(tensor: object) -> tuple[int, ...]:
    shape = tensor.get("shape") if isinstance(tensor, dict) else None
    return tuple(shape) if isinstance(shape, list) and is_shape(shape) else ()


def _no_table(shapes: dict[str, tuple[int, ...]]) -> ProblemError:
    return ProblemError.mismatch(
        "scores.several",
        expected="one table of numbers, with two dimensions",
        got=listed(f"{name[:40]!r} {shape}" for name, shape in shapes.items()) or "no tensors",
        hint="Check that this is the right file.",
    )
