"""A benchmark on disk: a folder with a public half, and a hidden one that never leaves the server.

::

    public/benchmark.json      the manifest: what this is, how it was made, sha256 of every other public file
    public/masks.npy           packed bits, uint8 (M, ceil(n / 8)), little bit order, 1 = in the training subset
    public/margins.npy         float32 (M, R, N)
    public/train_labels.npy, target_labels.npy, optionally train_images.npy, target_images.npy
    public/kit/                recipe.py, index files, reference models
                               (ground truth from elsewhere may come without labels and kit)
    hidden/hidden.json         the hidden root seed and nonce, sha256 of the arrays beside it
    hidden/masks.npy, margins.npy

Legend: M subsets, R runs, n training examples, N targets.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict, dataclass
from functools import cached_property
from hashlib import file_digest
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from ldsboard.ceiling import margin_spectrum, noise_ceiling
from ldsboard.drafts import drafted, drafted_folder
from ldsboard.manifest import MANIFEST, BundleError, Manifest
from ldsboard.margins import mean_over_runs
from ldsboard.masks import count_duplicates, pack_masks, read_masks
from ldsboard.subsets import commitment, draw_masks

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

REQUIRED = {"masks.npy", "margins.npy"}


@dataclass(frozen=True)
class HiddenPart:
    """The subsets that rank on a protected benchmark, and the seed that they were drawn from.

    Attributes
    ----------
    seed, nonce
        128-bit root seed, and the 16 bytes that its commitment is salted with.
    masks_Mn, margins_MRN
        bool (M, n); float32 (M, R, N).
    """

    seed: int
    nonce: bytes
    masks_Mn: NDArray[np.bool_]
    margins_MRN: NDArray[np.float32]


@dataclass(frozen=True)
class Bundle:
    """A benchmark folder, opened; every public file has the size and sha256 that the manifest states."""

    folder: Path
    manifest: Manifest

    @classmethod
    def open(cls, folder: Path) -> Self:
        """Open a folder and verify its public half.

        Raises
        ------
        BundleError
            A file is missing, was altered, or has another shape than the manifest says.
        """
        public = folder / "public"
        manifest = Manifest.read(public / MANIFEST)
        if not set(manifest.files) >= REQUIRED:
            raise BundleError(
                f"expected {sorted(REQUIRED)} among the files of {public / MANIFEST}, got {sorted(manifest.files)}"
            )
        for name, expected in manifest.files.items():
            _verify(public / name, expected)
        bundle = cls(folder, manifest)
        bundle._check_margins(bundle.masks_Mn, bundle.margins_MRN)
        return bundle

    def _check_margins(self, masks_Mn: NDArray[np.bool_], margins_MRN: NDArray[np.float32]) -> None:
        expected = (len(masks_Mn), self.manifest.runs, self.manifest.n_targets)
        if margins_MRN.shape != expected:
            raise BundleError(f"expected margins of shape {expected}, got {margins_MRN.shape} in {self.folder}")

    @cached_property
    def masks_Mn(self) -> NDArray[np.bool_]:
        """Public subsets, bool (M, n)."""
        return read_masks(_load(self.folder / "public" / "masks.npy"), self.manifest.n_train, packed=True)

    @cached_property
    def margins_MRN(self) -> NDArray[np.float32]:
        """Public margins, float32 (M, R, N)."""
        return _load(self.folder / "public" / "margins.npy")

    def array(self, name: str) -> NDArray[Any]:
        """Return a public array by its name, such as ``train_labels`` or ``target_images``."""
        return _load(self.folder / "public" / f"{name}.npy")

    def hidden(self) -> HiddenPart:
        """Read and verify the hidden half: hashes, the commitment, and that its seed draws these very masks.

        Raises
        ------
        BundleError
            There is none, or it does not belong to this manifest.
        """
        folder = self.folder / "hidden"
        path = folder / "hidden.json"
        if not path.exists():
            raise BundleError(f"expected the hidden half of {self.manifest.name} at {folder}, got no {path.name}")
        try:
            members = json.loads(path.read_text(encoding="utf-8"))
            files = dict(members["files"])
            seed_bytes, nonce = _sixteen_bytes(members["seed"]), _sixteen_bytes(members["nonce"])
        except (ValueError, KeyError, TypeError):
            # Nothing of the content is repeated: it holds the seed, and messages end in logs.
            raise BundleError(
                f"expected seed and nonce of 32 hexadecimal digits, and files, in {path}. Restore it."
            ) from None
        if not set(files) >= REQUIRED:
            raise BundleError(
                f"expected the hashes of {sorted(REQUIRED)} in {path}, got those of {sorted(files)}. Restore it."
            )
        for name, expected in files.items():
            _verify(folder / name, expected)
        seed = int.from_bytes(seed_bytes, "big")
        if commitment(seed, nonce) != self.manifest.commitment:
            raise BundleError(f"{path} does not open the commitment in {MANIFEST}: it belongs to another benchmark")
        masks_Mn = read_masks(_load(folder / "masks.npy"), self.manifest.n_train, packed=True)
        if not np.array_equal(masks_Mn, draw_masks(seed, len(masks_Mn), self.manifest.n_train, self.manifest.alpha)):
            raise BundleError(f"the masks in {folder} are not the ones that their seed draws")
        margins_MRN = _load(folder / "margins.npy")
        self._check_margins(masks_Mn, margins_MRN)
        return HiddenPart(seed, nonce, masks_Mn, margins_MRN)

    def scored_arrays(self) -> tuple[NDArray[np.bool_], NDArray[np.float32], dict[str, slice]]:
        """Return all subsets, all margins, and the parts of them called ``public`` and ``ranking``."""
        public = len(self.masks_Mn)
        if self.manifest.ranking is not None:
            start, stop = self.manifest.ranking
            return self.masks_Mn, self.margins_MRN, {"public": slice(0, start), "ranking": slice(start, stop)}
        hidden = self.hidden()
        masks_Mn = np.concatenate([self.masks_Mn, hidden.masks_Mn])
        margins_MRN = np.concatenate([self.margins_MRN, hidden.margins_MRN])
        return masks_Mn, margins_MRN, {"public": slice(0, public), "ranking": slice(public, None)}


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
    """Write a benchmark folder, with everything in its manifest that the arrays tell.

    Parameters
    ----------
    folder
        Where ``public/`` and ``hidden/`` go; an earlier benchmark of the same split there is replaced.
    description
        name, version, title, description, licence, dataset, recipe, alpha, output_function, public_seed, split
        (``protected`` or ``open``), ranking (rows, on an open benchmark only) and provenance.
    masks_Mn, margins_MRN
        The public part, bool (M, n) and float32 (M, R, N); on an open benchmark this is all there is.
    labels, images
        Arrays called ``train`` and ``target``, where there are any; images only where their licence allows.
    kit
        A folder to copy as ``public/kit``.
    hidden
        The hidden part of a protected benchmark.

    Raises
    ------
    BundleError
        Two subsets are equal, a hidden half would be orphaned, or the split and the parts given contradict each other.
    """
    if (description["split"] == "protected") != (hidden is not None) or (hidden is None) == (
        description["ranking"] is None
    ):
        raise BundleError("expected a hidden part for a protected benchmark and ranking rows for an open one, not both")
    rows = slice(*description["ranking"]) if hidden is None else slice(None)
    ranking_MRN = (margins_MRN if hidden is None else hidden.margins_MRN)[rows]
    every_Mn = masks_Mn if hidden is None else np.concatenate([masks_Mn, hidden.masks_Mn])
    if duplicates := count_duplicates(every_Mn):
        raise BundleError(f"expected different subsets, got {duplicates} that repeat another. Draw them again.")
    if hidden is None and (folder / "hidden").exists():
        raise BundleError(
            f"expected no hidden half beside an open benchmark, got {folder / 'hidden'}. Choose another folder."
        )
    with drafted_folder(folder / "public") as public:
        arrays: dict[str, NDArray[Any]] = {"masks": pack_masks(masks_Mn), "margins": margins_MRN.astype(np.float32)}
        arrays |= {f"{part}_labels": values for part, values in labels.items()}
        arrays |= {f"{part}_images": values for part, values in (images or {}).items()}
        for name, values in arrays.items():
            np.save(public / f"{name}.npy", values)
        if kit is not None:
            shutil.copytree(kit, public / "kit")
        # One run tells nothing of its noise: good enough only for what others trained.
        known = margins_MRN.shape[1] > 1 or hidden is not None
        ceiling = noise_ceiling(ranking_MRN) if known else None
        spectrum = margin_spectrum(mean_over_runs(ranking_MRN))
        manifest = Manifest(
            **description,
            n_train=masks_Mn.shape[1],
            n_targets=margins_MRN.shape[2],
            runs=margins_MRN.shape[1],
            subsets={
                "public": len(masks_Mn) if hidden is not None else description["ranking"][0],
                "ranking": len(ranking_MRN),
            },
            commitment=commitment(hidden.seed, hidden.nonce) if hidden is not None else None,
            ceiling=ceiling.value if ceiling else None,
            ceiling_std_error=ceiling.std_error if ceiling else None,
            unreliable_targets=ceiling.unreliable_targets if ceiling else None,
            null_band={"unrelated": spectrum.unrelated, "shared": spectrum.shared},
            attempts_spectrum=spectrum.attempts,
            files=_hashes(public),
        )
        if hidden is not None:
            _write_hidden(folder / "hidden", hidden)
        # The manifest comes last: a folder without one was not written to its end.
        text = json.dumps(asdict(manifest), indent=2) + "\n"
        (public / MANIFEST).write_text(text, encoding="utf-8", newline="\n")
    return manifest


def _write_hidden(folder: Path, hidden: HiddenPart) -> None:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    arrays: dict[str, NDArray[Any]] = {
        "masks.npy": pack_masks(hidden.masks_Mn),
        "margins.npy": hidden.margins_MRN.astype(np.float32),
    }
    for name, values in arrays.items():
        with drafted(folder / name) as file:
            np.save(file, values)
    digests = {name: sha256(folder / name) for name in arrays}
    members = {"seed": f"{hidden.seed:032x}", "nonce": hidden.nonce.hex(), "files": digests}
    # Replaced in one step: at no moment is the only copy of the seed half written.
    with drafted(folder / "hidden.json") as file:
        file.write((json.dumps(members, indent=2) + "\n").encode())


def _hashes(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): sha256(path) for path in files}


def sha256(path: Path) -> str:
    """Return the sha256 of a file, in hex."""
    with path.open("rb") as file:
        return file_digest(file, "sha256").hexdigest()


def _verify(path: Path, expected: str) -> None:
    if not path.is_file():
        raise BundleError(
            f"expected the file {path} that the manifest names; it is missing. Fetch the benchmark again."
        )
    if (got := sha256(path)) != expected:
        raise BundleError(f"{path} was altered: expected sha256 {expected}, got {got}. Fetch the benchmark again.")


def _load(path: Path) -> NDArray[Any]:
    array: NDArray[Any] = np.load(path, allow_pickle=False)
    return array


def _sixteen_bytes(digits: str) -> bytes:
    if len(digits) != 32:  # noqa: PLR2004
        raise ValueError
    return bytes.fromhex(digits)
