"""Opening a benchmark folder verifies its manifest, files and hidden part.

Legend: M subsets, R runs, n training examples, N targets.
"""

from __future__ import annotations

import json
import re
import shutil
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from ldsboard.arrays.masks import pack_masks
from ldsboard.arrays.packed import PackedMasks
from ldsboard.bundle import Bundle, sha256, write_bundle
from ldsboard.hidden_file import HiddenPart
from ldsboard.manifest import BundleError, Manifest
from tests.ldsboard.bundle.example import DESCRIPTION, HIDDEN, HIDDEN_SEED, LABELS, MARGINS, MASKS, NONCE

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def edit_json(path: Path, **members: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | members))


@pytest.mark.parametrize("name", ["masks.npy", "margins.npy", "train_labels.npy", "kit/recipe.py"])
def test_open_names_missing_or_altered_public_file(name: str, protected: Path) -> None:
    path = protected / "public" / name
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(BundleError, match=f"{re.escape(str(path))} was altered: expected sha256 [0-9a-f]{{64}}, got"):
        Bundle.open(protected)
    path.unlink()
    with pytest.raises(BundleError, match=f"{re.escape(str(path))} is missing"):
        Bundle.open(protected)


@pytest.mark.parametrize("name", ["masks.npy", "margins.npy"])
def test_hidden_names_missing_or_altered_file(name: str, protected: Path) -> None:
    path = protected / "hidden" / name
    path.write_bytes(path.read_bytes() + b"\0")
    with pytest.raises(BundleError, match=f"{name} was altered"):
        Bundle.open(protected).hidden()
    path.unlink()
    with pytest.raises(BundleError, match=f"{name}.*missing"):
        Bundle.open(protected).hidden()


def test_bundle_without_hidden_folder_opens_but_has_no_scored_arrays(protected: Path) -> None:
    shutil.rmtree(protected / "hidden")
    bundle = Bundle.open(protected)
    with pytest.raises(BundleError, match=r"The hidden part of toy is missing: there is no .*hidden\.json"):
        bundle.hidden()
    with pytest.raises(BundleError, match=r"The hidden part of toy is missing: there is no .*hidden\.json"):
        bundle.scored_arrays()


@pytest.mark.parametrize("members", [{"seed": f"{HIDDEN_SEED + 1:032x}"}, {"nonce": "00" * 16}])
def test_hidden_rejects_seed_that_does_not_open_commitment(members: dict[str, str], protected: Path) -> None:
    edit_json(protected / "hidden" / "hidden.json", **members)
    with pytest.raises(BundleError, match="does not match the commitment"):
        Bundle.open(protected).hidden()


def test_hidden_rejects_masks_not_drawn_from_seed(tmp_path: Path) -> None:
    chosen = HIDDEN.masks_Mn.copy()
    chosen[3] = np.roll(chosen[3], 1)
    hidden = HiddenPart(HIDDEN_SEED, NONCE, PackedMasks.of(chosen), HIDDEN.margins_MRN)
    write_bundle(tmp_path, DESCRIPTION, masks_Mn=MASKS, margins_MRN=MARGINS, labels=LABELS, hidden=hidden)
    with pytest.raises(BundleError, match=r"masks\.npy differs from the masks that the hidden seed draws"):
        Bundle.open(tmp_path).hidden()


@pytest.mark.parametrize(
    ("alter", "words"),
    [
        (lambda path: path.unlink(), "Cannot read the benchmark manifest .*No such file"),
        (lambda path: path.write_text("{"), "Cannot read the benchmark manifest"),
        (lambda path: path.write_bytes(b"\xff\xfe"), "Cannot read the benchmark manifest"),
        (lambda path: path.write_text("[]"), "is not a JSON object"),
        (lambda path: path.write_text("5"), "is not a JSON object"),
        (lambda path: path.write_text('{"name": 1}'), "missing or unknown fields: alpha"),
        (lambda path: edit_json(path, surprise=1), "missing or unknown fields: surprise"),
        (lambda path: edit_json(path, runs=3), r"has margins of shape \(12, 2, 3\), not"),
        (lambda path: edit_json(path, n_targets=4), r"has margins of shape \(12, 2, 3\), not"),
    ],
)
def test_open_rejects_invalid_manifest(alter: Callable[[Path], Any], words: str, protected: Path) -> None:
    alter(protected / "public" / "benchmark.json")
    with pytest.raises(BundleError, match=words):
        Bundle.open(protected)


def test_open_rejects_fewer_masks_than_margins(protected: Path) -> None:
    public = protected / "public"
    np.save(public / "masks.npy", pack_masks(MASKS[:-1]))
    files = Manifest.read(public / "benchmark.json").files | {"masks.npy": sha256(public / "masks.npy")}
    edit_json(public / "benchmark.json", files=files)
    with pytest.raises(BundleError, match="has margins of shape"):
        Bundle.open(protected)


def test_open_rejects_manifest_without_array_file(protected: Path) -> None:
    path = protected / "public" / "benchmark.json"
    members = json.loads(path.read_text())
    del members["files"]["margins.npy"]
    path.write_text(json.dumps(members))
    with pytest.raises(BundleError, match=r"must list .*margins\.npy"):
        Bundle.open(protected)


@pytest.mark.parametrize("text", ["", "[]", '{"seed": "xyz", "nonce": "", "files": {}}', '{"seed": "00"}'])
def test_hidden_rejects_malformed_hidden_json(text: str, protected: Path) -> None:
    (protected / "hidden" / "hidden.json").write_text(text)
    with pytest.raises(BundleError, match=r"hidden\.json is damaged: it must hold files, a seed and a nonce"):
        Bundle.open(protected).hidden()
