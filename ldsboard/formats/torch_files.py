"""Read ``torch.save`` files on the user's own machine.

The server never opens ``torch.save`` files, because such files can hold code. torch loads tensors of every layout. If torch is
not installed, or refuses a file, as it refuses NumPy arrays, the restricted unpickler of this library reads the file.
"""

from __future__ import annotations

import pickle  # for the name of an error of torch
import warnings
import zipfile
from typing import TYPE_CHECKING, Any

from ldsboard.formats import array_pickles, torch_archives, torch_streams
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

    torch loads the file with ``weights_only``, which refuses everything but tensors and plain containers. What torch cannot load
    is read by `ldsboard.formats.torch_archives` and `ldsboard.formats.array_pickles`, which know dense tensors and NumPy arrays.

    Parameters
    ----------
    path
        Path of a ``torch.save`` file or a pickle with a tensor or array, or with dicts, lists and tuples of tensors or numbers.
    key
        Name of the table: the dict keys and list positions that lead to the table, joined by dots.

    Returns
    -------
    numpy.ndarray
        The numbers of the table, with the conversions of `tensor_array`.

    Raises
    ------
    ProblemError
        ``scores.object``: neither torch nor this library can load the file.
        ``scores.several``, ``scores.shape``, ``scores.dtype``: the errors of `choose_table`.
    OSError
        The file cannot be read.
    """
    try:
        import torch  # noqa: PLC0415 -- optional
    except ImportError:
        refusal = _unopened("a torch.save file, and torch is not installed", "Install torch, or save an array.")
        return choose_table(_arrays(path, refusal), key)
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
        refusal = _unopened(f"a file that torch cannot read as tensors ({words})", KEEP_NUMBERS)
        if not isinstance(error, pickle.UnpicklingError):  # it is damaged
            raise refusal from error
        content = _arrays(path, refusal)
    return choose_table(content, key)


def _arrays(path: Path, refusal: ProblemError) -> Any:
    """Return the content of a file with arrays in the place of dense tensors, or raise `refusal`; code in the file is not run."""
    try:
        if is_archive(path):
            return torch_archives.read_archive(path)
        content = path.read_bytes()
        return (
            torch_streams.read_stream(content) if torch_streams.begins(content) else array_pickles.load_arrays(content)
        )
    except Exception as error:  # a damaged file makes zipfile raise nearly every kind of exception
        raise refusal from error


def _unopened(got: str, hint: str) -> ProblemError:
    expected = "tensors, or dicts and lists of tensors and numbers"
    return ProblemError.mismatch("scores.object", expected=expected, got=got, hint=hint)
