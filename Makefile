# Start with `make demo`. Everything runs on environments that set-up makes here (.venv, .venv-mxnet, .venv-tools).
PYTHON ?= python3
SETUP = $(PYTHON) -m tools.setup
BIN = .venv/bin
PRODUCT = pipeline components trainer_module evaluator_custom serving
SOURCES = $(PRODUCT) tools tests benchmarks
# The platform is that of the wheels, not of the host: see tools/setup.py.
COMPILE = .venv-tools/bin/uv pip compile --quiet $(if $(UPGRADE),--upgrade) --python-platform x86_64-manylinux_2_39 --generate-hashes \
	--no-emit-index-url --no-annotate --no-header --no-progress

.DEFAULT_GOAL := help
.PHONY: help setup setup-dev demo test test-fast lint format typecheck lock clean

help: ## Say what there is
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):[^#]*## (.*)/  make \1\t\2/' | expand -t 20

setup: ## Make the environment that the product runs on (.venv)
	@$(SETUP) runtime

setup-dev: ## Add what tests and checks need, and the oracle's environment (.venv-mxnet)
	@$(SETUP) dev mxnet

demo: setup ## Make a small data set, train on it, evaluate, bless and push a model: build/demo
	$(BIN)/arcface-tfx synth build/demo/data --samples build/demo/faces
	$(BIN)/arcface-tfx run --data build/demo/data --root build/demo

test: setup-dev ## Run all tests
	$(BIN)/python -m pytest

test-fast: setup-dev ## Run the tests that take seconds
	$(BIN)/python -m pytest -m "not slow and not e2e"

lint: setup-dev ## Check style, formatting, and that every import is of a declared dependency
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/deptry --no-ansi $(PRODUCT)
	$(BIN)/deptry --no-ansi --config requirements/dev-imports.toml tests tools benchmarks

format: setup-dev ## Reformat
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

typecheck: setup-dev ## Check types
	$(BIN)/mypy

lock: ## Bring the locks to their .in files; UPGRADE=1 renews every version, too
	@$(SETUP) tools
	cd requirements && ../$(COMPILE) --python-version 3.9 tools.in -o tools.lock
	cd requirements && ../$(COMPILE) --python-version 3.11 --overrides overrides.in runtime.in -o runtime.lock
	cd requirements && ../$(COMPILE) --python-version 3.11 --overrides overrides.in dev.in -o dev.lock
	cd requirements && ../$(COMPILE) --python-version 3.11 mxnet.in -o mxnet.lock

clean: ## Remove what commands wrote; environments stay
	rm -rf build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find $(wildcard $(SOURCES)) -type d -name __pycache__ -prune -exec rm -rf {} +
