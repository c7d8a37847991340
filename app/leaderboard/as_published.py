"""LDS values that papers report, which the operator declares for a benchmark. They are shown beside the board and never ranked.

The operator's TOML file has a table ``[[value]]`` for each value, with the fields of `PublishedValue`. Each benchmark has a JSON
file of its valid values, in the order of the operator's file.
"""

from __future__ import annotations

import json
import tomllib
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from app.submissions import field_types
from ldsboard.drafts import atomic_write

if TYPE_CHECKING:
    from pathlib import Path

Text = Annotated[field_types.Title, Field(min_length=1)]


class PublishedValue(BaseModel):
    """An LDS that a paper reports, and the setting in which the paper measured the LDS.

    ``n`` is the number of training examples, ``runs`` the number of runs of each subset, and ``alpha`` the share of the training
    examples in a subset.
    """

    model_config = ConfigDict(extra="forbid", strict=True)

    method: Text
    source: Text
    url: field_types.Link | None = None
    n: Annotated[int, Field(ge=1, lt=2**63)]
    runs: Annotated[int, Field(ge=1, lt=2**31)]
    alpha: Annotated[float, Field(gt=0, lt=1)]
    output_function: Text
    lds: Annotated[float, Field(ge=-1, le=1)]


class _File(BaseModel):
    """The operator's file: a table ``[[value]]`` for each published value, at most 100."""

    model_config = ConfigDict(extra="forbid", strict=True)

    value: Annotated[list[PublishedValue], Field(max_length=100)] = []


class ShownValue(NamedTuple):
    """A published value, and its differences in setting from a board: texts such as ``n = 50,000, here 5,000``."""

    value: PublishedValue
    differences: list[str]


def parse(text: str) -> list[PublishedValue]:
    """Return the values of a TOML file; a file without values is valid.

    Raises
    ------
    ValueError
        The text is no TOML; or a field is missing, unknown or invalid, and the message names this field.
    """
    try:
        return _File.model_validate(tomllib.loads(text)).value
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(step) for step in first["loc"])
        raise ValueError(f"{place}: expected {field_types.expected_value(first)}. Nothing was changed.") from None


def store(root: Path, name: str, values: list[PublishedValue]) -> None:
    """Write or replace the JSON file of a benchmark's published values; `root` is the folder of all these JSON files."""
    root.mkdir(parents=True, exist_ok=True)
    with atomic_write(root / f"{name}.json") as file:
        file.write(json.dumps([value.model_dump() for value in values], indent=2).encode())


def shown_values(root: Path, manifest: dict[str, Any]) -> list[ShownValue]:
    """Return the published values of a benchmark, compared with the setting in the manifest of one of its versions.

    `root` is the folder of the JSON files that `store` writes. Without a file for the benchmark, the result is empty.
    """
    path = root / f"{manifest['name']}.json"
    if not path.exists():
        return []
    values = [PublishedValue.model_validate(value) for value in json.loads(path.read_text(encoding="utf-8"))]
    return [ShownValue(value, _differences(value, manifest)) for value in values]


def _differences(value: PublishedValue, manifest: dict[str, Any]) -> list[str]:
    pairs = {
        "n": (f"{value.n:,}", f"{manifest['n_train']:,}"),
        "R": (f"{value.runs:,}", f"{manifest['runs']:,}"),
        "α": (f"{value.alpha:g}", f"{manifest['alpha']:g}"),  # noqa: RUF001 -- the Greek letter is meant
        "output function": (value.output_function, manifest["output_function"]),
    }
    return [f"{name} = {there}, here {here}" for name, (there, here) in pairs.items() if there != here]
