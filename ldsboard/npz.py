"""NumPy's ``.npz`` files: zip archives with one ``.npy`` file in them, stored or deflated.

The archive begins with that file's header, from which its first bytes can be read; the directory at the end is for who has the
whole file. Both must tell of the same one member before anything is inflated, and no more is inflated than its header says.
"""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, BinaryIO, Literal

import numpy as np

from ldsboard import npy
from ldsboard.headers import HEADER_LIMIT, Header, empty, pickled, several, unreadable
from ldsboard.problems import ProblemError

if TYPE_CHECKING:
    from ldsboard.headers import ScoreArray

MAGIC, EMPTY_MAGIC = b"PK\x03\x04", b"PK\x05\x06"
LOCAL = struct.Struct("<4s2B4HL2L2H")
DIRECTORY_BYTES = 46 + 22
"""What a directory of one entry takes at least."""

ENCRYPTED, STREAMED = 0x2041, 0x8
MAX_INFLATION = 1032
"""How many times its size a deflated stream can inflate to."""

CHUNK_BYTES = 1 << 17
MAX_NAME_LENGTH = 255
DESCRIPTOR_BYTES = 24
ONE_HINT = "Save one array: numpy.savez('scores.npz', scores=scores.astype('float32'))."
PICKLES = (".pkl", ".pickle")
ZIP64_SIZE = 0xFFFFFFFF
"""A size of so many bytes stands elsewhere, in an extra field."""


@dataclass(frozen=True)
class Member:
    """The first file of an archive, as its local header tells."""

    name: str
    deflated: bool
    begin: int
    """Where its bytes begin in the archive."""
    sizes: tuple[int, int] | None
    """Bytes that it takes, and that it inflates to; None where the archive was streamed, and tells afterwards."""


@dataclass(frozen=True)
class MemberHeader(Header):
    """The header of an ``.npy`` file within an archive; ``offset`` counts from the beginning of that file."""

    member: Member

    def check_size(self, size: int) -> None:
        """Raise ``scores.truncated`` unless an archive of `size` bytes can hold what this header claims."""
        taken, inflated = self.member.sizes or (self.file_size if not self.member.deflated else 0, self.file_size)
        if inflated != self.file_size or (not self.member.deflated and taken != inflated):
            raise self.truncated(f"{self.file_size} bytes", f"{taken} that stand for {inflated}")
        least = self.member.begin + taken + DIRECTORY_BYTES
        if size < least:
            raise self.truncated(f"an archive of at least {least} bytes", f"{size} bytes")
        if inflated > MAX_INFLATION * size:
            raise self.truncated(f"{self.file_size} bytes", f"{size} that cannot inflate to so many")


def parse(start: bytes) -> MemberHeader:
    """Parse what the start of an archive tells: the header of its first file.

    Parameters
    ----------
    start
        The first bytes of the file, `HEADER_LIMIT` of them unless the file is shorter.

    Raises
    ------
    ProblemError
        With code ``scores.unreadable``, ``scores.empty``, ``scores.object``, ``scores.dtype`` or ``scores.damaged``.
    """
    if start.startswith(EMPTY_MAGIC):
        raise empty("an archive with nothing in it")
    member = _first_member(start)
    content = start[member.begin :]
    if member.deflated:
        try:
            content = zlib.decompressobj(-zlib.MAX_WBITS).decompress(content, HEADER_LIMIT)
        except zlib.error as error:
            raise _damaged(str(error)) from None
    if not content.startswith(npy.MAGIC):
        raise unreadable(f"an archive in which {member.name[:40]!r} is no .npy file", ONE_HINT)
    inner = npy.parse(content)
    return MemberHeader(inner.dtype, inner.fortran_order, inner.shape, inner.offset, member)


def _first_member(start: bytes) -> Member:
    begin = LOCAL.size
    if len(start) < begin:
        raise unreadable("an archive that ends within its first header")
    fields = LOCAL.unpack(start[:begin])
    flags, method, taken, inflated = fields[3], fields[4], fields[8], fields[9]
    name_end = begin + fields[10]
    extra_end = name_end + fields[11]
    if extra_end > min(len(start), HEADER_LIMIT):
        raise unreadable("an archive whose first header is too long, or cut")
    name = start[begin:name_end].decode("utf-8", "replace")
    _check_name(name)
    if flags & ENCRYPTED or method not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise unreadable("an archive that is encrypted, or compressed in another way than by deflate", ONE_HINT)
    sizes = None if flags & STREAMED else _sizes(taken, inflated, start[name_end:extra_end])
    return Member(name, method == zipfile.ZIP_DEFLATED, extra_end, sizes)


