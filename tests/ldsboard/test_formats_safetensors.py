"""Safetensors files: read as the library of that name reads them, or refused by the header alone."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pytest
from safetensors.numpy import save

from ldsboard import ProblemError
from ldsboard.formats import HEADER_LIMIT, open_scores, read_header
from tests.ldsboard.files import safetensors, saved, tensor

if TYPE_CHECKING:
    from pathlib import Path

SCORES = np.arange(12, dtype=np.float32).reshape(4, 3)
DATA = SCORES.tobytes()
SAVED = json.dumps({"a": tensor(SCORES)}).encode()


def code_of(content: bytes, size: int | None = None) -> str:
    with pytest.raises(ProblemError) as caught:
        read_header(content[:HEADER_LIMIT], len(content) if size is None else size)
    assert len(str(caught.value)) < 500
    return caught.value.problem.code


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("metadata", [None, {"made": "by hand"}])
def test_one_tensor_is_mapped(dtype: type, metadata: dict[str, str] | None, tmp_path: Path) -> None:
    path = tmp_path / "scores.safetensors"
    path.write_bytes(save({"scores": SCORES.astype(dtype)}, metadata))
    mapped = open_scores(path)
    assert isinstance(mapped, np.memmap)
    assert mapped.dtype == dtype
    assert np.array_equal(mapped, SCORES)


def test_data_may_begin_anywhere(tmp_path: Path) -> None:
    path = tmp_path / "scores.safetensors"
    for blanks in range(8):
        path.write_bytes(safetensors(saved(SCORES)[8 : -len(DATA)] + b" " * blanks, DATA))
        assert np.array_equal(open_scores(path), SCORES)


BROKEN = {
    "cut within the length": (b"\x40\0\0", "scores.unreadable"),
    "cut within the header": (saved(SCORES)[:40], "scores.unreadable"),
    "cut within the data": (saved(SCORES)[:-1], "scores.truncated"),
    "a byte more": (saved(SCORES) + b"\0", "scores.truncated"),
    "a header of 2**63 bytes": (safetensors({}, length=2**63), "scores.unreadable"),
    "a header over the limit": (safetensors(b"{" + b" " * HEADER_LIMIT + b"}"), "scores.unreadable"),
    "no JSON": (safetensors(b"{scores}"), "scores.unreadable"),
    "no text": (safetensors(b"{\xff\xfe}"), "scores.unreadable"),
    "deep": (safetensors(b'{"a":' + b"[" * 60_000), "scores.unreadable"),
    "a number of 60,000 digits": (safetensors(b'{"a":' + b"9" * 60_000 + b"}"), "scores.unreadable"),
    "the same name twice": (safetensors(b'{"a":1,' + SAVED[1:], DATA), "scores.unreadable"),
    "the same field twice": (
        safetensors(SAVED.replace(b'"dtype"', b'"dtype":"F64","dtype"'), DATA),
        "scores.unreadable",
    ),
    "no tensor": (safetensors({"__metadata__": {"a": "b"}}), "scores.several"),
    "a tensor that is a number": (safetensors({"a": 1}), "scores.unreadable"),
    "no offsets": (safetensors({"a": {"dtype": "F32", "shape": [4, 3]}}), "scores.unreadable"),
    "a field too many": (saved(SCORES, more=1), "scores.unreadable"),
    "a type that is a number": (saved(SCORES, dtype=32), "scores.unreadable"),
    "a negative side": (saved(SCORES, shape=[-4, -3]), "scores.unreadable"),
    "a side that is true": (saved(SCORES, shape=[True, 12]), "scores.unreadable"),
    "a side that is no whole number": (saved(SCORES, shape=[4.0, 3]), "scores.unreadable"),
    "a side of 2**80": (saved(SCORES, shape=[2**80, 3]), "scores.unreadable"),
    "too many sides": (saved(SCORES, shape=[1] * 65), "scores.unreadable"),
    "2**40 rows": (saved(SCORES, shape=[2**40, 3], data_offsets=[0, 2**40 * 12]), "scores.truncated"),
    "a hole before": (saved(SCORES, data_offsets=[8, 56]), "scores.unreadable"),
    "offsets backwards": (saved(SCORES, data_offsets=[48, 0]), "scores.unreadable"),
    "offsets of 4,000 digits": (saved(SCORES, data_offsets=[-(10**4000), 10**4000]), "scores.unreadable"),
    "64 sides of 2**62": (saved(SCORES, shape=[2**62] * 64), "scores.unreadable"),
    "fewer bytes than the shape": (saved(SCORES, data_offsets=[0, 44]), "scores.unreadable"),
    "bfloat16": (saved(SCORES, dtype="BF16", data_offsets=[0, 24]), "scores.dtype"),
    "integers": (saved(SCORES, dtype="I32"), "scores.dtype"),
    "one dimension": (saved(SCORES.ravel()), "scores.shape"),
    "no rows": (saved(SCORES[:0]), "scores.empty"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_file_gets_its_code_and_never_another_error(case: str) -> None:
    content, code = BROKEN[case]
    assert code_of(content) == code


def test_several_tensors_are_named() -> None:
    names = {f"layer.{i}": tensor(SCORES, i * len(DATA)) for i in range(5)}
    with pytest.raises(ProblemError, match=r"5 arrays: 'layer\.0', 'layer\.1', 'layer\.2' and 2 more.*save_file"):
        read_header(safetensors(names, DATA * 5), None)
    overlapping = safetensors({"a": tensor(SCORES), "b": tensor(SCORES)}, DATA)
    assert code_of(overlapping) == "scores.several"


def test_the_size_of_the_file_may_come_later() -> None:
    assert read_header(saved(SCORES)[:-1], None).shape == (4, 3)
