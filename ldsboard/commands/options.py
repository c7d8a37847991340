"""Arguments and options that several commands share, and the checks of their values."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated

import typer

from ldsboard.commands.exits import USAGE, fail
from ldsboard.identity import TOKEN_VARIABLE

SCORES_HELP = (
    "File or folder of scores, (n training examples, N targets) or transposed: .npy, .safetensors, .npz, .pt, .csv or .json, or "
    "a folder that bergson, kronfluence, quanda or zarr wrote."
)


def finite(value: float | None) -> float | None:
    """Return the number that an option has on the command line, or None without the option; nan and inf are usage errors."""
    if value is not None and not math.isfinite(value):
        raise typer.BadParameter(f"expected a finite number, got {value}.")
    return value


def not_negative(value: float | None) -> float | None:
    """Return the number that an option has on the command line, or None without the option; it must be finite and at least 0.

    Other numbers are usage errors.
    """
    if (finite(value) or 0) < 0:
        raise typer.BadParameter(f"expected 0 or a positive number, got {value}.")
    return value


Scores = Annotated[Path, typer.Argument(help=SCORES_HELP)]
Benchmark = Annotated[str | None, typer.Argument(help="Name of the benchmark.")]
NamedBenchmark = Annotated[
    str | None, typer.Option("--benchmark", metavar="NAME", help="Name of the benchmark, in place of the argument.")
]
Axes = Annotated[
    str,
    typer.Option(
        metavar="ROWS,COLUMNS",
        help="What the rows and columns of the file are: train,target or target,train.",
    ),
]
Key = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="Name of the array in a .safetensors, .npz or .pt file with several arrays."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Server = Annotated[str | None, typer.Option(envvar="LDSBOARD_SERVER", help="Address of the server.")]
Token = Annotated[
    str | None,
    typer.Option(envvar=TOKEN_VARIABLE, help="Token of your account; default: the token that 'ldsboard login' stored."),
]
Timeout = Annotated[float, typer.Option(callback=not_negative, help="Largest number of seconds to wait.")]


def benchmark_name(argument: str | None, option: str | None) -> str:
    """Return the name of the benchmark, from the argument or from ``--benchmark``; exit if there is none or the two differ."""
    if argument and option and argument != option:
        fail(USAGE, f"Expected one benchmark, got {argument!r} as an argument and {option!r} as --benchmark.")
    if not (name := argument or option):
        fail(USAGE, "Name the benchmark: add --benchmark NAME.")
    return name
