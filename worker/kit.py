"""Write the kit of a benchmark: recipe, indices and reference models, usable without this project's code."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import numpy as np
from safetensors.torch import save

from ldsboard.retraining.recipe import Augmenting
from ldsboard.retraining.trainer import REFERENCE_SUBSET
from worker.plan import recipe_file

if TYPE_CHECKING:
    from pathlib import Path

    from worker.training import Trainer

REFERENCES = 5

IMAGES_SHIPPED = "Images and labels, in the same order, are among the public arrays of the benchmark, one folder up."
IMAGES_NOT_SHIPPED = """\
Labels, in the same order, are among the public arrays of the benchmark, one folder up. The images are not included, because
no licence allows it. Take them from their source ({source}) with the index files, and compare the
sha256 of the decoded arrays with the values in `benchmark.json`."""
README = """\
# Kit of the benchmark {name}

{description}

| file | content |
|---|---|
| `recipe.py` | hyper-parameters, model, training loop and margin of all models. Needs torch and numpy |
| `reference-0.safetensors` to `reference-{last}.safetensors` | {count} models trained on all {n} training examples |
| `train_index.npy`, `target_index.npy` | which rows of the source the training examples and targets are, in order |

{images}

The same folder contains `margins.npy`, float32 (subsets, runs, targets), and `masks.npy`, packed bits:
`numpy.unpackbits(masks, axis=1, count={n_plain}, bitorder="little")` is 1 where an example was trained on.
To read a reference model, run in this folder:

    import numpy, recipe, torch
    from safetensors.torch import load_file

    model = recipe.build()
    model.load_state_dict(load_file("reference-0.safetensors"))
    labels = torch.from_numpy(numpy.load("../target_labels.npy")).long()
    images = {target_images}  # uint8 {shape}
    with torch.no_grad():
        margins = recipe.output(model.eval()(recipe.inputs(images)), labels)

A score file holds one row for each of the {n} training examples and one column for each of the {N} targets: how much that
example, when in the training set, raises the margin of that target. Larger is more helpful.

Every random number comes from `numpy.random.default_rng([{seed}, subset, run, stream])`, with stream 0 (run 0) for the choice of
a public subset, {streams}; reference model i has subset {reference} and run i.
"""


def write_kit(folder: Path, trainer: Trainer) -> None:
    """Train the reference models and write a kit into a new folder. The umask determines the permissions of its files."""
    folder.mkdir()
    shutil.copyfile(recipe_file(trainer.recipe), folder / "recipe.py")
    for name, part in trainer.data.parts.items():
        np.save(folder / f"{name}_index.npy", part.index)
    for i, model in enumerate(trainer.train_references(REFERENCES)):
        # The state includes the averages of batch normalisation. safetensors can only save contiguous tensors.
        state = {name: values.cpu().contiguous() for name, values in model.state_dict().items()}
        # Write the bytes here, because save_file lets only the owner read the file.
        (folder / f"reference-{i}.safetensors").write_bytes(save(state))
    data, streams = trainer.data, ["1 for its initialisation", "2 for the order of examples"]
    if isinstance(trainer.recipe, Augmenting):
        streams.append("3 for how they are altered at each visit")
    text = README.format(
        name=trainer.recipe.NAME,
        description=trainer.recipe.DESCRIPTION,
        count=REFERENCES,
        last=REFERENCES - 1,
        n=f"{len(data.train.labels):,}",
        n_plain=len(data.train.labels),
        N=f"{len(data.target.labels):,}",
        images=IMAGES_SHIPPED if data.ships_images else IMAGES_NOT_SHIPPED.format(**data.about),
        target_images='numpy.load("../target_images.npy")' if data.ships_images else "...",
        shape=data.target.images.shape,
        seed=trainer.plan.public_seed,
        reference=REFERENCE_SUBSET,
        streams=", ".join(streams[:-1]) + " and " + streams[-1],
    )
    (folder / "README.md").write_text(text)
