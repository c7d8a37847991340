"""For any bytes, the readers return scores or raise a `ProblemError`, and use little memory in both cases."""

from __future__ import annotations

import io
import tracemalloc
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import save

from ldsboard import ProblemError
from ldsboard.formats.score_files import HEADER_LIMIT, open_scores, read_header
from tests.ldsboard.files import STORED, npy_bytes, npy_with_header, npz_bytes, safetensors_with_header

if TYPE_CHECKING:
    from pathlib import Path

SCORES = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
MAX_PEAK_BYTES = 4 * 2**20
EXAMPLES = settings(max_examples=50, derandomize=True, deadline=None)


def _saved_by_numpy(save: Any) -> bytes:
    file = io.BytesIO()
    save(file, scores=SCORES)
    return file.getvalue()


VALID = {
    "npy": npy_bytes(SCORES),
    "npy, version 3": npy_with_header("(5, 3)", data=SCORES.tobytes(), version=3),
    "safetensors": save({"scores": SCORES}),
    "npz": _saved_by_numpy(np.savez),
    "npz, compressed": _saved_by_numpy(np.savez_compressed),
    "npz, plain": npz_bytes(SCORES),
    "npz, plain and stored": npz_bytes(SCORES, method=STORED),
}


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fuzz") / "scores"


def read(path: Path, content: bytes) -> np.ndarray[Any, Any] | None:
    """Return the scores in these bytes, or None if the reader rejects the bytes."""
    path.write_bytes(content)
    rejection: ProblemError | None = None
    tracemalloc.start()
    try:
        scores_nN = open_scores(path)
    except ProblemError as error:
        rejection = error
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < MAX_PEAK_BYTES
    if rejection is not None:
        assert rejection.problem.code.startswith("scores.")
        assert len(str(rejection)) < 2500
        return None
    header = read_header(content[:HEADER_LIMIT], len(content))
    assert (scores_nN.shape, scores_nN.dtype) == (header.shape, header.dtype)
    assert scores_nN.ndim == 2
    assert scores_nN.dtype.kind == "f"
    assert len(scores_nN.tobytes()) == header.data_size
    return scores_nN


@pytest.mark.parametrize("kind", VALID)
def test_open_scores_reads_unchanged_files(kind: str, path: Path) -> None:
    scores_nN = read(path, VALID[kind])
    assert scores_nN is not None
    assert np.array_equal(scores_nN, SCORES)


MAGICS = st.sampled_from(
    [b"", b"\x93NUMPY\1\0", b"\x93NUMPY\3\0", b"PK\3\4", b"PK\5\6", b"\x50\0\0\0\0\0\0\0{", b"\x80\2"]
)


@EXAMPLES
@given(magic=MAGICS, rest=st.binary(max_size=300))
def test_open_scores_reads_or_rejects_any_bytes(path: Path, magic: bytes, rest: bytes) -> None:
    read(path, magic + rest)


@pytest.mark.parametrize("kind", VALID)
@EXAMPLES
@given(data=st.data())
def test_open_scores_reads_or_rejects_file_with_changed_bytes(path: Path, kind: str, data: st.DataObject) -> None:
    content = bytearray(VALID[kind])
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    read(path, bytes(content))


@pytest.mark.parametrize("kind", VALID)
@EXAMPLES
@given(data=st.data())
def test_open_scores_reads_or_rejects_file_with_pieces_removed_or_inserted(
    path: Path, kind: str, data: st.DataObject
) -> None:
    content = VALID[kind]
    begin = data.draw(st.integers(0, len(content)))
    end = data.draw(st.integers(begin, len(content)))
    put = data.draw(st.one_of(st.just(b""), st.binary(max_size=20), st.just(content[begin:end] * 2)))
    read(path, content[:begin] + put + content[end:])


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-10, 2**70) | st.floats() | st.sampled_from(["F32", "F64", "BF16", ""]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["dtype", "shape", "data_offsets", "scores", "__metadata__"]), inner, max_size=4
        )
    ),
    max_leaves=12,
)


@EXAMPLES
@given(
    header=st.dictionaries(st.sampled_from(["scores", "__metadata__", "a"]), JSON, max_size=2), blanks=st.integers(0, 9)
)
def test_open_scores_reads_or_rejects_any_safetensors_header(path: Path, header: dict[str, Any], blanks: int) -> None:
    read(path, safetensors_with_header(header, bytes(60) + bytes(blanks)))


SIDES = st.lists(st.integers(-(2**70), 2**70) | st.sampled_from([0, 1, 3, 5, 2**40, 2**62]), max_size=70)


@EXAMPLES
@given(sides=SIDES, descr=st.sampled_from(["<f4", ">f8", "<f2", "|O", "<i4", "f4", "<f4,<f4", "<U9"]))
def test_open_scores_reads_or_rejects_any_stated_shape_and_dtype(path: Path, sides: list[int], descr: str) -> None:
    content = npy_with_header(str(tuple(sides)), repr(descr), data=bytes(60), version=2)
    tensor = {"dtype": "F32", "shape": sides, "data_offsets": [0, 60]}
    for file in (
        content,
        npz_bytes(SCORES, compressed=content, method=STORED),
        safetensors_with_header({"scores": tensor}, bytes(60)),
    ):
        read(path, file)
