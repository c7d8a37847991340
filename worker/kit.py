"""The kit of a benchmark: what an attribution method needs beside the public arrays, with no need for this project's code."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import numpy as np
from safetensors.torch import save_file

from worker.plan import recipe_file
from worker.training import REFERENCE_SUBSET

if TYPE_CHECKING:
    from pathlib import Path

    from worker.training import Trainer

REFERENCES = 5

README = """\
# Kit of the benchmark {name}

{description}

| file | content |
|---|---|
| `recipe.py` | how every model was made: hyper-parameters, model, training loop, margin. Needs torch and numpy |
| `reference-0.safetensors` to `reference-{last}.safetensors` | {count} models trained on all {n} training examples |
| `train_index.npy`, `target_index.npy` | which rows of the source the training examples and targets are, in order |

Images and labels, in the same order, are among the public arrays of the benchmark; so are `margins.npy`, float32 (subsets,
runs, targets), and `masks.npy`, packed bits: `numpy.unpackbits(masks, axis=1, count={n}, bitorder="little")` is 1 where an
example was trained on. A reference model is read with

    import recipe
    from safetensors.torch import load_file

    model = recipe.build()
    model.load_state_dict(load_file("reference-0.safetensors"))
    margins = recipe.output(model(recipe.inputs(target_images)), torch.from_numpy(target_labels))

A score file holds one row for each of the {n} training examples and one column for each of the {N} targets: how much that
example, when in the training set, raises the margin of that target. Larger is more helpful.

Every random number comes from `numpy.random.default_rng([{seed}, subset, run, stream])`, with stream 0 (run 0) for the choice of
a public subset, 1 for its initialisation and 2 for the order of examples; reference model i has subset {reference} and run i.
"""


def write_kit(folder: Path, trainer: Trainer) -> None:
    """Train the reference models and write a kit into an empty folder."""
    shutil.copyfile(recipe_file(trainer.recipe), folder / "recipe.py")
    for name, part in trainer.data.parts.items():
        np.save(folder / f"{name}_index.npy", part.index)
    for i, model in enumerate(trainer.train_references(REFERENCES)):
        save_file(model.state_dict(), folder / f"reference-{i}.safetensors")
    text = README.format(
        name=trainer.recipe.NAME,
        description=trainer.recipe.DESCRIPTION,
        count=REFERENCES,
        last=REFERENCES - 1,
        n=f"{len(trainer.labels_n):,}",
        N=f"{len(trainer.target_labels):,}",
        seed=trainer.plan.public_seed,
        reference=REFERENCE_SUBSET,
    )
    (folder / "README.md").write_text(text)
