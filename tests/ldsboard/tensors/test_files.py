"""torch.save files: tensors of every kind, dicts and lists are read; other contents are rejected without unpickling."""

from __future__ import annotations

import io
import pickle
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from ldsboard import ProblemError
from ldsboard.arrays.scores import read_scores
from ldsboard.formats.saved_scores import read_saved
from ldsboard.formats.score_files import read_header
from ldsboard.formats.torch_files import read_tensor
from ldsboard.importing.tables import read_array

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SCORES = torch.randn(6, 4, generator=torch.Generator().manual_seed(0))
INDICES = torch.tensor([[4, 1, 0], [2, 3, 5]])

TENSORS: dict[str, Callable[[], torch.Tensor]] = {
    "float16": SCORES.half,
    "float64": SCORES.double,
    "bfloat16": SCORES.bfloat16,
    "float8": lambda: SCORES.to(torch.float8_e4m3fn),
    "with gradients": lambda: SCORES.clone().requires_grad_(),
    "parameter": lambda: torch.nn.Parameter(SCORES.clone()),
    "view": lambda: SCORES.T.contiguous().T,
    "expanded": lambda: SCORES[:1].expand(6, 4),
    "COO": SCORES.to_sparse,
    "uncoalesced COO": lambda: torch.sparse_coo_tensor(torch.tensor([[0, 0, 5], [1, 1, 3]]), torch.ones(3), (6, 4)),
    "CSR": SCORES.to_sparse_csr,
    "CSC": SCORES.to_sparse_csc,
    "BSR": lambda: SCORES.to_sparse_bsr((2, 2)),
    "bfloat16 COO": lambda: SCORES.bfloat16().to_sparse(),
    "negative bit": lambda: torch.complex(SCORES, SCORES).conj().imag,
    "int32": lambda: torch.tensor([[2**24 + 1, -(2**30) - 1], [0, 3]], dtype=torch.int32),
    "int64 up to 2**53": lambda: torch.tensor([[2**53, 2**40 + 1], [-(2**53), 3]]),
    "bool": lambda: SCORES > 0,
}


@pytest.mark.parametrize(
    ("kind", "archive"),
    # torch itself cannot load float8 in its old format.
    [(kind, archive) for kind in TENSORS for archive in (True, False) if archive or kind != "float8"],
)
@pytest.mark.parametrize("suffix", [".pt", ".mmap", ""])
@pytest.mark.filterwarnings("ignore:Sparse (.* tensor support is in beta state|invariant checks):UserWarning")
def test_tensor_of_every_kind_keeps_its_numbers(tmp_path: Path, kind: str, suffix: str, archive: bool) -> None:
    path, made = tmp_path / f"scores{suffix}", TENSORS[kind]()
    torch.save(made, path, _use_new_zipfile_serialization=archive)
    found = read_scores(path)
    dense = made.detach().to_dense() if made.layout != torch.strided else made.detach()
    assert np.array_equal(found.astype(np.float64), dense.resolve_neg().double().numpy())
    assert np.array_equal(read_scores(made), found)
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.filterwarnings("ignore:.*(quantized tensor creation functions|TypedStorage is deprecated):UserWarning")
def test_quantized_tensor_is_dequantized(tmp_path: Path) -> None:
    quantized = torch.quantize_per_tensor(SCORES, 0.05, 0, torch.qint8)
    torch.save(quantized, tmp_path / "scores.pt")
    assert np.array_equal(read_scores(tmp_path / "scores.pt"), quantized.dequantize().numpy())


@pytest.mark.parametrize("convert", [torch.Tensor.clone, torch.Tensor.to_sparse, torch.Tensor.to_sparse_csr])
@pytest.mark.parametrize("nest", [lambda tensor: tensor, lambda tensor: {"influence": tensor, "damping": 0.1}])
@pytest.mark.filterwarnings("ignore:Sparse CSR tensor support is in beta state:UserWarning")
def test_complex_tensor_is_refused_with_its_type(tmp_path: Path, convert: Any, nest: Any) -> None:
    torch.save(nest(convert(SCORES.to(torch.complex64))), tmp_path / "scores.pt")
    with pytest.raises(ProblemError, match=r"a complex tensor \(torch\.complex64\)") as refused:
        read_scores(tmp_path / "scores.pt")
    assert refused.value.problem.code == "scores.dtype"


