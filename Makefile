# Verbs of the project. `make run` and `make test` set up what they need by themselves.
SHELL := /bin/sh
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Which build of torch: cpu for machines without a GPU (small), gpu for the registry's default build,
# empty for whatever pip is set up to find.
TORCH ?=
# Engines besides processes, networks besides ours, ONNX files, maps of answers, a team's servers, mail
# and chats: dask, ray, timm, onnx, explain, team, notify, or several, as dask,timm.
EXTRAS ?=
ifneq ($(filter-out cpu gpu,$(TORCH)),)
$(error TORCH=$(TORCH): is neither cpu nor gpu)
endif
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt
# Torch alone: its dependencies, as all else, come from PyPI.
CPU_TORCH := $(if $(filter cpu,$(TORCH)),--no-deps --index-url https://download.pytorch.org/whl/cpu torch)
# Before a folder is made of it: pip would refuse later, and the folder would stay.
OLD_ENOUGH := import sys; sys.version_info >= (3, 11) or sys.exit("$(PYTHON) is Python %d.%d, and 3.11 or later is needed: make PYTHON=python3.13, or as it is called here" % sys.version_info[:2])
# The stamps name the folder: scripts of a .venv that was moved point to where it was. -P: by whichever
# link one comes, it is one folder.
STATE := $(shell { cat pyproject.toml constraints.txt; pwd -P; } | cksum | tr -d ' ')
PRODUCT := $(VENV)/.installed-$(STATE)
TOOLS := $(VENV)/.installed-dev-$(STATE)
TIMM := $(VENV)/timm
TIMM_STAMP := $(VENV)/.installed-timm-$(STATE)

.PHONY: install install-dev run test test-timm test-team test-slow chaos test-newest audit lint types format bench bench-all bench-peers-env up screenshots clean

# timm needs torchvision, in torch's own build.
install: $(PRODUCT)
	$(if $(and $(CPU_TORCH),$(findstring timm,$(EXTRAS))),$(PIP) $(CPU_TORCH)vision)
	$(if $(EXTRAS),$(PIP) -e '.[$(EXTRAS)]')

# What tests, lint and types need besides.
install-dev: $(TOOLS)

$(PRODUCT):
	test -x $(BIN)/pip || { $(PYTHON) -c '$(OLD_ENOUGH)' && $(PYTHON) -m venv $(VENV); }
	$(if $(CPU_TORCH),$(PIP) $(CPU_TORCH))
	$(PIP) -e .
	rm -f $(VENV)/.installed-*
	touch $@

$(TOOLS): $(PRODUCT)
	$(PIP) -e '.[dev]'
	touch $@

run: install
	$(BIN)/pitchpipe run

up: install
	$(BIN)/pitchpipe up

# Three workers on two cores: tests of services mostly wait; one thread each, as torch's wait busily.
# Not reordered: files of few tests, the slowest, would come last, beside an idle worker.
test: install-dev
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses 3 --dist loadfile --no-loadscope-reorder

# timm lies apart: Lightning imports torchvision where it finds it, and beside a CPU build of torch that
# asks for two operators (tests/support/timm_operators.py).
test-timm: install-dev $(TIMM_STAMP)
	PYTHONPATH=$(TIMM) $(BIN)/python -m pytest tests/training/test_timm.py

$(TIMM_STAMP): $(TOOLS)
	$(PIP) --no-deps --upgrade --target $(TIMM) timm torchvision huggingface_hub hf-xet httpx2 httpcore2 truststore
	touch $@

# A team's servers, started here: needs PostgreSQL, as of `apt-get install postgresql`.
test-team: install-dev
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m 'team and not slow' tests/team

# With the whole chain of a team's servers, which need PostgreSQL; `-m 'slow and not team'` does without.
test-slow: install-dev
	$(BIN)/python -m pytest -m slow

# Hundreds of kills, damaged files, failing servers: docs/reliability.md. Longer than a test may last.
chaos: install-dev
	$(BIN)/python -m pytest -m chaos tests/faults --numprocesses 5 --dist load

# The registry's newest releases, without our upper limits, in an environment of their own: which limit
# could be lifted, and what breaks where one is not there. Torch is as pinned: its build is chosen.
NEWEST := build/newest
NEWEST_TESTS := tests/schedules/test_deployments.py tests/registry/test_registry.py tests/house/test_guard.py

test-newest: install-dev
	rm -rf $(NEWEST)
	$(PYTHON) -m venv $(NEWEST)
	$(BIN)/python .ci/uncapped.py | grep -vE '^(timm|torch)[>=]' > $(NEWEST)/requirements.txt
	grep '^torch==' constraints.txt > $(NEWEST)/torch.txt
	$(if $(CPU_TORCH),$(NEWEST)/bin/python -m pip install --quiet --disable-pip-version-check $(CPU_TORCH)==2.13.0)
	$(NEWEST)/bin/python -m pip install --quiet --disable-pip-version-check -c $(NEWEST)/torch.txt -r $(NEWEST)/requirements.txt
	$(NEWEST)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps -e .
	$(NEWEST)/bin/python -m pip list --disable-pip-version-check
	OMP_NUM_THREADS=1 $(NEWEST)/bin/python -m pytest -m "not team and not chaos" $(NEWEST_TESTS)

# Dangerous calls, dependencies not used, releases with known faults (this one asks pypi.org).
audit: install-dev
	$(BIN)/python -m bandit --quiet --configfile pyproject.toml --recursive flows models
	$(BIN)/python -m deptry .
	$(BIN)/python -m pip_audit --requirement constraints.txt --no-deps --disable-pip

lint: install-dev
	$(BIN)/python -m ruff check .
	$(BIN)/python -m ruff format --check .
	$(BIN)/lint-imports

types: install-dev
	$(BIN)/python -m mypy

format: install-dev
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
	test -x $(PEERS)/bin/pip || $(PYTHON) -m venv $(PEERS)
	$(if $(CPU_TORCH),$(PEERS)/bin/python -m pip install --quiet --disable-pip-version-check $(CPU_TORCH)==2.13.0)
	$(PEERS)/bin/python -m pip install --quiet --disable-pip-version-check -r bench/peers/requirements.txt
	rm -f $(PEERS)/.installed-*
	touch $@

# The rest too: a million images prepared, the gate's error rates by simulation, how real pairs of
# classifiers differ, time to best, what a search costs beside training, what `monitor` sees, `serve`, larger images.
bench-all: bench $(TIMM_STAMP)
	PYTHONPATH=$(TIMM):tests/support $(BIN)/python bench/larger_images.py --output bench/results/larger_images.txt
	$(BIN)/python bench/prepare.py
	$(BIN)/python bench/gate.py --processes 2
	$(BIN)/python bench/gate_differing.py
	$(BIN)/python bench/time_to_best.py
	$(BIN)/python bench/overhead.py --long --output bench/results/overhead.txt
	$(BIN)/python bench/drift.py
	$(BIN)/python bench/serving.py --output bench/results/serving.txt
	$(BIN)/python bench/drift_year.py --years 200

# The pictures of docs/tour.md, anew: a month of retrainings (tests/support/month.py), `up`, Chromium.
# FOLDER=..: where the month's project is, or goes on; by default it is thrown away.
screenshots: install-dev
	$(BIN)/python tests/support/screenshots.py $(FOLDER)

clean:
	rm -rf build .mypy_cache .ruff_cache .pytest_cache .hypothesis
