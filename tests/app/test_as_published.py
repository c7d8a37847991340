"""The LDS values of papers: the operator's file is validated strictly, and the board shows them without ranks."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import httpx
import pytest

from app.leaderboard.as_published import parse, shown_values, store
from tests.app.benchmarks import write_benchmark
from tests.app.commands import run_in_process
from tests.app.pages.markup import Markup
from tests.app.service import ROOT

if TYPE_CHECKING:
    from pathlib import Path

    from tests.app.service import Service

VALUE = """\
[[value]]
method = "TRAK"
source = "Park et al. <2023>, figure 2"
url = "https://arxiv.org/abs/2303.14186"
n = 50000
runs = 5
alpha = 0.5
output_function = "margin"
lds = 0.271
"""
MANIFEST = {"name": "toy", "n_train": 60, "runs": 2, "alpha": 0.5, "output_function": "margin"}


def test_values_are_stored_in_the_order_of_the_file(tmp_path: Path) -> None:
    assert shown_values(tmp_path, MANIFEST) == []
    values = parse(VALUE + VALUE.replace("TRAK", "EK-FAC").replace("50000", "60").replace("runs = 5", "runs = 2"))
    store(tmp_path / "as-published", "toy", values)
    first, second = shown_values(tmp_path / "as-published", MANIFEST)
    assert (first.value, second.value) == tuple(values)
    assert first.differences == ["n = 50,000, here 60", "R = 5, here 2"]
    assert second.differences == []
    assert parse("") == []


@pytest.mark.parametrize(
    ("before", "after", "place"),
    [
        ("n = 50000", "n = 50000\nrank = 1", "value.0.rank"),
        ("[[value]]", "board = 1\n[[value]]", "board"),
        ("n = 50000\n", "", "value.0.n"),
        ("n = 50000", 'n = "50000"', "value.0.n"),
        ("n = 50000", "n = 0", "value.0.n"),
        ("runs = 5", "runs = true", "value.0.runs"),
        ("alpha = 0.5", "alpha = 1.0", "value.0.alpha"),
        ("lds = 0.271", "lds = 27.1", "value.0.lds"),
        ("lds = 0.271", "lds = nan", "value.0.lds"),
        ("https://arxiv", "javascript:arxiv", "value.0.url"),
        ('"TRAK"', '"TR\\nAK"', "value.0.method"),
        ('"TRAK"', '""', "value.0.method"),
        ("[[value]]", "[[value", "Expected"),
    ],
)
def test_invalid_files_are_refused_with_the_field(before: str, after: str, place: str) -> None:
    assert before in VALUE
    with pytest.raises(ValueError, match=place):
        parse(VALUE.replace(before, after))


def test_example_of_the_guide_is_valid() -> None:
    guide = (ROOT / "docs/how-to/operate.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"^```text\n(\[\[value\]\].*?)^```$", guide, re.DOTALL | re.MULTILINE)
    assert [value.lds for value in parse(example)] == [0.271]


def test_board_shows_published_values_without_rank(service: Service, tmp_path: Path) -> None:
    service.publish(write_benchmark(tmp_path, "reported").folder)
    file = tmp_path / "values.toml"
    command = ("benchmark", "as-published", "reported", str(file))
    with httpx.Client(base_url=service.url, trust_env=False) as browser:
        assert "As published" not in browser.get("/benchmarks/reported").text
        file.write_text(VALUE)
        assert run_in_process(service, *command).output == "The board of reported shows 1 published value.\n"
        text = browser.get("/benchmarks/reported").text
        (table,) = Markup(text).tables
        assert "Rank" not in table[0]
        assert table[1][:4] == ["TRAK", "Park et al. <2023>, figure 2", "0.271", "50,000"]
        assert table[1][-1] == "n = 50,000, here 60; R = 5, here 2"
        assert service.client.get("/benchmarks/reported/leaderboard").json()["rows"] == []
        file.write_text(VALUE + "rank = 1\n")
        assert run_in_process(service, *command).exit_code == 2
        assert browser.get("/benchmarks/reported").text == text
        file.write_text("")
        assert run_in_process(service, *command).exit_code == 0
        assert "As published" not in browser.get("/benchmarks/reported").text
    assert run_in_process(service, "benchmark", "as-published", "../x", str(file)).exit_code == 2