@pytest.mark.filterwarnings("ignore:Sparse invariant checks:UserWarning")
def test_sparse_tensor_with_indices_out_of_range_is_refused(tmp_path: Path) -> None:
    out_of_range = torch.tensor([[0, 2**40], [0, 1]])
    wild = torch.sparse_coo_tensor(out_of_range, torch.ones(2), (6, 4), check_invariants=False)
    torch.save(wild, tmp_path / "scores.pt")
    with pytest.raises(ProblemError, match="cannot read as tensors"):
        read_saved(tmp_path / "scores.pt")
    assert not torch.sparse.check_sparse_tensor_invariants.is_enabled()  # type: ignore[no-untyped-call]


def test_integers_beyond_float64_are_refused(tmp_path: Path) -> None:
    torch.save(torch.tensor([[2**53 + 1, 0]]), tmp_path / "scores.pt")
    with pytest.raises(ProblemError, match=r"magnitude up to 2\*\*53"):
        read_scores(tmp_path / "scores.pt")


BATCHES = [SCORES[:4], SCORES[4:]]
CHOSEN: dict[str, tuple[Any, str | None]] = {
    "a dict with ids": ({"ids": ["a", "b"], 3: torch.zeros(5), "scores": SCORES, "step": 7}, None),
    "a dict with integers": ({"ids": torch.zeros(6, 4, dtype=torch.int64), "scores": SCORES}, None),
    "a dict in a dict": ({"results": {"influence": SCORES}}, None),
    "a list": ([SCORES], None),
    "a tuple with names": ((SCORES, ["a", "b"]), None),
    "batches": (BATCHES, None),
    "batches in a dict": ({"scores": tuple(BATCHES), "name": "x"}, None),
    "rows": (list(SCORES.unbind()), None),
    "columns": ([SCORES[:, :1], SCORES[:, 1:]], None),
    "nested lists": (SCORES.double().tolist(), None),
    "nested lists in a dict": ({"scores": SCORES.double().tolist(), "n": 6}, None),
    "one of two": ({"other": SCORES + 1, "scores": SCORES}, "scores"),
    "one by its number": ({3: SCORES, 4: SCORES + 1}, "3"),
    "one of a list": ([SCORES + 1, "text", SCORES], "2"),
    "one in a dict in a dict": ({"a": {"scores": SCORES}, "b": {"scores": SCORES + 1}}, "a.scores"),
}


@pytest.mark.parametrize("name", CHOSEN)
def test_table_in_a_container_is_read(tmp_path: Path, name: str) -> None:
    content, key = CHOSEN[name]
    torch.save(content, tmp_path / "scores.pt")
    assert np.array_equal(read_saved(tmp_path / "scores.pt", key).array, SCORES.numpy())


def test_integers_are_taken_if_there_is_no_other_table(tmp_path: Path) -> None:
    torch.save({"counts": INDICES, "total": 6}, tmp_path / "scores.pt")
    assert np.array_equal(read_scores(tmp_path / "scores.pt"), INDICES.double().numpy())


ITSELF: list[Any] = [SCORES[0]]
ITSELF.append(ITSELF)
UNCLEAR: dict[str, tuple[Any, str | None, str]] = {
    "two tables": ({"b": SCORES, "a": SCORES}, None, "got 'b', 'a'. Choose one with --key NAME"),
    "no such name": ({"b": SCORES, "a": SCORES, "ids": ["x"]}, "c", "the name 'c', got 'a', 'b'. Give one of these"),
    "a name of one tensor": (SCORES, "c", "got no arrays with names. Leave out --key"),
    "no table": ({"loss": torch.zeros(3)}, None, r"got 'loss' \(3,\). Check"),
    "no numbers": ({"a": "text"}, None, "an object of type dict without numbers"),
    "nothing": ([], None, "an object of type list without numbers"),
    "ragged lists": ([[1.0, 2.0], [3.0]], None, "without numbers"),
    "lists without numbers": ([[], []], None, "without numbers"),
    "batches of several widths": ([SCORES, SCORES[:2, :3]], None, r"got \(6, 4\), \(2, 3\)"),
    "a list that contains itself": (ITSELF, None, "two dimensions, got"),
    "three dimensions": (SCORES[None], None, r"got shape \(1, 6, 4\)"),
    "300 layers": ({f"layer{i}.{'x' * 90}": SCORES for i in range(300)}, None, "and 292 more"),
}


@pytest.mark.parametrize("name", UNCLEAR)
def test_unclear_content_is_refused_and_named(tmp_path: Path, name: str) -> None:
    content, key, words = UNCLEAR[name]
    torch.save(content, tmp_path / "scores.pt")
    with pytest.raises(ProblemError, match=words) as refused:
        read_saved(tmp_path / "scores.pt", key)
    assert refused.value.problem.code in ("scores.several", "scores.shape")
    assert len(str(refused.value)) < 2000


