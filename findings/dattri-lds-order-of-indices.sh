#!/usr/bin/env bash
# dattri.metric.lds depends on the order in which the indices of a subset are listed.
#
# The ground truth of the metric is a tuple (values, indices). The indices of a subset are a set, in any order. dattri adds the
# float32 scores in this order, so that equal sums are rounded to different numbers, and SciPy ranks the rounding errors. Here every
# subset contains one score of 0.7 and two scores of 0.1, so that all sums are equal and no correlation is defined. Listing the same
# subsets in two orders gives the correlations 0.77 and -0.77.
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
from importlib.metadata import version

import torch
from dattri.metric import lds

print({name: version(name) for name in ("dattri", "torch", "scipy", "numpy")})
score = torch.tensor([[0.1], [0.1], [0.7], [0.1], [0.1]])
values = torch.tensor([[1.0], [2.0], [3.0], [4.0]])
orders = (
    torch.tensor([[0, 1, 2], [0, 2, 3], [1, 2, 3], [2, 3, 4]]),
    torch.tensor([[2, 0, 1], [2, 0, 3], [2, 1, 3], [3, 4, 2]]),
)
assert [sorted(row) for row in orders[0].tolist()] == [sorted(row) for row in orders[1].tolist()], "the subsets are equal"
results = []
for indices in orders:
    correlation, p_value = lds(score, (values, indices))
    results.append(round(correlation.item(), 6))
    print(f"indices {indices.tolist()}: correlation {correlation.item():.6f}, p-value {p_value.item():.4f}")
assert results == [0.774597, -0.774597], f"the behaviour has changed: {results}"
PYTHON
