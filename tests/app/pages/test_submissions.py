"""The page of a submission: its targets, examples, images and state.

Legend: M public subsets, n training examples, N targets.
"""

from __future__ import annotations

import re
import struct
import zlib
from typing import TYPE_CHECKING

import numpy as np
import pytest
from sqlalchemy import delete, select

from app.benchmarks.examples import is_drawable
from app.db.models import Attribution, Evaluation, State, Submission
from app.pages.content import formatting, png
from app.scoring.sandbox.attributions import EXAMPLES
from app.submissions import lifecycle
from tests.app.benchmarks import write_benchmark
from tests.app.pages.markup import Markup
from tests.app.pages.test_pages import uploading_submission
from tests.app.service import npy

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tests.app.benchmarks import Example
    from tests.app.pages.conftest import Site

CLASSES = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "<b>nine</b>"]


@pytest.fixture(scope="module")
def illustrated(site: Site, tmp_path_factory: pytest.TempPathFactory) -> tuple[Example, str]:
    """A benchmark with images and class names, and the id of a submission to it."""
    folder = tmp_path_factory.mktemp("drawn")
    example = write_benchmark(folder, "drawn", N=30, pictures=(4, 3), dataset={"name": "drawn", "classes": CLASSES})
    site.service.publish(example.folder)
    return example, site.service.submit_and_score(site.service.token("eve"), "drawn", npy(example.scores(0.5)))["id"]


def decode_png(content: bytes) -> NDArray[np.uint8]:
    """Decode a PNG file by the specification; return its pixels, uint8 (h, w, channels)."""
    assert content[:8] == b"\x89PNG\r\n\x1a\n"
    chunks, at = {}, 8
    while at < len(content):
        (length,) = struct.unpack_from(">I", content, at)
        kind, body = content[at + 4 : at + 8], content[at + 8 : at + 8 + length]
        assert struct.unpack_from(">I", content, at + 8 + length) == (zlib.crc32(kind + body),)
        chunks[kind] = body
        at += 12 + length
    width, height, depth, colour, *rest = struct.unpack(">IIBBBBB", chunks[b"IHDR"])
    assert (depth, rest, list(chunks)) == (8, [0, 0, 0], [b"IHDR", b"IDAT", b"IEND"])
    rows = np.frombuffer(zlib.decompress(chunks[b"IDAT"]), np.uint8).reshape(height, -1)
    assert not rows[:, 0].any()
    return rows[:, 1:].reshape(height, width, {0: 1, 2: 3}[colour])


@pytest.mark.parametrize("shape", [(4, 3), (5, 2, 3), (1, 1)])
def test_png_encoding_keeps_the_pixels(shape: tuple[int, ...]) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    assert np.array_equal(decode_png(png.encode(pixels)).reshape(shape), pixels)


def test_benchmark_images_are_served_and_cached(site: Site, illustrated: tuple[Example, str]) -> None:
    images = illustrated[0].bundle.array("train_images")
    response = site.browser.get("/benchmarks/drawn/images/train/17.png", params={"version": 1})
    assert response.headers["content-type"] == "image/png"
    assert response.headers["cache-control"] == "public, max-age=31536000, immutable"
    # The brightest value of the benchmark's images, 16, becomes white.
    assert np.array_equal(decode_png(response.content)[..., 0], np.round(images[17] / images.max() * 255))
    assert site.browser.get("/benchmarks/drawn/images/target/0.png").headers["cache-control"] == "no-cache"
    for wrong, status in (("train/60.png", 404), ("target/30.png", 404), ("train/-1.png", 422), ("hidden/0.png", 422)):
        assert site.browser.get(f"/benchmarks/drawn/images/{wrong}").status_code == status
    assert site.browser.get("/benchmarks/toy/images/train/0.png").status_code == 404  # toy has no images
    assert site.browser.get("/benchmarks/drawn/images/train/0.png?version=2").status_code == 404


