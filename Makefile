# Two commands do all the set-up on a fresh machine: make demo, make test.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
OUTPUT ?= fairpool-runs

.PHONY: demo test test-slow lint coverage bench clean

demo: $(VENV)/installed
	$(BIN)/fairpool run tuberculosis --output $(OUTPUT)

test: $(VENV)/installed lint
	$(BIN)/python -m pytest -m "not slow"

test-slow: $(VENV)/installed
	$(BIN)/python -m pytest -m slow

lint: $(VENV)/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

coverage: $(VENV)/installed
	$(BIN)/python -m pytest -m "not slow" --cov --cov-report=term-missing

bench: $(VENV)/installed
	$(BIN)/python benchmarks/step.py
	$(BIN)/python benchmarks/metrics.py

# The exact set tested is in constraints.txt; pyproject.toml states the ranges.
$(VENV)/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[dev]"
	touch $@

clean:
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
