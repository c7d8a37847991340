"""Read NumPy's ``.npz`` files: zip archives with one ``.npy`` member, stored or deflated.

An archive begins with the local header of the member, followed by the ``.npy`` header. `parse` checks both headers, and needs
only the start of the file. The directory is at the end of the archive. `open_scores` inflates the scores only if the
local header and the directory describe the same single member, and inflates no more bytes than the ``.npy`` header states.
"""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, BinaryIO, Literal

import numpy as np

from ldsboard.formats import npy
from ldsboard.formats.headers import HEADER_LIMIT, Header, empty, pickled, several, unreadable
from ldsboard.problems import ProblemError

if TYPE_CHECKING:
    from ldsboard.formats.headers import ScoreArray

MAGIC, EMPTY_MAGIC = b"PK\x03\x04", b"PK\x05\x06"
LOCAL = struct.Struct("<4s2B4HL2L2H")
DIRECTORY_BYTES = 46 + 22
"""Smallest number of bytes of a directory with one entry (46) and of the record that ends the archive (22)."""

ENCRYPTED, STREAMED = 0x2041, 0x8
"""Flag bits of a local header. ENCRYPTED: the content is encrypted. STREAMED: the sizes are stated after the content."""

MAX_INFLATION = 1032
"""Largest ratio of inflated to deflated size that the deflate format allows."""

CHUNK_BYTES = 1 << 17
MAX_NAME_LENGTH = 255
DESCRIPTOR_BYTES = 24
"""Largest number of bytes of a data descriptor, which states the sizes after the content of a streamed member."""

ONE_HINT = "Save one array: numpy.savez('scores.npz', scores=numpy.asarray(scores, 'float64'))."
PICKLES = (".pkl", ".pickle")
ZIP64_SIZE = 0xFFFFFFFF
"""Placeholder in the local header for a size that the zip64 extra field states."""


@dataclass(frozen=True)
class Member:
    """The first member of an archive, as its local header describes it.

    Attributes
    ----------
    name
        File name of the member.
    deflated
        Whether the content is deflated rather than stored.
    begin
        Position of the content in the archive.
    sizes
        Number of bytes of the content in the archive, and after inflation. None for a streamed member, whose sizes come after
        the content.
    """

    name: str
    deflated: bool
    begin: int
    sizes: tuple[int, int] | None


@dataclass(frozen=True)
class MemberHeader(Header):
    """The header of an ``.npy`` member of an archive; ``offset`` is the position of the array in the inflated member."""

    member: Member

    @property
    def largest_file_size(self) -> int:
        """Largest number of bytes of an archive with this member; deflating can make incompressible data slightly longer."""
        return self.member.begin + self.file_size + self.file_size // 1000 + HEADER_LIMIT

    def check_size(self, size: int) -> None:
        """Raise ``scores.truncated`` unless an archive of `size` bytes can hold the member that this header describes."""
        stored, inflated = self.member.sizes or (self.file_size if not self.member.deflated else 0, self.file_size)
        if inflated != self.file_size or (not self.member.deflated and stored != inflated):
            raise self.truncated(f"{self.file_size} bytes", f"{stored} bytes that inflate to {inflated}")
        smallest = self.member.begin + stored + DIRECTORY_BYTES
        if size < smallest:
            raise self.truncated(f"an archive of at least {smallest} bytes", f"{size} bytes")
        if inflated > MAX_INFLATION * size:
            raise self.truncated(f"{self.file_size} bytes", f"{size}, which inflate to at most {MAX_INFLATION * size}")


def parse(start: bytes) -> MemberHeader:
    """Parse the local header and the ``.npy`` header of the first member of an archive.

    Parameters
    ----------
    start
        The first `HEADER_LIMIT` bytes of the file; the whole file if it is shorter.

    Raises
    ------
    ProblemError
        ``scores.unreadable``: a header is malformed, incomplete or too long; or the member is no ``.npy`` file, is encrypted, or
        is compressed by another method than deflate.
        ``scores.empty``: the archive has no members.
        ``scores.object``: the member is a pickle, or an array of Python objects.
        ``scores.dtype``: the type is not float16, float32 or float64.
        ``scores.damaged``: the member cannot be inflated.
    """
    if start.startswith(EMPTY_MAGIC):
        raise empty("an empty archive")
    member = _first_member(start)
    content = start[member.begin :]
    if member.deflated:
        try:
            content = zlib.decompressobj(-zlib.MAX_WBITS).decompress(content, HEADER_LIMIT)
        except zlib.error as error:
            raise _damaged(str(error)) from None
    if not content.startswith(npy.MAGIC):
        raise unreadable(f"an archive in which {member.name[:40]!r} is not a .npy file", ONE_HINT)
    inner = npy.parse(content)
    return MemberHeader(inner.dtype, inner.fortran_order, inner.shape, inner.offset, member)


