#!/usr/bin/env bash
# captum's TracInCPFast leaves out the bias of the last layer.
#
# The documentation of TracInCPFast says that its scores are exactly those of naive back-propagation through the last fully
# connected layer. For a layer with a bias they are not: the gradient of the bias is left out, so that each score is (x . x')
# times the product of the output gradients instead of (x . x' + 1) times this product. TracInCP with the same layer includes
# the bias. The ratio of both scores differs between pairs, so that the order of training examples changes too. Without a bias
# both classes agree.
#
# The script installs pinned packages into a temporary folder, prints their versions and the results, and fails if the behaviour
# changes. It needs Python 3.11 to 3.14, and a package index; PIP_ARGS is passed to pip.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
# PIP_ARGS can hold several words.
# shellcheck disable=SC2086
"$folder/venv/bin/python" -m pip install -qq ${PIP_ARGS:-} numpy==2.4.6 torch==2.13.0 tqdm==4.70.1 packaging==26.3 matplotlib==3.11.2 captum==0.9.0
cd "$folder"
venv/bin/python - <<'PYTHON'
import warnings
from importlib.metadata import version

import torch
from captum.influence import TracInCP, TracInCPFast
from torch import nn
from torch.utils.data import TensorDataset

warnings.simplefilter("ignore")
print({name: version(name) for name in ("captum", "torch", "numpy")})
torch.manual_seed(0)
inputs, labels = torch.randn(10, 3), torch.randint(0, 2, (10,))
results = {}
for bias in (True, False):
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2, bias=bias))
    torch.save(model.state_dict(), "checkpoint.pt")
    common = {"train_dataset": TensorDataset(inputs, labels), "checkpoints": ["checkpoint.pt"], "batch_size": 5}
    loss = nn.CrossEntropyLoss(reduction="sum")
    fast = TracInCPFast(model, model[2], loss_fn=loss, **common).influence((inputs, labels))
    whole = TracInCP(model, loss_fn=loss, layers=["2"], sample_wise_grads_per_batch=True, **common)
    naive = whole.influence((inputs, labels))
    hidden = model[:2](inputs).detach()
    products = hidden @ hidden.T
    with_bias = torch.allclose(naive * products, fast * (products + 1), atol=1e-5)
    results[bias] = torch.allclose(fast, naive, atol=1e-5), with_bias
    print(f"bias {bias}: TracInCPFast {fast[0, :3].tolist()}, TracInCP {naive[0, :3].tolist()}")
assert results == {True: (False, True), False: (True, False)}, f"the behaviour has changed: {results}"
PYTHON
