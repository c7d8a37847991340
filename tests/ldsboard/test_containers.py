"""Choosing the subsets or the margins among everything that a file holds."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from ldsboard.importing.containers import Part, choose

rng = np.random.default_rng(3)
VALUES = rng.normal(size=(8, 3)).astype(np.float32)
INDICES = rng.permuted(np.tile(np.arange(6), (8, 1)), axis=1)[:, :4]
RAGGED = [[0, 1], [2]]


@pytest.mark.parametrize(
    "content",
    [
        (VALUES, INDICES),
        [INDICES, VALUES],
        (VALUES.tolist(), INDICES.tolist()),
        {"a": VALUES, "b": INDICES},
        {"masks": INDICES, "margins": VALUES, "other": VALUES[:, :1], "ids": np.zeros((8, 2), int)},
        {"lds": {"Train_Subset": INDICES.tolist(), "test_loss": VALUES.tolist()}, "seed": 3, "name": "a", "none": None},
        {"baseline": np.float32(0.4), "per_doc": np.zeros(3), "per_subset": VALUES, "indices": INDICES},
        [{"masks": INDICES}, {"margins": VALUES}],
    ],
)
def test_choose_takes_the_table_by_name_or_by_kind(content: Any) -> None:
    assert np.array_equal(choose(content, Part.MASKS), INDICES)
    assert np.array_equal(np.asarray(choose(content, Part.MARGINS), np.float32), VALUES)


def test_choose_takes_the_only_table_whatever_its_kind() -> None:
    for part in Part:
        assert choose(VALUES, part) is VALUES
        assert np.array_equal(choose(list(VALUES), part), VALUES)
        assert np.array_equal(choose({"a": INDICES, "b": 3}, part), INDICES)
    assert [row.tolist() for row in choose({"subsets": RAGGED, "margins": VALUES}, Part.MASKS)] == RAGGED
    assert np.array_equal(choose(([[0.5], [1.5]], [RAGGED[0], RAGGED[1]]), Part.MARGINS), [[0.5], [1.5]])
    assert np.array_equal(choose({"labels": np.arange(5), "margins": VALUES}, Part.LABELS), np.arange(5))


def test_choose_stacks_rows_and_keeps_rows_of_different_lengths() -> None:
    two_rows = [[1, 2], [3, 4]]
    assert np.array_equal(choose(two_rows, Part.MASKS), two_rows)
    assert [row.tolist() for row in choose(RAGGED, Part.MASKS)] == RAGGED
    runs = [rng.normal(size=(2, 3)) for _ in range(5)]
    assert np.array_equal(choose(runs, Part.MARGINS), np.stack(runs))


def test_choose_takes_the_named_table() -> None:
    content = {"first": VALUES, "second": {"deep": [VALUES + 1, {"x": INDICES}]}}
    assert np.array_equal(choose(content, Part.MARGINS, "first"), VALUES)
    assert np.array_equal(choose(content, Part.MARGINS, "second.deep.0"), VALUES + 1)
    with pytest.raises(ValueError, match=r"there is no 'third', but 'first' \(float32 \(8, 3\)\), 'second\.deep\.0'"):
        choose(content, Part.MARGINS, "third")


def test_choose_refuses_an_unclear_choice_and_lists_the_tables() -> None:
    with pytest.raises(
        ValueError, match=r"unclear which are the margins: .*'a' .*, 'b' .*\. Choose with --margins-key NAME\.$"
    ):
        choose({"a": VALUES, "b": VALUES + 1, "c": RAGGED}, Part.MARGINS)
    with pytest.raises(ValueError, match=r"'table0' \(float32 \(8, 3\)\), .* and 12 more\. Choose with --masks-key"):
        choose({f"table{i}": VALUES for i in range(20)}, Part.MASKS)
    with pytest.raises(ValueError, match=r"unclear which are the labels: .*'s' \(lists\)\.$"):
        choose({"a": np.arange(3), "b": np.arange(4), "s": RAGGED}, Part.LABELS)
    empty: list[Any] = [{}, [], {"a": "text", "b": 3, "c": ["x", "y"]}]
    for content in empty:
        with pytest.raises(ValueError, match="there is no table of numbers"):
            choose(content, Part.MASKS)
    with pytest.raises(ValueError, match="unclear") as refused:
        choose({"x" * 10_000 + str(i): VALUES for i in range(20)}, Part.MARGINS)
    assert len(str(refused.value)) < 1000
