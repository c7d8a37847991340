"""Falls of the margin on the page of a submission, and in the download of its single targets."""

from __future__ import annotations

import html
import io
import re
from typing import TYPE_CHECKING

import numpy as np
import pytest

from app.db.base import now
from app.pages.content.formatting import margin, margin_change
from tests.app.benchmarks import write_benchmark
from tests.app.evaluated import BEFORE, save_evaluation, save_falls
from tests.app.pages.markup import Markup
from tests.app.service import npy

if TYPE_CHECKING:
    from tests.app.pages.conftest import Site

TARGETS, SIZES = range(0, 30, 2), (3, 8, 12)


@pytest.fixture(scope="module")
def entry(site: Site, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The id of a submission to a benchmark with 60 training examples and 30 targets."""
    example = write_benchmark(tmp_path_factory.mktemp("retrained"), "retrained", N=30, pictures=(4, 3))
    site.service.publish(example.folder)
    token = site.service.token("fay")
    return str(site.service.submit_and_score(token, "retrained", npy(example.scores(0.5)))["id"])


def words(text: str) -> str:
    """Return the words of a page, with single plain spaces."""
    return " ".join(html.unescape(re.sub(r"<[^>]+>", "", text)).split())


def table(page: Markup, heading: str) -> list[list[str]]:
    """Return the table whose first heading this is."""
    (found,) = [rows for rows in page.tables if rows[0][0] == heading]
    return found


def test_section_shows_the_fall_with_its_interval(site: Site, entry: str) -> None:
    falls = save_falls(site.service, entry, TARGETS, SIZES, 12)
    text = site.text(f"/submissions/{entry}")
    assert (
        "Without the 12 training examples with the highest scores for a target (20.0 % of all), the margin of the target "
        f"falls by {margin(falls[0, 2].mean(), 3)} [0.062, 0.500] on average over 15 targets, from 4.10 with all "
        "examples. The mean is over 3 runs; its "
        "standard error over their seeds is 0.031. Without as many random examples, the margin rises by 0.062; the two changes "
        "are 7.5 standard errors apart."
    ) in words(text)
    assert "took 42 s of processor time" in words(text)
    assert "Some removals say less" not in text
    heading, *rows = table(Markup(text), "Removed")
    assert [row[0] for row in rows] == [f"{k} {side}" for side in ("proponents", "opponents") for k in SIZES]
    error = falls[0, 2].std(ddof=1) / np.sqrt(len(TARGETS))
    means = [f"{margin(mean, 3)} ± {error:.3f} [0.062, 0.500]" for mean in falls.mean(axis=2).ravel()]
    assert [row[1:] for row in rows] == [[mean, "0.250", "12.5 %", "0.375", "−0.062", "7.5 se"] for mean in means]  # noqa: RUF001
    assert len(heading) == len(rows[0])


def test_marks_are_listed_with_their_numbers_of_targets(site: Site, entry: str) -> None:
    save_falls(site.service, entry, TARGETS, (3, 12), 12, ties=1, whole_class=2)
    shown = words(site.text(f"/submissions/{entry}"))
    each = "{0} without 3 proponents, {0} without 12 proponents, {0} without 3 opponents, {0} without 12 opponents."
    assert f"with the lowest indices were removed: {each.format('1 target')}" in shown
    assert f"could not be predicted: {each.format('2 targets')}" in shown
    assert "Fewer examples than removed" not in shown


def test_rising_margins_are_called_rises(site: Site, entry: str) -> None:
    falls = save_falls(site.service, entry, TARGETS, SIZES, 12, scale=-1)
    shown = words(site.text(f"/submissions/{entry}?target=0"))
    rise = margin(-falls[0, 2].mean(), 3)
    assert f"the margin of the target rises by {rise} [−0.500, −0.062] on average" in shown  # noqa: RUF001
    assert "which include the 8 above, the margin rises from 4.10 to 5.10 (mean of 3 runs)." in shown
    assert "which include the 8 above, the margin falls from 4.10 to 3.60 (mean of 3 runs)." in shown


def test_single_target_and_run_have_no_errors(site: Site, entry: str) -> None:
    save_falls(site.service, entry, [5], (1,), 1, runs=1, others=None)
    text = site.text(f"/submissions/{entry}?target=5")
    shown = words(text)
    assert (
        "Without the training example with the highest score for a target (1.7 % of all), the margin of the target falls by "
        "1.000 on average over 1 target, from 4.10 with all examples. Models were trained with one seed only, so how much other "
        "seeds would move this mean is "
        "not known. Without as many random examples, the margin rises by 0.062."
    ) in shown
    page = Markup(text)
    assert table(page, "Removed")[1] == ["1 proponent", "1.000", "0.250", "12.5 %", "–", "−0.062", "–"]  # noqa: RUF001
    assert "Without the first of these training examples, the margin falls from 4.10 to 3.10." in shown
    assert "Models were retrained without examples for 1 evenly spread target" in words(
        site.text(f"/submissions/{entry}?target=9")
    )


@pytest.mark.parametrize(
    ("headline", "removed"),
    [
        (12, "the 12 training examples with the {} scores for this target, which include the 8 above,"),
        (8, "these 8 training examples,"),
        (3, "the first 3 of these training examples,"),
    ],
)
def test_target_says_what_was_removed(site: Site, entry: str, headline: int, removed: str) -> None:
    falls = save_falls(site.service, entry, TARGETS, SIZES, headline)
    shown = words(site.text(f"/submissions/{entry}?target=0"))
    for side, score in enumerate(("highest", "lowest")):
        after = BEFORE - falls[side, SIZES.index(headline), 0]
        change = margin_change(BEFORE, after)
        assert f"Without {removed.format(score)} the margin {change} (mean of 3 runs)." in shown


def test_curve_of_a_target_is_a_table(site: Site, entry: str) -> None:
    falls = save_falls(site.service, entry, TARGETS, SIZES, 12)
    page = site.page(f"/submissions/{entry}?target=0")
    rows = [row for row in page.all("tr") if "data-proponents" in row]
    after = BEFORE - falls[:, :, 0]
    for row, size, low, high in zip(rows, SIZES, *after, strict=True):
        assert row == {"data-removed": str(size), "data-proponents": f"{low:.6g}", "data-opponents": f"{high:.6g}"}
    shown = [[str(size), margin(low), margin(high)] for size, low, high in zip(SIZES, *after, strict=True)]
    assert table(page, "Removed examples")[1:] == shown
    (figure,) = [each for each in page.all("figure") if each.get("data-chart") == "deletion"]
    assert figure["data-label"] == (
        f"Margin of target 0 against the number of removed examples: 4.10 with all examples, {margin(after[0, 2])} without "
        f"12 proponents, {margin(after[1, 2])} without 12 opponents"
    )


def test_evaluated_targets_can_be_chosen(site: Site, entry: str) -> None:
    save_evaluation(site.service, entry)
    before = site.page(f"/submissions/{entry}")
    saved = {option["value"] for option in before.all("option")}
    missing = next(target for target in TARGETS if str(target) not in saved)
    save_falls(site.service, entry, TARGETS, SIZES, 12)
    page = site.page(f"/submissions/{entry}")
    assert [group["label"] for group in page.all("optgroup")] == [
        "With proponents and opponents",
        "Others with retrained models",
    ]
    values = [option["value"] for option in page.all("option") if (option["value"] or "").isdigit()]
    assert set(values) >= {str(target) for target in TARGETS}
    assert len(values) == len(set(values))
    (chosen,) = [option["value"] for option in page.all("option") if "selected" in option]
    assert chosen in saved
    assert int(chosen or "") in TARGETS
    text = site.text(f"/submissions/{entry}?target={missing}")
    assert "Predictions and extreme scores were not saved for this target." in text
    assert "Without the 12 training examples with the highest scores for this target, the margin" in words(text)


def test_other_targets_name_the_nearest_evaluated_one(site: Site, entry: str) -> None:
    save_falls(site.service, entry, [0, 10, 20], SIZES, 12)
    text = site.text(f"/submissions/{entry}?target=16")
    assert "for 3 evenly spread targets, but not for this one. The nearest of them is Target 20." in words(text)
    assert f'href="/submissions/{entry}?target=20#target"' in text
    assert "data-proponents" not in text


def test_states_without_a_result(site: Site, entry: str) -> None:
    heading = "Retraining without examples"
    save_evaluation(site.service, entry, claimed_at=now(), percent=45)
    assert "lowest scores in this file: 45 % of the models are trained." in words(site.text(f"/submissions/{entry}"))
    save_evaluation(site.service, entry)
    assert "has not been continued yet; no action is needed." in words(site.text(f"/submissions/{entry}"))
    # What is not listed is not evaluated, so its interrupted evaluation would never go on.
    scores, token = np.ones((60, 30), dtype=np.float32), site.service.token("practised")
    practice = site.service.submit_and_score(token, "retrained", npy(scores), kind="practice")["id"]
    save_evaluation(site.service, practice)
    assert heading not in site.text(f"/submissions/{practice}")
    save_evaluation(site.service, entry, ended_at=now(), reason="The recipe <cannot> train.")
    text = site.text(f"/submissions/{entry}")
    assert "could be trained. The recipe &lt;cannot&gt; train." in text
    assert heading in text
    assert "optgroup" not in text
    assert heading not in site.text(f"/submissions/{site.ids['good']}")


def test_download_has_the_falls_of_single_targets(site: Site, entry: str) -> None:
    falls = save_falls(site.service, entry, TARGETS, SIZES, 12)
    with np.load(io.BytesIO(site.service.client.get(f"/submissions/{entry}/per-target.npz").content)) as arrays:
        found = {name: arrays[name] for name in arrays}
    assert list(found) == ["rho", "fall_targets", "fall_sizes", "fall_before", "falls"]
    assert found["rho"].shape == (30,)
    assert np.array_equal(found["fall_targets"], TARGETS)
    assert np.array_equal(found["fall_sizes"], SIZES)
    assert {found[name].dtype for name in ("fall_targets", "fall_sizes")} == {np.dtype(np.int64)}
    assert np.array_equal(found["fall_before"], [BEFORE] * len(TARGETS))
    assert np.array_equal(found["falls"], falls)
    for fields in ({}, {"ended_at": now(), "reason": "The recipe cannot train."}):
        save_evaluation(site.service, entry, **fields)
        with np.load(io.BytesIO(site.service.client.get(f"/submissions/{entry}/per-target.npz").content)) as arrays:
            assert list(arrays) == ["rho"]
