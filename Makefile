# Start with `make demo`. Everything runs on environments that set-up makes here (.venv, .venv-mxnet, .venv-tools).
PYTHON ?= python3
SETUP = $(PYTHON) -m tools.setup
BIN = .venv/bin
PYTEST = $(BIN)/python -m pytest
FAST = "not slow and not e2e"
# A file's tests stay together, since they share what is costly to make; up to 4 processes of 3 GB.
PARALLEL = --numprocesses auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder
# Where floats are compared that TensorFlow's kernels made; the files left out compare none, and take a minute.
NUMERIC = tests/arcface_common tests/trainer_module tests/evaluator_custom tests/serving \
	$(addprefix --ignore=tests/, arcface_common/test_console.py evaluator_custom/test_report.py evaluator_custom/test_folder_page.py \
	serving/server/test_life.py serving/server/test_manager.py serving/server/test_openapi.py)
PRODUCT = arcface_tfx pipeline components arcface_common trainer_module evaluator_custom serving
SOURCES = $(PRODUCT) tools tests benchmarks docs
# The platform is that of the wheels, not of the host: see tools/setup.py.
COMPILE = .venv-tools/bin/uv pip compile --quiet $(if $(UPGRADE),--upgrade) --python-platform x86_64-manylinux_2_39 --generate-hashes \
	--no-emit-index-url --no-annotate --no-header --no-progress

.DEFAULT_GOAL := help
.PHONY: help setup setup-dev demo test test-fast test-numeric test-malformed readme docs lint format typecheck lock sbom image-test kfp-tools \
	beam-tools cluster-test kubeflow-test beam-test clean

