"""A benchmark on disk: written, read, verified.

Legend: M subsets, R runs, n training examples, N targets.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from ldsboard import GroundTruth, ProblemError
from ldsboard.bundle import Bundle, HiddenPart, sha256, write_bundle
from ldsboard.ceiling import margin_spectrum, noise_ceiling
from ldsboard.manifest import BundleError, Manifest
from ldsboard.masks import pack_masks
from ldsboard.subsets import commitment, draw_masks

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

PUBLIC_SEED, HIDDEN_SEED, NONCE = 7, 2**127 + 12345, bytes(range(16))
M_PUBLIC, M_HIDDEN, R, n, N = 12, 30, 2, 20, 3
DESCRIPTION: dict[str, Any] = {
    "name": "toy",
    "version": 1,
    "title": "Toy",
    "description": "Nothing was trained.",
    "licence": "CC0-1.0",
    "dataset": {"name": "none"},
    "recipe": {"name": "linear", "epochs": 3},
    "alpha": 0.5,
    "output_function": "margin",
    "public_seed": PUBLIC_SEED,
    "split": "protected",
    "ranking": None,
    "provenance": {"device": "cpu"},
}
OPEN = DESCRIPTION | {"split": "open", "ranking": (4, M_PUBLIC)}

rng = np.random.default_rng(1)
LABELS = {"train": rng.integers(10, size=n), "target": rng.integers(10, size=N)}
IMAGES = {"train": rng.integers(256, size=(n, 2, 2), dtype=np.uint8), "target": np.zeros((N, 2, 2), dtype=np.uint8)}
MASKS = draw_masks(PUBLIC_SEED, M_PUBLIC, n, 0.5)
MARGINS = (rng.normal(size=(M_PUBLIC, R, N)) + rng.normal(size=(M_PUBLIC, 1, N))).astype(np.float32)
HIDDEN = HiddenPart(
    HIDDEN_SEED,
    NONCE,
    draw_masks(HIDDEN_SEED, M_HIDDEN, n, 0.5),
    (rng.normal(size=(M_HIDDEN, R, N)) + rng.normal(size=(M_HIDDEN, 1, N))).astype(np.float32),
)


@pytest.fixture
def kit(tmp_path: Path) -> Path:
    (tmp_path / "kit" / "models").mkdir(parents=True)
    (tmp_path / "kit" / "recipe.py").write_text("EPOCHS = 3\n")
    (tmp_path / "kit" / "models" / "0.safetensors").write_bytes(bytes(10))
    return tmp_path / "kit"


@pytest.fixture
def protected(tmp_path: Path, kit: Path) -> Path:
    folder = tmp_path / "toy"
    write_bundle(
        folder, DESCRIPTION, masks_Mn=MASKS, margins_MRN=MARGINS, labels=LABELS, images=IMAGES, kit=kit, hidden=HIDDEN
    )
    return folder


@pytest.fixture
def practice(tmp_path: Path) -> Path:
    folder = tmp_path / "practice"
    write_bundle(folder, OPEN, masks_Mn=MASKS, margins_MRN=MARGINS, labels=LABELS)
    return folder


def edit(path: Path, **members: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | members))


def test_a_protected_benchmark_comes_back_as_it_was_written(protected: Path) -> None:
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


def test_the_manifest_holds_what_the_arrays_tell(protected: Path) -> None:
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


def test_masks_are_packed_in_little_bit_order(protected: Path) -> None:
    for half, masks in (("public", MASKS), ("hidden", HIDDEN.masks_Mn)):
        packed = np.load(protected / half / "masks.npy")
        assert packed.dtype == np.uint8
        assert np.array_equal(packed, np.packbits(masks, axis=1, bitorder="little"))


def test_both_parts_are_scored_together(protected: Path) -> None:
    masks, margins, parts = Bundle.open(protected).scored_arrays()
    scores = np.random.default_rng(2).normal(size=(n, N))
    results = GroundTruth(masks, margins).score(scores, splits=parts)
    assert results["public"] == GroundTruth(MASKS, MARGINS).score(scores)
    assert results["ranking"] == GroundTruth(HIDDEN.masks_Mn, HIDDEN.margins_MRN).score(scores)


def test_an_open_benchmark_ranks_on_rows_of_its_public_part(practice: Path) -> None:
    bundle = Bundle.open(practice)
    assert bundle.manifest.commitment is None
    assert bundle.manifest.ranking == (4, M_PUBLIC)
    assert bundle.manifest.subsets == {"public": 4, "ranking": M_PUBLIC - 4}
    assert bundle.manifest.ceiling == noise_ceiling(MARGINS[4:]).value
    masks, margins, parts = bundle.scored_arrays()
    assert np.array_equal(masks, MASKS)
    assert np.array_equal(margins, MARGINS)
    assert parts == {"public": slice(0, 4), "ranking": slice(4, M_PUBLIC)}
    assert not (practice / "hidden").exists()
    with pytest.raises(BundleError, match=r"expected the hidden half of toy.*got no hidden\.json"):
        bundle.hidden()


@pytest.mark.skipif(os.name == "nt", reason="the modes of files say nothing there")
def test_the_hidden_half_can_be_read_by_its_owner_alone(protected: Path) -> None:
    assert (protected / "hidden").stat().st_mode & 0o077 == 0
    assert (protected / "hidden" / "hidden.json").stat().st_mode & 0o077 == 0


def test_a_writer_that_fails_leaves_the_benchmark_of_before(practice: Path) -> None:
    before = {path: path.read_bytes() for path in practice.rglob("*") if path.is_file()}
    with pytest.raises(FileNotFoundError):
        write_bundle(practice, OPEN, masks_Mn=MASKS[::-1], margins_MRN=MARGINS, labels=LABELS, kit=practice / "absent")
    assert {path: path.read_bytes() for path in practice.rglob("*") if path.is_file()} == before


def test_writing_again_replaces_the_public_half_but_never_orphans_a_hidden_one(protected: Path, practice: Path) -> None:
    with pytest.raises(BundleError, match="expected no hidden half beside an open benchmark"):
        write_bundle(protected, OPEN, masks_Mn=MASKS, margins_MRN=MARGINS, labels=LABELS)
    assert Bundle.open(protected).hidden()
    (practice / "public" / "stale").write_text("from before")
    write_bundle(practice, OPEN, masks_Mn=MASKS, margins_MRN=MARGINS, labels=LABELS)
    assert not (practice / "public" / "stale").exists()


@pytest.mark.parametrize("name", ["masks.npy", "margins.npy", "train_labels.npy", "kit/recipe.py"])
def test_a_missing_or_altered_public_file_is_named(name: str, protected: Path) -> None:
    path = protected / "public" / name
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(BundleError, match=f"{re.escape(str(path))} was altered: expected sha256 [0-9a-f]{{64}}, got"):
        Bundle.open(protected)
    path.unlink()
    with pytest.raises(BundleError, match=f"expected the file {re.escape(str(path))}.*missing"):
        Bundle.open(protected)


@pytest.mark.parametrize("name", ["masks.npy", "margins.npy"])
def test_a_missing_or_altered_hidden_file_is_named(name: str, protected: Path) -> None:
    path = protected / "hidden" / name
    path.write_bytes(path.read_bytes() + b"\0")
    with pytest.raises(BundleError, match=f"{name} was altered"):
        Bundle.open(protected).hidden()
    path.unlink()
    with pytest.raises(BundleError, match=f"{name}.*missing"):
        Bundle.open(protected).hidden()


def test_a_public_half_alone_opens_but_does_not_rank(protected: Path) -> None:
    shutil.rmtree(protected / "hidden")
    bundle = Bundle.open(protected)
    with pytest.raises(BundleError, match="expected the hidden half"):
        bundle.hidden()
    with pytest.raises(BundleError, match="expected the hidden half"):
        bundle.scored_arrays()


@pytest.mark.parametrize("members", [{"seed": f"{HIDDEN_SEED + 1:032x}"}, {"nonce": "00" * 16}])
def test_a_seed_that_does_not_open_the_commitment_is_refused(members: dict[str, str], protected: Path) -> None:
    edit(protected / "hidden" / "hidden.json", **members)
    with pytest.raises(BundleError, match="does not open the commitment"):
        Bundle.open(protected).hidden()


def test_masks_that_the_seed_does_not_draw_are_refused(tmp_path: Path) -> None:
    chosen = HIDDEN.masks_Mn.copy()
    chosen[3] = np.roll(chosen[3], 1)
    hidden = HiddenPart(HIDDEN_SEED, NONCE, chosen, HIDDEN.margins_MRN)
    write_bundle(tmp_path, DESCRIPTION, masks_Mn=MASKS, margins_MRN=MARGINS, labels=LABELS, hidden=hidden)
    with pytest.raises(BundleError, match="not the ones that their seed draws"):
        Bundle.open(tmp_path).hidden()


@pytest.mark.parametrize("where", ["within", "across"])
def test_repeated_subsets_are_refused(where: str, tmp_path: Path) -> None:
    masks, other = MASKS.copy(), HIDDEN.masks_Mn
    masks[5] = masks[2] if where == "within" else other[0]
    with pytest.raises(BundleError, match="expected different subsets, got 1"):
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
def test_a_split_and_its_parts_must_agree(
    description: dict[str, Any], hidden: HiddenPart | None, tmp_path: Path
) -> None:
    with pytest.raises(BundleError, match="not both"):
        write_bundle(tmp_path, description, masks_Mn=MASKS, margins_MRN=MARGINS, labels=LABELS, hidden=hidden)


def test_one_run_has_no_ceiling_and_makes_no_protected_benchmark(tmp_path: Path) -> None:
    once = replace(HIDDEN, margins_MRN=HIDDEN.margins_MRN[:, :1])
    with pytest.raises(ProblemError, match="at least 2 runs"):
        write_bundle(tmp_path, DESCRIPTION, masks_Mn=MASKS, margins_MRN=MARGINS[:, :1], labels=LABELS, hidden=once)
    with pytest.raises(BundleError, match="expected a benchmark manifest"):
        Bundle.open(tmp_path)


def test_an_open_benchmark_may_have_one_run_and_neither_ceiling_nor_labels(tmp_path: Path) -> None:
    written = write_bundle(tmp_path, OPEN, masks_Mn=MASKS, margins_MRN=MARGINS[:, :1], labels={})
    assert (written.ceiling, written.ceiling_std_error, written.unreliable_targets) == (None, None, None)
    assert written.null_band["unrelated"] > 0
    assert set(written.files) == {"masks.npy", "margins.npy"}
    assert Bundle.open(tmp_path).manifest == written


@pytest.mark.parametrize(
    ("alter", "words"),
    [
        (lambda path: path.unlink(), "expected a benchmark manifest at .*No such file"),
        (lambda path: path.write_text("{"), "expected a benchmark manifest at"),
        (lambda path: path.write_bytes(b"\xff\xfe"), "expected a benchmark manifest at"),
        (lambda path: path.write_text("[]"), "missing or unknown fields: it holds no object"),
        (lambda path: path.write_text("5"), "missing or unknown fields: it holds no object"),
        (lambda path: path.write_text('{"name": 1}'), "missing or unknown fields: alpha"),
        (lambda path: edit(path, surprise=1), "missing or unknown fields: surprise"),
        (lambda path: edit(path, runs=3), r"expected margins of shape.*got \(12, 2, 3\)"),
        (lambda path: edit(path, n_targets=4), r"expected margins of shape.*got \(12, 2, 3\)"),
    ],
)
def test_a_manifest_that_is_not_one_is_refused(alter: Callable[[Path], Any], words: str, protected: Path) -> None:
    alter(protected / "public" / "benchmark.json")
    with pytest.raises(BundleError, match=words):
        Bundle.open(protected)


def test_fewer_masks_than_margins_are_refused(protected: Path) -> None:
    public = protected / "public"
    np.save(public / "masks.npy", pack_masks(MASKS[:-1]))
    files = Manifest.read(public / "benchmark.json").files | {"masks.npy": sha256(public / "masks.npy")}
    edit(public / "benchmark.json", files=files)
    with pytest.raises(BundleError, match="expected margins of shape"):
        Bundle.open(protected)


def test_a_manifest_must_name_the_arrays(protected: Path) -> None:
    path = protected / "public" / "benchmark.json"
    members = json.loads(path.read_text())
    del members["files"]["margins.npy"]
    path.write_text(json.dumps(members))
    with pytest.raises(BundleError, match=r"expected .*margins\.npy"):
        Bundle.open(protected)


@pytest.mark.parametrize("text", ["", "[]", '{"seed": "xyz", "nonce": "", "files": {}}', '{"seed": "00"}'])
def test_a_broken_hidden_half_is_named(text: str, protected: Path) -> None:
    (protected / "hidden" / "hidden.json").write_text(text)
    with pytest.raises(BundleError, match=r"expected seed and nonce .* in .*hidden\.json"):
        Bundle.open(protected).hidden()
