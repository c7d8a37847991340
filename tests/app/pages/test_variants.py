"""The variants of a method: entries with one tag, their Pareto fronts, and the table of a board that is filtered by the tag."""

from __future__ import annotations

from itertools import permutations
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from app.pages.content.variants import variants
from tests.app.benchmarks import write_benchmark
from tests.app.service import npy

if TYPE_CHECKING:
    import pytest

    from app.leaderboard.schemas import Row
    from tests.app.pages.conftest import Site


def row(name: str, lds: float, *, fitted: bool = False, **cost: float) -> Row:
    return cast("Row", SimpleNamespace(id=name, lds=lds, uses_subsets=fitted, cost=cost or None))


def fronts(*rows: Row) -> tuple[set[str], set[str]]:
    """Return the ids of the entries on the front by models, and on the front by seconds."""
    found = variants(rows)
    by_models = {variant.row.id for variant in found if variant.leads_models}
    return by_models, {variant.row.id for variant in found if variant.leads_seconds}


def test_front_holds_the_entries_that_no_other_entry_dominates() -> None:
    rng = np.random.default_rng(11)
    for _ in range(200):
        costs, scores = rng.integers(0, 6, 8).tolist(), rng.integers(0, 6, 8).tolist()
        pairs = list(zip(costs, scores, strict=True))
        rows = [row(str(i), lds, models=cost, seconds=9 - cost) for i, (cost, lds) in enumerate(pairs)]
        points = set(pairs)
        for name, sign in (("models", 1), ("seconds", -1)):
            best = {
                (cost, lds)
                for cost, lds in points
                if not any(
                    sign * other <= sign * cost and high >= lds and (other, high) != (cost, lds)
                    for other, high in points
                )
            }
            leading = [variant for variant in variants(rows) if getattr(variant, f"leads_{name}")]
            assert sorted(pairs[int(variant.row.id)] for variant in leading) == sorted(best)


def test_front_does_not_depend_on_the_order_of_the_entries() -> None:
    rows = [row("k1", 0.3, models=1, seconds=5), row("k10", 0.4, models=10), row("k50", 0.39, models=50, seconds=1)]
    assert {str(fronts(*order)) for order in permutations(rows)} == {str(fronts(*rows))}
    assert fronts(*rows) == ({"k1", "k10"}, {"k50"})


def test_entry_without_a_cost_is_no_variant_and_an_unknown_cost_comes_last() -> None:
    rows = [row("none", 0.9), row("timed", 0.8, seconds=1), row("zero", 0.1, models=0), row("one", 0.2, models=1)]
    assert [variant.row.id for variant in variants(rows)] == ["zero", "one", "timed"]
    assert fronts(*rows) == ({"zero", "one"}, {"timed"})


def test_declared_entry_is_no_variant_and_leads_no_front() -> None:
    rows = [row("ridge", 0.99, fitted=True, models=1, seconds=1), row("k1", 0.3, models=2), row("k2", 0.4, seconds=3)]
    assert [variant.row.id for variant in variants(rows)] == ["k1", "k2"]
    assert fronts(*rows) == ({"k1"}, {"k2"})


def test_board_with_a_tag_lists_its_variants(site: Site, tmp_path_factory: pytest.TempPathFactory) -> None:
    example = write_benchmark(tmp_path_factory.mktemp("family"), "variants")
    site.service.publish(example.folder)
    token = site.service.token("kay")
    for models, noise in ((1, 3.0), (10, 0.5), (50, 1.0)):
        fields: dict[str, Any] = {"method": f"trak-{models}", "tags": "trak", "models": models, "seconds": 60 * models}
        site.service.submit_and_score(token, "variants", npy(example.scores(noise)), **fields)
    text = site.text("/benchmarks/variants?tag=trak")
    page = site.page("/benchmarks/variants?tag=trak")
    charts = [figure["data-chart"] for figure in page.all("figure")]
    assert charts == ["forest", "pareto", "models"]
    table = text[text.index('<table id="variants">') : text.index('<table id="board"')]
    lines = [" ".join(line.split()) for line in table.split("<tr>")[2:]]
    assert [line.count("<td>yes</td>") for line in lines] == [2, 2, 0]
    for line, models in zip(lines, (1, 10, 50), strict=True):
        assert f"trak-{models} " in line
        assert f'<td class="n">{models}</td>' in line
    assert 'id="variants"' not in site.text("/benchmarks/variants")
    assert [figure["data-chart"] for figure in site.page("/benchmarks/variants").all("figure")] == ["forest", "pareto"]
