"""Reading numbers in JSON, JSON lines, YAML and lines of numbers."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import yaml

from ldsboard.importing.texts import read_text

LISTS = [[4, 1, 0], [2, 3], [11]]


def rows(content: Any) -> list[list[float]]:
    return [np.asarray(row).tolist() for row in content]


@pytest.mark.parametrize(
    "text",
    [
        json.dumps(LISTS),
        json.dumps(LISTS, indent=2),
        "\ufeff" + json.dumps(LISTS),
        "\n".join(map(json.dumps, LISTS)),
        "\n\n".join(map(json.dumps, LISTS)) + "\n\n",
        yaml.safe_dump(LISTS),
        yaml.safe_dump(LISTS, default_flow_style=None),
        yaml.safe_dump(LISTS, default_flow_style=True),
        yaml.safe_dump(LISTS, explicit_start=True, explicit_end=True),
        yaml.safe_dump(LISTS, indent=4),
        "# subsets\n" + yaml.safe_dump(LISTS),
        "-\n  - 4\n  - 1\n  - 0\n-\n  - 2\n  - 3\n-\n  - 11\n",
        "4,1,0\n2,3\n11\n",
        "4, 1, 0\r\n2, 3\r\n11\r\n\r\n  \r\n",
        "4;1;0\n2;3\n11",
        "4\t1\t0\n2\t3\n11",
        "  4 1   0\n2 3 \n11\n\n\n",
        "# n 12\n4 1 0\n2 3\n11",
    ],
)
def test_read_text_reads_lists_of_indices(text: str) -> None:
    assert rows(read_text(text)) == LISTS


def test_read_text_reads_long_flow_lists_that_yaml_wraps() -> None:
    lists = np.random.default_rng(0).integers(0, 5000, (3, 200)).tolist()
    for flow in (None, True):
        text = yaml.safe_dump(lists, default_flow_style=flow)
        assert max(map(len, text.split("\n"))) < 100
        assert rows(read_text(text)) == lists


def test_read_text_reads_one_object_a_line() -> None:
    lines: list[dict[str, Any]] = [{"_meta": {"num_train": 12}}]
    lines += [{"train_subset": row, "test_loss": [0.5 * i, 1]} for i, row in enumerate(LISTS)]
    found = read_text("".join(json.dumps(line) + "\n" for line in lines) + "\n")
    assert found == {"train_subset": LISTS, "test_loss": [[0.0, 1], [0.5, 1], [1.0, 1]]}


@pytest.mark.parametrize("meta", [{"_meta": 1, "n": 40}, {"n": 40, "_meta": {"seed": 0}}, {"_meta": 1, "values": [5]}])
def test_read_text_skips_a_first_object_with_the_key_meta(meta: dict[str, Any]) -> None:
    for lines in ([{"values": [1]}, {"values": [2]}], [[1], [2]]):
        text = "\n".join(map(json.dumps, [meta, *lines]))
        assert read_text(text) == ({"values": [[1], [2]]} if isinstance(lines[0], dict) else lines)
    every = [{"_meta": i, "values": [i]} for i in range(3)]
    assert read_text("\n".join(map(json.dumps, every))) == {"_meta": [0, 1, 2], "values": [[0], [1], [2]]}
    with pytest.raises(ValueError, match="line 3 has other keys than the lines before it"):
        read_text("\n".join(map(json.dumps, [meta, {"values": [1]}, meta])))


def test_read_text_keeps_blank_lines_between_rows() -> None:
    assert rows(read_text("1 2\n\n3\n\n")) == [[1, 2], [], [3]]
    assert read_text("") == read_text(" \n") == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1,2\n3,,4\n", "line 2, column 2 is empty: a number is missing"),
        (",1,2\n", "line 1, column 1 is empty"),
        ("1,2\n3,\n", "line 2, column 2 is empty"),
        ("1\t2\n\t3\n", "line 2, column 1 is empty"),
        ("1;2\n3;;4\n", "line 2, column 2 is empty"),
        ("1,2\n3,four\n", "line 2: could not convert string to float: 'four'"),
        (f"1\n{'x' * 5000}\n", "line 2: could not convert"),
        ("[1, 2", "Expecting"),
        ("{", "Expecting"),
        ("[" * 100_000, "nested too deeply"),
        ("[1]\n[2", "line 2 is no JSON"),
        ("[1]\n" + "[" * 100_000, "line 2 is no JSON"),
        ('[1]\n{"a": 1}', "line 2 holds another type"),
        ('{"a": 1}\n[1]', "line 2 holds another type"),
        ('{"a": 1}\n5', "line 2 holds another type"),
        ('{"a": 1}\n{"b": 1}', "line 2 has other keys"),
        ("- 1\n- 2\n", "a list of integers instead of a list of lists: '- 1'"),
        ("- - 1\n  - a\n", "not a list of lists of integers: '  - a'"),
        ("- - 1\n  -\n", "not a list of lists of integers: '  -'"),
        ("- a: [1, 2]\n", "not a list of lists of integers"),
        ("- [1, a]\n", "invalid literal for int"),
    ],
)
def test_read_text_refuses_other_text_and_names_the_line(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message) as refused:
        read_text(text)
    assert len(str(refused.value)) < 600
