# make demo        compress the sample photo at several qualities: a table, and one picture that shows them side by side
# make test        install what the tests need, and run all of them, with the coverage of src
# make test-fast   the quick ones, in under a minute
# make check       what continuous integration runs: lint, types, import contracts, tests
# make test-browser   the page of `pqmim serve` in a real browser: needs Debian's chromium
# make docs        build the pages of docs/ into site/
# make fuzz        look for inputs that break the readers of files and pictures, for MINUTES=10
# make mutants     how many small changes to the code do its tests notice: results/mutants.json
# make damage      is every damage of a file seen: results/damage.json
#
# All work in .venv, made with PYTHON (3.10 or newer).
PYTHON ?= python3

MINUTES ?= 10

VENV := .venv
RUN := $(VENV)/bin/python
# --no-compile: of PyTorch's thousands of files few are ever imported, and those are compiled then
INSTALL := $(RUN) -m pip install --quiet --disable-pip-version-check --no-compile --editable
# two workers of one thread each: on two processors, more threads wait for each other
PYTEST := OMP_NUM_THREADS=1 $(RUN) -m pytest -q -n 2
SOURCES := src tests benchmarks demo examples fuzz

.PHONY: demo test test-fast test-browser check lint docs fuzz mutants damage clean

demo: $(VENV)/installed
	$(RUN) demo/demo.py

test: $(VENV)/installed-test
	$(PYTEST) --cov --cov-report=term

test-fast: $(VENV)/installed-test
	$(PYTEST) -m "not slow"

test-browser: $(VENV)/installed-test
	@command -v chromium chromium-browser >/dev/null || { echo "No chromium here: apt-get install chromium"; exit 1; }
	$(RUN) -m pip install --quiet --disable-pip-version-check playwright
	$(RUN) -m pytest -q tests/browser

check: lint test

lint: $(VENV)/installed-test
	$(VENV)/bin/ruff check --quiet $(SOURCES)
	$(VENV)/bin/ruff format --quiet --check $(SOURCES)
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports

docs: $(VENV)/installed
	$(INSTALL) '.[docs]'
	$(VENV)/bin/mkdocs build --strict

fuzz: $(VENV)/installed-test
	PYTHONPATH=src $(RUN) -m fuzz --minutes $(MINUTES)

mutants: $(VENV)/installed-test
	PYTHONPATH=src $(RUN) benchmarks/mutants.py --out results/mutants.json

damage: $(VENV)/installed
	$(RUN) benchmarks/damage.py --out results/damage.json

$(VENV)/installed: pyproject.toml | $(VENV)/created
	@echo "Installing pqmim into $(VENV); PyTorch is a large download the first time."
	$(INSTALL) .
	@touch $@

$(VENV)/installed-test: pyproject.toml | $(VENV)/created
	@echo "Installing pqmim and what its tests need into $(VENV); PyTorch is a large download the first time."
	$(INSTALL) '.[test]'
	@touch $@ $(VENV)/installed

$(VENV)/created:
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 10) or sys.exit("pqmim needs Python 3.10 or newer; name one: make PYTHON=python3.12")'
	$(PYTHON) -m venv $(VENV)
	@touch $@

clean:
	rm -rf $(VENV) demo/out site