@pytest.mark.parametrize(
    ("shape", "dtype", "drawn"),
    [((9, 4, 3), "u1", True), ((9, 4, 3, 3), "u1", True), ((9, 3, 4, 4), "u1", False), ((9, 4, 3), "f4", False)],
)
def test_only_image_arrays_are_drawable(shape: tuple[int, ...], dtype: str, drawn: bool) -> None:
    assert is_drawable(np.zeros(shape, dtype)) == drawn


def cell(text: str) -> str:
    """Return a text as `Markup` returns it in a table, with plain spaces."""
    return " ".join(text.split())


def example_lists(text: str) -> list[list[list[str]]]:
    """Return the words of each example, for each list of examples on a page."""
    return [
        [re.sub(r"<[^>]+>", " ", item).split() for item in wall.split("<li>")[1:]]
        for wall in re.findall(r'<ol class="wall">(.*?)</ol>', text, re.DOTALL)
    ]


def test_proponents_and_opponents_are_shown_with_label_and_score(site: Site, illustrated: tuple[Example, str]) -> None:
    example, submission_id = illustrated
    scores_n = example.scores(0.5)[:, 8]
    text = site.text(f"/submissions/{submission_id}?target=8")
    high, low = np.argsort(-scores_n, kind="stable")[:EXAMPLES], np.argsort(scores_n, kind="stable")[:EXAMPLES]
    escaped = [*CLASSES[:9], "&lt;b&gt;nine&lt;/b&gt;"]
    assert example_lists(text) == [
        [[f"#{i}", escaped[i % 10], formatting.signed(float(scores_n[i]))] for i in examples]
        for examples in (high, low)
    ]
    alike = [sum(i % 10 == 8 for i in examples) for examples in (high, low)]
    assert f"{alike[0]} of its 8 proponents and\n    {alike[1]} of its 8 opponents have its class" in text
    for image in Markup(text).all("img"):
        assert re.fullmatch(r"(Target|Training example) \d+", image["alt"] or "")
        assert site.browser.get(image["src"] or "").status_code == 200


def test_examples_without_images_are_shown_as_text(site: Site) -> None:
    text = site.text(f"/submissions/{site.ids['good']}?target=0")
    assert not Markup(text).all("img")
    first, second = example_lists(text)
    assert len(first) == len(second) == EXAMPLES
    assert re.fullmatch(r"#\d+ label \d", " ".join(first[0][:3]))


def test_scatter_plot_shows_public_predictions_and_margins(site: Site, toy: Example) -> None:
    page = site.page(f"/submissions/{site.ids['good']}?target=3")
    points = [row for row in page.all("tr") if "data-predicted" in row]
    predicted_M = toy.bundle.masks_Mn @ toy.scores(0.1)[:, 3].astype(np.float64)
    margins_M = toy.bundle.margins_MRN.mean(axis=1, dtype=np.float64)[:, 3]
    assert [row["data-predicted"] for row in points] == [f"{value:.6g}" for value in predicted_M]
    assert [row["data-actual"] for row in points] == [f"{value:.6g}" for value in margins_M]


def test_best_and_worst_targets_are_listed(site: Site, toy: Example) -> None:
    rho_N = toy.offline(toy.scores(2.0))["public"].per_target
    rows = site.page(f"/submissions/{site.ids['middling']}").tables[3][1:]
    order = np.argsort(-rho_N, kind="stable")
    expected = [("best", j) for j in order[:3]] + [("worst", j) for j in order[:-4:-1]]
    assert [row[:2] + row[-1:] for row in rows] == [
        [kind, f"Target {j}", formatting.number(rho_N[j])] for kind, j in expected
    ]


def test_target_without_stored_examples_shows_its_correlation(site: Site, illustrated: tuple[Example, str]) -> None:
    with site.service.database.read() as session:
        evaluation = select(Evaluation.id).where(Evaluation.submission_id == illustrated[1])
        kept = set(
            session.scalars(select(Attribution.target).where(Attribution.evaluation_id == evaluation.scalar_subquery()))
        )
    other = min(set(range(30)) - kept)
    text = site.text(f"/submissions/{illustrated[1]}?target={other}")
    rho_N = illustrated[0].offline(illustrated[0].scores(0.5))["public"].per_target
    assert f"Correlation {formatting.number(rho_N[other])} on the public subsets" in text
    assert "Predictions and extreme scores were not saved for this target" in text
    assert example_lists(text) == []
    refused = site.browser.get(f"/submissions/{illustrated[1]}?target=30")
    assert refused.status_code == 422
    assert "a target from 0 to 29" in refused.text