def _first_member(start: bytes) -> Member:
    begin = LOCAL.size
    if len(start) < begin:
        raise unreadable("an archive that ends within its first header")
    fields = LOCAL.unpack(start[:begin])
    flags, method, stored, inflated = fields[3], fields[4], fields[8], fields[9]
    name_end = begin + fields[10]
    extra_end = name_end + fields[11]
    if extra_end > min(len(start), HEADER_LIMIT):
        raise unreadable("an archive whose first header is too long or truncated")
    name = start[begin:name_end].decode("utf-8", "replace")
    _check_name(name)
    if flags & ENCRYPTED or method not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise unreadable("an archive that is encrypted or uses a compression other than deflate", ONE_HINT)
    sizes = None if flags & STREAMED else _sizes(stored, inflated, start[name_end:extra_end])
    return Member(name, method == zipfile.ZIP_DEFLATED, extra_end, sizes)


def _check_name(name: str) -> None:
    if name.endswith(PICKLES):
        raise pickled(f"an archive with pickled objects ({name[:40]!r}), as torch.save writes them")
    # The name is never used as a path, but a name with path separators is a sign of an attack.
    plain = name.isprintable() and len(name) <= MAX_NAME_LENGTH and not any(sign in name for sign in "/\\:")
    if not (plain and name.endswith(".npy")):
        raise unreadable(f"an archive with the file {name[:40]!r}", ONE_HINT)


def _sizes(stored: int, inflated: int, extra: bytes) -> tuple[int, int]:
    """Return the stored and the inflated size of a member; for large members the zip64 extra field states both."""
    if ZIP64_SIZE not in (stored, inflated):
        return stored, inflated
    while len(extra) >= 4:  # noqa: PLR2004
        kind, length = struct.unpack("<2H", extra[:4])
        if kind == 1 and length >= 16 and len(extra) >= 20:  # noqa: PLR2004
            inflated, stored = struct.unpack("<2Q", extra[4:20])
            return stored, inflated
        extra = extra[4 + length :]
    raise unreadable("an archive whose first header does not state the sizes")


def open_scores(file: BinaryIO, header: MemberHeader) -> ScoreArray:
    """Read a whole archive, verify its checksum, and return the scores.

    A stored member is memory-mapped, and a deflated member is inflated into memory. `header` is what `parse` returned for `file`.

    Raises
    ------
    ProblemError
        ``scores.unreadable``: the directory contradicts the local header, or the archive uses an unsupported feature.
        ``scores.several``: the directory does not list exactly one member.
        ``scores.truncated``: the directory and the ``.npy`` header state different sizes.
        ``scores.damaged``: the archive or the member is incomplete, or a checksum is wrong.
    """
    try:
        with zipfile.ZipFile(_BoundedFile(file.fileno(), closefd=False)) as archive:
            entry = _only_entry(archive, header)
            with archive.open(entry) as content:
                return _read(file, header, content)
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise _damaged(str(error) or "an archive that ends within its member") from None
    except (NotImplementedError, RuntimeError, UnicodeDecodeError, OverflowError, struct.error) as error:
        raise unreadable(f"an unsupported archive ({error})"[:120], ONE_HINT) from None


class _BoundedFile(io.FileIO):
    """A file that returns at most `CHUNK_BYTES` per read, which stops zipfile from reading a huge directory into memory."""

    def read(self, size: int | None = -1) -> bytes:
        return super().read(CHUNK_BYTES if size is None or size < 0 else min(size, CHUNK_BYTES))


def _only_entry(archive: zipfile.ZipFile, header: MemberHeader) -> zipfile.ZipInfo:
    """Return the only entry of the directory, after checking that the entry and `header` describe the same member."""
    entries, member = archive.infolist(), header.member
    if len(entries) != 1:
        raise several([entry.filename for entry in entries], ONE_HINT)
    (entry,) = entries
    if entry.file_size != header.file_size:
        raise header.truncated(
            f"{header.file_size} bytes", f"{entry.file_size} bytes according to the archive's directory"
        )
    deflated = entry.compress_type == zipfile.ZIP_DEFLATED
    if entry.header_offset != 0 or deflated != member.deflated or entry.flag_bits & ENCRYPTED:
        raise unreadable("an archive whose directory contradicts the header of its member", ONE_HINT)
    trailing = archive.start_dir - member.begin - entry.compress_size
    if not 0 <= trailing <= DESCRIPTOR_BYTES:
        raise unreadable("an archive with overlapping members, or with other data between them", ONE_HINT)
    return entry


def _read(file: BinaryIO, header: MemberHeader, content: IO[bytes]) -> ScoreArray:
    order: Literal["C", "F"] = "F" if header.fortran_order else "C"
    if not header.member.deflated:
        while content.read(CHUNK_BYTES):  # zipfile verifies the checksum at the end
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
        "Save the scores again. If the file is a copy, copy the file again.",
    )
