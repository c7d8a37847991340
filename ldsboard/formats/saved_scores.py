"""Read scores as attribution libraries save them, on the user's own machine.

The content of a file decides how the file is read, not its suffix; in folders, files are found by their names. The server accepts
only what `ldsboard.formats.score_files` reads. This module chooses the reader for every other form; each reader is a module.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ldsboard.formats import (
    bergson,
    dattri_llm,
    npy,
    npz,
    safetensors,
    safetensors_tables,
    texts,
    torch_files,
    zarr_arrays,
)
from ldsboard.formats.containers import choose_table, join, listed, no_such_array
from ldsboard.formats.headers import HEADER_LIMIT, check_dimensions
from ldsboard.formats.named_arrays import read_named
from ldsboard.formats.score_files import open_scores
from ldsboard.problems import ProblemError

if TYPE_CHECKING:
    from os import PathLike

    from numpy.typing import NDArray

BATCH = re.compile(r"(.*?)(\d+)\.(pt|pth|npy|npz|safetensors)")
SUFFIXES = (".pt", ".pth", ".npy", ".npz", ".safetensors")
MORE_THAN_THE_SERVER = ("scores.several", "scores.dtype", "scores.unreadable")
"""Codes of the errors of `open_scores` after which a file is tried with other readers: it can hold several arrays, or numbers of
another type. A zip archive is tried after every error, because the error can be about a first array that is not the scores."""

READABLE = "scores in a .npy, .safetensors, .npz, .pt, .csv or .json file"


@dataclass(frozen=True)
class SavedScores:
    """Scores as they were saved, except for the changes that `notes` states.

    Attributes
    ----------
    array
        Numbers of any type, with two dimensions, neither transposed nor checked to be real and finite. The array can be
        memory-mapped and read-only.
    notes
        Sentences about what was changed or could not be decided, such as the sign.
    file
        Path of the file with the scores, if the server accepts this file as it is, provided that its shape fits the benchmark and
        that all numbers are finite; otherwise None.
    """

    array: NDArray[Any]
    notes: tuple[str, ...] = ()
    file: Path | None = None


def read_saved(path: str | PathLike[str], key: str | None = None) -> SavedScores:
    """Read scores from a file, or from a folder in which a library saved them.

    Parameters
    ----------
    path
        Path of the file or folder.
    key
        Name of the table, if the file, or each file of a folder of batches, holds several tables. Every key raises an error if
        the tables have no names, and for folders of zarr and bergson and partitions of kronfluence, which hold one table.

    Raises
    ------
    ProblemError
        A ValueError with a code that begins with ``scores.``: the scores cannot be read, or it is unclear which table holds them.
    OSError
        The file cannot be read.
    """
    saved = _read_folder(Path(path), key) if Path(path).is_dir() else _read_file(Path(path), key)
    check_dimensions(saved.array.shape)
    return saved


def _read_file(path: Path, key: str | None) -> SavedScores:
    safetensors_tables.check_is_whole(path)
    with path.open("rb") as file:
        start = file.read(HEADER_LIMIT)
    if start.startswith(torch_files.PICKLES) or (start.startswith(npz.MAGIC) and torch_files.is_archive(path)):
        if dattri_llm.describes(path.parent):
            return SavedScores(dattri_llm.read_file(path, key), (dattri_llm.NOTE,))
        return SavedScores(torch_files.read_tensor(path, key))
    if start and texts.is_text(start):
        return SavedScores(texts.read_text(path, key))
    if key is not None:
        return SavedScores(read_named(path, key))
    try:
        return SavedScores(open_scores(path), file=path)
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
    """Return the scores in a ``.npy``, ``.npz`` or safetensors file that the server refuses; None if they cannot be read."""
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
    if dattri_llm.describes(folder):
        return SavedScores(dattri_llm.read_file(folder / dattri_llm.SCORES, key), (dattri_llm.NOTE,))
    if (folder / safetensors_tables.WHOLE).is_file():
        return _read_file(folder / safetensors_tables.WHOLE, key)
    partitions = safetensors_tables.partitions(folder)
    if key is not None and (zarr_arrays.begins(folder) or bergson.begins(folder) or partitions):
        raise no_such_array(key, ())
    if zarr_arrays.begins(folder):
        return SavedScores(zarr_arrays.read_folder(folder))
    if bergson.begins(folder):
        array, note = bergson.read_folder(folder)
        return SavedScores(array, (note,))
    if partitions:
        return SavedScores(safetensors_tables.join_partitions(partitions))
    return SavedScores(_join_batches(folder, key))


def _join_batches(folder: Path, key: str | None) -> NDArray[Any]:
    """Return the files of a folder, such as ``0.pt``, ``1.pt`` …, as one table in the order of their numbers, from 0 or 1."""
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
