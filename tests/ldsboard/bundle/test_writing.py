"""Writing a benchmark folder, and reading back what was written.

Legend: M subsets, R runs, n training examples, N targets.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from ldsboard import GroundTruth, ProblemError
from ldsboard.bundle import Bundle, write_bundle
from ldsboard.core.ceiling import margin_spectrum, noise_ceiling
from ldsboard.manifest import BundleError
from ldsboard.subsets import commitment
from tests.ldsboard.bundle.example import (
    DESCRIPTION,
    HIDDEN,
    HIDDEN_SEED,
    IMAGES,
    LABELS,
    M_HIDDEN,
    M_PUBLIC,
    MARGINS,
    MASKS,
    NONCE,
    OPEN,
    N,
    R,
    n,
)

if TYPE_CHECKING:
    from pathlib import Path

    from ldsboard.hidden_file import HiddenPart


def test_open_reads_back_protected_benchmark(protected: Path) -> None:
    bundle = Bundle.open(protected)
    assert np.array_equal(bundle.masks_Mn, MASKS)
    assert np.array_equal(bundle.margins_MRN, MARGINS)
    assert bundle.margins_MRN.dtype == np.float32
    for part in ("train", "target"):
        assert np.array_equal(bundle.array(f"{part}_labels"), LABELS[part])
        assert np.array_equal(bundle.array(f"{part}_images"), IMAGES[part])
    hidden = bundle.hidden()
    assert (hidden.seed, hidden.nonce) == (HIDDEN_SEED, NONCE)
    assert np.array_equal(hidden.masks_Mn, HIDDEN.masks_Mn)
    assert np.array_equal(hidden.margins_MRN, HIDDEN.margins_MRN)


def test_manifest_describes_written_arrays(protected: Path) -> None:
    manifest = Bundle.open(protected).manifest
    for name, value in DESCRIPTION.items():
        assert getattr(manifest, name) == value
    assert (manifest.n_train, manifest.n_targets, manifest.runs) == (n, N, R)
    assert manifest.subsets == {"public": M_PUBLIC, "ranking": M_HIDDEN}
    assert manifest.commitment == commitment(HIDDEN_SEED, NONCE)
    ceiling = noise_ceiling(HIDDEN.margins_MRN)
    assert (manifest.ceiling, manifest.ceiling_std_error) == (ceiling.value, ceiling.std_error)
    assert manifest.unreliable_targets == ceiling.unreliable_targets
    spectrum = margin_spectrum(HIDDEN.margins_MRN.mean(axis=1, dtype=np.float64))
    assert manifest.null_band == {"unrelated": spectrum.unrelated, "shared": spectrum.shared}
    assert manifest.attempts_spectrum == spectrum.attempts
    assert set(manifest.files) == {
        *("masks.npy", "margins.npy", "train_labels.npy", "target_labels.npy", "train_images.npy", "target_images.npy"),
        *("kit/recipe.py", "kit/models/0.safetensors"),
    }
    for name, digest in manifest.files.items():
        assert hashlib.sha256((protected / "public" / name).read_bytes()).hexdigest() == digest


def test_mask_files_are_packed_in_little_bit_order(protected: Path) -> None:
    for half, masks in (("public", MASKS), ("hidden", HIDDEN.masks_Mn)):
        packed = np.load(protected / half / "masks.npy")
        assert packed.dtype == np.uint8
        assert np.array_equal(packed, np.packbits(masks, axis=1, bitorder="little"))


def test_scored_arrays_score_public_and_hidden_subsets_together(protected: Path) -> None:
    masks, margins, parts = Bundle.open(protected).scored_arrays()
    scores = np.random.default_rng(2).normal(size=(n, N))
    results = GroundTruth(masks, margins).score(scores, splits=parts)
    assert results["public"] == GroundTruth(MASKS, MARGINS).score(scores)
    assert results["ranking"] == GroundTruth(HIDDEN.masks_Mn, HIDDEN.margins_MRN).score(scores)


def test_open_benchmark_ranks_on_public_rows(practice: Path) -> None:
    bundle = Bundle.open(practice)
    assert bundle.manifest.commitment is None
    assert bundle.manifest.ranking == (4, M_PUBLIC)
    assert bundle.manifest.subsets == {"public": 4, "ranking": M_PUBLIC - 4}
    assert bundle.manifest.ceiling is None  # 8 subsets are too few
    assert (bundle.manifest.ceiling_std_error, bundle.manifest.unreliable_targets) == (None, None)
    masks, margins, parts = bundle.scored_arrays()
    assert np.array_equal(masks, MASKS)
    assert np.array_equal(margins, MARGINS)
    assert parts == {"public": slice(0, 4), "ranking": slice(4, M_PUBLIC)}
    assert not (practice / "hidden").exists()
    with pytest.raises(BundleError, match=r"The hidden part of toy is missing: there is no .*hidden\.json"):
        bundle.hidden()


@pytest.mark.skipif(os.name == "nt", reason="Windows ignores file modes")
def test_hidden_folder_is_readable_by_owner_only(protected: Path) -> None:
    assert (protected / "hidden").stat().st_mode & 0o077 == 0
    assert (protected / "hidden" / "hidden.json").stat().st_mode & 0o077 == 0


def test_failed_write_keeps_previous_benchmark(practice: Path) -> None:
    before = {path: path.read_bytes() for path in practice.rglob("*") if path.is_file()}
    with pytest.raises(FileNotFoundError):
        write_bundle(practice, OPEN, masks_Mn=MASKS[::-1], margins_MRN=MARGINS, labels=LABELS, kit=practice / "absent")
    assert {path: path.read_bytes() for path in practice.rglob("*") if path.is_file()} == before


def test_rewrite_replaces_public_folder_but_rejects_open_benchmark_over_hidden_folder(
    protected: Path, practice: Path
) -> None:
    with pytest.raises(BundleError, match="holds the hidden part of a protected benchmark"):
        write_bundle(protected, OPEN, masks_Mn=MASKS, margins_MRN=MARGINS, labels=LABELS)
    assert Bundle.open(protected).hidden()
    (practice / "public" / "stale").write_text("from before")
    write_bundle(practice, OPEN, masks_Mn=MASKS, margins_MRN=MARGINS, labels=LABELS)
    assert not (practice / "public" / "stale").exists()


@pytest.mark.parametrize("where", ["within", "across"])
def test_write_rejects_repeated_subsets(where: str, tmp_path: Path) -> None:
    masks, other = MASKS.copy(), HIDDEN.masks_Mn
    masks[5] = masks[2] if where == "within" else other[0]
    with pytest.raises(BundleError, match=r"The subsets must differ\. Found 1 repetition"):
        write_bundle(tmp_path, DESCRIPTION, masks_Mn=masks, margins_MRN=MARGINS, labels=LABELS, hidden=HIDDEN)
    assert not (tmp_path / "public").exists()


@pytest.mark.parametrize(
    ("description", "hidden"),
    [
        (DESCRIPTION, None),
        (OPEN, HIDDEN),
        (OPEN | {"ranking": None}, None),
        (DESCRIPTION | {"ranking": (0, 5)}, HIDDEN),
    ],
)
def test_write_rejects_split_that_disagrees_with_ranking_and_hidden_part(
    description: dict[str, Any], hidden: HiddenPart | None, tmp_path: Path
) -> None:
    with pytest.raises(BundleError, match="needs a hidden part and no ranking rows"):
        write_bundle(tmp_path, description, masks_Mn=MASKS, margins_MRN=MARGINS, labels=LABELS, hidden=hidden)


def test_write_rejects_protected_benchmark_with_one_run(tmp_path: Path) -> None:
    once = replace(HIDDEN, margins_MRN=HIDDEN.margins_MRN[:, :1])
    with pytest.raises(ProblemError, match="at least 2 runs"):
        write_bundle(tmp_path, DESCRIPTION, masks_Mn=MASKS, margins_MRN=MARGINS[:, :1], labels=LABELS, hidden=once)
    with pytest.raises(BundleError, match="Cannot read the benchmark manifest"):
        Bundle.open(tmp_path)


def test_write_accepts_open_benchmark_with_one_run_and_no_labels(tmp_path: Path) -> None:
    written = write_bundle(tmp_path, OPEN, masks_Mn=MASKS, margins_MRN=MARGINS[:, :1], labels={})
    assert (written.ceiling, written.ceiling_std_error, written.unreliable_targets) == (None, None, None)
    assert written.null_band["unrelated"] > 0
    assert set(written.files) == {"masks.npy", "margins.npy"}
    assert Bundle.open(tmp_path).manifest == written
