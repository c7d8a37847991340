"""Read scores as attribution libraries save them, by content and not by suffix, on the user's own machine.

The server accepts only what `ldsboard.formats.score_files` reads. This module is the registry of all other forms: each has a
module of its own.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ldsboard.formats import bergson, npy, npz, safetensors, safetensors_tables, texts, torch_files, zarr_arrays
from ldsboard.formats.containers import choose_table, join, listed
from ldsboard.formats.headers import HEADER_LIMIT, check_dimensions, unreadable
from ldsboard.formats.named_arrays import read_named
from ldsboard.formats.score_files import open_scores
from ldsboard.problems import ProblemError

if TYPE_CHECKING:
    from os import PathLike

    from numpy.typing import NDArray

BATCH = re.compile(r"(.*?)(\d+)\.(pt|pth|npy|npz|safetensors)")
SUFFIXES = (".pt", ".pth", ".npy", ".npz", ".safetensors")
MORE_THAN_THE_SERVER = ("scores.several", "scores.dtype", "scores.unreadable")
"""Codes of refusals of the server after which a file may still be read: of several arrays, or of numbers of another type. The
refusal of an archive can also be about its first array, which need not be the scores."""

READABLE = "scores in a .npy, .safetensors, .npz, .pt, .csv or .json file"

TRAINING_ORDER = ("row_train_ids", "row_steps")
"""Members of dattri-llm's ``metadata.json``: of which example and which step of the training each row is."""


@dataclass(frozen=True)
class SavedScores:
    """Scores as they were saved.

    Attributes
    ----------
    array
        Real numbers of any type, with two dimensions; memory-mapped if the file is a score file that the server accepts.
    notes
        Sentences about what was changed or could not be decided, such as the sign.
    is_score_file
        Whether the server accepts the file as it is, if its shape fits the benchmark.
    """

    array: NDArray[Any]
    notes: tuple[str, ...] = ()
    is_score_file: bool = False


def read_saved(path: str | PathLike[str], key: str | None = None) -> SavedScores:
    """Read a file, or a folder in which a library saved scores.

    Parameters
    ----------
    path
        Path of the file or folder.
    key
        Name of the table, if the file holds several tables.

    Raises
    ------
    ProblemError
        A ValueError with a code that begins with ``scores.``: the scores cannot be read, or it is unclear which they are.
    OSError
        The file cannot be read.
    """
    saved = _read_folder(Path(path), key) if Path(path).is_dir() else _read_file(Path(path), key)
    check_dimensions(saved.array.shape)
    return saved


def _read_file(path: Path, key: str | None) -> SavedScores:
    with path.open("rb") as file:
        start = file.read(HEADER_LIMIT)
    if start.startswith(torch_files.PICKLES) or (start.startswith(npz.MAGIC) and torch_files.is_archive(path)):
        _refuse_training_order(path.parent)
        return SavedScores(torch_files.read_tensor(path, key))
    if start and texts.is_text(start):
        return SavedScores(texts.read_text(path, key))
    if key is not None:
        return SavedScores(read_named(path, key))
    try:
        return SavedScores(open_scores(path), is_score_file=True)
    except ProblemError as error:
        # What the server refuses for these reasons may still be clear: one table of several, or numbers of another type.
        may_be_read = error.problem.code in MORE_THAN_THE_SERVER or start.startswith(npz.MAGIC)
        found = _read_other(path, start) if may_be_read else None
        if found is None and error.problem.code == "scores.unreadable" and error.problem.got:
            raise ProblemError.mismatch(
                "scores.unreadable", expected=READABLE, got=error.problem.got, hint=error.problem.hint
            ) from error
        if found is None:
            raise
        return found


def _read_other(path: Path, start: bytes) -> SavedScores | None:
    """Return the scores in a ``.npy``, ``.npz`` or safetensors file that the server refuses; None if its refusal stands."""
    if safetensors.begins(start) and not start.startswith((npy.MAGIC, npz.MAGIC)):
        return SavedScores(*safetensors_tables.read_tables(path))
    if not start.startswith((npy.MAGIC, npz.MAGIC)):
        return None
    try:
        if start.startswith(npy.MAGIC):
            return _integers(np.load(path, mmap_mode="r", allow_pickle=False))
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
            return SavedScores(choose_table(arrays)) if len(arrays) > 1 else _integers(*arrays.values())
    except ProblemError:
        raise
    except Exception:  # noqa: BLE001 -- a damaged file makes numpy and zipfile raise nearly every kind of exception
        return None


def _integers(array: NDArray[Any]) -> SavedScores | None:
    return SavedScores(array) if array.dtype.kind in "biu" else None


def _read_folder(folder: Path, key: str | None) -> SavedScores:
    _refuse_training_order(folder)
    if zarr_arrays.begins(folder):
        return SavedScores(zarr_arrays.read_folder(folder))
    if bergson.begins(folder):
        array, note = bergson.read_folder(folder)
        return SavedScores(array, (note,))
    if (folder / safetensors_tables.WHOLE).is_file():
        return _read_file(folder / safetensors_tables.WHOLE, key)
    if files := safetensors_tables.partitions(folder):
        return SavedScores(safetensors_tables.join_partitions(files))
    return SavedScores(_join_batches(folder, key))


def _join_batches(folder: Path, key: str | None) -> NDArray[Any]:
    """Return the files ``0.pt``, ``1.pt`` … of a folder as one table, in the order of their numbers."""
    names = sorted(path.name for path in folder.iterdir())
    tables = [name for name in names if name.endswith(SUFFIXES)]
    matches = [match for match in map(BATCH.fullmatch, tables) if match]
    batches = {int(match[2]): match.string for match in matches}
    alike = {(match[1], match[3]) for match in matches}
    if not len(batches) == len(tables) > 0 or len(alike) > 1:
        raise ProblemError.mismatch(
            "scores.unreadable",
            expected="a folder of bergson, kronfluence or zarr, or of batches 0.pt, 1.pt, …",
            got=f"a folder with {listed(repr(name[:40]) for name in names) or 'nothing in it'}",
            hint="Name the file with the scores.",
        )
    if min(batches) > 1 or max(batches) - min(batches) >= len(batches):
        raise ProblemError.mismatch(
            "scores.several",
            expected="batches whose numbers begin at 0 or 1 and follow one another",
            got=f"the numbers {listed(map(str, sorted(batches)))}",
            hint="Compute the missing batches, or copy their files to the folder.",
        )
    parts = [read_saved(folder / batches[number], key).array for number in sorted(batches)]
    return join(parts)


def _refuse_training_order(folder: Path) -> None:
    """Refuse the scores of dattri-llm 0.1.0, whose rows are in the order of the training and not of the examples."""
    described = folder / "metadata.json"
    if not described.is_file():
        return
    try:
        about = json.loads(described.read_text(errors="replace"))
    except (ValueError, RecursionError):
        return
    if isinstance(about, dict) and all(name in about for name in TRAINING_ORDER):
        raise unreadable(
            "scores of dattri-llm: metadata.json says in row_train_ids that the rows are in the order of the training",
            "Put the rows in the order of the benchmark's training examples, sum the rows of one example over row_steps, and "
            "save the array to another folder.",
        )
