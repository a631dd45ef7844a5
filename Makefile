# Everything a user or developer runs. `make demo` and `make test` are the two commands of the README.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

.PHONY: help install demo test test-slow screenshots check format lint types imports clean
help:            ## this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/'

install: $(INSTALLED)   ## make .venv and install cryoloom into it
$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

demo: install    ## simulate raw movies, process them, say where tomogram and report are
	$(BIN)/cryoloom demo demo

test: install    ## the tests
	$(BIN)/pytest -q -n 2 -m 'not slow'

test-slow: install   ## the slow proofs
	$(BIN)/pytest -q -m slow

screenshots: install  ## pictures of the web application for the docs, from the project of its tests
	CRYOLOOM_SCREENSHOTS=docs/images/web $(BIN)/pytest -q tests/web

check: lint types imports test   ## what CI runs

format: install  ## format the code
	$(BIN)/ruff format src tests benchmarks
	$(BIN)/ruff check --fix src tests benchmarks

lint: install
	$(BIN)/ruff format --check src tests benchmarks
	$(BIN)/ruff check src tests benchmarks

types: install
	$(BIN)/mypy

imports: install
	$(BIN)/lint-imports

clean:           ## remove the environment and the demo
	rm -rf $(VENV) demo
