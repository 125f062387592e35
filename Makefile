# Every target sets itself up from nothing in .venv; `make PYTHON=python3.12 demo` chooses another interpreter.
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt
SOURCES := pyproject.toml constraints.txt

.PHONY: demo test lint docs clean

demo: .venv/.installed
	$(BIN)/limner demo

# One thread a worker: two workers with two threads each would fight over two cores.
test: .venv/.installed-dev
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal

lint: .venv/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/mypy limner

# A link that leads nowhere fails it. The site can be opened from disk: site/index.html.
docs: .venv/.installed-docs
	OMP_NUM_THREADS=1 $(BIN)/python -m sphinx --fail-on-warning --keep-going -q -c docs/site -d build/docs docs site

clean:
	rm -rf .venv site build *.egg-info .pytest_cache .mypy_cache .ruff_cache

.venv/.installed: $(SOURCES)
	$(PYTHON) -m venv .venv
	$(PIP) -e .
	@touch $@

.venv/.installed-dev: $(SOURCES) | .venv/.installed
	$(PIP) -e '.[dev]'
	@touch $@

.venv/.installed-docs: $(SOURCES) | .venv/.installed
	$(PIP) -e '.[docs,export]'
	@touch $@
