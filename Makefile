PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
LAUNCH := .venv-launch
PEERS := .venv-peers
PIP := -m pip install --quiet --disable-pip-version-check

.PHONY: demo test lint types format soak bench peers golden lock clean

# The environment: made once from the lock, and again when the lock or the project's metadata change.
$(VENV)/ready: requirements.lock pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python $(PIP) -r requirements.lock
	$(BIN)/python $(PIP) --no-deps -e .
	touch $@

# SkyPilot apart: it wants older versions of what others here share. The test of the TPU task asks its parser.
$(LAUNCH)/ready: tpu/requirements.lock
	$(PYTHON) -m venv $(LAUNCH)
	$(LAUNCH)/bin/python $(PIP) -r tpu/requirements.lock
	touch $@

demo: $(VENV)/ready
	$(BIN)/collapse demo --out runs/demo

test: $(VENV)/ready $(LAUNCH)/ready
	$(BIN)/python -m pytest

lint: $(VENV)/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/ready
	$(BIN)/mypy

format: $(VENV)/ready
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# Kills runs of every family at random moments and compares what they resume to (about four minutes).
soak: $(VENV)/ready
	$(BIN)/python -m pytest -m soak -n 0 -s --timeout 3600

# PyTorch and transformers beside the package, which nothing else here needs.
$(PEERS)/ready: benchmarks/requirements.txt requirements.lock pyproject.toml
	$(PYTHON) -m venv $(PEERS)
	$(PEERS)/bin/python $(PIP) -r benchmarks/requirements.txt -r requirements.lock
	$(PEERS)/bin/python $(PIP) --no-deps -e .
	touch $@

# Parity with transformers on random models: logits, losses, gradients, every way of decoding (about two minutes).
peers: $(PEERS)/ready
	$(PEERS)/bin/python -m pytest -n 0 -p no:cacheprovider tests/peers

# The golden files of that parity, which the test suite checks without PyTorch.
golden: $(PEERS)/ready
	$(PEERS)/bin/python tests/peers/make_golden.py tests/golden/decoders

# Side-by-side timings against peers, on an idle machine (about five minutes).
bench: $(VENV)/ready $(PEERS)/ready
	$(BIN)/python benchmarks/run.py --peer-python $(PEERS)/bin/python

# Both locks anew, each one file for Python 3.11 and for 3.12 and newer.
lock: $(VENV)/ready
	$(BIN)/python $(PIP) uv
	$(BIN)/uv pip compile pyproject.toml --extra demo --extra test --extra dev --universal --python-version 3.11 \
		--no-header --no-annotate --upgrade --quiet -o requirements.lock
	echo "skypilot>=0.10" | $(BIN)/uv pip compile - --universal --python-version 3.11 \
		--no-header --no-annotate --upgrade --quiet -o tpu/requirements.lock

clean:
	rm -rf $(VENV) $(LAUNCH) $(PEERS) .pytest_cache .mypy_cache .ruff_cache
