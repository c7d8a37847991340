"""Declare from the command line, from Python and in a CI job that a method was fitted to the ranking subsets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import ldsboard
from ldsboard.ci.inputs import InputError, read_inputs
from ldsboard.commands import exits
from ldsboard.environment import Origin

if TYPE_CHECKING:
    from pathlib import Path

    from tests.app.benchmarks import Example
    from tests.client.shell import Shell

REQUIRED = {f"LDSBOARD_{name}": "x" for name in ("FILE", "BENCHMARK", "METHOD", "SERVER")}


def test_option_declares_and_a_repeated_file_keeps_what_it_was(shell: Shell, open_toy: Example, tmp_path: Path) -> None:
    paths = [tmp_path / "a.npy", tmp_path / "b.npy"]
    for seed, path in enumerate(paths):
        np.save(path, open_toy.scores(seed=80 + seed))
    submit = ("--practice", "--json", "--method", "declaration")
    declared = shell("submit", str(paths[0]), "open-toy", *submit, "--uses-subsets")
    assert (declared.code, declared.json["uses_subsets"]) == (0, True)
    first = shell("submit", str(paths[1]), "open-toy", *submit)
    assert (first.code, first.json["uses_subsets"]) == (0, False)
    again = shell("submit", str(paths[1]), "open-toy", *submit, "--uses-subsets")
    assert again.code == exits.USAGE
    assert f"This call repeats submission {first.json['id']}, which is not declared as fitted" in again.err


def test_declaration_for_hidden_subsets_is_refused_before_the_file_is_sent(shell: Shell, scores: Path) -> None:
    refused = shell("submit", str(scores), "toy", "--practice", "--method", "declaration", "--uses-subsets")
    assert refused.code == exits.USAGE
    assert "hidden ranking subsets" in refused.err
    assert "Leave uses_subsets out." in refused.err


def test_declared_entry_in_python(shell: Shell, open_toy: Example) -> None:
    sent = ldsboard.submit(
        open_toy.scores(seed=90), benchmark="open-toy", method="declared-in-python", kind="ranked", uses_subsets=True
    )
    assert sent.rank is None
    assert "fitted to these subsets" in sent._repr_html_()
    shown = shell("status", sent.id)
    assert "declared: fitted to these subsets" in shown.out


def test_job_declares_only_if_the_input_is_true() -> None:
    for stated, passed in (("", False), ("false", False), ("true", True)):
        environ = REQUIRED | ({"LDSBOARD_USES_SUBSETS": stated} if stated else {})
        assert ("--uses-subsets" in read_inputs(environ).submit(Origin())) is passed
    for value in ("", "yes", "True"):
        with pytest.raises(InputError, match="uses-subsets"):
            read_inputs(REQUIRED | {"LDSBOARD_USES_SUBSETS": value})


def test_latest_takes_no_submission_with_another_declaration(shell: Shell, open_toy: Example, tmp_path: Path) -> None:
    def submit(noise: float, *options: str) -> dict[str, Any]:
        path = tmp_path / f"{noise}.npy"
        np.save(path, open_toy.scores(noise=noise))
        fixed = ("--practice", "--method", "alike", "--branch", "main", "--default-branch", "main", "--json")
        sent = shell("submit", str(path), "open-toy", *fixed, "--no-regress-from", "latest", *options)
        assert sent.code == 0, sent.err
        return {"id": sent.json["id"], "baseline": sent.json["gates"][0]["baseline"]}

    honest = submit(1.0)
    declared = submit(0.1, "--uses-subsets")
    assert (honest["baseline"], declared["baseline"]) == (None, None)
    compared = shell("compare", declared["id"], honest["id"])
    assert "; the first is declared as fitted to the ranking subsets" in compared.out
    assert shell("compare", honest["id"], declared["id"], "--json").json["uses_subsets"] == [False, True]
    assert "declared" not in shell("compare", honest["id"], submit(0.95)["id"]).out
    assert submit(0.9)["baseline"] != declared["id"]
    assert submit(0.09, "--uses-subsets")["baseline"] == declared["id"]
