"""Read numbers in text: JSON, one JSON object or list on each line, YAML lists of lists, and lines of numbers."""

from __future__ import annotations

import json
import re
from typing import Any

from ldsboard.formats.lines import read_lines

YAML = re.compile(r"(?:(?:#.*|---.*)?\n)*-[ \n]")
"""Begin of a YAML list: no line of numbers begins with a dash and a blank."""

INNER_LIST = re.compile(r"\[([^\[\]]*)\]")

META = "_meta"
"""Key of an object that describes a file of one object a line, in the first of these lines."""


def read_text(text: str, *, margins: bool = False) -> Any:
    """Return the numbers in a text; the type of the result depends on the form of the text.

    - JSON: the value that ``json.loads`` returns.
    - One JSON list on each line: the list of these lists.
    - One JSON object on each line: a dict with, for each key, the list of its values. An object whose only key begins with ``_``
      is skipped, and so is a first object that has the key ``_meta`` unless the second one has the same keys.
    - A YAML list of lists of integers: a list of lists.
    - Lines of numbers: a list with an array for each line, see `read_lines`. `margins` says whether the numbers are margins.

    Raises
    ------
    ValueError
        The text has none of these forms, or `read_lines` refuses it. For texts of several lines other than YAML, the message
        names the line.
    """
    text = text.removeprefix("\ufeff").replace("\r\n", "\n")
    start = text.lstrip()
    if start.startswith(("{", "[")):
        return _json(text)
    if YAML.match(start):
        return _yaml(start)
    return read_lines(text, margins=margins)


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("the lists are nested too deeply") from None
    except ValueError:
        if "\n" not in text.strip():
            raise
    return _json_lines(text)


def _json_lines(text: str) -> list[Any] | dict[str, list[Any]]:
    """Read a text that has a JSON object on each line, or a JSON list on each line; blank lines are skipped."""
    values = [(number, _json_line(number, line)) for number, line in enumerate(text.split("\n"), 1) if line.strip()]
    first, second = values[0][1], values[1][1]
    if isinstance(first, dict) and META in first and not (isinstance(second, dict) and first.keys() == second.keys()):
        del values[0]
    rows: list[Any] = []
    fields: dict[str, list[Any]] = {}
    for number, found in values:
        if isinstance(found, list) and not fields:
            rows.append(found)
        elif not isinstance(found, dict) or rows:
            raise ValueError(f"line {number} holds another type of JSON value than the lines before it")
        elif not (len(found) == 1 and next(iter(found)).startswith("_")):
            if fields and fields.keys() != found.keys():
                raise ValueError(f"line {number} has other keys than the lines before it")
            for key, value in found.items():
                fields.setdefault(key, []).append(value)
    return rows or fields


def _json_line(number: int, line: str) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"line {number} is no JSON: {error}") from None


def _yaml(text: str) -> list[list[int]]:
    """Read a YAML list of lists of integers, in brackets or with one dash for each level."""
    lines = [line for line in text.split("\n") if line.strip() and not line.lstrip().startswith(("#", "---", "..."))]
    whole = "\n".join(lines)
    if "[" in whole:
        if INNER_LIST.sub("", whole).strip(" -\n"):
            raise ValueError("the YAML is not a list of lists of integers")
        return [[int(word) for word in inner[1].replace(",", " ").split()] for inner in INNER_LIST.finditer(whole)]
    lists: list[list[int]] = []
    for line in lines:
        parts = re.fullmatch(r"(-(?: +-)?| +-)(?: +(\d+))? *", line)
        if parts is None or not (parts[2] or parts[1] == "-"):
            raise ValueError(f"the YAML is not a list of lists of integers: {line[:60]!r}")
        if parts[1].startswith("-"):
            if parts[2] and parts[1] == "-":
                # A list within a list needs no indent: its lines begin with one dash, as do those of a plain list.
                raise ValueError(f"the YAML is a list of integers instead of a list of lists: {line[:60]!r}")
            lists.append([])
        if parts[2]:
            lists[-1].append(int(parts[2]))
    return lists
