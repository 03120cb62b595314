# Everything runs from .venv, which is made from requirements.lock. Needs Python >= 3.11, git, make.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: install demo test lint bench lock clean

install: .venv/installed

.venv/installed: requirements.lock pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "hgn-jax needs Python 3.11 or newer: make PYTHON=python3.12")'
	$(PYTHON) -m venv --clear .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	touch $@

demo: install
	$(BIN)/hgn-jax demo --out demo-out

test: lint
	$(BIN)/python -m pytest -n 2

lint: install
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

bench: install
	$(BIN)/python -m bench --out bench/results

# Refreshes the exact versions after pyproject.toml has changed (needs uv).
lock:
	uv pip compile pyproject.toml --all-extras --universal --python-version 3.11 --generate-hashes \
	    --no-header --no-annotate --prerelease if-necessary-or-explicit --upgrade -o requirements.lock

clean:
	rm -rf .venv demo-out
