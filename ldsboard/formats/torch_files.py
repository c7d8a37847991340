"""Read ``torch.save`` files on the user's own machine.

The server never opens ``torch.save`` files, because such files can hold code.
"""

from __future__ import annotations

import warnings
import zipfile
from typing import TYPE_CHECKING, Any

from ldsboard.formats.containers import choose_table
from ldsboard.formats.headers import KEEP_NUMBERS
from ldsboard.problems import ProblemError

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

PICKLES = tuple(bytes([0x80, version]) for version in range(2, 6))
"""First bytes of pickles. With ``_use_new_zipfile_serialization=False``, ``torch.save`` writes a pickle and no archive."""


def is_archive(path: Path) -> bool:
    """Return whether a file is a zip archive of ``torch.save``: one member has the name ``data.pkl``, in a folder."""
    try:
        with zipfile.ZipFile(path) as archive:
            return any(name.endswith("/data.pkl") for name in archive.namelist())
    except (zipfile.BadZipFile, NotImplementedError, ValueError, EOFError):
        return False


def read_tensor(path: Path, key: str | None = None) -> NDArray[Any]:
    """Return a table of a ``torch.save`` file as an array.

    torch loads the file with ``weights_only``, which refuses everything but tensors and plain containers.

    Parameters
    ----------
    path
        Path of a file with a tensor, or with dicts, lists and tuples of tensors or numbers.
    key
        Name of the table: the dict keys and list positions that lead to the table, joined by dots.

    Returns
    -------
    numpy.ndarray
        The numbers of the table, with the conversions of `tensor_array`.

    Raises
    ------
    ProblemError
        ``scores.object``: torch is not installed or cannot load the file.
        ``scores.several``, ``scores.shape``, ``scores.dtype``: the errors of `choose_table`.
    OSError
        The file cannot be read.
    """
    try:
        import torch  # noqa: PLC0415 -- optional: needed for torch.save files only
    except ImportError:
        raise _unopened("a torch.save file, and torch is not installed", "Install torch, or save an array.") from None
    try:
        # torch makes sparse tensors dense without looking at their indices, so indices out of range would end the process.
        checked = torch.sparse.check_sparse_tensor_invariants(enable=True)  # type: ignore[no-untyped-call]
        with path.open("rb") as file, warnings.catch_warnings(), checked:
            warnings.simplefilter("ignore")  # about old types of storage and layouts that are still read
            content = torch.load(file, map_location="cpu", weights_only=True)
    except OSError:
        raise
    except Exception as error:
        words = str(error).partition(".")[0][:100]
        raise _unopened(f"a file that torch cannot read as tensors ({words})", KEEP_NUMBERS) from error
    return choose_table(content, key)


def _unopened(got: str, hint: str) -> ProblemError:
    expected = "tensors, or dicts and lists of tensors and numbers"
    return ProblemError.mismatch("scores.object", expected=expected, got=got, hint=hint)
