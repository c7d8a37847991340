"""Compressed bodies, inflated as they come in pieces of bounded size: what a few bytes inflate to is not known before."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

import zstandard

from ldsboard.problems import ProblemError

if TYPE_CHECKING:
    from collections.abc import Callable

    Take = Callable[[bytes], None]

PIECE_BYTES = 1 << 17
GZIP_WINDOW = 31
"""The largest window, and zlib's way of saying that a gzip header is to be expected."""

MOST_EMPTY = 100
"""Members of a gzip file that may inflate to nothing; each costs as much as all that follows it in a piece is long."""

ZSTD_WINDOW_BYTES = 1 << 23
"""What RFC 9659 allows a body to ask for: 8 MiB of memory."""


def inflating(encoding: str, take: Take) -> Take:
    """Return a function that takes the next bytes of a body with this Content-Encoding and hands on what they inflate to.

    Raises
    ------
    ProblemError
        ``upload.encoding``, here or from that function: another encoding, or bytes that are not of this one.
    """
    match encoding.strip().lower():
        case "" | "identity":
            return take
        case "gzip" | "x-gzip":
            return _Gzip(take)
        case "zstd":
            return _Zstd(take)
    raise _unreadable(f"Content-Encoding {encoding[:40]!r}")


class _Gzip:
    def __init__(self, take: Take) -> None:
        self._take = take
        self._member = zlib.decompressobj(GZIP_WINDOW)
        self._empty = True
        self._members_of_nothing = 0

    def __call__(self, chunk: bytes) -> None:
        while True:
            if self._member.eof:
                self._members_of_nothing += self._empty
                if self._members_of_nothing > MOST_EMPTY:
                    raise _unreadable(f"more than {MOST_EMPTY} members of a gzip file with nothing in them")
                self._member, self._empty = zlib.decompressobj(GZIP_WINDOW), True
            try:
                piece = self._member.decompress(chunk, PIECE_BYTES)
            except zlib.error as error:
                raise _unreadable(f"a body that is not: {error}") from None
            if piece:
                self._empty = False
                self._take(piece)
            chunk = self._member.unused_data if self._member.eof else self._member.unconsumed_tail
            # A full piece may leave more behind, though every byte that came was read.
            if not chunk and (self._member.eof or len(piece) < PIECE_BYTES):
                return


class _Zstd:
    def __init__(self, take: Take) -> None:
        self._take = take
        frames = zstandard.ZstdDecompressor(max_window_size=ZSTD_WINDOW_BYTES)
        self._writer = frames.stream_writer(self, write_size=PIECE_BYTES, closefd=False)  # type: ignore[arg-type]  # it only writes

    def write(self, piece: bytes) -> int:
        """Hand on what was inflated; called by the writer below."""
        self._take(piece)
        return len(piece)

    def __call__(self, chunk: bytes) -> None:
        try:
            self._writer.write(chunk)
        except zstandard.ZstdError as error:
            raise _unreadable(f"a body that is not: {error}") from None


def _unreadable(got: str) -> ProblemError:
    return ProblemError(
        "upload.encoding",
        expected="a body as it is, or in gzip, or in zstd with a window of at most 8 MiB",
        got=got,
        hint="Compress the file with gzip or 'zstd -19' at most, and name that as Content-Encoding; or send it as it is.",
    )