help: ## Say what there is
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):[^#]*## (.*)/  make \1\t\2/' | expand -t 20

setup: ## Make the environment that the product runs on (.venv); GPU=1: with the CUDA libraries, 4.2 GB more
	@$(SETUP) $(if $(GPU),gpu,runtime)

setup-dev: ## Add what tests and checks need, and the oracle's environment (.venv-mxnet)
	@$(SETUP) dev mxnet

# DEMO_SYNTH and DEMO_RUN add options, such as DEMO_RUN="--set train.steps=2".
demo: setup ## Make a small data set, train on it, evaluate, bless and push a model: build/demo
	$(BIN)/arcface-tfx synth build/demo/data --samples build/demo/faces $(DEMO_SYNTH)
	$(BIN)/arcface-tfx run --preset demo --data build/demo/data --root build/demo $(DEMO_RUN)

test: setup-dev ## Run all tests
	$(PYTEST) $(PARALLEL) --durations 25

test-fast: setup-dev ## Run the tests that take seconds
	$(PYTEST) -m $(FAST)

test-numeric: setup-dev ## Run the fast tests of networks and figures as on a lesser machine: AVX2 alone, one thread
	ONEDNN_MAX_CPU_ISA=AVX2 OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 TF_NUM_INTRAOP_THREADS=1 TF_NUM_INTEROP_THREADS=1 \
		$(PYTEST) $(PARALLEL) -m $(FAST) $(NUMERIC)

test-malformed: setup-dev ## Send 100,000 bodies that no client means to each API of the server; BODIES=N: another number
	ARCFACE_TFX_MALFORMED_BODIES=$(or $(BODIES),100000) $(PYTEST) --timeout 0 --durations 0 -k "any_bytes or any_json" \
		tests/serving/server

readme: setup-dev ## Run every command of README.md and docs/ in an environment of the runtime alone
	$(BIN)/python -m tests.readme

docs: setup-dev ## Build the site of README.md and docs/: build/site
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build

lint: setup-dev ## Check style, formatting, who imports whom, undeclared imports, dead links, the Dockerfile
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports --no-logo
	$(BIN)/deptry --no-ansi $(PRODUCT)
	$(BIN)/deptry --no-ansi --config requirements/dev-imports.toml tests tools benchmarks docs
	$(BIN)/python -m docs.links
	$(BIN)/hadolint Dockerfile

format: setup-dev ## Reformat
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

typecheck: setup-dev ## Check types
	$(BIN)/mypy

lock: ## Bring the locks to their .in files; UPGRADE=1 renews every version, too
	@$(SETUP) tools
	cd requirements && ../$(COMPILE) --python-version 3.9 tools.in -o tools.lock
	cd requirements && ../$(COMPILE) --python-version 3.11 --overrides overrides.in runtime.in -o runtime.lock
	cd requirements && ../$(COMPILE) --python-version 3.11 --overrides overrides.in gpu.in -o gpu.lock
	cd requirements && ../$(COMPILE) --python-version 3.11 --overrides serve-overrides.in serve.in -o serve.lock
	cd requirements && ../$(COMPILE) --python-version 3.11 --overrides overrides.in dev.in -o dev.lock
	cd requirements && ../$(COMPILE) --python-version 3.11 mxnet.in -o mxnet.lock
	cd requirements && ../$(COMPILE) --python-version 3.11 cluster.in -o cluster.lock

sbom: setup-dev ## List what each image holds, as CycloneDX: build/sbom
	mkdir -p build/sbom
	for lock in runtime gpu serve; do \
		PYTHONWARNINGS=ignore $(BIN)/cyclonedx-py requirements --output-reproducible --pyproject pyproject.toml -o build/sbom/$$lock.json requirements/$$lock.lock; \
	done

image-test: setup-dev ## Build the images' files without an engine, and run the demo and `serve` in them (root, debootstrap); GPU=1: that with CUDA, too
	ARCFACE_TFX_IMAGES=build/image $(if $(GPU),ARCFACE_TFX_IMAGES_GPU=1) $(PYTEST) tests/tools/test_image_for_real.py

kfp-tools: ## Build Kubeflow Pipelines' own compiler, driver and launcher (Go, 3 CPU minutes), which tests then use: build/kfp-tools
	@command -v go >/dev/null || { echo "make kfp-tools: expected Go 1.21 or newer on PATH. Received: none" >&2; exit 1; }
	mkdir -p build/kfp-tools && cp tools/kfp/go.mod build/kfp-tools
	cd build/kfp-tools && go build -mod=mod -o . $(addprefix github.com/kubeflow/pipelines/backend/src/v2/cmd/, compiler driver launcher-v2)

beam-tools: setup build/beam-tools/packages.lock build/beam-tools/flink-job-server.jar build/beam-tools/spark-job-server.jar ## Fetch a Flink, a Spark and Beam's job servers for them (Java 17, Maven; 1.6 GB): build/beam-tools

build/beam-tools/packages.lock: requirements/cluster.lock
	@command -v java >/dev/null && command -v mvn >/dev/null || { echo "make beam-tools: expected Java 17 and Maven on PATH. Received: not both" >&2; exit 1; }
	.venv-tools/bin/python -m pip install -qq --no-deps --require-hashes --upgrade --target $(@D)/packages -r $<
	cp $< $@

build/beam-tools/%-job-server.jar: tools/clusters/pom.xml tools/clusters/%/pom.xml
	mvn --quiet --batch-mode --file $< --projects $* -Dmade=$(CURDIR)/$(@D)/$* package
	mv $(@D)/$*/job-server.jar $@ && rm -r $(@D)/$*

cluster-test: kubeflow-test beam-test ## Run the next two

kubeflow-test: setup-dev kfp-tools ## Run the demo's steps by Kubeflow Pipelines' own driver and launcher
	ARCFACE_TFX_KFP_TOOLS=build/kfp-tools $(PYTEST) tests/e2e/test_kubeflow_pipelines.py

beam-test: setup-dev beam-tools ## Run the pipeline's Beam work on a Flink and on a Spark, and take a machine away meanwhile (7 GB of memory)
	ARCFACE_TFX_BEAM_TOOLS=build/beam-tools $(PYTEST) tests/e2e/test_beam_clusters.py

clean: ## Remove what commands wrote; environments stay
	rm -rf build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find $(wildcard $(SOURCES)) -type d -name __pycache__ -prune -exec rm -rf {} +
