"""The search of the matrix finds hidden numbers wherever they are, and accepts published numbers."""

from __future__ import annotations

import gzip
import io
import json
import zipfile
import zlib
from typing import TYPE_CHECKING

import numpy as np
import pytest
import zstandard

from tests.app.disclosure.contents import contents
from tests.app.disclosure.hidden_numbers import HiddenNumbers

if TYPE_CHECKING:
    from collections.abc import Callable

LDS, Z, RHO = 0.123456789012, -34.56789012, 0.8765432109876
MASK = bytes([181, 9, 77, 160, 3, 250, 41, 12, 8])


@pytest.fixture(scope="module")
def numbers() -> HiddenNumbers:
    hidden = HiddenNumbers()
    hidden.add_decimals([LDS, 0.5, 0.0], 4)
    hidden.add_digits([Z], 4)
    hidden.add_digits([RHO], 6)
    hidden.add_bytes([MASK])
    hidden.finish()
    return hidden


def found(numbers: HiddenNumbers, data: bytes | str) -> list[str]:
    raw = data.encode() if isinstance(data, str) else data
    return [find for content in contents("body", raw) for find in numbers.find(content)]


@pytest.mark.parametrize(
    "text",
    [
        "0.12346",
        "0.12345",
        "<path d='M0.12346,1'/>",
        "x=-0.123456789012;",
        json.dumps({"rows": [{"ci": [0.1, [{"deep": LDS}]]}]}),
        "12.346 %",
        "\N{MINUS SIGN}0.123457",
        "1.23456789e-01",
        "z = 34.568",
        "0.87654321",
        "<td>0.1235</td><td data-value='0.1234568'>",
    ],
)
def test_hidden_number_in_a_text_is_found(numbers: HiddenNumbers, text: str) -> None:
    assert len(found(numbers, text)) == 1


@pytest.mark.parametrize(
    "text",
    [
        "0.1235",
        "0.1234",
        "0.12348",
        "12.35 %",
        "-35",
        "-34.6",
        "0.88",
        "0.876543",
        "0.5000",
        "0.50000",
        "0.0",
        "2026-11-28T15:00:00.123457Z",
    ],
)
def test_published_number_and_another_number_are_accepted(numbers: HiddenNumbers, text: str) -> None:
    assert found(numbers, text) == []


def _zip(content: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("folder/file", content)
    return buffer.getvalue()


def _npz(array: np.ndarray[tuple[int, ...], np.dtype[np.generic]]) -> bytes:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, psi=array)
    return buffer.getvalue()


def _png(content: bytes) -> bytes:
    packed = zlib.compress(content)
    return b"\x89PNG\r\n\x1a\n" + len(packed).to_bytes(4, "big") + b"IDAT" + packed + bytes(4)


PLAIN = {
    "text": (str(LDS).encode(), b"0.1235"),
    "float64": (np.float64(Z).tobytes(), np.float64(Z + 1e-9).tobytes()),
    "big-endian float64": (np.array([1, RHO], ">f8").tobytes(), np.array([1, 1 - RHO], ">f8").tobytes()),
    "bytes": (MASK, MASK[:-1]),
}


@pytest.mark.parametrize(
    "pack", [gzip.compress, zstandard.compress, _zip, _png, lambda data: gzip.compress(_zip(data))]
)
@pytest.mark.parametrize("kind", PLAIN)
def test_hidden_number_in_compressed_bytes_is_found(
    numbers: HiddenNumbers, pack: Callable[[bytes], bytes], kind: str
) -> None:
    hidden, published = (b"<p>" + plain for plain in PLAIN[kind])
    assert found(numbers, hidden)
    assert found(numbers, pack(hidden))
    assert found(numbers, published) == found(numbers, pack(published)) == []


@pytest.mark.parametrize("dtype", ["<f8", "<f4", ">f4"])
def test_hidden_number_in_an_archived_array_is_found(numbers: HiddenNumbers, dtype: str) -> None:
    assert found(numbers, _npz(np.array([[0.25, RHO]], dtype=dtype)))
    assert not found(numbers, _npz(np.array([[0.25, RHO + 1e-5]], dtype=dtype)))
