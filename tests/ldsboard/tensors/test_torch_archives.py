"""Reading files of torch.save without torch."""

from __future__ import annotations

import sys
import zipfile
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from ldsboard.formats.array_pickles import ArrayPickleError
from ldsboard.formats.torch_archives import TYPES, is_archive, read_archive

if TYPE_CHECKING:
    from pathlib import Path

DTYPES = (
    *(torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64),
    *(torch.float16, torch.float32, torch.float64, torch.bfloat16),
)


def saved(folder: Path, content: Any) -> Path:
    torch.save(content, folder / "saved.pt")
    return folder / "saved.pt"


@pytest.mark.parametrize("dtype", DTYPES)
def test_read_archive_returns_the_numbers_of_every_real_type(tmp_path: Path, dtype: torch.dtype) -> None:
    tensor = (100 * torch.randn(3, 4, generator=torch.Generator().manual_seed(1))).abs().to(dtype)
    found = read_archive(saved(tmp_path, tensor))
    assert np.array_equal(found, tensor.float().numpy() if dtype is torch.bfloat16 else tensor.numpy())
    assert found.dtype == (np.float32 if dtype is torch.bfloat16 else tensor.numpy().dtype)
    assert len(TYPES) == len(DTYPES)


def test_read_archive_returns_views_parameters_and_containers(tmp_path: Path) -> None:
    base = torch.arange(12.0).reshape(3, 4)
    tensors = {
        "transposed": base.T,
        "part": base[1:, ::2],
        "repeated": torch.ones(1).expand(2, 3),
        "negated": torch._neg_view(base),
        "parameter": torch.nn.Parameter(base),
        "empty": torch.zeros(0, 3),
        "number": torch.tensor(3.0),
    }
    found = read_archive(saved(tmp_path, tensors | {"pair": (base, [np.arange(3), "text"])}))
    for name, tensor in tensors.items():
        assert np.array_equal(found[name], tensor.detach().resolve_neg().numpy()), name
    assert isinstance(found["pair"], tuple)
    assert (found["pair"][1][0].tolist(), found["pair"][1][1]) == ([0, 1, 2], "text")


def test_read_archive_imports_no_torch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = saved(tmp_path, torch.ones(2, 2))
    monkeypatch.setitem(sys.modules, "torch", None)
    assert read_archive(path).tolist() == [[1, 1], [1, 1]]


def rewrite(path: Path, change: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> Path:
    """Write the archive again with other content in the members whose names end as the keys of `change`."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(name, next((new for end, new in change.items() if name.endswith(end)), content))
    return path


def test_read_archive_reads_big_endian_storages(tmp_path: Path) -> None:
    numbers = np.array([1.5, -2, 300], dtype=">f4")
    path = saved(tmp_path, torch.zeros(3))
    assert read_archive(rewrite(path, {"byteorder": b"big", "data/0": numbers.tobytes()})).tolist() == numbers.tolist()


def test_read_archive_refuses_what_is_no_dense_real_tensor(tmp_path: Path) -> None:
    for tensor, name in (
        (torch.eye(3).to_sparse(), "_rebuild_sparse_tensor"),
        (torch.zeros(2, dtype=torch.complex64), "ComplexFloatStorage"),
    ):
        with pytest.raises(ArrayPickleError, match=rf"asks for torch.*{name}, which no array needs"):
            read_archive(saved(tmp_path, tensor))


def test_read_archive_refuses_damage(tmp_path: Path) -> None:
    path = saved(tmp_path, torch.zeros(4))
    with pytest.raises(ArrayPickleError, match="members are compressed"):
        read_archive(rewrite(path, {}, zipfile.ZIP_DEFLATED))
    with pytest.raises(ArrayPickleError, match="more numbers than its storage"):
        read_archive(rewrite(path, {"data/0": bytes(12)}))
    with zipfile.ZipFile(saved(tmp_path, torch.zeros(4))) as archive:
        pickled = archive.read("saved/data.pkl")
    missing = pickled.replace(b"X\x01\x00\x00\x000", b"X\x01\x00\x00\x007")
    assert missing != pickled
    with pytest.raises(ArrayPickleError, match=r"is damaged .KeyError"):
        read_archive(rewrite(path, {"data.pkl": missing}))
    negative = pickled.replace(b"K\x04\x85", b"J\xff\xff\xff\xff\x85")
    assert negative != pickled
    with pytest.raises(ArrayPickleError, match="more numbers than its storage"):
        read_archive(rewrite(path, {"data.pkl": negative}))


def test_is_archive_looks_for_the_pickle_of_torch() -> None:
    assert is_archive(["saved/data.pkl", "saved/data/0"])
    assert not is_archive(["arr_0.npy"])
