# Everything a developer does here, from a fresh Debian machine on. `make` alone lists it.
#
# Python packages live in .venv; stamp files in it make a second call instant. As root, the Debian packages that tests
# need are installed when they are missing; `make run` needs none of them.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
MAKEFLAGS += --no-print-directory
.DEFAULT_GOAL := help

VENV := .venv
BIN := $(VENV)/bin
RUNTIME := $(VENV)/.installed-runtime
DEV := $(VENV)/.installed-dev
SYSTEM := $(VENV)/.installed-system
SYSTEM_PACKAGES := postgresql redis-server chromium fonts-noto-cjk

.PHONY: help run setup check test bench clean distclean lint quick all-tests conformance

help: ## list what can be made
	@awk -F ': .*## ' '/^[a-z-]+: .*## / {printf "  make %-12s %s\n", $$1, $$2}' Makefile

run: $(RUNTIME) ## start the demo: simulated piles, live page on http://127.0.0.1:8080
	@exec $(BIN)/pileward demo

setup: $(SYSTEM) $(DEV) ## install everything that tests need
	@echo "Ready: make check (quick), make test (everything)."

check: $(DEV) lint quick ## format, lint, imports, types and the quick tests

test: setup lint all-tests conformance ## everything: linters, every test, conformance

bench: setup ## run the benchmarks, print a table, write build/bench.json (ONLY="name …" selects)
	@$(BIN)/python -m tests.bench $(ONLY)

clean: ## remove caches and what was built; keeps .venv and state
	@rm -rf build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis *.egg-info
	@find pileward tests -name __pycache__ -type d -prune -exec rm -rf {} +

distclean: clean ## clean, and remove .venv too
	@rm -rf $(VENV)

lint: $(DEV)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports --no-logo
	$(BIN)/mypy

quick: $(DEV)
	$(BIN)/python -m pytest -q -m "not slow and not browser"

all-tests: $(DEV)
	$(BIN)/python -m pytest -q

conformance: $(DEV) ## Thespian's own test suite against the engine (minutes)
	$(BIN)/python -m tests.conformance

$(RUNTIME): setup.cfg pyproject.toml .ci/install-python
	@.ci/install-python $(VENV) .
	@touch $@

$(DEV): setup.cfg pyproject.toml .ci/install-python
	@.ci/install-python $(VENV) '.[dev]'
	@touch $@ $(RUNTIME)

$(SYSTEM): Makefile .ci/install-system | $(DEV)
	@.ci/install-system $(SYSTEM_PACKAGES)
	@touch $@
