# Commands of developers and CI. `make help` lists them.
SHELL := /bin/bash
PYTHON ?= python3
PORT ?= 8000
PIP_ARGS ?=
VENV := .venv
BIN := $(VENV)/bin
# Options of test targets: TESTS= selects tests, ARGS= is passed to pytest, COVER=1 measures coverage, WORKERS=4 sets the number of
# processes, ORDER=random shuffles the tests. The default of WORKERS is the number of usable processors, which pytest-xdist ignores.
TESTS ?=
ARGS ?=
COVER ?=
WORKERS ?= $(shell $(PYTHON) -c 'import os; print(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count())')
ORDER ?=
# Even with `make -j`, slow tests must not run in parallel with others.
.NOTPARALLEL:
# Allow .pyc files, since hundreds of processes import the same modules.
unexport PYTHONDONTWRITEBYTECODE

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

# One environment, with a stamp file for each set of groups, so that `make demo` does not install developers' tools.
$(VENV)/.pip:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "LDSBoard needs Python 3.11 or newer; set PYTHON=")'
	$(PYTHON) -c 'import ensurepip, venv' || { echo "Install the Debian package python3-venv, then repeat the command."; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade 'pip>=25.1' $(PIP_ARGS)
	@touch $@

# Without a working C compiler, this installs the library without its kernel.
$(VENV)/.run: pyproject.toml setup.py $(wildcard ldsboard/core/*.[ch]) constraints.txt | $(VENV)/.pip
	@echo "Installing LDSBoard and its dependencies into $(VENV). PyTorch is the largest of them."
	$(BIN)/python -m pip install -qq -c constraints.txt $(PIP_ARGS) -e . --group server --group train
	@touch $@

$(VENV)/.dev: $(VENV)/.run
	$(BIN)/python -m pip install -qq -c constraints.txt $(PIP_ARGS) --group dev --group ray
	@touch $@

# Published libraries for comparison, in a separate folder, without dependencies that the tests do not use. Because of these
# dependencies quanda requires Python below 3.13 and captum below 0.9. `rm`, since pip does not replace packages in a target folder,
# and since kronfluence installs its own tests as a package that would hide ours. traker has no wheel.
$(VENV)/.references: tests/references/requirements.txt | $(VENV)/.run
	rm -rf $(VENV)/references
	$(BIN)/python -m pip install -qq --no-deps --ignore-requires-python --only-binary :all: --no-binary traker $(PIP_ARGS) \
	  --target $(VENV)/references -r $<
	rm -rf $(VENV)/references/tests
	@touch $@

# The S3-compatible store of the tests, in an environment of its own: 53 MB. PyECLib contains liberasurecode.
$(VENV)/.swift: tests/openstack-swift-requirements.txt | $(VENV)/.pip
	$(PYTHON) -m venv --clear --without-pip $(VENV)/swift
	$(BIN)/python -m pip --python $(VENV)/swift install -qq --only-binary :all: $(PIP_ARGS) -r $<
	@touch $@

references: $(VENV)/.references ## install published libraries for comparison

# Debian packages for the environment and the tests. Missing packages are installed if this is permitted; otherwise a message asks
# for them.
system:
	@missing=; \
	$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || missing="$$missing python3-venv"; \
	command -v curl >/dev/null || missing="$$missing curl"; \
	command -v chromium >/dev/null || command -v chromium-browser >/dev/null || missing="$$missing chromium"; \
	ls /usr/lib/postgresql/*/bin/postgres >/dev/null 2>&1 || command -v postgres >/dev/null || missing="$$missing postgresql"; \
	[ -n "$$missing" ] || exit 0; \
	echo "Installing the Debian packages$$missing."; \
	[ "$$(id -u)" = 0 ] && as=env || as='sudo -n'; \
	[ "$${missing##* }" != postgresql ] || [ -e /etc/postgresql-common/createcluster.conf ] || { $$as mkdir -p /etc/postgresql-common && \
	  echo 'create_main_cluster = false' | $$as tee /etc/postgresql-common/createcluster.conf >/dev/null; }; \
	$$as apt-get update -qq && $$as env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$missing >/dev/null \
	  || { echo "Install the Debian packages$$missing, then repeat the command."; exit 1; }

setup: system ## install the developers' environment: system packages, and Python packages into .venv
	@$(MAKE) --silent $(VENV)/.dev $(VENV)/.references $(VENV)/.swift
	@$(BIN)/python -c 'import ldsboard; ldsboard.show_config()'

demo: $(VENV)/.run ## train and publish a benchmark, score six methods, and serve the site on PORT until Ctrl-C
	$(BIN)/python -m app demo --port $(PORT)

serve: $(VENV)/.run ## serve the site on PORT until Ctrl-C
	$(BIN)/python -m app serve --port $(PORT)

PYTEST = $(BIN)/python $(if $(COVER),-m coverage run )-m pytest --durations=40 $(if $(ORDER),-p randomly )$(ARGS)
# Distribute by file, so that fixtures of a file are set up once.
SPREAD = --numprocesses $(WORKERS) --dist loadfile
SERIAL = $(or $(TESTS),$(shell grep -rl --include='test_*.py' mark.serial tests))
TIMED = TIMEFORMAT='make $@: %R s wall time, %U s user time, %S s system time'; time

# pytest exits with 5 if it selects no test, which can happen in one of the two runs with TESTS=.
test: setup ## run all tests except slow ones, in parallel; TESTS= ARGS= COVER=1 WORKERS=4 ORDER=random
	@$(if $(COVER),rm -f .coverage .coverage.*)
	@$(TIMED) { $(PYTEST) $(SPREAD) -m 'not slow and not serial' $(TESTS); first=$$?; \
	  $(PYTEST) -m 'serial and not slow' $(SERIAL); second=$$?; \
	  case $$first-$$second in 0-0|0-5|5-0) ;; *) false;; esac; }

