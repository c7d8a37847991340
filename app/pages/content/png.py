"""A PNG encoder (ISO/IEC 15948) for 8-bit grey and RGB images, without row filters."""

from __future__ import annotations

import struct
import zlib

import numpy as np
from numpy.typing import NDArray

SIGNATURE = b"\x89PNG\r\n\x1a\n"
GREY, RGB = 0, 2


def encode(pixels: NDArray[np.uint8]) -> bytes:
    """Encode an image as a PNG file.

    Parameters
    ----------
    pixels
        uint8, grey (h, w) or RGB (h, w, 3).
    """
    height, width, *channels = pixels.shape
    rows = pixels.reshape(height, -1)
    # Each row begins with its filter type; 0 means no filter.
    filtered = np.concatenate([np.zeros((height, 1), np.uint8), rows], axis=1).tobytes()
    header = struct.pack(">IIBBBBB", width, height, 8, RGB if channels else GREY, 0, 0, 0)
    return SIGNATURE + _chunk(b"IHDR", header) + _chunk(b"IDAT", zlib.compress(filtered, 9)) + _chunk(b"IEND", b"")


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
