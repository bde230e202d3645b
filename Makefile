# Everything a fresh clone needs: Python 3.11 to 3.13, git and make. `make help` lists the targets.
#
#   PYTHON=python3.12          the interpreter that makes .venv (default: the first that fits)
#   TORCH_INDEX=URL            where to take torch from, e.g. https://download.pytorch.org/whl/cpu for a small CPU build
#   JOBS=2                     test processes (default: one a core, four at most)
#   TESTS='-k cache'           what else pytest is told by `make test`

SHELL := /bin/bash
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	"$$p" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null && echo "$$p" && break; done)
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --disable-pip-version-check --quiet --constraint constraints.txt
TORCH_INDEX ?=
JOBS ?= auto --maxprocesses 4
TESTS ?=
NOT_HERE := not system and not cluster

# one thread a process: the tests run side by side, and results must not depend on the number of cores
ONE_THREAD := OMP_NUM_THREADS=1 MKL_NUM_THREADS=1

.DEFAULT_GOAL := help
.PHONY: help install demo test lint docs bench test-system test-aicsimageio clean

help:  ## List the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | \
		while IFS=$$'\t' read -r name text; do printf '  make %-18s %s\n' "$$name" "$$text"; done

# --- installing: each stamp is newer than what it was made from, so nothing is installed twice ----------

$(VENV)/.made:
	@test -n "$(PYTHON)" || { echo "imtoolkit needs Python 3.11, 3.12 or 3.13, and none was found on the PATH."; \
		echo "Install one (python.org, conda, or your system's package manager), or name it: make PYTHON=/path/to/python3.12"; exit 2; }
	@"$(PYTHON)" -c 'import venv, ensurepip' 2>/dev/null || { \
		echo "$(PYTHON) cannot make virtual environments: its venv or ensurepip module is missing."; \
		echo "On Debian and Ubuntu: sudo apt-get install python3-venv; then run make again."; exit 2; }
	@echo "Making $(VENV) with $$("$(PYTHON)" --version)"
	@"$(PYTHON)" -m venv $(VENV)
	@touch $@

$(VENV)/.torch: constraints.txt | $(VENV)/.made
	@echo "Installing torch (once; minutes on a slow line)"
	@$(PIP) $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) torch
	@touch $@

$(VENV)/.installed: pyproject.toml constraints.txt $(VENV)/.torch
	@echo "Installing imtoolkit and what it needs into $(VENV)"
	@$(PIP) --editable .
	@touch $@

$(VENV)/.installed-dev: pyproject.toml constraints.txt $(VENV)/.torch
	@echo "Installing imtoolkit with the tools for tests and documentation into $(VENV)"
	@$(PIP) --editable '.[dev]'
	@touch $@ $(VENV)/.installed

install: $(VENV)/.installed  ## Make .venv and install imtoolkit into it
	@echo "Ready: $(BIN)/imtoolkit --help"

# --- using ------------------------------------------------------------------------------------------

demo: $(VENV)/.installed  ## From drawn images to a trained, evaluated model, in three minutes
	@PATH="$(CURDIR)/$(BIN):$$PATH" bash examples/demo.sh

# --- developing -------------------------------------------------------------------------------------

lint: $(VENV)/.installed-dev  ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

test: lint  ## ruff, mypy, all tests and doctests that need no system packages
	$(ONE_THREAD) $(BIN)/python -m pytest -n $(JOBS) --dist worksteal -m "$(NOT_HERE)" $(TESTS)

# aicsimageio caps packages that bioio needs in newer versions, so it lies in a folder of its own
$(VENV)/.aicsimageio: $(VENV)/.installed-dev
	@echo "Installing aicsimageio into $(VENV)/aicsimageio; the conflicts that pip names are why it lies apart"
	@rm -rf $(VENV)/aicsimageio
	@$(BIN)/python -m pip install --disable-pip-version-check --quiet --target $(VENV)/aicsimageio \
		'aicsimageio>=4.14' 'numcodecs<0.16'
	@touch $@

test-aicsimageio: $(VENV)/.aicsimageio  ## The tests of aicsimageio as a reader, beside bioio
	$(ONE_THREAD) IMTOOLKIT_AICS_OVERLAY=$(CURDIR)/$(VENV)/aicsimageio \
		$(BIN)/python -m pytest tests/unit/io/test_io_aicsimageio.py

test-system: $(VENV)/.aicsimageio  ## Tests that need packages of the operating system or an environment of their own
	$(ONE_THREAD) IMTOOLKIT_AICS_OVERLAY=$(CURDIR)/$(VENV)/aicsimageio \
		$(BIN)/python -m pytest -m "system or cluster" tests $(TESTS)

docs: $(VENV)/.installed-dev  ## Build the documentation into site/
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

bench: $(VENV)/.installed-dev  ## Measure against peers and write bench/RESULTS.md
	$(BIN)/python bench/run.py

clean:  ## Remove .venv and what the tools left behind; runs and data stay
	rm -rf $(VENV) build site .mypy_cache .ruff_cache .pytest_cache *.egg-info
