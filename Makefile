# Verbs of the project. `make run` and `make test` set up what they need by themselves.
SHELL := /bin/sh
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Which build of torch: cpu for machines without a GPU (small), gpu for the registry's default build,
# empty for whatever pip is set up to find.
TORCH ?=
TORCH_FROM := $(if $(filter cpu,$(TORCH)),--index-url https://download.pytorch.org/whl/cpu)
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt
# The stamp names the folder: scripts of a .venv that was moved point to where it was.
STAMP := $(VENV)/.installed-$(shell { cat pyproject.toml constraints.txt; pwd; } | cksum | tr -d ' ')

.PHONY: install run test test-slow lint types format bench bench-all bench-peers-env up screenshots clean

install: $(STAMP)

$(STAMP):
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) $(TORCH_FROM) torch
	$(PIP) -e '.[dev]'
	rm -f $(VENV)/.installed-*
	touch $@

run: install
	$(BIN)/pitchpipe run

up: install
	$(BIN)/pitchpipe up

test: install
	$(BIN)/python -m pytest --numprocesses 2 --dist loadfile

test-slow: install
	$(BIN)/python -m pytest -m slow

lint: install
	$(BIN)/python -m ruff check .
	$(BIN)/python -m ruff format --check .
	$(BIN)/lint-imports

types: install
	$(BIN)/python -m mypy

format: install
	$(BIN)/python -m ruff check --fix .
	$(BIN)/python -m ruff format .

# Ratios in one run, printed: training rate beside a plain PyTorch loop, start-up, a grid beside its peers.
bench: install bench-peers-env
	$(BIN)/python bench/training_rate.py
	$(BIN)/python bench/startup.py --output bench/results/startup.txt
	$(BIN)/python bench/grid.py --output bench/results/grid.txt

# KerasTuner, Ray Tune, Optuna and PyTorch, in an environment of their own.
PEERS := bench/.peers
PEERS_STAMP := $(PEERS)/.installed-$(shell cksum < bench/peers/requirements.txt | tr -d ' ')

bench-peers-env: $(PEERS_STAMP)

$(PEERS_STAMP):
	test -x $(PEERS)/bin/python || $(PYTHON) -m venv $(PEERS)
	$(PEERS)/bin/python -m pip install --quiet --disable-pip-version-check $(TORCH_FROM) torch==2.13.0
	$(PEERS)/bin/python -m pip install --quiet --disable-pip-version-check -r bench/peers/requirements.txt
	rm -f $(PEERS)/.installed-*
	touch $@

# The rest too: a million images prepared, the gate's error rates by simulation, how real pairs of
# classifiers differ, time to best, what a search costs beside training, what `monitor` sees.
bench-all: bench
	$(BIN)/python bench/prepare.py
	$(BIN)/python bench/gate.py --processes 2
	$(BIN)/python bench/gate_differing.py
	$(BIN)/python bench/time_to_best.py
	$(BIN)/python bench/overhead.py --long --output bench/results/overhead.txt
	$(BIN)/python bench/drift.py

# The pictures of docs/tour.md, anew: two retrainings, `up`, Chromium; some minutes.
screenshots: install
	$(BIN)/python tests/support/screenshots.py

clean:
	rm -rf build .mypy_cache .ruff_cache .pytest_cache .hypothesis
