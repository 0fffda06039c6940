# Everything starts here: `make demo` and `make test` set up what they need in .venv, from a fresh clone.

VENV ?= .venv
BIN = $(VENV)/bin
JOBS ?= $(shell nproc 2>/dev/null || echo 1)
PYTEST_ARGS ?=
BENCH_ARGS ?=
# A file stays on one worker, whose fixtures it shares; the order is that of the names.
PARALLEL = -n $(JOBS) --dist loadfile --no-loadscope-reorder
# One thread for each test worker; results do not depend on the number of threads.
ONE_THREAD = OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 TOMODIFF_THREADS=1

.PHONY: help demo test check bench bench-gpu quality test-gpu nightly peers docs wheel test-wheel clean
.DEFAULT_GOAL := help

help: ## this list
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 18

# ---- set-up: a stamp per set of extras, renewed when the package's description changes

$(VENV)/.ready-%: setup.cfg setup.py pyproject.toml .ci/setup
	@.ci/setup $(VENV) $*

demo: $(VENV)/.ready-medical ## read, reconstruct and report on the sample scan, in about a minute
	$(BIN)/tomodiff demo

test: $(VENV)/.ready-test ## all tests but the slow ones
	$(ONE_THREAD) $(BIN)/python -m pytest $(PARALLEL) -m "not slow" $(PYTEST_ARGS)

nightly: $(VENV)/.ready-test peers ## all tests, with other programs to compare with where they install
	$(ONE_THREAD) $(BIN)/python -m pytest $(PARALLEL) $(PYTEST_ARGS)

check: $(VENV)/.ready-dev ## style, types, layers, length of files
	.ci/check $(BIN)

bench: $(VENV)/.ready-medical peers ## speed, beside other programs where they install
	$(BIN)/python -m workflows.benchmarks.ct_projectors $(BENCH_ARGS)

# Installs nothing, as test-gpu; needs numpy and CuPy with a working GPU.
bench-gpu: ## speed on a GPU
	PYTHONPATH=.$${PYTHONPATH:+:$$PYTHONPATH} python3 -m workflows.benchmarks.ct_projectors --device cuda $(BENCH_ARGS)

quality: $(VENV)/.ready-test ## the tests behind the numbers of quality; prints them and keeps them
	$(ONE_THREAD) PYTHONPATH=. $(BIN)/python -m workflows.benchmarks.quality $(BENCH_ARGS)

peers:
	@test -f $(VENV)/.ready-peers || .ci/setup $(VENV) peers || echo "not all other programs install here: going on without them"

# Installs nothing: the tree, and whatever this python3 has. Needs numpy, pytest and CuPy with a working GPU.
test-gpu: ## the kernel and projector tests on CuPy arrays
	@python3 -c 'import sys, cupy; sys.exit(0 if cupy.cuda.is_available() else "make test-gpu: CuPy finds no GPU here")'
	PYTHONPATH=.$${PYTHONPATH:+:$$PYTHONPATH} TOMODIFF_TEST_GPU=1 python3 -m pytest -m "not slow" -k gpu $(PYTEST_ARGS) $$(grep -lw xp tests/test_*.py)

docs: $(VENV)/.ready-docs ## build the documentation into docs/_build/html: tutorials and examples run, warnings are errors
	$(BIN)/python -m sphinx -W --keep-going -q -b html docs docs/_build/html

wheel: $(VENV)/.ready-release ## a source distribution and a wheel for all machines of this kind, into dist/
	.ci/wheel build $(VENV)

test-wheel: ## the tests against that wheel, in an environment of its own without a compiler
	.ci/wheel test $$(ls dist/*.whl)

clean: ## remove the environment and everything that was built
	rm -rf $(VENV) build dist docs/_build docs/generated docs/sg_execution_times.rst *.egg-info tomodiff/_lib/*.so .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .coverage* htmlcov
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
