"""Reading lines of numbers: separators, headers, decimal commas and integers that float64 would round."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from ldsboard import ProblemError
from ldsboard.formats.lines import RemedyError, read_lines
from ldsboard.formats.saved_scores import read_saved
from ldsboard.importing.containers import Part
from ldsboard.importing.tables import TableError, read_array, read_table
from ldsboard.problems import MAX_SIDE
from tests.ldsboard.suggested_commands import run_suggested_command

if TYPE_CHECKING:
    from numpy.typing import NDArray

rng = np.random.default_rng(4)
DECIMALS = rng.normal(size=(9, 4)).round(5)
LISTS = rng.permuted(np.tile(np.arange(12), (9, 1)), axis=1)[:, :5]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty working directory, so that paths are short."""
    monkeypatch.chdir(tmp_path)


def frame(table: NDArray[Any], *, header: bool, index: bool, separator: str = ",") -> str:
    """Return what ``pandas.DataFrame(table).to_csv(header=header, index=index, sep=separator)`` returns."""
    rows = [[repr(value) for value in row] for row in table.tolist()]
    if header:
        rows = [list(map(str, range(table.shape[1]))), *rows]
    if index:
        names = [*([""] if header else []), *map(str, range(len(table)))]
        rows = [[name, *row] for name, row in zip(names, rows, strict=True)]
    return "".join(separator.join(row) + "\n" for row in rows)


def test_lines_of_tabs_and_last_cells_of_a_line_are_empty_cells() -> None:
    for text, where in (
        ("1\t2\n3\t\n", "line 2, column 2"),
        ("1\t2\n3\t4\n\t\n", "line 3, column 1"),
        ("1\t2\n\t\n3\t4\n", "line 2, column 1"),
        ("1\t\n2\t\n", "line 1, column 2"),
        ("1\t2\t\r\n".replace("\r", ""), "line 1, column 3"),
    ):
        with pytest.raises(ValueError, match=f"{where} is empty: a number is missing"):
            read_lines(text)
    for text in ("1\t2\n3\t4\n\n", "1\t2\n3\t4\n  \n", "1,2\n3,4\n\t\n", "1 2\n3 4\n \t \n\n"):
        assert [row.tolist() for row in read_lines(text)] == [[1, 2], [3, 4]]


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("index", [False, True])
@pytest.mark.parametrize(
    "table", [DECIMALS, LISTS, (LISTS > 5).astype(int), LISTS > 5], ids=["decimals", "lists", "masks", "bools"]
)
def test_header_of_pandas_is_refused_and_the_command_leaves_it_out(
    table: NDArray[Any], separator: str, index: bool
) -> None:
    path = Path('it\'s "a b".csv')
    text = frame(table, header=True, index=index, separator=separator)
    path.write_text("# made by pandas\n" + text + "\n  \n")
    if table is LISTS and not index:  # the header can be the subset of the first examples
        assert len(read_table(path)) == 10
        return
    with pytest.raises(
        TableError, match=r"Cannot read rows of numbers from .*line 2 is a header, as pandas writes it"
    ) as refused:
        read_table(path, Part.MARGINS)
    assert ("its first column numbers or names the rows" in str(refused.value)) is index
    run_suggested_command(str(refused.value))
    assert np.array_equal(read_array(path.with_suffix(".numbers.csv")), table)


def test_header_of_words_is_refused_with_a_command() -> None:
    path = Path("margins.csv")
    words = "".join(
        f"model {i},{row}" for i, row in enumerate(frame(DECIMALS, header=False, index=False).splitlines(keepends=True))
    )
    for header, expected in (
        ("\u00e4,b,c,d\n" + frame(DECIMALS, header=False, index=False), DECIMALS),
        (",a,b,c,d\n" + words, DECIMALS),
        (",a,b,c,d\n" + frame(DECIMALS, header=False, index=True), DECIMALS),
    ):
        path.write_text(header, encoding="utf-8")
        with pytest.raises(TableError, match="line 1 is a header, as pandas writes it") as refused:
            read_array(path)
        run_suggested_command(str(refused.value))
        assert np.array_equal(read_array(path.with_suffix(".numbers.csv")), expected)
    for text, message in (("a,b\nc,d\n", "line 1: could not convert"), (",1,2\n3,4,5\n", "line 1, column 1 is empty")):
        path.write_text(text)
        with pytest.raises(TableError, match=message):
            read_array(path)


