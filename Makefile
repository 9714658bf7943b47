# From a clean clone, `make run` and `make test` do everything.

VENV_PYTHON := .venv/$(if $(filter Windows_NT,$(OS)),Scripts,bin)/python
TESTS ?=
# A process a core with one thread each, as more would only wait for one another; a file stays in one
# of them, as its tests share what is costly to make, and files keep their order: by the number of tests
# the slow files with few of them would come last, one process would work and the others wait.  The folder
# with the test that runs mypy comes first by its name, as that test takes longest.
ALL_TESTS := --numprocesses auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder
# Many tests start processes that import torch: that takes three times as long where nothing has been
# compiled and this variable, which containers often set, forbids Python to keep what it compiles.
KEEP_BYTECODE := PYTHONDONTWRITEBYTECODE=
TIME ?= 30m
KINDS ?= fuzz,kills,monkey,hover,shared
ARGS ?=
EXTRAS ?=

export PYTHON

.DEFAULT_GOAL := help
.PHONY: help run test setup setup-dev check lint pytest soak bench-check gpu-check format clean clean-all

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: setup ## set up if needed, then open the window; ARGS="view a.jpg b.jpg" opens a pair
	@$(VENV_PYTHON) main.py $(ARGS)

test: setup-dev ## set up if needed, then run every check
	@$(MAKE) --no-print-directory lint pytest

setup: ## set up only: .venv and the system libraries; EXTRAS=timm,onnx adds optional packages
	@sh .ci/setup.sh $(if $(EXTRAS),--extras "$(EXTRAS)")

setup-dev: ## the same with all that the checks need
	@sh .ci/setup.sh --extras "dev $(EXTRAS)" $(if $(CI),--xvfb)

check: lint ## check formatting, lint, import rules and types (after `make setup-dev`)
	$(VENV_PYTHON) -m mypy

lint:
	$(VENV_PYTHON) -m ruff format --check .
	$(VENV_PYTHON) -m ruff check .
	$(VENV_PYTHON) -c "from importlinter.cli import lint_imports_command; lint_imports_command()"

pytest: ## run the tests; TESTS="tests/engine -k daisy" runs some of them
	QT_QPA_PLATFORM=offscreen OMP_NUM_THREADS=1 $(KEEP_BYTECODE) \
		$(VENV_PYTHON) -m pytest $(or $(TESTS),$(ALL_TESTS))

soak: setup-dev ## look for faults for TIME=30m, KINDS=fuzz,kills,monkey,hover,shared; continues the last run
	@$(VENV_PYTHON) -m benchmarks.soak --time $(TIME) --kinds $(KINDS)

bench-check: setup ## compare ratios of times with the recorded ones; fails where one is 20 % worse
	@$(VENV_PYTHON) main.py bench --against benchmarks/recorded.json

gpu-check: ## check the CUDA kernels on this GPU; GPU_PYTHON=python3 with torch, WHEELS=PyCUDA folder
	@$(or $(GPU_PYTHON),python3) .ci/gpu_check.py $(if $(WHEELS),--wheels "$(WHEELS)")

format: setup-dev ## format the code and apply automatic fixes
	$(VENV_PYTHON) -m ruff format .
	$(VENV_PYTHON) -m ruff check --fix .

clean: ## remove caches and builds
	rm -rf .cache .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache build dist
	find . -name .venv -prune -o -type d -name __pycache__ -exec rm -rf {} +

clean-all: clean ## also remove .venv
	rm -rf .venv
