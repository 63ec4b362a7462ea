# Every target sets up what it needs: a virtual environment, filled from the lock files.
SHELL := /bin/bash
.DEFAULT_GOAL := help
PYTHON ?= python3
N ?= 50
SEED ?= 1
VENV := .venv
BIN := $(VENV)/bin
BENCHMARKS := append latency api concurrent database files small rest transforms merge replace
WORKERS ?= 2
# What starts a Ray is one group, which takes longest; so it is begun first, and the quick tests come last.
PARALLEL := $(BIN)/pytest --numprocesses=$(WORKERS) --dist=loadscope --no-loadscope-reorder
SLOWEST_FIRST := tests/acceptance tests/faults tests/integration tests/contract tests/unit tests/architecture
export RAY_AUTH_MODE := disabled

.PHONY: help setup check test test-all test-faults test-kill test-kill-peers test-recovery demo bench lock clean

help: ## Show this list.
	@awk -F':.*## ' '/^[a-z%-]+:.*## /{printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(VENV)/.installed ## Make the virtual environment and install everything from the lock file.

$(VENV)/.installed: requirements-dev.lock pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	touch $@

check: setup ## Format, lint, types, imports and unit tests, in under a minute.
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/pytest -q --numprocesses=auto --dist=loadscope tests/unit tests/architecture

test: setup ## All tests: real PostgreSQL, Ray and S3, started and ended by the tests.
	$(PARALLEL) --durations=20 $(SLOWEST_FIRST)

test-all: setup ## The same, what does not need PostgreSQL 18 on PostgreSQL 15 as well, and long fuzz tests.
	$(PARALLEL) --durations=20 $(SLOWEST_FIRST)
	DATAPROC_TEST_POSTGRES=15 $(PARALLEL) tests/integration tests/contract
	DATAPROC_FUZZ=long $(PARALLEL) tests/contract/test_sources_fuzz.py tests/contract/test_sources_memory.py

test-faults: setup ## Every fault at every point of a load, and long runs of the model; `make test` has the short form.
	DATAPROC_FAULTS=all $(BIN)/pytest tests/faults

test-kill: setup ## Random kill -9 during loads: make test-kill N=50 SEED=1.
	$(BIN)/python -m tests.faults.kill_loop --rounds $(N) --seed $(SEED)

test-kill-peers: setup ## The same kills with dlt and Ray's write_sql: make test-kill-peers N=20 SEED=1.
	$(BIN)/python -m tests.faults.peers --rounds $(N) --seed $(SEED)

test-recovery: setup ## Kill everything at once, and measure until all jobs have ended.
	$(BIN)/python -m tests.faults.recovery

demo: setup ## The main job on the embedded default: bucket, API, Ray, warehouse; under 3 minutes.
	$(BIN)/python -m dataproc.cli.demo

bench: setup ## All benchmarks, side by side with their peers.
	@set -e; for name in $(BENCHMARKS); do $(MAKE) --no-print-directory bench-$$name; done

bench-%: setup ## One benchmark: make bench-append.
	$(BIN)/python -m bench.$*

lock: setup ## Write the lock files anew: exact versions and hashes, no address of any registry.
	$(BIN)/uv pip compile pyproject.toml --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --quiet -o requirements.lock
	$(BIN)/uv pip compile pyproject.toml --extra dev --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --quiet -o requirements-dev.lock

clean: ## Remove the virtual environment and all caches.
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .bench
