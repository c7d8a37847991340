"""The citations on a submission page, and the commands that reproduce its public LDS offline."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from datetime import datetime
from html import unescape
from typing import TYPE_CHECKING

import httpx
import numpy as np
import pytest

from app.pages.content import citations
from tests.app.boards import HOSTILE
from tests.app.service import npy

if TYPE_CHECKING:
    from pathlib import Path

    from tests.app.benchmarks import Example
    from tests.app.pages.conftest import Site


def code_under(text: str, heading: str) -> str:
    """Return the first code block after a heading, unescaped."""
    block = re.search(rf">{heading}<.*?<pre data-copy><code>(.*?)</code></pre>", text, re.DOTALL)
    assert block
    return unescape(block[1])


def bibtex_fields(entry: str) -> dict[str, str]:
    """Return the fields of a BibTeX entry, a value in braces or a macro each; fail if the entry is none."""
    head, *lines, end = entry.split("\n")
    assert re.fullmatch(r"@misc\{[a-z0-9-]+,", head)
    assert end == "}"
    fields = {}
    for number, line in enumerate(lines, 1):
        found = re.fullmatch(r"  ([a-z]+) += (\{.*\}|[a-z]{3})(,?)", line)
        assert found, line
        name, value, comma = found.groups()
        assert bool(comma) == (number < len(lines))
        depth = 0
        for place, character in enumerate(value, 1):
            depth += {"{": 1, "}": -1}.get(character, 0)
            assert depth > 0 or place == len(value) or "{" not in value
        assert depth == 0
        fields[name] = value
    return fields


@pytest.mark.parametrize("name", ["toy", "open-toy"])
def test_offline_commands_reproduce_the_public_lds(
    site: Site, toy: Example, open_toy: Example, tmp_path: Path, name: str
) -> None:
    example = {"toy": toy, "open-toy": open_toy}[name]
    view = site.service.submit_and_score(
        site.service.token("rae"), name, npy(example.scores(0.7)), method="again", kind="practice"
    )
    lines = code_under(site.text(f"/submissions/{view['id']}"), "Reproduce the public LDS offline")
    np.save(tmp_path / "scores.npy", example.scores(0.7))
    program = (
        f'ldsboard() {{ "{sys.executable}" -m ldsboard.cli "$@"; }}\npython() {{ "{sys.executable}" "$@"; }}\n{lines}'
    )
    environment = {name: value for name, value in os.environ.items() if not name.startswith("LDSBOARD_")}
    environment |= {"LDSBOARD_CACHE": str(tmp_path / "cache"), "PYTHONPATH": os.getcwd()}  # noqa: PTH109
    ran = subprocess.run(
        ["/bin/bash", "-euc", program], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    assert repr(view["public"]["lds"]) in ran.stdout
    assert repr(view["public"]["std_error"]) in ran.stdout


def test_latex_special_characters_are_escaped() -> None:
    assert citations.latex("a_b & 5% \\input{x}\n~^$#<>|") == (
        r"a\_b \& 5\% \textbackslash{}input\textbraceleft{}x\textbraceright{} "
        r"\textasciitilde{}\textasciicircum{}\$\#\textless{}\textgreater{}\textbar{}"
    )


def test_citation_contains_result_benchmark_and_address(site: Site) -> None:
    view = site.api(f"/submissions/{site.ids['twin']}")
    text = site.text(f"/submissions/{site.ids['twin']}")
    row, entry = (code_under(text, heading) for heading in ("Row of a LaTeX table", "BibTeX"))
    number = f"${view['hidden']['lds']:.3f} \\pm {view['hidden']['std_error']:.3f}$"
    assert row == f"good & {number} \\\\ % LDS on the ranking subsets of toy version 1, scorer version 1"
    assert number in entry
    assert "toy, version 1; scorer version 1" in entry
    assert f"{site.service.url}/submissions/{site.ids['twin']}" in entry
    assert HOSTILE not in entry
    assert citations.latex(HOSTILE) in entry
    fields = bibtex_fields(entry)
    created = datetime.fromisoformat(view["created_at"])
    assert fields["month"] == created.strftime("%b").lower()
    names = ("year", "howpublished", "url", "version")
    expected = [created.year, "LDSBoard", f"{site.service.url}/submissions/{site.ids['twin']}", 1]
    assert [fields[name] for name in names] == [f"{{{value}}}" for value in expected]


def test_anonymous_entry_is_cited_by_its_alias(site: Site, toy: Example) -> None:
    token = site.service.token("noa")
    sent = site.service.submit_and_score(
        token, "toy", npy(toy.scores(0.6)), method="telling", title="Telling title", kind="practice"
    )
    authorized = {"Authorization": f"Bearer {token}"}
    edited = site.service.client.patch(
        f"/submissions/{sent['id']}", json={"visibility": "anonymous"}, headers=authorized
    )
    assert edited.status_code == 200
    text = site.text(f"/submissions/{sent['id']}")
    assert "title        = {{entry of anonymous-1 on The toy benchmark}}" in text
    assert code_under(text, "Row of a LaTeX table").startswith("entry of anonymous-1 & $")


def test_small_standard_error_is_not_rounded_to_zero(site: Site) -> None:
    view = httpx.get(f"{site.service.url}/api/v1/submissions/{site.ids['good']}", trust_env=False).json()["public"]
    numbers = type("Numbers", (), {"lds": view["lds"], "std_error": 0.00041})()
    assert citations.plus_minus(numbers) == f"${view['lds']:.4f} \\pm 0.0004$"
