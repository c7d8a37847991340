"""Writing an imported benchmark: its manifest, its summary, and rejected options.

Legend: M subsets, R runs, n training examples, N targets.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from ldsboard import GroundTruth
from ldsboard.bundle import Bundle
from ldsboard.importing.benchmarks import (
    CROSS_SEED,
    how_drawn,
    output_function,
    ranking_rows,
    summary,
    write_import,
)
from ldsboard.importing.origins import Origin
from ldsboard.importing.reading import read_origin
from ldsboard.importing.tables import TableError
from ldsboard.manifest import BundleError

if TYPE_CHECKING:
    from pathlib import Path

M, n, N = 40, 20, 3
rng = np.random.default_rng(8)
MASKS = rng.random((M, n)) < 0.4
MARGINS = rng.normal(size=(M, N)).astype(np.float32)
ABOUT: dict[str, Any] = {
    "name": "cifar2",
    "version": 3,
    "title": "CIFAR-2",
    "description": "From TRAK.",
    "licence": "MIT",
    "output_function": "margin",
    "ranking": (10, 35),
}


@pytest.fixture
def origin(tmp_path: Path) -> Origin:
    np.save(tmp_path / "mask.npy", MASKS)
    np.save(tmp_path / "val_margins.npy", MARGINS)
    return Origin(tmp_path / "mask.npy", tmp_path / "val_margins.npy")


def test_import_manifest_states_only_known_facts(origin: Origin, tmp_path: Path) -> None:
    written = write_import(tmp_path / "made", origin, read_origin(origin), ABOUT)
    assert {name: getattr(written, name) for name in ABOUT} == ABOUT
    assert (written.split, written.commitment, written.public_seed) == ("open", None, None)
    assert (written.ceiling, written.ceiling_std_error, written.unreliable_targets) == (None, None, None)
    assert (written.n_train, written.n_targets, written.runs) == (n, N, 1)
    assert written.subsets == {"public": 10, "ranking": 25}
    assert written.alpha == MASKS.mean()
    sizes = MASKS.sum(axis=1)
    assert written.provenance == {
        "imported": {
            name: {"file": path.name, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
            for name, path in (("masks", origin.masks), ("margins", origin.margins))
        },
        "packed": None,
        "removed_inverted": False,
        "evaluations_averaged": 1,
        "losses_negated": False,
        "margins_negated": False,
        "order_of_rows": None,
        "rescaled": False,
        "rounded_to_float32": False,
        "targets_with_new_ties": 0,
        "subset_sizes": {"smallest": sizes.min(), "largest": sizes.max()},
        "subsets_drawn": "not stated by the files; overlapping, as of independent draws",
        "seeds": CROSS_SEED,
    }
    assert str(tmp_path) not in (tmp_path / "made/public/benchmark.json").read_text()


def test_partitions_and_their_complements_are_recognized() -> None:
    parts_Mn = np.repeat(np.eye(5, dtype=bool), 3, axis=1)
    assert how_drawn(parts_Mn) == how_drawn(parts_Mn[:-1]) == "disjoint parts of the training examples"
    assert how_drawn(~parts_Mn) == "all training examples but one of several disjoint parts"
    assert how_drawn(np.concatenate([parts_Mn, parts_Mn[:1]])).startswith("not stated by the files")


def test_imported_folder_opens_as_bundle(origin: Origin, tmp_path: Path) -> None:
    runs_MRN = np.stack([MARGINS, MARGINS + rng.normal(size=(M, N)).astype(np.float32)], axis=1)
    np.save(origin.margins, runs_MRN)
    written = write_import(tmp_path / "made", origin, read_origin(origin), ABOUT)
    bundle = Bundle.open(tmp_path / "made")
    assert bundle.manifest == written
    masks_Mn, margins_MRN, parts = bundle.scored_arrays()
    assert np.array_equal(masks_Mn, MASKS)
    assert np.array_equal(margins_MRN, runs_MRN)
    assert parts == {"public": slice(0, 10), "ranking": slice(10, 35)}


def test_evaluations_of_one_run_give_no_noise_ceiling(origin: Origin, tmp_path: Path) -> None:
    repeated, subsets = replace(origin, evaluations=2), 74  # a ceiling needs 64 ranking subsets
    np.save(origin.masks, rng.permuted(np.tile(np.arange(n) < n // 2, (subsets, 1)), axis=1))
    margins_MN = rng.normal(size=(subsets, N))
    for runs, known in ((1, False), (2, True)):
        np.save(origin.margins, margins_MN[:, None] + rng.normal(size=(subsets, 2 * runs, N)))
        written = write_import(tmp_path / "made", repeated, read_origin(repeated), ABOUT | {"ranking": (10, subsets)})
        assert (written.runs, written.ceiling is not None) == (runs, known)
        assert written.provenance["evaluations_averaged"] == 2
        assert "Each margin is the mean of 2 evaluations of one model." in summary(written).splitlines()


@pytest.mark.parametrize("target", [0, 2])
@pytest.mark.parametrize("rows", [slice(0, 10), slice(10, 35)])
def test_import_rejects_target_that_is_constant_in_a_split(
    origin: Origin, tmp_path: Path, target: int, rows: slice
) -> None:
    margins_MN = MARGINS.copy()
    margins_MN[rows, target] = 1.25
    np.save(origin.margins, margins_MN)
    with pytest.raises(TableError, match=rf"val_margins\.npy: .*got 1 constant target: {target}\."):
        write_import(tmp_path / "made", origin, read_origin(origin), ABOUT)
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize("ranking", [64, 63])
def test_import_states_noise_ceiling_of_64_ranking_subsets_or_more(
    origin: Origin, tmp_path: Path, ranking: int
) -> None:
    masks_Mn = np.random.default_rng(9).random((80, n)) < 0.4
    runs_MRN = np.random.default_rng(10).normal(size=(80, 1, N)) + np.random.default_rng(11).normal(size=(80, 2, N))
    np.save(origin.masks, masks_Mn)
    np.save(origin.margins, runs_MRN.astype(np.float32))
    rows = slice(10, 10 + ranking)
    about = ABOUT | {"ranking": (rows.start, rows.stop)}
    written = write_import(tmp_path / "made", origin, read_origin(origin), about)
    if ranking == 64:
        ceiling = GroundTruth(masks_Mn, runs_MRN.astype(np.float32)).noise_ceiling(rows)
        assert (written.ceiling, written.ceiling_std_error) == (ceiling.value, ceiling.std_error)
        assert f"Noise ceiling {ceiling.value:.3f} ± {ceiling.std_error:.3f}." in summary(written).splitlines()
    else:
        assert (written.ceiling, written.ceiling_std_error, written.unreliable_targets) == (None, None, None)
        assert "Noise ceiling unknown: it needs at least 64 ranking subsets." in summary(written).splitlines()


def test_import_does_not_overwrite_protected_benchmark(origin: Origin, tmp_path: Path) -> None:
    (tmp_path / "made/hidden").mkdir(parents=True)
    with pytest.raises(BundleError, match="Choose another folder"):
        write_import(tmp_path / "made", origin, read_origin(origin), ABOUT)


def test_ranking_rows_default_to_last_80_percent() -> None:
    assert ranking_rows(1000, None) == (200, 1000)
    assert ranking_rows(1000, "50-900") == (50, 900)
    assert ranking_rows(64, None) == (12, 64)


def test_few_subsets_are_not_divided_by_default() -> None:
    assert ranking_rows(63, None) == (0, 63)
    assert ranking_rows(1000, "all") == (0, 1000)


@pytest.mark.parametrize("wanted", ["0-40", "0-39", "5-41", "20-20", "30-10", "5", "5:40", "-5-40", "a-b", "", "5-40 "])
def test_ranking_rows_rejects_invalid_range(wanted: str) -> None:
    with pytest.raises(TableError, match=r"Invalid ranking rows .*A-B with 0 < A < B <= 40\."):
        ranking_rows(40, wanted)


def test_output_function_rejects_name_that_contradicts_sign(origin: Origin) -> None:
    losses = replace(origin, losses=True)
    assert output_function(origin, None) == "margin"
    assert output_function(losses, None) == "negative_loss"
    assert output_function(origin, "negative_loss") == "negative_loss"
    assert output_function(losses, "negative_perplexity") == "negative_perplexity"
    for wrong, name in ((losses, "margin"), (origin, "loss"), (origin, "The margin"), (origin, "")):
        with pytest.raises(TableError, match=r"Invalid output function .*val_margins\.npy"):
            output_function(wrong, name)


def test_summary_shows_everything_a_wrong_option_would_change(origin: Origin, tmp_path: Path) -> None:
    np.save(origin.margins, MARGINS.astype(np.float64) + 1e-12)
    text = summary(write_import(tmp_path / "made", origin, read_origin(origin), ABOUT))
    sizes = MASKS.sum(axis=1)
    assert text.splitlines() == [
        f"20 training examples; {sizes.min()} to {sizes.max()} in each subset.",
        "3 targets, output function margin, 1 run of each subset.",
        "10 public subsets and 25 ranking subsets (rows 10 to 34).",
        "Noise ceiling unknown: it needs at least two runs of each subset.",
        "Some margins changed when they were rounded to float32.",
        "Published cifar2 version 3 as a practice board.",
    ]
