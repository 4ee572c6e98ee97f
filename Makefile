# Targets: quickstart  test  check  bench-smoke  bench  docs  clean. Each installs what it needs into .venv first.
# Another interpreter: make test PYTHON=python3.12

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt
FIRST  := $(VENV)/.installed-first
FULL   := $(VENV)/.installed-full
DOCS   := $(VENV)/.installed-docs

.PHONY: quickstart test test-slow check format docs bench-smoke bench clean

quickstart: $(FIRST)
	$(BIN)/tamis quickstart

# One worker a processor; tests/conftest.py holds each to one thread.
test: $(FULL)
	$(BIN)/python -m pytest -q -n auto --dist worksteal

# One worker: slow tests measure time and memory. Hypothesis looks for new examples here.
test-slow: $(FULL)
	$(BIN)/python -m pytest -q --run-slow

check: $(FULL)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -q tests/test_architecture.py tests/test_docs.py tests/test_exports.py \
	  -k "not python_blocks_run"  # those take long and belong to make test

format: $(FULL)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench-smoke: $(FULL)
	$(BIN)/python benchmarks/smoke.py

# Long; the figures stand on docs/benchmarks.md.
bench: $(FULL)
	$(BIN)/python benchmarks/cifar10n.py --sets all --out runs/bench/cifar10n.json
	$(BIN)/python benchmarks/image_folder.py --out runs/bench/image_folder.json
	$(BIN)/python benchmarks/news20.py --text --out runs/bench/news20.json
	$(BIN)/python benchmarks/variety.py --out runs/bench/variety.json
	$(BIN)/python benchmarks/large.py --out runs/bench/large.json
	$(BIN)/python benchmarks/engine_overhead.py --out runs/bench/engine_overhead.json

docs: $(DOCS)
	$(BIN)/python tools/cli_docs.py
	$(BIN)/mkdocs build --strict

clean:
	rm -rf $(VENV) site dist build .pytest_cache .mypy_cache .ruff_cache .hypothesis

# The virtual environment: torch first and held by the constraints, so that nothing after it picks another build.
$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "tamis needs Python 3.11 or newer, and '$(PYTHON)' is not; try: make $(MAKECMDGOALS) PYTHON=python3.12" >&2; \
	  exit 1; }
	$(PYTHON) -m venv $(VENV)

# What a user has: the package and the image encoder.
$(FIRST): pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) torch
	$(PIP) -e ".[images]"
	@touch $@

# What a developer has: every extra and the tools.
$(FULL): pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) torch
	$(PIP) -e ".[all,dev]"
	@touch $(FIRST) $@

$(DOCS): $(FULL)
	$(PIP) -e ".[docs]"
	@touch $@
