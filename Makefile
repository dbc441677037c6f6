# Everything a contributor types. `make help` lists it.
PYTHON ?= python3
VENV   ?= .venv
CONF   ?= conf/nanomq.conf
BIN    := $(VENV)/bin
# The stamp is newer than pyproject.toml when the environment holds what it asks for.
STAMP  := $(VENV)/.installed

.PHONY: help run check test test-all format bench clean

help: ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

$(STAMP): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "pybroker needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) --version 2>&1). Try: make PYTHON=python3.12"; exit 1; }
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
	$(BIN)/python -m pytest -q -m 'not slow'

test-all: $(STAMP) ## every test, the long ones too
	$(BIN)/python -m pytest -q

format: $(STAMP) ## let ruff rewrite what it can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean: ## forget the environment and the caches
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache dist
