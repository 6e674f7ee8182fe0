PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test lint types format soak bench clean

# The environment: made once from the lock, and again when the lock or the project's metadata change.
$(VENV)/ready: requirements.lock pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -e .
	touch $@

demo: $(VENV)/ready
	$(BIN)/collapse demo --out runs/demo

test: $(VENV)/ready
	$(BIN)/python -m pytest

lint: $(VENV)/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/ready
	$(BIN)/mypy

format: $(VENV)/ready
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# Kills runs of every family at random moments and compares what they resume to (about half an hour).
soak: $(VENV)/ready
	$(BIN)/python -m pytest -m soak -n 0 -s --timeout 3600

# Side-by-side timings; peers (PyTorch, transformers) come from benchmarks/requirements.txt in a venv of their own.
bench: $(VENV)/ready
	$(BIN)/python benchmarks/run.py

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache
