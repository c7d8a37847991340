"""Score files are read by content: several arrays, other types, texts, and folders of batches; unclear ones are refused."""

from __future__ import annotations

import io
import json
import pickle
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from ldsboard import GroundTruth, ProblemError, lds
from ldsboard.arrays.scores import read_scores
from ldsboard.formats.array_pickles import ArrayPickleError
from ldsboard.formats.saved_scores import read_saved
from ldsboard.formats.torch_streams import read_stream
from tests.ldsboard.library_files import bfloat16_bits, write_safetensors

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

    from tests.ldsboard.conftest import MakeProblem

SCORES = (np.arange(24).reshape(6, 4) - 11.5).astype("f4")
NAMES = ["scores.npy", "scores.mmap", "scores.NPY", "scores.dat", "scores"]


def save(path: Path, array: NDArray[Any]) -> None:
    """Write an .npy file under any name."""
    with path.open("wb") as file:
        np.save(file, array)


def savez(path: Path, **arrays: Any) -> None:
    """Write an .npz file under any name."""
    with path.open("wb") as file:
        np.savez(file, **arrays)


FORMS: dict[str, Callable[[Path], None]] = {
    "npy": lambda path: save(path, SCORES),
    "npy in Fortran order": lambda path: save(path, np.asfortranarray(SCORES)),
    "npz": lambda path: savez(path, scores=SCORES),
    "npz with another array first": lambda path: savez(path, losses=np.zeros(3), scores=SCORES),
    "npz with other arrays": lambda path: savez(path, scores=SCORES, ids=np.arange(6), flags=np.zeros((2, 2), bool)),
    "safetensors": lambda path: write_safetensors(path, {"scores": SCORES}),
    "safetensors with other tensors": lambda path: write_safetensors(path, {"scores": SCORES, "order": SCORES[0]}),
    "safetensors with integers": lambda path: write_safetensors(path, {"scores": SCORES, "at": np.zeros((6, 4), "i8")}),
    "bfloat16": lambda path: write_safetensors(path, {"scores": bfloat16_bits(SCORES)}),
    "a long header": lambda path: write_safetensors(path, {"scores": SCORES}, {"settings": "x" * 100_000}),
    "lines with commas": lambda path: np.savetxt(path, SCORES, delimiter=","),
    "lines with semicolons": lambda path: np.savetxt(path, SCORES, delimiter=";"),
    "lines with tabs": lambda path: np.savetxt(path, SCORES, delimiter="\t"),
    "lines with blanks": lambda path: np.savetxt(path, SCORES),
    "JSON": lambda path: _write_json(path, SCORES.astype("f8").tolist()),
    "JSON in a dict": lambda path: _write_json(path, {"scores": SCORES.astype("f8").tolist(), "n": 6}),
}


def _write_json(path: Path, content: object) -> None:
    path.write_text(json.dumps(content))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", NAMES)
def test_content_decides_and_not_the_suffix(tmp_path: Path, form: str, name: str) -> None:
    FORMS[form](tmp_path / name)
    found = read_scores(tmp_path / name)
    assert found.dtype.kind == "f"
    assert np.array_equal(found, SCORES)
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("dtype", ["i4", "i8", "u1", "?"])
def test_integers_of_all_formats_are_exact(tmp_path: Path, dtype: str) -> None:
    whole = (np.arange(24).reshape(6, 4) * (2**48 if dtype == "i8" else 1)).astype(dtype)
    save(tmp_path / "whole", whole)
    savez(tmp_path / "archive", whole=whole)
    for name in ("whole", "archive"):
        assert np.array_equal(read_scores(tmp_path / name), whole.astype("f8"))
    if dtype == "i8":
        write_safetensors(tmp_path / "tensors", {"whole": whole, "scale": np.ones(1, "f4")})
        assert np.array_equal(read_scores(tmp_path / "tensors"), whole.astype("f8"))
        save(tmp_path / "whole", whole + 2**53)
        with pytest.raises(ProblemError, match=r"up to 2\*\*53"):
            read_scores(tmp_path / "whole")


