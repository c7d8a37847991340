"""Whatever the bytes, a reader returns scores or says what is wrong; and it takes little memory for either."""

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
from ldsboard.formats import HEADER_LIMIT, open_scores, read_header
from tests.ldsboard.files import STORED, claiming, safetensors, written, zipped

if TYPE_CHECKING:
    from pathlib import Path

SCORES = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
MOST_BYTES = 4 * 2**20
EXAMPLES = settings(max_examples=50, derandomize=True, deadline=None)


def _archived(save: Any) -> bytes:
    file = io.BytesIO()
    save(file, scores=SCORES)
    return file.getvalue()


VALID = {
    "npy": written(SCORES),
    "npy, version 3": claiming("(5, 3)", data=SCORES.tobytes(), version=3),
    "safetensors": save({"scores": SCORES}),
    "npz": _archived(np.savez),
    "npz, compressed": _archived(np.savez_compressed),
    "npz, plain": zipped(SCORES),
    "npz, plain and stored": zipped(SCORES, method=STORED),
}


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fuzz") / "scores"


def read(path: Path, content: bytes) -> np.ndarray[Any, Any] | None:
    """Return the scores in these bytes; None, if they are refused."""
    path.write_bytes(content)
    refused: ProblemError | None = None
    tracemalloc.start()
    try:
        scores_nN = open_scores(path)
    except ProblemError as error:
        refused = error
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < MOST_BYTES
    if refused is not None:
        assert refused.problem.code.startswith("scores.")
        assert len(str(refused)) < 2500
        return None
    header = read_header(content[:HEADER_LIMIT], len(content))
    assert (scores_nN.shape, scores_nN.dtype) == (header.shape, header.dtype)
    assert scores_nN.ndim == 2
    assert scores_nN.dtype.kind == "f"
    assert len(scores_nN.tobytes()) == header.data_size
    return scores_nN


@pytest.mark.parametrize("kind", VALID)
def test_the_files_that_are_changed_below_are_read(kind: str, path: Path) -> None:
    scores_nN = read(path, VALID[kind])
    assert scores_nN is not None
    assert np.array_equal(scores_nN, SCORES)


MAGICS = st.sampled_from(
    [b"", b"\x93NUMPY\1\0", b"\x93NUMPY\3\0", b"PK\3\4", b"PK\5\6", b"\x50\0\0\0\0\0\0\0{", b"\x80\2"]
)


@EXAMPLES
@given(magic=MAGICS, rest=st.binary(max_size=300))
def test_any_bytes_are_read_or_refused(path: Path, magic: bytes, rest: bytes) -> None:
    read(path, magic + rest)


@pytest.mark.parametrize("kind", VALID)
@EXAMPLES
@given(data=st.data())
def test_a_file_with_bytes_changed_is_read_or_refused(path: Path, kind: str, data: st.DataObject) -> None:
    content = bytearray(VALID[kind])
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    read(path, bytes(content))


@pytest.mark.parametrize("kind", VALID)
@EXAMPLES
@given(data=st.data())
def test_a_file_with_pieces_cut_out_put_in_or_doubled_is_read_or_refused(
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
def test_any_description_of_tensors_is_read_or_refused(path: Path, header: dict[str, Any], blanks: int) -> None:
    read(path, safetensors(header, bytes(60) + bytes(blanks)))


SIDES = st.lists(st.integers(-(2**70), 2**70) | st.sampled_from([0, 1, 3, 5, 2**40, 2**62]), max_size=70)


@EXAMPLES
@given(sides=SIDES, descr=st.sampled_from(["<f4", ">f8", "<f2", "|O", "<i4", "f4", "<f4,<f4", "<U9"]))
def test_any_claim_is_read_or_refused(path: Path, sides: list[int], descr: str) -> None:
    content = claiming(str(tuple(sides)), repr(descr), data=bytes(60), version=2)
    tensor = {"dtype": "F32", "shape": sides, "data_offsets": [0, 60]}
    for file in (content, zipped(SCORES, packed=content, method=STORED), safetensors({"scores": tensor}, bytes(60))):
        read(path, file)
