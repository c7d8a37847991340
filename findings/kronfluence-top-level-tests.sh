#!/usr/bin/env bash
# Installing kronfluence hides the folder `tests` of other projects.
#
# The wheel of kronfluence installs its own tests and examples as the top-level packages `tests` and `examples`. Python prefers
# a package with __init__.py anywhere on its path to a folder without one, so a project whose folder `tests` has no __init__.py
# can no longer import its own test modules, even if its folder comes first on the path. The error names the user's module, and
# not kronfluence.
#
# The script installs pinned packages into a temporary folder, prints their versions and the results, and fails if the behaviour
# changes. It needs Python 3.11 to 3.14, and a package index; PIP_ARGS is passed to pip.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
# PIP_ARGS can hold several words.
# Without dependencies: kronfluence itself is never imported.
# shellcheck disable=SC2086
"$folder/venv/bin/python" -m pip install -qq ${PIP_ARGS:-} --no-deps kronfluence==1.0.1
cd "$folder"
mkdir -p project/tests
echo 'print("the helper of the project is imported")' > project/tests/my_helper.py
cd project
installed=$(../venv/bin/python -c 'import importlib.metadata; print(importlib.metadata.version("kronfluence"))')
echo "kronfluence $installed"
import='import importlib.util; print(importlib.util.find_spec("tests.my_helper") is not None)'
with=$(../venv/bin/python -c "$import")
../venv/bin/python -m pip uninstall --quiet --yes kronfluence
without=$(../venv/bin/python -c "$import")
echo "tests.my_helper is found: $with with kronfluence, $without without it"
[ "$with-$without" = False-True ] || { echo "The behaviour has changed."; exit 1; }
