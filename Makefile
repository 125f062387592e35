# Every target sets itself up from nothing in .venv; `make PYTHON=python3.12 demo` chooses another interpreter.
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt
SOURCES := pyproject.toml constraints.txt

.PHONY: demo test lint clean

demo: .venv/.installed
	$(BIN)/limner demo

# One thread a worker: two workers with two threads each would fight over two cores.
test: .venv/.installed-dev
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal

lint: .venv/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/mypy limner

clean:
	rm -rf .venv build *.egg-info .pytest_cache .mypy_cache .ruff_cache

.venv/.installed: $(SOURCES)
	$(PYTHON) -m venv .venv
	$(PIP) -e .
	@touch $@

.venv/.installed-dev: $(SOURCES) | .venv/.installed
	$(PIP) -e '.[dev]'
	@touch $@