def test_default_target_is_nearest_to_the_mean(site: Site, illustrated: tuple[Example, str]) -> None:
    result = illustrated[0].offline(illustrated[0].scores(0.5))["public"]
    page = site.page(f"/submissions/{illustrated[1]}")
    offered = [int(option["value"] or "") for option in page.all("option") if (option.get("value") or "").isdecimal()]
    (chosen,) = [int(option["value"] or "") for option in page.all("option") if "selected" in option]
    assert abs(result.per_target[chosen] - result.lds) == min(abs(result.per_target[offered] - result.lds))


def test_submission_without_stored_examples_has_a_page(site: Site, toy: Example) -> None:
    sent = site.service.submit_and_score(site.service.token("old"), "toy", npy(toy.scores(0.4)), kind="practice")
    with site.service.database.write() as session:
        evaluation = select(Evaluation.id).where(Evaluation.submission_id == sent["id"])
        session.execute(delete(Attribution).where(Attribution.evaluation_id.in_(evaluation)))
    text = site.text(f"/submissions/{sent['id']}")
    assert "did not save predictions and extreme scores" in text
    assert 'id="points"' not in text


def test_state_fragment_is_returned_only_at_a_change(site: Site) -> None:
    uploading = uploading_submission(site)
    first = site.page(f"/submissions/{uploading}")
    (asks,) = [element for _, element in first.elements if "hx-get" in element]
    assert asks["hx-get"] == f"/submissions/{uploading}/state?seen=uploading"
    assert site.browser.get(asks["hx-get"] or "").status_code == 204
    with site.service.database.write() as session:
        session.get_one(Submission, uploading).state = State.QUEUED
    queued = site.text(asks["hx-get"] or "")
    assert "Position 1 in the queue" in queued
    assert 'id="result"' not in queued
    with site.service.database.write() as session:
        lifecycle.transition(session, uploading, State.QUEUED, State.SCORING)
    with site.service.database.write() as session:
        session.connection()  # the lock keeps the server from requeueing the submission
        scoring = Markup(site.text(f"/submissions/{uploading}/state?seen=queued-1"))
        error = {"code": "scores.nonfinite", "detail": "The scores contain a NaN.", "hint": "Remove the NaN."}
        lifecycle.transition(session, uploading, State.SCORING, State.REJECTED, error=error)
    steps = [item.get("aria-current") or item.get("class") for item in scoring.all("li")]
    assert steps == ["done", "done", "step", None]
    final = Markup(site.text(f"/submissions/{uploading}/state?seen=scoring"))
    assert not [element for _, element in final.elements if "hx-get" in element]
    (result,) = [element for _, element in final.elements if element.get("id") == "result"]
    assert result["hx-swap-oob"] == "true"


def test_state_fragment_of_a_scored_submission_shows_the_result(site: Site) -> None:
    text = site.text(f"/submissions/{site.ids['good']}/state?seen=scoring")
    lds = site.api(f"/submissions/{site.ids['good']}")["hidden"]["lds"]
    assert f"LDS {formatting.number(lds)}" in text
    assert 'id="points"' in text
    assert "<html" not in text


def test_practice_board_submission_says_that_ground_truth_is_public(site: Site, open_toy: Example) -> None:
    sent = site.service.submit_and_score(
        site.service.token("pia"), open_toy.name, npy(open_toy.scores(0.6)), kind="practice"
    )["id"]
    notice = "Practice board: all ground truth is public"
    assert notice in site.text(f"/submissions/{sent}")
    assert notice not in site.text(f"/submissions/{site.ids['good']}")


def test_only_listed_entries_show_a_badge(site: Site) -> None:
    assert f"/submissions/{site.ids['middling']}/badge.svg" in site.text(f"/submissions/{site.ids['middling']}")
    assert "badge.svg" not in site.text(f"/submissions/{site.ids['practice']}")


