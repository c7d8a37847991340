# What developers and CI run. `make help` lists it.
SHELL := /bin/bash
PYTHON ?= python3
PORT ?= 8000
PIP_ARGS ?=
VENV := .venv
BIN := $(VENV)/bin
# Of tests: TESTS= names some of them, ARGS= goes to pytest, COVER=1 measures coverage, WORKERS=4 processes run them, ORDER=random
# shuffles them. By default as many run as this process may use processors, which pytest-xdist by itself does not look at.
TESTS ?=
ARGS ?=
COVER ?=
WORKERS ?= $(shell $(PYTHON) -c 'import os; print(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count())')
ORDER ?=
# `make -j` must not run slow tests beside the others.
.NOTPARALLEL:
# Hundreds of processes import the same modules: they are compiled once.
unexport PYTHONDONTWRITEBYTECODE

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

# One environment; a stamp for each set of groups, so that `make demo` need not install what only developers need.
$(VENV)/.pip:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "LDSBoard needs Python 3.11 or newer; set PYTHON=")'
	$(PYTHON) -c 'import ensurepip, venv' || { echo "Install Debian's package python3-venv, then try again."; exit 1; }
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

# Debian's packages that the tests or the environment need, each with what shows that it is there. They are installed where that is
# allowed, and asked for where it is not.
system:
	@missing=; \
	$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || missing="$$missing python3-venv"; \
	command -v curl >/dev/null || missing="$$missing curl"; \
	command -v chromium >/dev/null || command -v chromium-browser >/dev/null || missing="$$missing chromium"; \
	ls /usr/lib/postgresql/*/bin/postgres >/dev/null 2>&1 || command -v postgres >/dev/null || missing="$$missing postgresql"; \
	[ -n "$$missing" ] || exit 0; \
	echo "Installing Debian's packages$$missing."; \
	[ "$$(id -u)" = 0 ] && as=env || as='sudo -n'; \
	[ "$${missing##* }" != postgresql ] || [ -e /etc/postgresql-common/createcluster.conf ] || { $$as mkdir -p /etc/postgresql-common && \
	  echo 'create_main_cluster = false' | $$as tee /etc/postgresql-common/createcluster.conf >/dev/null; }; \
	$$as apt-get update -qq && $$as env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$missing >/dev/null \
	  || { echo "Install$$missing, then try again."; exit 1; }

setup: system ## install everything that developers need: system packages, and the rest into .venv
	@$(MAKE) --silent $(VENV)/.dev $(VENV)/.references

demo: $(VENV)/.run ## train, publish, score six methods, and serve the site on PORT until Ctrl-C
	$(BIN)/python -m app demo --port $(PORT)

serve: $(VENV)/.run ## serve the site on PORT until Ctrl-C
	$(BIN)/python -m app serve --port $(PORT)

PYTEST = $(BIN)/python $(if $(COVER),-m coverage run )-m pytest --durations=40 $(if $(ORDER),-p randomly )$(ARGS)
# By file: what the tests of a file share is made once.
SPREAD = --numprocesses $(WORKERS) --dist loadfile
SERIAL = $(or $(TESTS),$(shell grep -rl --include='test_*.py' mark.serial tests))
TIMED = TIMEFORMAT='make $@: %R s, of processor time %U s and %S s for the system'; time

# pytest ends with 5 where no test is left to run: with TESTS= that may be so in one of the two runs.
test: setup ## run all tests but the slow ones, several at a time; TESTS= ARGS= COVER=1 WORKERS=4 ORDER=random
	@$(if $(COVER),rm -f .coverage .coverage.*)
	@$(TIMED) { $(PYTEST) $(SPREAD) -m 'not slow and not serial' $(TESTS); first=$$?; \
	  $(PYTEST) -m 'serial and not slow' $(SERIAL); second=$$?; \
	  case $$first-$$second in 0-0|0-5|5-0) ;; *) false;; esac; }

test-fast: $(VENV)/.dev ## run the tests of the library, and those of the service that need no server
	@$(TIMED) $(PYTEST) $(SPREAD) -m 'not slow and not serial and not server' tests/ldsboard tests/client tests/app

test-slow: setup ## run the tests that are slow by nature: the whole demo, chaos, retraining, other libraries
	@$(TIMED) $(PYTEST) -m slow $(TESTS)

test-all: test test-slow ## run every test, and all simulations of the scoring rules in full
	@$(TIMED) $(PYTEST) tests/statistics --full

coverage: ## combine what COVER=1 has measured, and hold its floors
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
	$(BIN)/check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml
	$(BIN)/zizmor --offline --quiet --strict-collection --persona pedantic .github

CORE := $(foreach room,masks margins scores grid products headers npy safetensors npz formats ranking significance ceiling result parts parallel groundtruth scoring comparison,ldsboard/$(room).py)
comma := ,
space := $(subst ,, )

bench: $(VENV)/.dev $(VENV)/.references ## measure scoring, the service and training against their plain forms
	$(BIN)/python -m tests.bench.scoring
	$(BIN)/python -m tests.bench.service
	$(BIN)/python -m tests.bench.upload
	$(BIN)/python -m tests.bench.pages
	$(BIN)/python -m worker bench

chaos: $(VENV)/.dev ## kill the server ten times while 200 files are sent, and count what is there in the end
	$(BIN)/python -m tests.acceptance.chaos

screenshots: setup ## write a picture of every page of the demo's data into screenshots/
	$(BIN)/python -m tests.browser.screenshots

readme: $(VENV)/.run ## write the leaderboards of the demo and of the practice board into the README
	$(BIN)/python -m app demo --all --table README.md

clean: ## remove the environment and all caches; the data in .ldsboard stay
	rm -rf $(VENV) .coverage .coverage.* .mypy_cache .pytest_cache .ruff_cache .hypothesis *.egg-info build dist

.PHONY: help system setup references demo serve test test-fast test-slow test-all coverage check bench chaos screenshots readme clean
