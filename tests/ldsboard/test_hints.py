"""Hints of refused score files are code: each command is run on the scores that were refused, and makes the right file."""

from __future__ import annotations

import ast
import pickle
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from ldsboard import ProblemError
from ldsboard.arrays.scores import read_scores
from ldsboard.formats.saved_scores import read_saved
from ldsboard.formats.score_files import file_header, open_scores
from tests.ldsboard.library_files import write_safetensors

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SCORES = (np.arange(24).reshape(6, 4) * 2.0**40 + np.arange(4)).astype("f8")  # float32 would round these numbers
LIBRARY = Path(__file__).parents[2] / "ldsboard"
SOURCES = [*LIBRARY.glob("formats/*.py"), LIBRARY / "arrays/scores.py"]
CALL = re.compile(r"(?:numpy|np|torch|safetensors(?:\.\w+)?)\.(?:savez?|save_file)\(")


def commands(text: str) -> Iterator[str]:
    """Yield each call in a text that writes a file."""
    for found in CALL.finditer(text):
        depth = 0
        for end in range(found.end() - 1, len(text)):
            depth += {"(": 1, ")": -1}.get(text[end], 0)
            if not depth:
                break
        yield text[found.start() : end + 1]


def registry() -> set[str]:
    """Return all commands in the hints of the modules that read scores."""
    found = set()
    for source in SOURCES:
        for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and "\n" not in node.value:
                found |= set(commands(node.value))
    return found


def saved(array: Any) -> Callable[[Path], None]:
    """Return a function that writes an array by numpy.save."""

    def write(path: Path) -> None:
        with path.open("wb") as file:
            np.save(file, array)

    return write


def archived(*arrays: Any) -> Callable[[Path], None]:
    """Return a function that writes arrays by numpy.savez."""

    def write(path: Path) -> None:
        with path.open("wb") as file:
            np.savez(file, *arrays)

    return write


REFUSED: dict[str, Callable[[Path], object]] = {
    "nothing": lambda path: path.write_bytes(b""),
    "a broken header": lambda path: path.write_bytes(b"\x93NUMPY\x01\x00\x10\x00" + b"x" * 16),
    "objects": saved(SCORES.astype(object)),
    "integers": saved(SCORES.astype("i8")),
    "something else": lambda path: path.write_bytes(bytes(range(1, 255))),
    "prose": lambda path: path.write_text("these are no numbers"),
    "broken JSON": lambda path: path.write_text("[[1, 2"),
    "an HDF5 file": lambda path: path.write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(90)),
    "a pickle": lambda path: path.write_bytes(pickle.dumps(SCORES)),
    "two arrays": archived(SCORES, SCORES),
    "two tensors": lambda path: write_safetensors(path, {"a": SCORES, "b": SCORES}),
    "three dimensions": lambda path: write_safetensors(path, {"a": SCORES[None]}),
    "a header of 100 kB": lambda path: write_safetensors(path, {"a": SCORES}, {"x": "y" * 100_000}),
    "bfloat16": lambda path: write_safetensors(path, {"a": np.ones((6, 4), "u2")}),
}
HELD: dict[str, Callable[[], Any]] = {
    "an array": lambda: SCORES,
    "a transposed view": lambda: np.ascontiguousarray(SCORES.T).T,
    "integers": lambda: SCORES.astype("i8"),
    "lists": SCORES.tolist,
    "objects": lambda: SCORES.astype(object),
}
RUN: set[str] = set()


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.filterwarnings("error")
def test_commands_of_a_refusal_write_the_scores_that_were_refused(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = Path("refused")
    REFUSED[name](path)
    for read in (open_scores, read_saved):  # by the server, and on the user's machine
        try:
            read(path)
        except ProblemError as error:
            hint = error.problem.hint
        else:
            continue
        RUN.update(commands(hint))
        assert "'ldsboard " not in hint
        for command in commands(hint):
            for held in HELD.values():
                before = set(Path().iterdir())
                exec(command, {"numpy": np, "scores": held()})  # noqa: S102 -- the library wrote the command
                (made,) = set(Path().iterdir()) - before
                assert file_header(made).shape == SCORES.shape
                assert np.array_equal(read_scores(made), SCORES)
                made.unlink()


def test_every_command_in_a_hint_was_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in REFUSED if not RUN else ():  # this test may run alone
        (tmp_path / name).mkdir()
        test_commands_of_a_refusal_write_the_scores_that_were_refused(name, tmp_path / name, monkeypatch)
    assert registry() == RUN


def test_no_hint_leads_to_a_file_with_the_bytes_in_another_order() -> None:
    """`safetensors.numpy.save_file` of a transposed view silently writes the untransposed bytes."""
    assert registry()
    assert not [command for command in registry() if "save_file" in command or "float32" in command]
