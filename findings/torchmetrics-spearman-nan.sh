#!/usr/bin/env bash
# spearman_corrcoef of torchmetrics gives a number for input with NaN.
#
# torch sorts NaN above all numbers, and the function ranks by sorting: a NaN counts as the largest value. One NaN in a perfect
# prediction leaves a high correlation, or lowers it, depending on where it is, without a warning. SciPy returns NaN for the same
# input. quanda 0.5.0 computes its linear datamodeling score with this function, so scores with some NaN get an LDS.
#
# The script installs pinned packages into a temporary folder, prints their versions and the results, and fails if the behaviour
# changes. It needs Python 3.11 to 3.14, and a package index; PIP_ARGS is passed to pip.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
# PIP_ARGS can hold several words.
# shellcheck disable=SC2086
"$folder/venv/bin/python" -m pip install -qq ${PIP_ARGS:-} numpy==2.4.6 scipy==1.17.1 torch==2.13.0 torchmetrics==1.9.0
cd "$folder"
venv/bin/python - <<'PYTHON'
import warnings
from importlib.metadata import version

import torch
from scipy.stats import spearmanr
from torchmetrics.functional.regression import spearman_corrcoef

warnings.simplefilter("error")
print({name: version(name) for name in ("torchmetrics", "torch", "scipy")})
margins = torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0])
results = []
for place in (4, 0):
    predictions = margins.clone()
    predictions[place] = float("nan")
    found = round(spearman_corrcoef(predictions, margins).item(), 4)
    results.append((found, str(spearmanr(predictions, margins).statistic)))
    print(f"predictions {predictions.tolist()}: torchmetrics {found}, SciPy {results[-1][1]}")
assert results == [(1.0, "nan"), (0.0, "nan")], f"the behaviour has changed: {results}"
PYTHON
