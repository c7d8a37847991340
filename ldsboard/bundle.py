"""Read, verify and write benchmark folders.

Anyone can download the public part. Only a protected benchmark has a hidden part, which never leaves the server.

::

    public/benchmark.json      the manifest: metadata, provenance, and the sha256 of every other public file
    public/masks.npy           packed bits, uint8 (M, ceil(n / 8)), little bit order, 1 = in the training subset
    public/margins.npy         float32 (M, R, N)
    public/train_labels.npy, target_labels.npy, optionally train_images.npy, target_images.npy
    public/kit/                recipe.py, index files, reference models
                               (imported ground truth has no kit, and need not have labels)
    hidden/hidden.json         the hidden root seed and nonce, the sha256 of the hidden arrays, and any reserve: ``reserve``,
                               the ascending rows of the hidden arrays that are scored but not answered
    hidden/masks.npy, margins.npy

Legend: M subsets, R runs, n training examples, N targets.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict, dataclass
from hashlib import file_digest
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from ldsboard.arrays.margins import mean_over_runs
from ldsboard.arrays.masks import read_packed
from ldsboard.arrays.packed import PackedMasks
from ldsboard.core.ceiling import can_know_ceiling, margin_spectrum, noise_ceiling
from ldsboard.counts import count
from ldsboard.drafts import atomic_folder, atomic_write
from ldsboard.hidden_file import HIDDEN_FILE, HiddenFile, HiddenPart, are_drawn
from ldsboard.manifest import MANIFEST, REQUIRED, BundleError, Manifest
from ldsboard.subsets import commitment

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray


LEAST_MAPPED_BYTES = 2**22
"""Size from which the file of the packed masks is mapped; Windows does not replace or delete mapped files."""


@dataclass(frozen=True)
class Bundle:
    """A benchmark folder whose public files match the sha256 hashes in its manifest.

    Attributes
    ----------
    folder
        The folder that contains ``public/`` and, on the server of a protected benchmark, ``hidden/``.
    manifest
        The content of ``public/benchmark.json``.
    masks, margins_MRN
        Public subsets, packed, and their margins, float32 (M, R, N).
    """

    folder: Path
    manifest: Manifest
    masks: PackedMasks
    margins_MRN: NDArray[np.float32]

    @property
    def masks_Mn(self) -> NDArray[np.bool_]:
        """The public subsets, bool (M, n), True where the example is in the training subset; unpacked anew at each access."""
        return self.masks.unpacked()

    @classmethod
    def open(cls, folder: Path) -> Self:
        """Open a benchmark folder and verify its public part.

        Raises
        ------
        BundleError
            The manifest is invalid, a file is missing or altered, or the margins lack the shape that the manifest states.
        """
        public = folder / "public"
        manifest = Manifest.read(public / MANIFEST)
        if not set(manifest.files) >= REQUIRED:
            raise BundleError(
                f"{public / MANIFEST} must list {sorted(REQUIRED)}, but lists {sorted(manifest.files)}. "
                "Fetch the benchmark again."
            )
        return cls(folder, manifest, *_verified_arrays(public, manifest.files, manifest))

    def array(self, name: str) -> NDArray[Any]:
        """Load the public array with this name, such as ``train_labels``; raise FileNotFoundError if the benchmark has none."""
        array: NDArray[Any] = np.load(self.folder / "public" / f"{name}.npy")
        return array

    def hidden(self) -> HiddenPart:
        """Read and verify the hidden part.

        The hidden files must match their sha256 hashes, the seed and nonce must match the commitment in the manifest, and the
        masks must equal the masks that the seed draws.

        Raises
        ------
        BundleError
            The hidden part is missing or damaged, or belongs to another benchmark.
        """
        folder = self.folder / "hidden"
        path = folder / HIDDEN_FILE
        if not path.exists():
            raise BundleError(f"The hidden part of {self.manifest.name} is missing: there is no {path}. Restore it.")
        seed, nonce, files, reserve = HiddenFile.read(path)
        masks, margins_MRN = _verified_arrays(folder, files, self.manifest)
        if commitment(seed, nonce) != self.manifest.commitment:
            raise BundleError(f"{path} does not match the commitment in {MANIFEST}: it belongs to another benchmark.")
        if not are_drawn(masks, seed, self.manifest.alpha):
            raise BundleError(f"{folder / 'masks.npy'} differs from the masks that the hidden seed draws. Restore it.")
        return HiddenPart(seed, nonce, masks, margins_MRN, reserve)

    def scored_arrays(self) -> tuple[PackedMasks, NDArray[np.float32], dict[str, slice]]:
        """Return all subsets and margins that submissions are scored against.

        Returns
        -------
        masks, margins_MRN
            The public subsets, then any hidden ranking subsets, then any reserve, packed, and their margins, float32 (M, R, N).
        splits
            Slices of the rows of these arrays: ``public`` and ``ranking``. If there is a reserve, a third slice, ``reserve``,
            has the rows of the reserve, which ``ranking`` leaves out. On an open benchmark, both slices can cover all rows.

        Raises
        ------
        BundleError
            The hidden part of a protected benchmark is missing or damaged, or belongs to another benchmark.
        """
        if self.manifest.ranking is not None:
            parts = {"public": self.manifest.public_rows, "ranking": slice(*self.manifest.ranking)}
            return self.masks, self.margins_MRN, parts
        hidden = self.hidden()
        public, answered = len(self.masks), len(hidden.answered)
        order_M = [*hidden.answered, *hidden.reserve]
        masks = PackedMasks.joined([self.masks, hidden.masks[order_M]])
        margins_MRN = np.concatenate([self.margins_MRN, hidden.margins_MRN[order_M]])
        parts = {"public": slice(0, public), "ranking": slice(public, public + answered)}
        if hidden.reserve:
            parts["reserve"] = slice(public + answered, None)
        return masks, margins_MRN, parts


def write_bundle(
    folder: Path,
    description: Mapping[str, Any],
    *,
    masks_Mn: NDArray[np.bool_],
    margins_MRN: NDArray[np.float32],
    labels: Mapping[str, NDArray[np.integer]],
    images: Mapping[str, NDArray[np.uint8]] | None = None,
    kit: Path | None = None,
    hidden: HiddenPart | None = None,
) -> Manifest:
    """Write a benchmark folder, compute the manifest fields that follow from the arrays, and return the manifest.

    Parameters
    ----------
    folder
        Parent of ``public/`` and ``hidden/``. A benchmark in `folder` is replaced; an open one cannot replace a protected one.
    description
        The manifest fields name, version, title, description, licence, dataset, recipe, alpha, output_function, public_seed,
        split (``protected`` or ``open``), ranking (as in `Manifest`) and provenance.
    masks_Mn, margins_MRN
        The public subsets, bool (M, n), and their margins, float32 (M, R, N). On an open benchmark, all subsets are public.
    labels, images
        Arrays under the keys ``train`` and ``target``; either key can be absent. The licence of images must allow publication.
    kit
        Folder to copy to ``public/kit``.
    hidden
        The hidden part of a protected benchmark.

    Raises
    ------
    BundleError
        Two subsets are equal. Or the split is ``protected``, and `hidden` is None or ``description["ranking"]`` is not None.
        Or the split is ``open``, and `hidden` is given, ``description["ranking"]`` is None, or `folder` holds a hidden part.
    ProblemError
        A protected benchmark has one run only.
    """
    protected = hidden is not None
    if (description["split"] == "protected", description["ranking"] is None) != (protected, protected):
        raise BundleError(
            "A protected benchmark needs a hidden part and no ranking rows; an open one needs ranking rows and no hidden part."
        )
    if hidden is None:
        start, stop = description["ranking"]
        all_masks, ranking_MRN = PackedMasks.of(masks_Mn), margins_MRN[start:stop]
    else:
        start = len(masks_Mn)
        all_masks = PackedMasks.joined([PackedMasks.of(masks_Mn), hidden.masks])
        ranking_MRN = hidden.margins_MRN[hidden.answered]
    if duplicates := all_masks.duplicates():
        raise BundleError(f"The subsets must differ. Found {count(duplicates, 'repetition')}. Draw the subsets again.")
    if hidden is None and (folder / "hidden").exists():
        raise BundleError(
            f"{folder / 'hidden'} holds the hidden part of a protected benchmark. Choose another folder for an open benchmark."
        )
    with atomic_folder(folder / "public") as public:
        arrays = _masks_and_margins(PackedMasks.of(masks_Mn), margins_MRN)
        arrays |= {f"{part}_labels.npy": values for part, values in labels.items()}
        arrays |= {f"{part}_images.npy": values for part, values in (images or {}).items()}
        for name, values in arrays.items():
            np.save(public / name, values)
        if kit is not None:
            shutil.copytree(kit, public / "kit")
        files = sorted(path for path in public.rglob("*") if path.is_file())
        # For a protected benchmark with one run, `noise_ceiling` raises.
        known = can_know_ceiling(*ranking_MRN.shape[:2]) or (hidden is not None and margins_MRN.shape[1] == 1)
        ceiling = noise_ceiling(ranking_MRN) if known else None
        spectrum = margin_spectrum(mean_over_runs(ranking_MRN))
        manifest = Manifest(
            **description,
            n_train=masks_Mn.shape[1],
            n_targets=margins_MRN.shape[2],
            runs=margins_MRN.shape[1],
            subsets={"public": start or len(masks_Mn), "ranking": len(ranking_MRN)},
            commitment=commitment(hidden.seed, hidden.nonce) if hidden is not None else None,
            ceiling=ceiling.value if ceiling else None,
            ceiling_std_error=ceiling.std_error if ceiling else None,
            unreliable_targets=ceiling.unreliable_targets if ceiling else None,
            null_band={"unrelated": spectrum.unrelated, "shared": spectrum.shared},
            attempts_spectrum=spectrum.attempts,
            files={path.relative_to(public).as_posix(): sha256(path) for path in files},
        )
        if hidden is not None:
            _write_hidden(folder / "hidden", hidden)
        # The manifest is written last, so that a folder with a manifest is complete.
        (public / MANIFEST).write_text(json.dumps(asdict(manifest), indent=2) + "\n", encoding="utf-8", newline="\n")
    return manifest


def _masks_and_margins(masks: PackedMasks, margins_MRN: NDArray[np.float32]) -> dict[str, NDArray[Any]]:
    return {"masks.npy": masks.bits_MG, "margins.npy": margins_MRN.astype(np.float32)}


def _write_hidden(folder: Path, hidden: HiddenPart) -> None:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    digests = {}
    for name, values in _masks_and_margins(hidden.masks, hidden.margins_MRN).items():
        with atomic_write(folder / name) as file:
            np.save(file, values)
        digests[name] = sha256(folder / name)
    HiddenFile(hidden.seed, hidden.nonce, digests, hidden.reserve).write(folder / HIDDEN_FILE)


def sha256(path: Path) -> str:
    """Return the sha256 of a file in hexadecimal."""
    with path.open("rb") as file:
        return file_digest(file, "sha256").hexdigest()


def _verified_arrays(
    folder: Path, files: Mapping[str, str], manifest: Manifest
) -> tuple[PackedMasks, NDArray[np.float32]]:
    """Verify the sha256 of `files` in `folder`, and return the subsets and the margins, float32 (M, R, N)."""
    for name, expected in files.items():
        path = folder / name
        if not path.is_file():
            raise BundleError(f"{path} is missing, but the benchmark lists it. Fetch the benchmark again.")
        if (got := sha256(path)) != expected:
            raise BundleError(f"{path} was altered: expected sha256 {expected}, got {got}. Fetch the benchmark again.")
    path = folder / "masks.npy"
    mapping: Any = "r" if path.stat().st_size >= LEAST_MAPPED_BYTES else None
    masks = read_packed(np.load(path, mmap_mode=mapping), manifest.n_train, packed=True)
    margins_MRN = np.load(folder / "margins.npy")
    shape = (len(masks), manifest.runs, manifest.n_targets)
    if margins_MRN.shape != shape:
        raise BundleError(f"{folder} has margins of shape {margins_MRN.shape}, not {shape}. Fetch the benchmark again.")
    return masks, margins_MRN
