# Everything runs from .venv, which is made from requirements.lock. Needs Python >= 3.11, git, make.
PYTHON ?= python3
BIN := .venv/bin
SITE := .venv-site/bin

# Files of tests/ that take a few seconds each.
FAST := cell checks datasets ensemble fixed_point from_frames graphs imports linear \
    measured_states metrics observations packaging padding read sampling site systems trajectories verdict
# Shapes and types are checked at every call, which takes 40% more time: in the fast tests, and with
# `make test TYPES=1` in all.
TYPED := --jaxtyping-packages='hgn_jax,beartype.beartype(conf=beartype.BeartypeConf(violation_type=TypeError))'
# What users run from end to end: tested as they run it, with XLA's and JAX's default settings.
AS_USERS := tests/as_users tests/test_demo.py tests/test_pipelines.py tests/test_readme.py
DOCS := tests/test_notebooks.py tests/test_docs_pages.py

.PHONY: install demo check test docs site lint bench dist lock clean

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
	$(BIN)/python -m pytest -n 2 $(TYPED) $(FAST:%=tests/test_%.py)

# About half an hour on two cores.
test: check
	$(BIN)/python -m pytest -n 2 $(if $(TYPES),$(TYPED)) $(AS_USERS:%=--ignore=%) $(DOCS:%=--ignore=%) $(FAST:%=--ignore=tests/test_%.py)
	HGN_TEST_AS_USERS=1 $(BIN)/python -m pytest -n 2 $(AS_USERS)

# Executes the notebooks and the pages of docs/. Under five minutes on two cores.
docs: install
	HGN_TEST_AS_USERS=1 $(BIN)/python -m pytest -n 2 $(DOCS)

# The documentation as web pages, in build/site. Under a minute; links, warnings and other hosts are errors.
site: .venv-site/installed
	rm -rf build/pages build/site
	mkdir -p build/pages/bench
	cp -R README.md CONTRIBUTING.md CHANGELOG.md CITATION.cff docs notebooks website/assets build/pages
	cp -R bench/results build/pages/bench
	$(SITE)/jupyter nbconvert --log-level WARN --CoalesceStreamsPreprocessor.enabled=True --to markdown build/pages/notebooks/*.ipynb
	perl -pi -e 's/\.ipynb\)/.md)/g' build/pages/*.md build/pages/docs/*.md
	$(SITE)/python -m zensical build --clean --strict
	$(SITE)/python website/check.py build/site

.venv-site/installed: website/requirements.lock
	$(PYTHON) -m venv --clear .venv-site
	$(SITE)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r website/requirements.lock
	touch $@

lint: install
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	! grep -q '^\[tool.importlinter' pyproject.toml || $(BIN)/lint-imports --no-cache

bench: install
	$(BIN)/python -m bench --out bench/results

# What a release uploads, in dist/. Each file is installed in an environment of its own, where it runs the demo.
dist: install
	rm -rf dist
	$(BIN)/hatchling build
	for file in dist/*; do \
	    $(PYTHON) -m venv --clear build/venv && \
	    build/venv/bin/python -m pip install --quiet --disable-pip-version-check "$$file[cli]" && \
	    (cd build && venv/bin/hgn-jax demo --out demo-out) || exit 1; \
	done

# Refreshes the exact versions after pyproject.toml has changed (needs uv).
COMPILE := uv pip compile --universal --python-version 3.11 --generate-hashes \
    --no-header --no-annotate --prerelease if-necessary-or-explicit --upgrade
lock:
	$(COMPILE) pyproject.toml --all-extras -o requirements.lock
	$(COMPILE) --group site -o website/requirements.lock

clean:
	rm -rf .venv .venv-site build dist demo-out
