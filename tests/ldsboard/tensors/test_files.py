"""torch.save files: a tensor is converted to a score file; other contents are rejected without unpickling."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from ldsboard import ProblemError
from ldsboard.formats.score_files import open_scores, read_header
from ldsboard.formats.torch_files import as_score_file, read_tensor
from ldsboard.importing.tables import read_array

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from tests.ldsboard.conftest import Run

SCORES = torch.randn(6, 4, generator=torch.Generator().manual_seed(0))
INDICES = torch.tensor([[4, 1, 0], [2, 3, 5]])


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64, torch.bfloat16])
def test_as_score_file_keeps_values_of_tensor(tmp_path: Path, dtype: torch.dtype) -> None:
    path = tmp_path / "scores.pt"
    torch.save(SCORES.to(dtype).clone().requires_grad_(), path)
    found = open_scores(as_score_file(path))
    assert np.array_equal(found.astype(np.float64), SCORES.to(dtype).double().numpy())
    assert path.exists()


@pytest.mark.parametrize("dtype", [torch.int32, torch.int64])
def test_as_score_file_keeps_large_integers(tmp_path: Path, dtype: torch.dtype) -> None:
    path = tmp_path / "scores.pt"
    whole = torch.tensor([[2**24 + 1, -(2**30) - 1], [0, 3]], dtype=dtype)
    torch.save(whole, path)
    assert np.array_equal(open_scores(as_score_file(path)), whole.numpy())


@pytest.mark.parametrize(
    "convert",
    [
        lambda: SCORES.to(torch.complex64),
        SCORES.to_sparse,
        SCORES.to_sparse_csr,
        lambda: SCORES.to(torch.complex64).to_sparse(),
        lambda: SCORES.to(torch.complex64).to_sparse_csr(),
    ],
    ids=["complex", "COO", "CSR", "complex COO", "complex CSR"],
)
@pytest.mark.filterwarnings("ignore:Sparse CSR tensor support is in beta state:UserWarning")
def test_as_score_file_rejects_complex_and_sparse_tensors_and_hint_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, convert: Callable[[], torch.Tensor]
) -> None:
    assert np.array_equal(scores_after_hint(convert(), tmp_path, monkeypatch), SCORES.numpy())


@pytest.mark.filterwarnings("ignore:.*(quantized tensor creation functions|TypedStorage is deprecated):UserWarning")
def test_as_score_file_rejects_quantized_tensor_and_hint_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    quantized = torch.quantize_per_tensor(SCORES, 0.05, 0, torch.qint8)
    found = scores_after_hint(quantized, tmp_path, monkeypatch)
    assert np.array_equal(found, quantized.dequantize().numpy())
    np.testing.assert_allclose(found, SCORES.numpy(), rtol=0, atol=0.0251)


def scores_after_hint(tensor: torch.Tensor, folder: Path, monkeypatch: pytest.MonkeyPatch) -> NDArray[Any]:
    """Save a tensor that is refused, run the command in the hint of the error, and return the scores in the new file."""
    monkeypatch.chdir(folder)
    path = Path("scores.pt")
    torch.save(tensor, path)
    with pytest.raises(ProblemError, match="a dense tensor of real numbers") as refused:
        as_score_file(path)
    problem = refused.value.problem
    assert problem.code == "scores.dtype"
    command = problem.hint.removeprefix("Save the tensor with ").removesuffix(".")
    exec(command, {"torch": torch, "scores": tensor})  # noqa: S102 -- the library wrote the command
    return np.asarray(open_scores(as_score_file(path)))


class Hostile:
    """An object whose unpickling runs code."""

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return (exec, ("raise SystemExit('it ran')",))


@pytest.mark.parametrize("content", [Hostile(), {"scores": SCORES}, [SCORES]], ids=["code", "a dict", "a list"])
def test_as_score_file_rejects_other_objects_without_running_them(tmp_path: Path, content: object) -> None:
    path = tmp_path / "scores.pth"
    torch.save(content, path)
    with pytest.raises(ProblemError) as refused:
        as_score_file(path)
    assert refused.value.problem.code == "scores.object"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.int64])
def test_read_tensor_selects_tensor_by_name(tmp_path: Path, dtype: torch.dtype) -> None:
    path = tmp_path / "scores.pt"
    torch.save({"ids": ["a", "b"], 3: SCORES, "other": SCORES, "scores": (10 * SCORES).to(dtype)}, path)
    found = read_tensor(path, "scores")
    assert np.array_equal(found.astype(np.float64), (10 * SCORES).to(dtype).double().numpy())
    for key in ("ids", "3", ""):
        with pytest.raises(ProblemError, match="got 'other', 'scores'") as refused:
            read_tensor(path, key)
        assert refused.value.problem.code == "scores.several"
    torch.save(SCORES, path)
    with pytest.raises(ProblemError, match="no arrays"):
        read_tensor(path, "scores")


@pytest.mark.parametrize("content", [b"", b"no tensor", b"PK\x03\x04 no archive"])
def test_as_score_file_rejects_damaged_file(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "scores.pt"
    path.write_bytes(content)
    with pytest.raises(ProblemError, match="cannot read as tensors"):
        as_score_file(path)


@pytest.mark.parametrize("new", [True, False])
def test_read_header_rejects_torch_file_and_explains_conversion(new: bool) -> None:
    file = io.BytesIO()
    torch.save({"scores": torch.zeros(3, 2)}, file, _use_new_zipfile_serialization=new)
    with pytest.raises(ProblemError, match=r"'ldsboard submit' converts.*weights_only=True") as caught:
        read_header(file.getvalue(), len(file.getvalue()))
    assert caught.value.problem.code == "scores.object"


@pytest.mark.parametrize("value", [INDICES, list(INDICES), torch.tensor([3.5, 4.5])])
def test_read_array_reads_torch_file_whatever_its_name(tmp_path: Path, value: Any) -> None:
    torch.save(value, tmp_path / "misnamed.npy")
    expected = value if isinstance(value, torch.Tensor) else torch.stack(value)
    assert np.array_equal(read_array(tmp_path / "misnamed.npy"), expected.numpy())


def test_compare_command_converts_tensors(scores: Path, run: Run) -> None:
    tensor = scores.with_suffix(".pt")
    torch.save(torch.from_numpy(np.load(scores)), tensor)
    code, out, _ = run("compare", scores, tensor, "--benchmark", "toy", "--json")
    assert (code, json.loads(out)["difference"]) == (0, 0)