REFUSED: dict[str, tuple[Callable[[Path], object], str | None, str, str]] = {
    "complex": (lambda path: save(path, SCORES + 1j), None, "scores.dtype", "type '<c8'"),
    "records": (
        lambda path: save(path, np.zeros(60, [(f"s{i}", "f4") for i in range(2000)])),
        None,
        "scores.dtype",
        "struct",
    ),
    "objects": (lambda path: save(path, np.array([{"x" * 5000: 1}], object)), None, "scores.object", "unpickling"),
    "objects in an archive": (
        lambda path: savez(path, a=np.array([None]), b=SCORES),
        None,
        "scores.object",
        "Python objects",
    ),
    "complex in an archive": (lambda path: savez(path, a=SCORES + 1j), None, "scores.dtype", "type '<c8'"),
    "one dimension in an archive": (lambda path: savez(path, a=SCORES[0]), None, "scores.shape", "shape"),
    "complex among others": (lambda path: savez(path, a=SCORES + 1j, b=SCORES[0]), None, "scores.dtype", "real part"),
    "two in an archive": (lambda path: savez(path, a=SCORES, b=SCORES), None, "scores.several", "'a', 'b'. Choose"),
    "two tensors": (
        lambda path: write_safetensors(path, {"a": SCORES, "b": SCORES}),
        None,
        "scores.several",
        "'a', 'b'",
    ),
    "no table": (
        lambda path: write_safetensors(path, {"a": SCORES[0], "b": SCORES[:1, None]}),
        None,
        "scores.several",
        "'a'",
    ),
    "no tensors": (lambda path: write_safetensors(path, {}), None, "scores.several", "no tensors"),
    "a list for a header": (
        lambda path: path.write_bytes(b"\x04" + bytes(7) + b"{}[]"),
        None,
        "scores.unreadable",
        "JSON",
    ),
    "a key without names": (lambda path: save(path, SCORES), "a", "scores.unreadable", "Leave out --key"),
    "broken JSON": (
        lambda path: path.write_text("[[1, 2], [3"),
        None,
        "scores.unreadable",
        "begins like JSON and is not",
    ),
    "deep JSON": (lambda path: path.write_text("[" * 20_000), None, "scores.unreadable", "begins like JSON and is not"),
    "many lists": (lambda path: _write_json(path, [[[0.5] * 40] * 10] * 30), None, "scores.several", "and 22 more"),
    "prose": (
        lambda path: path.write_text("my own notes\n" * 400),
        None,
        "scores.unreadable",
        "begins with 'my own notes'",
    ),
    "blanks": (lambda path: path.write_text("  \n"), None, "scores.empty", "shape"),
    "a pickle": (
        lambda path: path.write_bytes(b"\x80\x04\x95 long" + b"x" * 100_000),
        None,
        "scores.object",
        "tensors",
    ),
    "HDF5": (lambda path: path.write_bytes(b"\x89HDF\r\n\x1a\n"), None, "scores.unreadable", "an HDF5 file"),
    "gzip": (lambda path: path.write_bytes(b"\x1f\x8b" + bytes(90)), None, "scores.unreadable", "Decompress"),
    "nothing": (lambda path: path.write_bytes(b""), None, "scores.empty", "0 bytes"),
    "a cut archive": (lambda path: path.write_bytes(_archive()[:-30]), None, "scores.", "archive"),
    "a damaged archive": (
        lambda path: path.write_bytes(_archive().replace(b"b.npy", b"c.npy", 1)),
        None,
        "scores.",
        "a",
    ),
}


def _archive() -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, a=SCORES, b=SCORES)
    return buffer.getvalue()


@pytest.mark.parametrize("name", REFUSED)
def test_unclear_file_is_refused_in_few_words(tmp_path: Path, name: str) -> None:
    write, key, code, words = REFUSED[name]
    write(tmp_path / "scores")
    with pytest.raises(ProblemError, match=words) as refused:
        read_scores(read_saved(tmp_path / "scores", key).array)
    assert refused.value.problem.code.startswith(code)
    assert len(str(refused.value)) <= 2000


def test_messages_about_arrays_and_tensors_are_short(make_problem: MakeProblem) -> None:
    _, masks, margins = make_problem()
    records = np.zeros(30, [(f"score_{j}", "f4") for j in range(2000)])
    with pytest.raises(ProblemError) as refused:
        GroundTruth(masks, margins).score(records)
    assert len(str(refused.value)) <= 2000
    assert " … " in refused.value.problem.detail
    assert refused.value.problem.as_dict()["got"] in refused.value.problem.detail


def fill(folder: Path, names: list[str], size: int = 1) -> None:
    """Write the rows of `SCORES`, `size` in each, as files with these names."""
    folder.mkdir(exist_ok=True)
    for k, name in enumerate(names):
        save(folder / name, SCORES[k * size : (k + 1) * size])


