"""Streaming decompression of request bodies in pieces of bounded size, because a few bytes can decompress to gigabytes."""

from __future__ import annotations

import zlib
from collections.abc import Callable

import zstandard

from ldsboard.problems import ProblemError

Write = Callable[[bytes], None]

PIECE_BYTES = 1 << 17
GZIP_WINDOW = 31
"""zlib's ``wbits`` for the largest window (15) with a gzip header (+16)."""

MAX_SMALL_MEMBERS, SMALL_MEMBER_BYTES = 100, 4096
"""A gzip body can have at most `MAX_SMALL_MEMBERS` members that decompress to fewer than `SMALL_MEMBER_BYTES` bytes.

Every member costs time, and a body of many small members would cost as much time as a body that is much longer."""

SLICE_BYTES = 16 * 1024
"""Number of bytes that zlib is given at a time, because zlib copies the rest of these bytes at the end of every member."""

ZSTD_WINDOW_BYTES = 1 << 23
"""Largest window that RFC 9659 allows: 8 MiB of memory."""


def make_decoder(encoding: str, write: Write) -> Write:
    """Return a function that decompresses the next bytes of a body and passes the result to `write`.

    The returned function raises ``upload.encoding`` for bytes that cannot be decompressed, and for a gzip body of too many small
    members. The returned function raises no error if the compressed bytes end too early, so the caller must check the size.

    Parameters
    ----------
    encoding
        The Content-Encoding of the body. For an empty text or ``identity``, the result is `write` itself.

    Raises
    ------
    ProblemError
        ``upload.encoding``: the encoding is not supported.
    """
    match encoding.strip().lower():
        case "" | "identity":
            return write
        case "gzip" | "x-gzip":
            return _Gzip(write)
        case "zstd":
            return _Zstd(write)
    raise _unreadable(f"Content-Encoding {encoding[:40]!r}")


class _Gzip:
    def __init__(self, write: Write) -> None:
        self._write = write
        self._member = zlib.decompressobj(GZIP_WINDOW)
        self._member_bytes = 0
        self._small_members = 0

    def __call__(self, chunk: bytes) -> None:
        for start in range(0, len(chunk), SLICE_BYTES):
            self._decompress(chunk[start : start + SLICE_BYTES])

    def _decompress(self, chunk: bytes) -> None:
        while True:
            if self._member.eof:
                self._small_members += self._member_bytes < SMALL_MEMBER_BYTES
                if self._small_members > MAX_SMALL_MEMBERS:
                    raise _unreadable(
                        f"a gzip file with more than {MAX_SMALL_MEMBERS} members of less than {SMALL_MEMBER_BYTES} bytes"
                    )
                self._member, self._member_bytes = zlib.decompressobj(GZIP_WINDOW), 0
            try:
                piece = self._member.decompress(chunk, PIECE_BYTES)
            except zlib.error as error:
                raise _unreadable(f"a body that cannot be decompressed: {error}") from None
            if piece:
                self._member_bytes += len(piece)
                self._write(piece)
            chunk = self._member.unused_data if self._member.eof else self._member.unconsumed_tail
            # After a full piece, zlib may hold more output even though it has read all input.
            if not chunk and (self._member.eof or len(piece) < PIECE_BYTES):
                return


class _Zstd:
    def __init__(self, write: Write) -> None:
        self._write = write
        decompressor = zstandard.ZstdDecompressor(max_window_size=ZSTD_WINDOW_BYTES)
        # The stream writer needs only the method `write` of this object.
        self._writers = [decompressor.stream_writer(self, write_size=PIECE_BYTES, closefd=False)]  # type: ignore[arg-type]

    def write(self, piece: bytes) -> int:
        """Pass decompressed bytes to the `write` of `make_decoder`; return the number of these bytes.

        The zstd stream writer calls this method.
        """
        self._write(piece)
        return len(piece)

    def __call__(self, chunk: bytes) -> None:
        try:
            self._writers[0].write(chunk)
        except zstandard.ZstdError as error:
            raise _unreadable(f"a body that cannot be decompressed: {error}") from None
        except BaseException:
            self._writers.clear()  # or the traceback of the error would keep the decoder's megabytes until garbage collection
            raise


def _unreadable(got: str) -> ProblemError:
    return ProblemError.mismatch(
        "upload.encoding",
        expected="an uncompressed body, or gzip, or zstd with a window of at most 8 MiB",
        got=got,
        hint="Use gzip, or zstd up to level 19, and name it in Content-Encoding; or send the file uncompressed.",
    )
