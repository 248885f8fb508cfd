# make demo   compress the sample photo at several qualities: a table, and one picture that shows them side by side
# make test   install what the tests need, and run them
#
# Both work in .venv, made with PYTHON (3.10 or newer).
PYTHON ?= python3

VENV := .venv
RUN := $(VENV)/bin/python
# --no-compile: of PyTorch's thousands of files few are ever imported, and those are compiled then
INSTALL := $(RUN) -m pip install --quiet --disable-pip-version-check --no-compile --editable

.PHONY: demo test clean

demo: $(VENV)/installed
	$(RUN) demo/demo.py

test: $(VENV)/installed-test
	$(RUN) -m pytest -q

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
	rm -rf $(VENV) demo/out