test-fast: $(VENV)/.dev ## run the tests of the library, and the tests of the service that need no server
	@$(TIMED) $(PYTEST) $(SPREAD) -m 'not slow and not serial and not server' tests/ldsboard tests/client tests/app

test-slow: setup ## run the slow tests: the whole demo, chaos, retraining, other libraries, simulations
	@$(TIMED) $(PYTEST) -m slow $(TESTS)

test-all: test test-slow ## run all tests, and all simulations of the scoring rules at full size
	@$(TIMED) $(PYTEST) --numprocesses $(WORKERS) --dist worksteal tests/statistics --full

docs: $(VENV)/.docs ## build the documentation into docs/_build; warnings and broken links are errors
	$(BIN)/python -m sphinx --quiet --fail-on-warning --keep-going --builder html docs docs/_build
	@echo "The documentation is in docs/_build/index.html."

$(VENV)/.docs: $(VENV)/.dev
	$(BIN)/python -m pip install -qq -c constraints.txt $(PIP_ARGS) --group docs
	@touch $@

coverage: ## combine the measurements of COVER=1, and check the minimum coverage
	$(BIN)/python -m coverage combine --quiet
	$(BIN)/python -m coverage report --skip-covered --fail-under=90
	$(BIN)/python -m coverage report --skip-covered --fail-under=100 --include='$(subst $(space),$(comma),$(CORE))'