@pytest.mark.parametrize(
    "text",
    [
        "0,5\n1,25\n-2,125\n",
        "0,5\n",
        " -0,5 \n1,2\n",
        "0,05,1,5\n3,4,2,0\n",
        "1,5,-0,5\n3,4,2,0\n",
        "0,5;1,25\n-2,125;3\n",
        "0,5\t1,25\n-2,125\t3\n",
        "0,5 1,25\n-2,125 3\n",
    ],
)
def test_decimal_commas_are_refused_and_the_command_writes_points(text: str) -> None:
    path = Path("margins.csv")
    path.write_text(text)
    with pytest.raises(TableError, match="comma") as refused:
        read_array(path, Part.MARGINS)
    run_suggested_command(str(refused.value))
    if text.count(",") > 2 * text.count("\n") and ";" not in text and " " not in text and "\t" not in text:
        return  # the commas between the numbers are also those within them; nothing can be read
    expected = np.loadtxt(io.StringIO(text.replace(",", ".").replace(";", " ")), ndmin=2)
    assert np.array_equal(read_array(path.with_suffix(".points.csv")), expected)


def test_scores_with_a_header_or_decimal_commas_are_refused_with_a_command() -> None:
    path = Path("scores of 'a'.csv")
    for text, suffix in (
        (frame(DECIMALS, header=True, index=True), ".numbers.csv"),
        ("a,b,c,d\n" + frame(DECIMALS, header=False, index=False), ".numbers.csv"),
        (frame(DECIMALS, header=False, index=False, separator=";").replace(".", ","), ".points.csv"),
    ):
        path.write_text(text)
        with pytest.raises(
            ProblemError, match=r"got a text in which .* header|got a text in which .* comma"
        ) as refused:
            read_saved(path)
        run_suggested_command(str(refused.value))
        assert np.array_equal(read_saved(path.with_suffix(suffix)).array, DECIMALS)
    path.write_text("1,2\n3,four\n")
    with pytest.raises(ProblemError, match="is no table of numbers"):
        read_saved(path)


def test_no_command_is_shortened() -> None:
    with pytest.raises(RemedyError) as refused:
        read_lines("a,b\n1,2\n")
    for length in range(1, 400, 7):
        words = refused.value.command(Path("x" * length))
        assert words == "Write the numbers alone to another file." or words.endswith(
            f"{'x' * length}.numbers.csv instead."
        )
        assert ("python -c" in words) is (length <= 100) or 100 < length < 125
        assert len(words) < MAX_SIDE


def test_integers_between_commas_are_no_decimals() -> None:
    path = Path("table.csv")
    for text, part in (
        ("0, 5\n1, 7\n", Part.MARGINS),
        ("0;5\n1;7\n", Part.MARGINS),
        ("0,5,1\n1,7,2\n", Part.MARGINS),
        ("0,5\n1,-7\n", Part.MARGINS),
        ("0,5\n1,7.5\n", Part.MARGINS),
        ("0,5\n1,7\n", Part.MASKS),
        ("01,05\n02,07\n", Part.MASKS),
    ):
        path.write_text(text)
        rows = [line.replace(",", " ").replace(";", " ").split() for line in text.splitlines()]
        assert read_array(path, part).tolist() == [[float(cell) for cell in row] for row in rows]


LARGE = 2**53 + 1


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (f"{LARGE},0.5\n", "line 1"),
        (f"1,2\n-{LARGE},0.5\n", "line 2"),
        (f"1,2\n+00{LARGE} 0.5\n".replace(",", " "), "line 2"),
        (f"{2**63},1\n", "line 1"),
        (f"{LARGE},1\n0.5,1\n", "there are"),
        (f"[[{LARGE}, 0.5], [1, 2]]", "there are"),
        (f"[[{LARGE}, 5], [1, 0.5]]", "there are"),
        (f"[[{2**63}, -1], [1, 2]]", "there are"),
        (f'{{"values": [[{LARGE}, 0.5], [1, 2]]}}', "there are"),
        (f"[{LARGE}, 0.5]\n[1, 2]\n", "there are"),
        (f'{{"v": [{LARGE}, 0.5]}}\n{{"v": [1, 2]}}\n', "there are"),
    ],
)
def test_integers_that_float64_rounds_are_refused(text: str, line: str) -> None:
    path = Path("table")
    path.write_text(text)
    message = f"from .*table: {line} .*integers of a magnitude above 2\\*\\*53 .* Subtract a common offset"
    with pytest.raises(TableError, match=message) as refused:
        read_table(path, Part.MARGINS)
    assert isinstance(refused.value.__cause__, RemedyError)


def test_integers_that_float64_holds_are_read_beside_decimals() -> None:
    for text in (
        f"{2**53},0.5\n-{2**53},1e300\n9007199254740993.0,1\n",
        f"[[{2**53}, 0.5], [-{2**53}, 1e300], [1e17, 1]]",
    ):
        Path("table").write_text(text)
        assert read_array(Path("table"))[:2].tolist() == [[2.0**53, 0.5], [-(2.0**53), 1e300]]
    Path("whole").write_text(f"{LARGE} 1\n2 3\n")
    assert read_array(Path("whole")).tolist() == [[LARGE, 1], [2, 3]]
