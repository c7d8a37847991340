#!/usr/bin/env bash
# dattri.metric.lds returns 0 for integer scores, whatever the correlation is.
#
# The metric converts each correlation of SciPy to the dtype of the scores. For integer scores, such as counts of votes or of shared
# neighbours, every correlation between -1 and 1 becomes 0, and only a perfect correlation stays 1. Each p-value becomes 0 too. There is
# no warning. The same scores in float32 give the correlation 0.8 and the p-value 0.2.
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
# Without dependencies: the metric uses no others.
# shellcheck disable=SC2086
"$folder/venv/bin/python" -m pip install -qq ${PIP_ARGS:-} --no-deps dattri==0.3.0
cd "$folder"
venv/bin/python - <<'PYTHON'
import warnings
from importlib.metadata import version

import torch
from dattri.metric import lds

warnings.simplefilter("error")
print({name: version(name) for name in ("dattri", "torch", "scipy", "numpy")})
score = torch.tensor([[1], [2], [5], [3]])
ground_truth = torch.tensor([[1.0], [2.0], [3.0], [4.0]]), torch.tensor([[0, 1], [0, 2], [1, 3], [2, 3]])
results = []
for kind in (score.float(), score):
    correlation, p_value = lds(kind, ground_truth)
    results.append((str(kind.dtype), round(correlation.item(), 4), round(p_value.item(), 4)))
    print(f"scores of dtype {kind.dtype}: correlation {correlation.item():.4f}, p-value {p_value.item():.4f}")
assert results == [("torch.float32", 0.8, 0.2), ("torch.int64", 0, 0)], f"the behaviour has changed: {results}"
PYTHON
