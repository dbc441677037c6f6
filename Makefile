# Everything a contributor types. `make help` lists it.
PYTHON ?= python3
VENV   ?= .venv
CONF   ?= conf/nanomq.conf
BIN    := $(VENV)/bin
# The stamp is newer than these when the environment holds what they ask for.
STAMP  := $(VENV)/.installed
# One process more than there are cores, as far as that helps: many tests wait for another program.
PROCESSES = $(shell $(PYTHON) -c 'import os; print(min(8, (os.cpu_count() or 1) + 1))')
PYTEST = -m pytest -q -n $(PROCESSES)

.PHONY: help run check test test-all test-plugins wheel compiled test-compiled release-check docs format bench clean

help: ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-14s %s\n", $$1, $$2}'

$(STAMP): pyproject.toml broker/__init__.py
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "pybroker needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) --version 2>&1). Try: make PYTHON=python3.12"; exit 1; }
	@echo "installing into $(VENV); the first time this takes half a minute"
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@

run: $(STAMP) ## start the broker with conf/nanomq.conf (CONF=... for another file)
	$(BIN)/pybroker start --conf $(CONF)

check: $(STAMP) ## ruff (lint and format) and mypy --strict
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

test: $(STAMP) ## all tests that finish in minutes
	$(BIN)/python $(PYTEST) -m 'not slow'

test-all: $(STAMP) ## every test, the long ones too: an hour (SOAK_SECONDS=60 for less)
	$(BIN)/python $(PYTEST)

test-plugins: ## the fixtures beside other plugins of pytest, in an environment of their own
	rm -rf build/plugins && $(PYTHON) -m venv build/plugins
	build/plugins/bin/python -m pip install --quiet --disable-pip-version-check --editable '.[testing,plugins]' hypothesis
	build/plugins/bin/python -m pytest -q -p no:randomly tests/testing/test_other_plugins.py

wheel: ## dist/: a wheel with the hot path compiled (needs a C compiler; PYTHON=... for another Python)
	rm -rf build/wheel dist && mkdir -p build/wheel/source dist
	git ls-files -z pybroker broker webhook pyproject.toml README.md LICENSE | xargs -0 cp -P --parents -t build/wheel/source
	$(PYTHON) -m venv build/wheel/venv
	HATCH_BUILD_HOOKS_ENABLE=1 build/wheel/venv/bin/python -m pip wheel --quiet --no-deps --wheel-dir dist build/wheel/source

compiled: wheel ## build/compiled/: an environment with that wheel, and the tests beside it
	rm -rf build/compiled && mkdir -p build/compiled
	$(PYTHON) -m venv build/compiled/venv
	build/compiled/venv/bin/python -m pip install --quiet --disable-pip-version-check \
	  "pybroker[test] @ file://$$(ls $(CURDIR)/dist/pybroker-*.whl)"
	git ls-files -z | grep -zvE '^(pybroker|broker|webhook)/' | xargs -0 cp --parents -t build/compiled

test-compiled: compiled ## the tests of what is compiled, against the compiled wheel
	cd build/compiled && venv/bin/python $(PYTEST) -m 'not slow' \
	  tests/packets tests/unit tests/conformance tests/integration tests/plugins tests/bridge --ignore tests/unit/config

release-check: $(STAMP) ## dist/: what is released, built twice, installed and tried with every Python of this machine
	$(BIN)/python scripts/release_check

docs: build/docs/.installed ## build/site: the documentation as a site; a warning is an error
	NO_MKDOCS_2_WARNING=1 build/docs/bin/mkdocs build --strict
	@echo "made build/site/index.html"

build/docs/.installed: pyproject.toml
	$(PYTHON) -m venv build/docs
	build/docs/bin/python -m pip install --quiet --disable-pip-version-check --editable '.[docs]'
	@touch $@

bench: $(STAMP) ## half a minute beside mosquitto (scripts/bench --help has more)
	$(BIN)/python scripts/bench quick

format: $(STAMP) ## let ruff rewrite what it can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean: ## forget the environment and the caches
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache dist build