def test_rows_in_the_order_of_training_are_refused(tmp_path: Path) -> None:
    """dattri-llm saves scores.pt beside metadata.json; an array that was put in order and saved there is read."""
    torch.save(SCORES, tmp_path / "scores.pt")
    (tmp_path / "metadata.json").write_text('{"row_train_ids": ["a"], "row_steps": [0]}')
    with pytest.raises(ProblemError, match="in the order of the training"):
        read_saved(tmp_path / "scores.pt")
    np.save(tmp_path / "scores.npy", SCORES.numpy())
    assert np.array_equal(read_scores(tmp_path / "scores.npy"), SCORES.numpy())


class Hostile:
    """An object whose unpickling runs code."""

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return (exec, ("raise SystemExit('it ran')",))


@pytest.mark.parametrize("write", [torch.save, lambda content, path: path.write_bytes(pickle.dumps(content))])
@pytest.mark.parametrize("content", [Hostile(), {"scores": Hostile()}], ids=["code", "a dict"])
def test_other_objects_are_refused_without_running_them(tmp_path: Path, content: object, write: Any) -> None:
    path = tmp_path / "scores.pth"
    write(content, path)
    with pytest.raises(ProblemError, match="cannot read as tensors") as refused:
        read_saved(path)
    assert refused.value.problem.code == "scores.object"
    assert list(tmp_path.iterdir()) == [path]


def test_damaged_file_is_refused_wherever_it_ends_or_changes(tmp_path: Path) -> None:
    """Every 37th byte of both forms of torch.save files is changed, and the files end at every 53rd byte."""
    path = tmp_path / "scores.pt"
    for archive in (True, False):
        buffer = io.BytesIO()
        torch.save({"scores": SCORES, "ids": ["a"]}, buffer, _use_new_zipfile_serialization=archive)
        whole = buffer.getvalue()
        changed = [whole[:at] + bytes([whole[at] ^ 0x55]) + whole[at + 1 :] for at in range(4, len(whole), 37)]
        for content in changed + [whole[:at] for at in range(0, len(whole), 53)]:
            path.write_bytes(content)
            with suppress(ProblemError):
                assert read_scores(path).ndim == 2


def test_missing_torch_and_missing_file_are_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(FileNotFoundError):
        read_tensor(tmp_path / "scores.pt")
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(ProblemError, match="torch is not installed"):
        read_tensor(tmp_path / "scores.pt")


@pytest.mark.parametrize("has_torch", [True, False])
@pytest.mark.parametrize("new", [True, False])
def test_arrays_in_torch_files_and_pickles_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, has_torch: bool, new: bool
) -> None:
    """torch with weights_only refuses NumPy arrays; without torch, dense tensors are read, too."""
    array, path = SCORES.numpy(), tmp_path / "scores.pt"
    contents: list[Any] = [array, {"scores": array, "ids": ["a"]}, [array[:2], array[2:]], SCORES, {"scores": SCORES}]
    for content in contents:
        torch.save(content, path, _use_new_zipfile_serialization=new)
        with monkeypatch.context() as patch:
            if not has_torch:
                patch.setitem(sys.modules, "torch", None)
            assert read_tensor(path).tobytes() == array.tobytes()
    for pickled in (array, {"scores": array}, array.tolist()):
        path.write_bytes(pickle.dumps(pickled))
        assert np.array_equal(read_tensor(path), array)
    torch.save(SCORES.to_sparse(), path, _use_new_zipfile_serialization=new)
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(ProblemError, match="torch is not installed"):
        read_tensor(path)


@pytest.mark.parametrize("new", [True, False])
def test_server_rejects_torch_file_and_explains_how_to_send_it(new: bool) -> None:
    file = io.BytesIO()
    torch.save({"scores": torch.zeros(3, 2)}, file, _use_new_zipfile_serialization=new)
    with pytest.raises(ProblemError, match="The command line reads tensors of") as caught:
        read_header(file.getvalue(), len(file.getvalue()))
    assert caught.value.problem.code == "scores.object"


@pytest.mark.parametrize("value", [INDICES, list(INDICES), torch.tensor([3.5, 4.5])])
def test_read_array_reads_torch_file_whatever_its_name(tmp_path: Path, value: Any) -> None:
    torch.save(value, tmp_path / "misnamed.npy")
    expected = value if isinstance(value, torch.Tensor) else torch.stack(value)
    assert np.array_equal(read_array(tmp_path / "misnamed.npy"), expected.numpy())
