#!/usr/bin/env bash
# safetensors.numpy.save_file stores the values of a transposed array in the wrong order, without a warning.
#
# A transposed view has the transposed shape, and the memory of the original array. save_file writes this memory in its own order under
# the shape of the view, so load_file returns an array of the right shape with its values shuffled. The same happens for every array in
# column-major order (numpy.asfortranarray). A contiguous copy of the array is stored correctly. Score files in (target, train) order are
# transposed in this way before they are saved, and the result then looks like noise.
#
# The script installs pinned packages into a temporary folder, prints their versions and the results, and fails if the behaviour
# changes. It needs Python 3.11 to 3.14, and a package index; PIP_ARGS is passed to pip.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
# PIP_ARGS can hold several words.
# shellcheck disable=SC2086
"$folder/venv/bin/python" -m pip install -qq ${PIP_ARGS:-} numpy==2.4.6 safetensors==0.8.0
cd "$folder"
venv/bin/python - <<'PYTHON'
import warnings
from importlib.metadata import version

import numpy as np
from safetensors.numpy import load_file, save_file

warnings.simplefilter("error")
print({name: version(name) for name in ("safetensors", "numpy")})
scores = np.arange(6, dtype=np.float32).reshape(2, 3).T
results = {}
for kind, array in (("transposed view", scores), ("contiguous copy", np.ascontiguousarray(scores))):
    save_file({"scores": array}, "scores.safetensors")
    loaded = load_file("scores.safetensors")["scores"]
    results[kind] = bool(np.array_equal(loaded, scores))
    print(f"{kind}: saved {scores.tolist()}, loaded {loaded.tolist()}, equal: {results[kind]}")
assert results == {"transposed view": False, "contiguous copy": True}, f"the behaviour has changed: {results}"
PYTHON