check: $(VENV)/.dev ## run the linters, the type checker and the import contracts
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/hadolint docker/*.Dockerfile
	$(BIN)/shellcheck .ci/run examples/*.sh findings/*.sh
	$(BIN)/check-jsonschema --builtin-schema vendor.compose-spec docker/compose.yaml docker/compose.scaled.yaml
	$(BIN)/check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml templates/ci/github*.yml
	$(BIN)/check-jsonschema --builtin-schema vendor.github-actions action.yml
	$(BIN)/check-jsonschema --builtin-schema vendor.gitlab-ci templates/ci/gitlab.yml
	$(BIN)/check-jsonschema --builtin-schema vendor.github-issue-forms .github/ISSUE_TEMPLATE/[!c]*.yml
	$(BIN)/check-jsonschema --builtin-schema vendor.dependabot .github/dependabot.yml
	$(BIN)/zizmor --offline --quiet --strict-collection --persona pedantic .github action.yml templates/ci/github*.yml

CORE := ldsboard/groundtruth.py ldsboard/scoring.py $(wildcard ldsboard/core/*.py ldsboard/arrays/*.py ldsboard/formats/*.py)
comma := ,
space := $(subst ,, )

# A copy of the library, whose kernel checks every access and every arithmetic operation, and stops at the first error.
SANITIZED = -g -fsanitize=address,undefined -fno-sanitize-recover=all
sanitize: $(VENV)/.dev ## run the tests of the compiled kernel under the address and undefined behaviour sanitizers of gcc
	@folder=$$(mktemp -d); trap 'rm -rf "$$folder"' EXIT; \
	cp -r ldsboard setup.py pyproject.toml README.md LICENSE "$$folder"; cd "$$folder"; \
	CC=gcc CFLAGS='$(SANITIZED)' LDFLAGS='$(SANITIZED)' LDSBOARD_REQUIRE_KERNEL=1 \
	  '$(CURDIR)/$(BIN)/python' setup.py --quiet build_ext --inplace || exit; \
	export LD_PRELOAD="$$(gcc -print-file-name=libasan.so) $$(gcc -print-file-name=libubsan.so)" ASAN_OPTIONS=detect_leaks=0; \
	'$(CURDIR)/$(BIN)/python' -c 'from ldsboard.core.kernel import LIBRARY, load; assert load(LIBRARY)[0], load(LIBRARY)' || exit; \
	cd '$(CURDIR)'; SANITIZED="$$folder" $(PYTEST) -p no:cacheprovider --capture=sys --override-ini pythonpath="$$folder ." $(or $(TESTS),tests/ldsboard/kernel)

bench: $(VENV)/.dev $(VENV)/.references ## compare the speed of scoring, service and training with simple implementations
	$(BIN)/python -m tests.bench.scoring
	$(BIN)/python -m tests.bench.service
	$(BIN)/python -m tests.bench.upload
	$(BIN)/python -m tests.bench.pages
	$(BIN)/python -m tests.bench.retraining
	$(BIN)/python -m worker bench

# CIFAR-10 has no licence, so its benchmark is compared only if LDSBOARD_CIFAR10 names a copy of the images.
gpu-check: $(VENV)/.run ## on a new GPU: train models of the shipped benchmarks, and compare them with the shipped ones; ARGS=
	$(BIN)/python -m worker check --device cuda $(ARGS) \
	  benchmarks/fashion5k-mlp $(if $(LDSBOARD_CIFAR10),$(wildcard benchmarks/cifar10-*))

bench-large: $(VENV)/.dev ## measure 10,000 subsets of 50,000 training examples (ARGS=10000 sets the number of targets), and boards of 5,000 entries
	$(BIN)/python -m tests.bench.large $(ARGS)
	$(BIN)/python -m tests.bench.boards

siege: $(VENV)/.dev ## attack a server with bursts, silent connections and uploads, and check that it stays reachable
	$(BIN)/python -m tests.siege

load: $(VENV)/.dev $(VENV)/.swift ## measure how many submissions two servers, workers, PostgreSQL and an S3 store carry
	$(BIN)/python -m tests.load

chaos: system $(VENV)/.dev $(VENV)/.swift ## kill servers, workers, the database and the store while 200 files are sent, and check that none is lost
	$(BIN)/python -m tests.acceptance.chaos
	$(BIN)/python -m tests.acceptance.scaled_chaos

screenshots: setup ## save screenshots of the main pages of the demo in screenshots/
	$(BIN)/python -m tests.browser.screenshots

readme: $(VENV)/.run ## write the leaderboards of the demo and of the practice boards into the README
	$(BIN)/python -m app demo --all --table README.md

# uv is needed only here, so that it is not a dependency of the project. Hashes of all files of a version are written, so that the
# image can be built on x86-64 and on ARM.
lock: ## renew docker/server-requirements.txt from constraints.txt, with the hashes of the packages
	@folder=$$(mktemp -d); trap 'rm -rf "$$folder"' EXIT; \
	$(PYTHON) -m venv "$$folder" && "$$folder/bin/python" -m pip install --quiet $(PIP_ARGS) 'uv==0.13.9' && \
	"$$folder/bin/uv" pip compile pyproject.toml --group server --constraint constraints.txt --no-config --quiet --generate-hashes \
	  --python-version 3.11 --python-platform x86_64-unknown-linux-gnu --no-header --no-annotate --output-file "$$folder/locked" && \
	{ echo '# What the server image installs, with the hashes of all files of each version. Renew with: make lock'; \
	  cat "$$folder/locked"; } > docker/server-requirements.txt

clean: ## remove the environment and all caches; keep the data in .ldsboard
	rm -rf $(VENV) .coverage .coverage.* .mypy_cache .pytest_cache .ruff_cache .hypothesis *.egg-info build dist ldsboard/core/_sums.*

.PHONY: help system setup references docs demo serve test test-fast test-slow test-all coverage check bench gpu-check bench-large sanitize siege load chaos screenshots readme lock clean
