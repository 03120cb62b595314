# Everything runs from .venv, which is made from requirements.lock. Needs Python >= 3.11, git, make.
PYTHON ?= python3
BIN := .venv/bin

# Files of tests/ that take a few seconds each.
FAST := cell checks datasets ensemble fixed_point from_frames graphs imports linear \
    measured_states metrics observations packaging padding read sampling systems trajectories verdict
# What users run from end to end: tested as they run it, with XLA's and JAX's default settings.
AS_USERS := tests/as_users tests/test_demo.py tests/test_pipelines.py tests/test_readme.py
DOCS := tests/test_notebooks.py tests/test_docs_pages.py

.PHONY: install demo check test docs lint bench lock clean

install: .venv/installed

.venv/installed: requirements.lock pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "hgn-jax needs Python 3.11 or newer: make PYTHON=python3.12")'
	$(PYTHON) -m venv --clear .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	touch $@

demo: install
	$(BIN)/hgn-jax demo --out demo-out

# Under three minutes on two cores.
check: lint
	$(BIN)/python -m pytest -n 2 $(FAST:%=tests/test_%.py)

# About half an hour on two cores.
test: lint
	$(BIN)/python -m pytest -n 2 $(AS_USERS:%=--ignore=%) $(DOCS:%=--ignore=%)
	HGN_TEST_AS_USERS=1 $(BIN)/python -m pytest -n 2 $(AS_USERS)

# Executes the notebooks and the pages of docs/. Under five minutes on two cores.
docs: install
	HGN_TEST_AS_USERS=1 $(BIN)/python -m pytest -n 2 $(DOCS)

lint: install
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	! grep -q '^\[tool.importlinter' pyproject.toml || $(BIN)/lint-imports --no-cache

bench: install
	$(BIN)/python -m bench --out bench/results

# Refreshes the exact versions after pyproject.toml has changed (needs uv).
lock:
	uv pip compile pyproject.toml --all-extras --universal --python-version 3.11 --generate-hashes \
	    --no-header --no-annotate --prerelease if-necessary-or-explicit --upgrade -o requirements.lock

clean:
	rm -rf .venv demo-out