def test_batches_are_joined_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    for case, names in enumerate(
        (["0.npy", "1.npy", "2.npy"], ["a1.npy", "a2.npy", "a3.npy"], ["x9_00.npy", "x9_01.npy", "x9_2.npy"])
    ):
        fill(tmp_path / str(case), names, 2)
        (tmp_path / str(case) / "config.yaml").touch()
        assert np.array_equal(read_scores(tmp_path / str(case)), SCORES)
    many = tmp_path / "many"
    fill(many, [f"{k}.npy" for k in range(6)])
    for k in range(6, 12):
        save(many / f"{k}.npy", SCORES[k - 6 : k - 5])
    assert np.array_equal(read_scores(many), np.concatenate([SCORES, SCORES]))


FOLDERS: dict[str, tuple[list[str], str, str]] = {
    "nothing": ([], "scores.unreadable", "nothing in it"),
    "other files": (["a.txt", "b.txt"], "scores.unreadable", "'a.txt', 'b.txt'. Name the file"),
    "one file": (["scores.npy"], "scores.unreadable", "Name the file"),
    "batches and another file": (["0.npy", "1.npy", "scores.npy"], "scores.unreadable", "Name the file"),
    "two kinds of batches": (["a0.npy", "b1.npy"], "scores.unreadable", "Name the file"),
    "a number twice": (["0.npy", "1.npy", "01.npy"], "scores.unreadable", "Name the file"),
    "a gap": (["0.npy", "1.npy", "3.npy"], "scores.several", "the numbers 0, 1, 3"),
    "a late begin": (["2.npy", "3.npy"], "scores.several", "the numbers 2, 3"),
    "a number of 20 digits": (["0.npy", f"{10**20}.npy"], "scores.several", "the numbers 0, 1000"),
}


@pytest.mark.parametrize("name", FOLDERS)
def test_unclear_folder_is_refused(tmp_path: Path, name: str) -> None:
    names, code, words = FOLDERS[name]
    fill(tmp_path / "cache", names)
    with pytest.raises(ProblemError, match=words) as refused:
        read_saved(tmp_path / "cache")
    assert refused.value.problem.code == code


def test_rows_in_the_order_of_training_are_refused(tmp_path: Path) -> None:
    """The scores of dattri-llm would have an LDS near 0, because their rows belong to other examples."""
    about = tmp_path / "metadata.json"
    for content, words in (
        (json.dumps({"row_train_ids": ["a"], "row_steps": [0]}), "rows are in the order of the training"),
        ("[1]", "Name the file"),
        ("no JSON", "Name the file"),
    ):
        about.write_text(content)
        with pytest.raises(ProblemError, match=words):
            read_saved(tmp_path)


def test_only_files_are_transposed(tmp_path: Path, make_problem: MakeProblem) -> None:
    scores, masks, margins = make_problem()
    save(tmp_path / "turned", scores.T)
    expected = lds(scores, masks, margins)
    with pytest.warns(UserWarning, match="so the file was transposed"):
        assert lds(tmp_path / "turned", masks, margins).lds == expected.lds
    with pytest.warns(UserWarning, match="so the file was transposed"):
        assert GroundTruth(masks, margins).score(str(tmp_path / "turned")).lds == expected.lds
    save(tmp_path / "cut", scores.T[1:])
    with pytest.raises(ProblemError, match="wrong shape"):
        GroundTruth(masks, margins).score(tmp_path / "cut")


def test_square_file_is_never_transposed_for_its_lds(tmp_path: Path, make_problem: MakeProblem) -> None:
    scores, masks, margins = make_problem(80, 30, 30)
    save(tmp_path / "turned", scores.T)
    assert GroundTruth(masks, margins).score(tmp_path / "turned").lds == lds(scores.T, masks, margins).lds


@pytest.mark.parametrize("form", FORMS)
def test_damaged_file_is_read_or_refused(tmp_path: Path, form: str) -> None:
    """At most 60 places of each file are changed, and the file ends at each of these places; no other exception is raised."""
    path = tmp_path / "scores"
    FORMS[form](path)
    whole = path.read_bytes()
    for at in range(0, len(whole), 1 + len(whole) // 60):
        for content in (
            whole[:at],
            whole[:at] + bytes([whole[at] ^ 0x55]) + whole[at + 1 :],
            whole[:at] + whole[at + 3 :],
        ):
            path.write_bytes(content)
            with suppress(ProblemError):
                assert read_scores(path).ndim == 2


def test_torch_file_before_version_1_6_with_numbers_of_no_tensor_is_refused() -> None:
    parts = [0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}, {}, ["1"]]
    with pytest.raises(ArrayPickleError, match="numbers of no tensor"):
        read_stream(b"".join(pickle.dumps(part, 2) for part in parts))
