# What developers and CI run. `make help` lists it.
SHELL := /bin/bash
PYTHON ?= python3
PORT ?= 8000
PIP_ARGS ?=
VENV := .venv
BIN := $(VENV)/bin

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

# One environment; a stamp for each set of groups, so that `make demo` need not install what only developers need.
$(VENV)/.pip:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "LDSBoard needs Python 3.11 or newer; set PYTHON=")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade 'pip>=25.1' $(PIP_ARGS)
	@touch $@

$(VENV)/.run: pyproject.toml constraints.txt | $(VENV)/.pip
	@echo "Installing LDSBoard and what it needs into $(VENV); PyTorch is the large part."
	$(BIN)/python -m pip install -qq -c constraints.txt $(PIP_ARGS) -e . --group server --group train
	@touch $@

$(VENV)/.dev: $(VENV)/.run
	$(BIN)/python -m pip install -qq -c constraints.txt $(PIP_ARGS) --group dev --group ray
	@touch $@

# Published implementations to compare with, without the dependencies that their metrics do not need, in a folder of their own.
# quanda asks for a Python below 3.13 on account of those. pip never replaces what lies in a target folder, hence the rm.
$(VENV)/.references: tests/references/requirements.txt | $(VENV)/.run
	rm -rf $(VENV)/references
	$(BIN)/python -m pip install -qq --no-deps --ignore-requires-python --only-binary :all: $(PIP_ARGS) --target $(VENV)/references -r $<
	@touch $@

references: $(VENV)/.references ## install the published implementations that ours is compared with

setup: $(VENV)/.dev $(VENV)/.references ## install everything that developers need into .venv

demo: $(VENV)/.run ## train, publish, score six methods, and serve the site on PORT until Ctrl-C
	$(BIN)/python -m app demo --port $(PORT)

serve: $(VENV)/.run ## serve the site on PORT until Ctrl-C
	$(BIN)/python -m app serve --port $(PORT)

test: $(VENV)/.dev $(VENV)/.references browser ## run all tests, and hold the floors of their coverage
	rm -f .coverage .coverage.*
	$(BIN)/python -m coverage run -m pytest
	$(BIN)/python -m coverage combine --quiet
	$(BIN)/python -m coverage report --skip-covered --fail-under=90
	$(BIN)/python -m coverage report --skip-covered --fail-under=100 --include='$(subst $(space),$(comma),$(CORE))'

check: $(VENV)/.dev ## run the linters, the type checker and the import contracts
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/hadolint docker/server.Dockerfile
	$(BIN)/shellcheck .ci/run examples/*.sh
	$(BIN)/check-jsonschema --builtin-schema vendor.compose-spec docker/compose.yaml

CORE := $(foreach room,masks margins scores grid products headers npy safetensors npz formats ranking significance ceiling result parts parallel groundtruth scoring comparison,ldsboard/$(room).py)
comma := ,
space := $(subst ,, )

check-all: check test bench ## check, test, the benchmarks, and all simulations of the scoring rules in full (15 minutes)
	$(BIN)/python -m pytest tests/statistics --full

bench: $(VENV)/.dev $(VENV)/.references ## measure scoring, the service and training against their plain forms
	$(BIN)/python -m tests.bench.scoring
	$(BIN)/python -m tests.bench.service
	$(BIN)/python -m tests.bench.upload
	$(BIN)/python -m tests.bench.pages
	$(BIN)/python -m worker bench

chaos: $(VENV)/.dev ## kill the server ten times while 200 files are sent, and count what is there in the end
	$(BIN)/python -m tests.acceptance.chaos

screenshots: $(VENV)/.dev browser ## write a picture of every page of the demo's data into screenshots/
	$(BIN)/python -m tests.browser.screenshots

readme: $(VENV)/.run ## write the leaderboards of the demo and of the practice board into the README
	$(BIN)/python -m app demo --all --table README.md

# A system package: installed where that is allowed, asked for where it is not.
browser:
	@command -v chromium >/dev/null || { \
	  echo "The browser tests need Chromium; installing Debian's package chromium."; \
	  if [ "$$(id -u)" = 0 ]; then apt-get update -qq && apt-get install -y -qq chromium >/dev/null; \
	  else sudo -n apt-get update -qq && sudo -n apt-get install -y -qq chromium >/dev/null; fi; } \
	  || { echo "Install Chromium so that 'chromium' is on the path, then try again."; exit 1; }

clean: ## remove the environment and all caches; the data in .ldsboard stay
	rm -rf $(VENV) .coverage .coverage.* .mypy_cache .pytest_cache .ruff_cache .hypothesis *.egg-info build dist

.PHONY: help setup references demo serve test check check-all bench chaos screenshots readme browser clean
