# Everything a developer types. It needs Python 3.11 or newer with venv, GNU make and the Python package index; nothing else.
#   make demo ARGS="--once --json"     make test ARGS="tests/models -k lead"     make bench ONLY=door

SHELL := /bin/sh
PYTHON ?= python3
ARGS ?=
ONLY ?=

VENV := .venv
BIN := $(VENV)/bin
RUNTIME := $(VENV)/.runtime
DEV := $(VENV)/.dev

# Bytecode is written by the first start and read by every later one, whatever the caller's shell says.
unexport PYTHONDONTWRITEBYTECODE
# Another environment that happens to be active is not ours.
unexport VIRTUAL_ENV
unexport PYTHONHOME

# A lock names every package with its hash, so pip has nothing to resolve (--no-deps); files that are never imported are
# not compiled (--no-compile); and the pip that came with Python first replaces itself by the locked one, which reads the
# index in half the time. pip's own configuration chooses the index. Figures: docs/decisions/0004-pip-alone.md.
PIP := $(BIN)/python -m pip -qq --disable-pip-version-check install
INSTALL := $(PIP) --require-hashes --no-deps --no-compile
# The project itself: one .pth file and the `troth` command, made by the locked hatchling without asking the index.
INSTALL_SELF := $(PIP) --no-index --no-deps --no-build-isolation --editable .

.DEFAULT_GOAL := help
.PHONY: help demo test bench lint fmt lock clean

help: ## what there is
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1	\2/p' Makefile

demo: $(RUNTIME) ## everything on this machine against simulated providers   ARGS="--once --json"
	$(BIN)/troth demo $(ARGS)

test: $(DEV) ## the whole test-suite   ARGS="tests/models -k lead"
	$(BIN)/python -m pytest -n 2 --dist worksteal $(ARGS)

bench: $(DEV) ## the benchmarks, each beside a plain peer   ONLY=name
	$(BIN)/python -m tests.benchmarks $(ONLY)

lint: $(DEV) ## style, types and the direction of imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy --strict worker integrations models
	$(BIN)/lint-imports --no-logo

fmt: $(DEV) ## mend what can be mended
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# The development lock is compiled under the constraint of the other, so that both agree on every version.
COMPILE := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate --no-header \
	--no-emit-index-url --extra embedded pyproject.toml
lock: $(VENV)/pyvenv.cfg ## pin the newest versions that fit pyproject.toml
	$(PIP) uv
	$(COMPILE) --upgrade --group build --output-file requirements.lock
	$(COMPILE) --upgrade --group dev --constraint requirements.lock --output-file requirements-dev.lock

clean: ## forget what was built; the data in .troth stays
	rm -rf $(VENV) dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find worker integrations models tests -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/pyvenv.cfg:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Troth needs Python 3.11 or newer: make PYTHON=python3.12 ..." >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV)

# The stamps lie inside the environment: a second make installs nothing, a changed lock installs what it changed.
define install
	@echo "Installing what $< names into $(VENV): only when it changed, about half a minute"
	@sed -n '/^pip==/,/[^\\]$$/p' $< > $(VENV)/pip.lock
	@$(INSTALL) -r $(VENV)/pip.lock
	@$(INSTALL) -r $<
	@$(INSTALL_SELF)
endef

$(RUNTIME): requirements.lock pyproject.toml | $(VENV)/pyvenv.cfg
	$(install)
	@touch $@

$(DEV): requirements-dev.lock pyproject.toml | $(VENV)/pyvenv.cfg
	$(install)
	@touch $@ $(RUNTIME)
