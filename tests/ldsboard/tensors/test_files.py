"""Files of torch: tensors in them become score files, anything else does not, and nobody else opens them."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from ldsboard import ProblemError
from ldsboard.formats import open_scores, read_header
from ldsboard.tables import TableError, read_array, read_table
from ldsboard.tensors import as_score_file
from tests.ldsboard.readers import run_suggested_command

if TYPE_CHECKING:
    from pathlib import Path

SCORES = torch.randn(6, 4, generator=torch.Generator().manual_seed(0))
EVEN = torch.tensor([[4, 1, 0], [2, 3, 5]])


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64, torch.bfloat16])
def test_a_tensor_becomes_the_same_numbers(tmp_path: Path, dtype: torch.dtype) -> None:
    path = tmp_path / "scores.pt"
    torch.save(SCORES.to(dtype).clone().requires_grad_(), path)
    found = open_scores(as_score_file(path))
    assert np.array_equal(found.astype(np.float64), SCORES.to(dtype).double().numpy())
    assert path.exists()


class Hostile:
    """What a pickle can do: run anything when it is opened."""

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return (exec, ("raise SystemExit('it ran')",))


@pytest.mark.parametrize("content", [Hostile(), {"scores": SCORES}, [SCORES]], ids=["code", "a dict", "a list"])
def test_anything_else_is_refused_and_not_run(tmp_path: Path, content: object) -> None:
    path = tmp_path / "scores.pth"
    torch.save(content, path)
    with pytest.raises(ProblemError) as refused:
        as_score_file(path)
    assert refused.value.problem.code == "scores.object"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("content", [b"", b"no tensor", b"PK\x03\x04 no archive"])
def test_a_damaged_file_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "scores.pt"
    path.write_bytes(content)
    with pytest.raises(ProblemError, match="does not read as tensors"):
        as_score_file(path)


@pytest.mark.parametrize("new", [True, False])
def test_a_score_file_of_torch_is_refused_with_the_way_to_convert_it(new: bool) -> None:
    file = io.BytesIO()
    torch.save({"scores": torch.zeros(3, 2)}, file, _use_new_zipfile_serialization=new)
    with pytest.raises(ProblemError, match=r"'ldsboard submit' converts.*weights_only=True") as caught:
        read_header(file.getvalue(), len(file.getvalue()))
    assert caught.value.problem.code == "scores.object"


@pytest.mark.parametrize("value", [EVEN, list(EVEN), torch.tensor([3.5, 4.5])])
def test_a_table_of_torch_is_not_opened_and_the_error_says_how_its_owner_converts_it(
    tmp_path: Path, value: Any
) -> None:
    path = tmp_path / "indices_lds.pt"
    torch.save(value, path)
    (tmp_path / "misnamed.npy").write_bytes(path.read_bytes())
    with pytest.raises(TableError, match=r"pickled objects, which this program never opens.*torch\.load"):
        read_table(tmp_path / "misnamed.npy")
    with pytest.raises(TableError, match="got pickled objects, which this program never opens") as refused:
        read_table(path)
    run_suggested_command(str(refused.value))
    expected = value if isinstance(value, torch.Tensor) else torch.stack(value)
    assert np.array_equal(read_array(path.with_suffix(".npz")), expected.numpy())
