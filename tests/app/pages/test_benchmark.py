"""The about page of a benchmark: its manifest, the histogram of its margins, and changes between versions."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any, NamedTuple

import httpx
import numpy as np
import pytest

from app.benchmarks.margin_histogram import BINS, margin_histogram
from app.benchmarks.mean_margins import mean_margins
from app.pages.benchmark import _labelled_values
from app.pages.content import formatting
from tests.app.benchmarks import write_benchmark
from tests.app.pages.markup import Markup
from tests.app.service import npy, until

if TYPE_CHECKING:
    from tests.app.benchmarks import Example
    from tests.app.pages.conftest import Site
    from tests.app.service import Service

TIMES = "\N{MULTIPLICATION SIGN}"


def test_about_page_shows_the_manifest(site: Site, toy: Example) -> None:
    manifest = toy.bundle.manifest
    text = site.text("/benchmarks/toy/about")
    page = Markup(text)
    assert str(manifest.commitment) in text
    assert f"{manifest.ceiling:.4f} ± {manifest.ceiling_std_error:.4f}" in text
    assert f"± {manifest.null_band['shared']:.4f}" in text
    assert "160 subsets, each with 50 % of the training" in " ".join(text.split())
    assert [["name", "sums"]] in page.tables
    (scale,) = [attributes for attributes in page.all("table") if attributes.get("id") == "scale"]
    assert float(scale["data-ceiling"] or "nan") == round(manifest.ceiling or 0, 4)
    assert float(scale["data-best"] or "nan") == site.api("/benchmarks/toy")["best"]["lds"]


def test_practice_board_shows_no_commitment(site: Site) -> None:
    text = site.text("/benchmarks/open-toy/about")
    assert "practice board" in text
    assert "commitment" not in text
    assert "data-best" not in text  # there are no entries


def test_margin_histogram_counts_only_public_margins(site: Site, toy: Example) -> None:
    margins_MRN = toy.bundle.margins_MRN
    page = site.page("/benchmarks/toy/about")
    bins = [attributes for attributes in page.all("tr") if "data-count" in attributes]
    assert len(bins) == BINS
    assert sum(int(attributes["data-count"] or "0") for attributes in bins) == margins_MRN.size
    for place in (1, BINS // 2):
        low, high = (float(bins[place][f"data-{end}"] or "nan") for end in ("low", "high"))
        inside = np.count_nonzero((margins_MRN >= low) & (margins_MRN < high))
        assert int(bins[place]["data-count"] or "0") == inside
    positive = float((margins_MRN > 0).mean())
    assert f"In {100 * positive:.1f}\u202f% of all pairs" in site.text("/benchmarks/toy/about")


def test_mean_margins_of_a_version_are_cached_and_read_only(toy: Example, open_toy: Example) -> None:
    for example in (toy, open_toy):
        expected = np.load(example.folder / "public" / "margins.npy").astype(np.float64).mean(axis=(0, 1))
        np.testing.assert_allclose(mean_margins(example.folder), expected, rtol=1e-12)
        assert mean_margins(example.folder) is mean_margins(example.folder)
        assert not mean_margins(example.folder).flags.writeable


def test_margin_histogram_of_a_version_is_cached(toy: Example) -> None:
    assert margin_histogram(toy.folder) is margin_histogram(toy.folder)


@pytest.fixture(scope="module")
def special_pages(service: Service, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """About pages of three benchmarks: with measured accuracy, with special dataset texts, and with one run per subset."""
    folder = tmp_path_factory.mktemp("odd")
    dataset = {"name": "n", "source": "https://example.org/data (all)", "<b>": "<script>", "none": None}
    made = [
        write_benchmark(folder, "measured", provenance={"accuracy_mean": 0.8365, "accuracy_lowest": 0.815}),
        write_benchmark(folder / "w", "written", dataset=dataset | {"sha256": {"train_images": "ab" * 32}}),
        write_benchmark(folder / "o", "trained-once", split="open", runs=1),
    ]
    for example in made:
        service.publish(example.folder)
    return {
        example.name: httpx.get(f"{service.url}/benchmarks/{example.name}/about", trust_env=False).text
        for example in made
    }


def test_measured_accuracy_replaces_the_inferred_one(special_pages: dict[str, str]) -> None:
    text = special_pages["measured"]
    assert "83.7\u202f% of the targets correctly on average, and the worst model 81.5\u202f%" in text
    assert "of all pairs" not in text


def test_download_links_show_file_sizes(site: Site) -> None:
    text = site.text("/benchmarks/toy/about")
    for name in ("public.npz", "kit.zip"):
        address = f"/api/v1/benchmarks/toy/{name}?version=1"
        size = len(site.service.client.get(f"{site.service.url}{address}").content)
        assert f'<a href="{address}">{name}</a>, {formatting.size(size)}:' in text


def test_dataset_texts_are_escaped_and_linked_with_nofollow(special_pages: dict[str, str]) -> None:
    text = special_pages["written"]
    assert '<a href="https://example.org/data" rel="nofollow noopener ugc">' in text
    assert "<script>" not in text
    assert ["train images", "ab" * 32] in Markup(text).tables[1]


def test_nested_manifest_values_become_named_rows() -> None:
    values = {"widths": [784, 64], "outer": {"inner_one": True, "deep": {"x": 1500}}, "rate": 0.02, "empty": ""}
    assert list(_labelled_values(values)) == [
        ("widths", "784, 64"),
        ("outer, inner one", "yes"),
        ("outer, deep, x", "1,500"),
        ("rate", "0.02"),
    ]


class History(NamedTuple):
    """The about pages of a benchmark by version, and the leaderboard rows of versions 1 and 2 by method."""

    texts: dict[str, str]
    before: dict[str, Any]
    after: dict[str, Any]


@pytest.fixture(scope="module")
def versions(service: Service, tmp_path_factory: pytest.TempPathFactory) -> History:
    """A benchmark with three versions: the entries of version 1 are scored again on version 2, but not on version 3."""
    name = "with-a-history"
    old = write_benchmark(tmp_path_factory.mktemp("old"), name)
    new = write_benchmark(tmp_path_factory.mktemp("new"), name, version=2, ranking=130)
    other = write_benchmark(tmp_path_factory.mktemp("other"), name, version=3, N=8)
    service.publish(old.folder)
    token = service.token("historian")
    for method, noise in (("first", 0.5), ("second", 3.0)):
        service.submit_and_score(token, name, npy(old.scores(noise)), method=method)
    hidden = service.submit_and_score(token, name, npy(old.scores(1.0)), method="private")["id"]
    headers = {"Authorization": f"Bearer {token}"}
    service.client.patch(f"/submissions/{hidden}", headers=headers, json={"visibility": "private"})
    service.publish(new.folder)
    until(lambda: service.client.get(f"/benchmarks/{name}").json()["version"] == 2, "the second version")
    service.submit_and_score(token, name, npy(new.scores(0.7)), method="new-one")
    service.publish(other.folder)
    boards = [service.client.get(f"/benchmarks/{name}/leaderboard", params={"version": n}).json() for n in (1, 2)]
    before, after = ({row["method"]: row for row in board["rows"]} for board in boards)
    about = f"{service.url}/benchmarks/{name}/about"
    texts = {str(n): httpx.get(about, params={"version": n}, trust_env=False).text for n in (1, 2, 3)}
    return History(texts, before, after)


def test_version_page_compares_ranks_with_the_previous_version(versions: History) -> None:
    *_, moves = Markup(versions.texts["2"]).tables
    assert moves[0] == ["Method", "Owner", "Rank in 1", "Rank in 2", "LDS in 1", "LDS in 2"]
    before, after = versions.before, versions.after
    assert [row[0] for row in moves[1:]] == [method for method in after if method in before] == ["first", "second"]
    assert "new-one" in after
    for method, owner, *_, former, present in moves[1:]:
        assert owner == "historian"
        assert former == f"{before[method]['lds']:.4f}"
        assert present == f"{after[method]['lds']:.4f}"
    assert "private" not in versions.texts["2"].split("Changes in the ranking")[1]


def test_first_version_shows_no_rank_changes(versions: History) -> None:
    assert "Changes in the ranking" not in versions.texts["1"]


def test_incompatible_version_says_that_entries_stayed(versions: History) -> None:
    assert "No entry is listed in both versions" in versions.texts["3"]
    (history,) = [table for table in Markup(versions.texts["3"]).tables if table[0][0] == "Version"]
    assert [row[0] for row in history[1:]] == ["3", "2", "1"]
    assert [row[2] for row in history[1:]] == [f"{subsets} {TIMES} 2" for subsets in (160, 170, 160)]
    assert [row[4] for row in history[1:]] == ["0", "3", "2"]
    assert [row[5].split()[0] for row in history[1:-1]] == ["not", "scored"]


def test_unknown_version_and_benchmark_are_not_found(site: Site) -> None:
    assert site.browser.get("/benchmarks/toy/about?version=9").status_code == 404
    assert site.browser.get("/benchmarks/nothing/about").status_code == 404
    assert site.browser.get("/benchmarks/nothing/submit").status_code == 404


def test_about_page_explains_a_missing_ceiling(special_pages: dict[str, str]) -> None:
    assert "Unknown: the ceiling needs several runs on each subset." in special_pages["trained-once"]
    assert "data-ceiling" not in special_pages["trained-once"]


def test_about_page_shows_the_mean_of_the_downloadable_margins(site: Site) -> None:
    archive = np.load(io.BytesIO(site.service.client.get("/benchmarks/toy/public.npz").content))
    assert f'data-mean="{float(archive["margins"].mean(dtype=np.float64))}'[:18] in site.text("/benchmarks/toy/about")
