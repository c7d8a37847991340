"""Reading one of several arrays by its name: every type that can be read, and the error for every file that cannot."""

from __future__ import annotations

import json
import zipfile
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from ldsboard import ProblemError
from ldsboard.formats.named_arrays import read_named

if TYPE_CHECKING:
    from pathlib import Path

ARRAY = np.arange(6).reshape(2, 3)
FLOAT = {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 16]}


def code_of(path: Path, key: str) -> str:
    with pytest.raises(ProblemError) as refused:
        read_named(path, key)
    assert len(str(refused.value)) < 1000
    return refused.value.problem.code


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "?"])
@pytest.mark.parametrize("suffix", [".npz", ".safetensors"])
def test_array_keeps_values_and_type(tmp_path: Path, suffix: str, dtype: str) -> None:
    path = tmp_path / f"several{suffix}"
    arrays: dict[str, Any] = {"other": np.zeros(5, "f4"), "wanted": ARRAY.astype(dtype), "last": np.ones((2, 2), "f8")}
    np.savez(path, **arrays) if suffix == ".npz" else save_file(arrays, path)
    found = read_named(path, "wanted")
    assert found.dtype == arrays["wanted"].dtype
    assert np.array_equal(found, arrays["wanted"])


def write_safetensors(path: Path, tensors: dict[str, Any], content: bytes) -> Path:
    header = json.dumps(tensors).encode()
    path.write_bytes(len(header).to_bytes(8, "little") + header + content)
    return path


def test_bfloat16_becomes_float32(tmp_path: Path) -> None:
    values = np.array([[1.0, -2.5], [0.0, 3e38]], "f4")
    upper = (values.view("u4") >> 16).astype("<u2")
    tensors = {"first": FLOAT, "wanted": {"dtype": "BF16", "shape": [2, 2], "data_offsets": [16, 24]}}
    path = write_safetensors(tmp_path / "bf16.safetensors", tensors, bytes(16) + upper.tobytes())
    found = read_named(path, "wanted")
    assert found.dtype == np.float32
    assert np.array_equal(found, (upper.astype("u4") << 16).view("f4"))
    assert np.abs(found - values).max() < 1e36


def test_error_for_unknown_name_lists_the_names(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", **{f"x{i:02}": ARRAY for i in range(11)})  # type: ignore[arg-type]  # allow_pickle
    save_file({"b": ARRAY, "a": ARRAY}, tmp_path / "a.safetensors")
    with pytest.raises(ProblemError, match=r"'x00', 'x01', .*'x07' and 3 more"):
        read_named(tmp_path / "a.npz", "x")
    with pytest.raises(ProblemError, match="got 'a', 'b'"):
        read_named(tmp_path / "a.safetensors", "__metadata__")
    np.savez(tmp_path / "empty.npz")
    with pytest.raises(ProblemError, match="no arrays"):
        read_named(tmp_path / "empty.npz", "x")


@pytest.mark.parametrize(
    ("tensor", "code"),
    [
        (FLOAT | {"shape": [2, 3]}, "scores.truncated"),
        (FLOAT | {"data_offsets": [8, 24]}, "scores.truncated"),
        (FLOAT | {"data_offsets": [0, 8]}, "scores.truncated"),
        (FLOAT | {"shape": [2**40, 2**20], "data_offsets": [0, 2**62]}, "scores.truncated"),
        (FLOAT | {"data_offsets": [0, -1]}, "scores.unreadable"),
        (FLOAT | {"data_offsets": [-16, 0]}, "scores.unreadable"),
        (FLOAT | {"data_offsets": [0.0, 16.0]}, "scores.unreadable"),
        (FLOAT | {"shape": [-2, -2]}, "scores.unreadable"),
        (FLOAT | {"dtype": "F8_E4M3"}, "scores.dtype"),
        ({"dtype": "F32"}, "scores.unreadable"),
        ([], "scores.unreadable"),
    ],
)
def test_malformed_tensor_is_refused(tmp_path: Path, tensor: Any, code: str) -> None:
    path = write_safetensors(tmp_path / "x.safetensors", {"wanted": tensor}, bytes(16))
    assert code_of(path, "wanted") == code


def test_malformed_header_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    for header in (b"{", b"{\xff", b'{"a": ' + b"[" * 5000):
        path.write_bytes(len(header).to_bytes(8, "little") + header)
        assert code_of(path, "a") == "scores.unreadable"
    path.write_bytes((2**40).to_bytes(8, "little") + b"{}")
    assert code_of(path, "a") == "scores.unreadable"
    for content in (b"", b"plain text", np.lib.format.MAGIC_PREFIX):
        path.write_bytes(content)
        assert code_of(path, "a") == "scores.unreadable"


def test_malformed_archive_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    np.savez_compressed(path, a=ARRAY, b=np.random.default_rng(0).normal(size=1000))
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    assert code_of(path, "b") == "scores.damaged"
    path.write_bytes(whole[:3000] + bytes(200) + whole[3200:])
    assert code_of(path, "b") == "scores.damaged"
    np.savez(path, a=np.array([None, 1], object))
    assert code_of(path, "a") == "scores.unreadable"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a", b"plain text")
    assert code_of(path, "a") == "scores.unreadable"
