"""Reading safetensors files: accepted as the safetensors library accepts them, or rejected by the header alone."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pytest
from safetensors.numpy import save

from ldsboard import ProblemError
from ldsboard.formats.score_files import HEADER_LIMIT, open_scores, read_header
from tests.ldsboard.files import safetensors_bytes, safetensors_with_header, tensor_entry

if TYPE_CHECKING:
    from pathlib import Path

SCORES = np.arange(12, dtype=np.float32).reshape(4, 3)
DATA = SCORES.tobytes()
HEADER = json.dumps({"a": tensor_entry(SCORES)}).encode()


def header_error_code(content: bytes, size: int | None = None) -> str:
    with pytest.raises(ProblemError) as caught:
        read_header(content[:HEADER_LIMIT], len(content) if size is None else size)
    assert len(str(caught.value)) < 500
    return caught.value.problem.code


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("metadata", [None, {"made": "by hand"}])
def test_open_scores_maps_single_tensor(dtype: type, metadata: dict[str, str] | None, tmp_path: Path) -> None:
    path = tmp_path / "scores.safetensors"
    path.write_bytes(save({"scores": SCORES.astype(dtype)}, metadata))
    mapped = open_scores(path)
    assert isinstance(mapped, np.memmap)
    assert mapped.dtype == dtype
    assert np.array_equal(mapped, SCORES)


def test_open_scores_reads_data_at_any_offset(tmp_path: Path) -> None:
    path = tmp_path / "scores.safetensors"
    for blanks in range(8):
        path.write_bytes(safetensors_with_header(safetensors_bytes(SCORES)[8 : -len(DATA)] + b" " * blanks, DATA))
        assert np.array_equal(open_scores(path), SCORES)


MALFORMED = {
    "cut within the length": (b"\x40\0\0", "scores.unreadable"),
    "cut within the header": (safetensors_bytes(SCORES)[:40], "scores.unreadable"),
    "cut within the data": (safetensors_bytes(SCORES)[:-1], "scores.truncated"),
    "a byte more": (safetensors_bytes(SCORES) + b"\0", "scores.truncated"),
    "a header of 2**63 bytes": (safetensors_with_header({}, length=2**63), "scores.unreadable"),
    "a header over the limit": (safetensors_with_header(b"{" + b" " * HEADER_LIMIT + b"}"), "scores.unreadable"),
    "no JSON": (safetensors_with_header(b"{scores}"), "scores.unreadable"),
    "no text": (safetensors_with_header(b"{\xff\xfe}"), "scores.unreadable"),
    "deep": (safetensors_with_header(b'{"a":' + b"[" * 60_000), "scores.unreadable"),
    "a number of 60,000 digits": (safetensors_with_header(b'{"a":' + b"9" * 60_000 + b"}"), "scores.unreadable"),
    "the same name twice": (safetensors_with_header(b'{"a":1,' + HEADER[1:], DATA), "scores.unreadable"),
    "the same field twice": (
        safetensors_with_header(HEADER.replace(b'"dtype"', b'"dtype":"F64","dtype"'), DATA),
        "scores.unreadable",
    ),
    "no tensor": (safetensors_with_header({"__metadata__": {"a": "b"}}), "scores.several"),
    "a tensor that is a number": (safetensors_with_header({"a": 1}), "scores.unreadable"),
    "no offsets": (safetensors_with_header({"a": {"dtype": "F32", "shape": [4, 3]}}), "scores.unreadable"),
    "a field too many": (safetensors_bytes(SCORES, more=1), "scores.unreadable"),
    "a type that is a number": (safetensors_bytes(SCORES, dtype=32), "scores.unreadable"),
    "a negative side": (safetensors_bytes(SCORES, shape=[-4, -3]), "scores.unreadable"),
    "a side that is true": (safetensors_bytes(SCORES, shape=[True, 12]), "scores.unreadable"),
    "a side that is no whole number": (safetensors_bytes(SCORES, shape=[4.0, 3]), "scores.unreadable"),
    "a side of 2**80": (safetensors_bytes(SCORES, shape=[2**80, 3]), "scores.unreadable"),
    "too many sides": (safetensors_bytes(SCORES, shape=[1] * 65), "scores.unreadable"),
    "2**40 rows": (safetensors_bytes(SCORES, shape=[2**40, 3], data_offsets=[0, 2**40 * 12]), "scores.truncated"),
    "a hole before": (safetensors_bytes(SCORES, data_offsets=[8, 56]), "scores.unreadable"),
    "offsets backwards": (safetensors_bytes(SCORES, data_offsets=[48, 0]), "scores.unreadable"),
    "offsets of 4,000 digits": (safetensors_bytes(SCORES, data_offsets=[-(10**4000), 10**4000]), "scores.unreadable"),
    "64 sides of 2**62": (safetensors_bytes(SCORES, shape=[2**62] * 64), "scores.unreadable"),
    "fewer bytes than the shape": (safetensors_bytes(SCORES, data_offsets=[0, 44]), "scores.unreadable"),
    "bfloat16": (safetensors_bytes(SCORES, dtype="BF16", data_offsets=[0, 24]), "scores.dtype"),
    "integers": (safetensors_bytes(SCORES, dtype="I32"), "scores.dtype"),
    "one dimension": (safetensors_bytes(SCORES.ravel()), "scores.shape"),
    "no rows": (safetensors_bytes(SCORES[:0]), "scores.empty"),
}


@pytest.mark.parametrize("case", MALFORMED)
def test_read_header_rejects_malformed_file_with_its_code(case: str) -> None:
    content, code = MALFORMED[case]
    assert header_error_code(content) == code


def test_read_header_names_several_tensors() -> None:
    names = {f"layer.{i}": tensor_entry(SCORES, i * len(DATA)) for i in range(5)}
    with pytest.raises(ProblemError, match=r"5 arrays: 'layer\.0', 'layer\.1', 'layer\.2' and 2 more"):
        read_header(safetensors_with_header(names, DATA * 5), None)
    overlapping = safetensors_with_header({"a": tensor_entry(SCORES), "b": tensor_entry(SCORES)}, DATA)
    assert header_error_code(overlapping) == "scores.several"


def test_read_header_accepts_unknown_file_size() -> None:
    assert read_header(safetensors_bytes(SCORES)[:-1], None).shape == (4, 3)