def test_targets_are_summarised_by_class_best_first(site: Site, illustrated: tuple[Example, str]) -> None:
    example, submission = illustrated
    page = site.page(f"/submissions/{submission}")
    rho_N = example.offline(example.scores(0.5))["public"].per_target
    means = {name: rho_N[np.arange(30) % 10 == number].mean() for number, name in enumerate(CLASSES)}
    expected = [(name, f"{means[name]:.4f}", "3") for name in sorted(means, key=lambda name: -means[name])]
    rows = [attributes for attributes in page.all("tr") if "data-label" in attributes]
    assert [(row["data-label"], row["data-mean"], row["data-count"]) for row in rows] == expected
    p_values_N = example.offline(example.scores(0.5))["public"].p_values
    shares = {name: np.mean(p_values_N[np.arange(30) % 10 == number] < 0.05) for number, name in enumerate(CLASSES)}
    assert [row[3] for row in page.tables[2][1:]] == [cell(formatting.share(float(shares[row[0]]))) for row in expected]
    (chart,) = [figure for figure in page.all("figure") if figure["data-chart"] == "classes"]
    assert f"from {expected[0][0]}, " in (chart["data-label"] or "")
    assert "By class" not in site.text(f"/submissions/{site.ids['good']}")  # every target of toy has a different class


def test_page_summarises_correlations_over_targets_on_the_public_subsets(site: Site, toy: Example) -> None:
    text = site.text(f"/submissions/{site.ids['middling']}")
    facts = text[text.index('id="over-targets"') :].partition("</dl>")[0]
    summary = toy.offline(toy.scores(2.0))["public"].target_summary
    assert re.findall("<dd>(.*?)</dd>", facts) == [
        *(formatting.number(value) for value in (summary.median, summary.low, summary.high)),
        formatting.share(summary.share_p05),
    ]
    assert "correlation of each target on the hidden subsets is not published" in text


def test_page_compares_targets_with_negative_margin_to_the_others(site: Site, toy: Example) -> None:
    result = toy.offline(toy.scores(2.0))["public"]
    negative_N = toy.bundle.margins_MRN.mean(axis=(0, 1), dtype=np.float64) < 0
    assert 0 < negative_N.sum() < negative_N.size
    assert site.page(f"/submissions/{site.ids['middling']}").tables[2][1:] == [
        [
            name,
            formatting.number(result.per_target[group_N].mean()),
            str(group_N.sum()),
            cell(formatting.share(float(np.mean(result.p_values[group_N] < 0.05)))),
        ]
        for name, group_N in (("negative", negative_N), ("not negative", ~negative_N))
    ]


def test_page_shows_standard_error_for_new_targets_of_both_parts(site: Site, toy: Example) -> None:
    heading, *rows = site.page(f"/submissions/{site.ids['middling']}").tables[0]
    column = heading.index("Standard error, new targets")
    results = toy.offline(toy.scores(2.0))
    assert [row[column] for row in rows] == [
        formatting.number(results[part].std_error_new_targets) for part in ("ranking", "public")
    ]


def test_benchmark_of_losses_with_many_targets_shows_neither_margins_nor_error_for_new_targets(
    site: Site, tmp_path_factory: pytest.TempPathFactory
) -> None:
    example = write_benchmark(tmp_path_factory.mktemp("losses"), "losses", N=200, split="open")
    manifest = example.folder / "public" / "benchmark.json"
    manifest.write_text(
        manifest.read_text().replace('"output_function": "margin"', '"output_function": "negative_loss"')
    )
    site.service.publish(example.folder)
    sent = site.service.submit_and_score(site.service.token("lou"), "losses", npy(example.scores()))
    text = site.text(f"/submissions/{sent['id']}")
    assert "By class" in text
    assert "and not from the ranking subsets" in text
    assert "Misclassified" not in text
    assert "new targets" not in text
    assert sent["public"]["std_error_new_targets"] > sent["public"]["std_error"]
