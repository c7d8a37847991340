"""Remedies of a refused import are code: each is pasted, and the import then reads the right numbers."""

from __future__ import annotations

import ast
import contextlib
import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from typer.testing import CliRunner

import ldsboard
from app.__main__ import cli
from ldsboard.bundle import Bundle
from tests.app.import_hint_cases import REFUSED, Refused, n

if TYPE_CHECKING:
    from collections.abc import Iterator

    from typer.testing import Result

LIBRARY = Path(ldsboard.__file__).parent
OPTION = re.compile(r"--[a-z][a-z-]*")
FLAGS = {"--losses", "--negated", "--removed", "--rescale", "--by-size"}
CODE = re.compile(r"numpy\.[a-z]+\([^)]*\)|masks\.(?:T|astype\(int\))")
SOURCES = [path for path in LIBRARY.glob("importing/*.py") if path.name != "sizes.py"]  # see test_import_sizes.py
SOURCES += [LIBRARY / "arrays/masks.py", LIBRARY / "arrays/margins.py"]
NOT_FOR_THE_COMMAND = {
    "{} of {} training examples {} in no subset. If n is smaller, correct --n-train.",  # a note after an import
    (
        "Pass packed=True; or unpack with numpy.unpackbits(masks, axis=1, count=n, bitorder='little'). "
        "For index lists, give masks.astype(int)."
    ),
    "Pack the masks with numpy.packbits(masks, axis=1, bitorder='little').",
}
"""Texts with an option or code that no refused import shows: the last two are for arrays in Python."""
MESSAGES: dict[str, str] = {}
"""Message of every refused import, by the name of the case."""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory, and a data folder for the operator's commands."""
    monkeypatch.setenv("LDSBOARD_DATA_DIR", str(tmp_path / "data"))
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path / "work"


def write(case: Refused) -> None:
    """Write the files of a refused import."""
    for name, content in case.more.items():
        np.savez(name, **content) if isinstance(content, dict) else np.save(name, content)
    np.save("masks.npy", case.masks)
    case.write("margins.npy", case.margins)


def run(options: list[str]) -> Result:
    return CliRunner().invoke(cli, ["benchmark", "import", "one", *options, "--out", "kept"], catch_exceptions=False)


def without(options: list[str], name: str) -> list[str]:
    """Return options without the one with a name."""
    if name not in options:
        return options
    at = options.index(name)
    return options[:at] + options[at + (1 if name in FLAGS else 2) :]


def pasted(options: list[str], part: str, known: dict[str, Any]) -> list[str]:
    """Return the options of an import after a part of its message was followed; run the part if it is code."""
    if part.startswith("python -c"):
        exec(shlex.split(part)[2], {})  # noqa: S102 -- the library wrote the command
        return [*without(options, "--margins"), "--margins", known["--margins"]]
    if code := CODE.search(part):
        np.save(known["made"], eval(code[0], {"numpy": np, **known}))  # noqa: S307 -- the library wrote the code
        return options
    if part.startswith("such as"):
        return [*without(options, "--output-function"), "--output-function", part.rsplit(maxsplit=1)[-1]]
    kept, _, dropped = part.partition(" in place of ")
    if re.match(r"(?i)omit|without|and ", part):
        kept, dropped = "", part
    for name in OPTION.findall(dropped):
        options = without(options, name)
    for name, value in re.findall(r"(--[a-z-]+)(?: (?!--|for\b|and\b|or\b)(\S+))?", kept):
        if name in FLAGS:
            options = [*options, name]
        elif value or name in known:
            options = [*without(options, name), name, str({"N": n, **known}.get(value or name, value))]
    for name in set(known) & {"--dtype", "--shape"}:  # the message corrects one of the two, or both
        options = [*without(options, name), name, known[name]]
    return options


@pytest.mark.parametrize("name", REFUSED)
def test_remedy_of_a_refused_import_leads_to_the_right_numbers(name: str, folder: Path) -> None:
    case = REFUSED[name]
    write(case)
    options = shlex.split(case.options)
    refused = run(options)
    assert refused.exit_code != 0, refused.stdout
    MESSAGES[name] = refused.stderr
    for part in case.remedy:
        assert part in refused.stderr
        whole = re.search(re.escape(part) + r" .*?(?=  and give)", refused.stderr) if part == "python -c" else None
        options = pasted(options, whole[0] if whole else part, case.known)
    if "omit both" in case.remedy:
        options = [option for option in options if option not in {"--losses", "--negated"}]
    accepted = run(options)
    assert accepted.exit_code == 0, accepted.stderr
    kept = Bundle.open(folder / "kept")
    assert np.array_equal(kept.masks_Mn, case.subsets)
    expected = case.expected if case.expected.ndim > 2 else case.expected[:, None]
    assert np.array_equal(kept.margins_MRN, expected)


def texts(source: str) -> Iterator[str]:
    """Yield each text in a module that is no docstring, with ``{}`` in place of values."""
    tree, seen = ast.parse(source), set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr):  # a docstring
            seen.add(id(node.value))
        elif isinstance(node, ast.JoinedStr):
            seen |= {id(value) for value in ast.walk(node) if value is not node}
            yield "".join(str(value.value) if isinstance(value, ast.Constant) else "{}" for value in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in seen:
            yield node.value


def remedies(text: str) -> Iterator[str]:
    """Yield a pattern for each option and each piece of code in a text; an option before the first colon is the subject."""
    if not OPTION.fullmatch(text):  # an option alone is an argument, and no message
        text = re.sub(r"^(--[a-z-]+( \{\}| and )?)+: ", "", text)
        yield from OPTION.findall(text)
        yield from (re.escape(code).replace(r"\{\}", ".+") for code in CODE.findall(text))


def test_every_remedy_of_the_import_was_pasted(tmp_path: Path) -> None:
    for number, name in enumerate(REFUSED if len(MESSAGES) < len(REFUSED) else ()):  # this test may run alone
        (tmp_path / f"{number}").mkdir()
        with contextlib.chdir(tmp_path / f"{number}"):
            write(REFUSED[name])
            MESSAGES[name] = run(shlex.split(REFUSED[name].options)).stderr
    every = {text for source in SOURCES for text in texts(source.read_text(encoding="utf-8"))}
    missing = []
    for text in sorted(every - NOT_FOR_THE_COMMAND):
        message = re.compile(".+?".join(map(re.escape, text.split("{}"))), re.DOTALL)
        parts = [part for name, case in REFUSED.items() if message.search(MESSAGES[name]) for part in case.remedy]
        missing += [(remedy, text) for remedy in remedies(text) if not any(re.search(remedy, part) for part in parts)]
    assert missing == [], "\n".join(map(str, missing))
    assert every > NOT_FOR_THE_COMMAND
