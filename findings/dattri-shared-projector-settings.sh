#!/usr/bin/env bash
# Settings of one attributor of dattri change all others of its class.
#
# TracInAttributor and TRAKAttributor take their default projection from one dict of their module, and write the caller's
# projector_kwargs into it. Constructing an attributor with a projection of 2 dimensions therefore changes every attributor of
# this class that is constructed later without projector_kwargs, and also those that exist already. There is no warning. Here
# the same call of one attributor gives other scores after another attributor was constructed, which is never used.
#
# The script installs pinned packages into a temporary folder, prints their versions and the results, and fails if the behaviour
# changes. It needs Python 3.11 to 3.14, and a package index; PIP_ARGS is passed to pip.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
# PIP_ARGS can hold several words.
# shellcheck disable=SC2086
"$folder/venv/bin/python" -m pip install -qq ${PIP_ARGS:-} numpy==2.4.6 scipy==1.17.1 torch==2.13.0 pyyaml==6.0.3 tqdm==4.70.1
# Without dependencies: these attributors use no others.
# shellcheck disable=SC2086
"$folder/venv/bin/python" -m pip install -qq ${PIP_ARGS:-} --no-deps dattri==0.3.0
cd "$folder"
venv/bin/python - <<'PYTHON'
from importlib.metadata import version

import torch
from dattri.algorithm import TracInAttributor
from dattri.task import AttributionTask
from torch import nn
from torch.func import functional_call
from torch.utils.data import DataLoader, TensorDataset

print({name: version(name) for name in ("dattri", "torch", "numpy")})
torch.manual_seed(0)
model = nn.Linear(3, 2)
examples = DataLoader(TensorDataset(torch.randn(8, 3), torch.randint(0, 2, (8,))), batch_size=4)


def loss(weights, batch):
    inputs, label = batch
    return nn.functional.cross_entropy(functional_call(model, weights, (inputs[None],)), label[None])


task = AttributionTask(loss, model, model.state_dict())
attributor = TracInAttributor(task, torch.ones(1), normalized_grad=False)
before = attributor.projector_kwargs["proj_dim"], attributor.attribute(examples, examples)
again = attributor.attribute(examples, examples)
TracInAttributor(task, torch.ones(1), normalized_grad=False, projector_kwargs={"proj_dim": 2})
after = attributor.projector_kwargs["proj_dim"], attributor.attribute(examples, examples)
print(f"projection of the first attributor: {before[0]} dimensions, then {after[0]}")
print(f"scores of the first example for itself: {before[1][0, 0]:.4f}, repeated {again[0, 0]:.4f}, then {after[1][0, 0]:.4f}")
assert torch.equal(before[1], again), "the call is repeatable"
results = before[0], after[0], bool(torch.allclose(before[1], after[1], atol=0.01))
assert results == (512, 2, False), f"the behaviour has changed: {results}"
PYTHON
