# Everything runs in .venv, which is made when it is missing.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test lint docs
demo: .venv/.demo  ## the demo study: table on the console, report in runs/demo/report.html
	$(BIN)/python -m xmit study --config configs/study/demo.yaml

test: .venv/.dev  ## the fast tests
	$(BIN)/python -m pytest

lint: .venv/.dev  ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: .venv/.docs  ## the documentation, in docs/_build/html
	$(BIN)/python -m sphinx -W --keep-going -b html docs docs/_build/html

.venv/.venv:
	$(PYTHON) -m venv .venv
	touch $@

.venv/.demo: pyproject.toml | .venv/.venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[demo,report]'
	touch $@

.venv/.dev: pyproject.toml | .venv/.venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[demo,report,dev]'
	touch $@ .venv/.demo

.venv/.docs: pyproject.toml | .venv/.venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[demo,report,dev,docs]'
	touch $@ .venv/.demo .venv/.dev