def _check_name(name: str) -> None:
    if name.endswith(PICKLES):
        raise pickled(f"an archive with pickled objects ({name[:40]!r}), as torch.save writes them")
    # It is never used as a path. Whoever writes one like that means to have it used.
    plain = name.isprintable() and len(name) <= MAX_NAME_LENGTH and not any(sign in name for sign in "/\\:")
    if not (plain and name.endswith(".npy")):
        raise unreadable(f"an archive with the file {name[:40]!r}", ONE_HINT)


def _sizes(taken: int, inflated: int, extra: bytes) -> tuple[int, int]:
    """Return the sizes of a member: those of the header, or of its extra field for large ones."""
    if ZIP64_SIZE not in (taken, inflated):
        return taken, inflated
    while len(extra) >= 4:  # noqa: PLR2004
        kind, length = struct.unpack("<2H", extra[:4])
        if kind == 1 and length >= 16 and len(extra) >= 20:  # noqa: PLR2004
            inflated, taken = struct.unpack("<2Q", extra[4:20])
            return taken, inflated
        extra = extra[4 + length :]
    raise unreadable("an archive whose first header lacks its sizes")


def open_scores(file: BinaryIO, header: MemberHeader) -> ScoreArray:
    """Return the scores of an archive: mapped where they are stored, else inflated into memory, as many as the header says.

    Raises
    ------
    ProblemError
        With code ``scores.unreadable``, ``scores.several``, ``scores.truncated`` or ``scores.damaged``.
    """
    try:
        with zipfile.ZipFile(_BoundedFile(file.fileno(), closefd=False)) as archive:
            entry = _only_entry(archive, header)
            with archive.open(entry) as content:
                return _read(file, header, content)
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise _damaged(str(error) or "an archive that ends within its file") from None
    except (NotImplementedError, RuntimeError, UnicodeDecodeError, OverflowError, struct.error) as error:
        raise unreadable(f"an archive that is not plain ({error})"[:120], ONE_HINT) from None


class _BoundedFile(io.FileIO):
    """A file of which little is read at a time: zipfile would take a directory of any length into memory."""

    def read(self, size: int | None = -1) -> bytes:
        return super().read(CHUNK_BYTES if size is None or size < 0 else min(size, CHUNK_BYTES))


def _only_entry(archive: zipfile.ZipFile, header: MemberHeader) -> zipfile.ZipInfo:
    """Return the one entry of an archive's directory, if that is the file at its beginning and there is nothing else."""
    entries, member = archive.infolist(), header.member
    if len(entries) != 1:
        raise several([entry.filename for entry in entries], ONE_HINT)
    (entry,) = entries
    if entry.file_size != header.file_size:
        raise header.truncated(f"{header.file_size} bytes", f"{entry.file_size} by the archive's directory")
    deflated = entry.compress_type == zipfile.ZIP_DEFLATED
    if entry.header_offset != 0 or deflated != member.deflated or entry.flag_bits & ENCRYPTED:
        raise unreadable("an archive whose directory and file contradict each other", ONE_HINT)
    behind = archive.start_dir - member.begin - entry.compress_size
    if not 0 <= behind <= DESCRIPTOR_BYTES:
        raise unreadable("an archive in which files overlap, or something is hidden between them", ONE_HINT)
    return entry


def _read(file: BinaryIO, header: MemberHeader, content: IO[bytes]) -> ScoreArray:
    order: Literal["C", "F"] = "F" if header.fortran_order else "C"
    if not header.member.deflated:
        while content.read(CHUNK_BYTES):  # for its checksum
            pass
        return np.memmap(file, header.dtype, "r", header.member.begin + header.offset, header.shape, order)
    inflated = np.empty(header.data_size, np.uint8)
    content.read(header.offset)
    done = 0
    while piece := content.read(CHUNK_BYTES):
        inflated[done : done + len(piece)] = np.frombuffer(piece, np.uint8)
        done += len(piece)
    if done != header.data_size:
        raise EOFError
    scores_nN: ScoreArray = inflated.view(header.dtype).reshape(header.shape, order=order)
    return scores_nN


def _damaged(got: str) -> ProblemError:
    return ProblemError(
        "scores.damaged",
        f"The archive cannot be read: {got[:120]}.",
        "Write the complete file again, and send it unchanged.",
    )
