# Two commands do all the set-up on a fresh machine: make demo, make test.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
OUTPUT ?= fairpool-runs

.PHONY: demo test test-slow lint coverage bench study clean

demo: $(VENV)/installed
	$(BIN)/fairpool run tuberculosis --output $(OUTPUT)

test: $(VENV)/installed lint
	$(BIN)/python -m pytest -m "not slow"

# One thread a process: these tests run several at once, and threads that wait for each other on busy cores stand still.
test-slow: $(VENV)/installed
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m slow

lint: $(VENV)/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

coverage: $(VENV)/installed
	$(BIN)/python -m pytest -m "not slow" --cov --cov-report=term-missing

# About an hour and a half on two idle cores; docs/performance.md is written from the results.
bench: $(VENV)/installed
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/step.py --json benchmarks/results/step.json
	$(BIN)/python benchmarks/metrics.py --json benchmarks/results/metrics.json
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/images.py --json benchmarks/results/images.json
	$(BIN)/python benchmarks/manifest_rows.py --json benchmarks/results/manifest_rows.json
	$(BIN)/python benchmarks/manifest.py --json benchmarks/results/manifest.json
	$(BIN)/python benchmarks/posterior.py --json benchmarks/results/posterior.json
	$(BIN)/python benchmarks/intervals.py --json benchmarks/results/intervals.json
	$(BIN)/python benchmarks/soak.py --json benchmarks/results/soak.json
	$(BIN)/python benchmarks/performance_page.py

# The comparison of the methods, docs/results.md: about an hour on two cores; goes on where it was interrupted.
study: $(VENV)/installed
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/methods.py

# The exact set tested is in constraints.txt; pyproject.toml states the ranges.
$(VENV)/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[dev]"
	touch $@

clean:
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
