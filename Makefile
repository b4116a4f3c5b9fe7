# Two commands: `make demo` and `make test`. Both need only Python 3 and make; uv is bootstrapped when it is missing.
SHELL := /bin/sh
.DELETE_ON_ERROR:
.PHONY: setup demo test check lint types bench fuzz lock clean

PYTHON3 ?= python3
UV_VERSION := 0.13.9
# uv from the PATH where there is one, else our own copy in .uv (never installed outside this folder).
UV := $(shell command -v uv 2>/dev/null || echo .uv/bin/uv)
VENV := .venv
PY := $(VENV)/bin/python
# One interpreter selection for uv: the version of .python-version.
export UV_PYTHON := $(shell cat .python-version)
export UV_NO_PROGRESS := 1
export UV_PROJECT_ENVIRONMENT := $(VENV)

setup: $(VENV)/.ready

$(VENV)/.ready: requirements.lock pyproject.toml .python-version | $(UV)
	$(UV) venv --quiet --clear $(VENV)
	$(UV) pip sync --quiet --compile-bytecode --require-hashes --python $(PY) requirements.lock
	$(UV) pip install --quiet --no-deps --no-build-isolation --python $(PY) --editable .
	@touch $@

# The system's Python is enough: a private environment where venv works, a plain --target install where it does not.
.uv/bin/uv:
	@echo "uv is not installed: putting a copy into .uv" >&2
	@$(PYTHON3) -m venv .uv 2>/dev/null && .uv/bin/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION) \
	 || { rm -rf .uv; $(PYTHON3) -m pip install --quiet --disable-pip-version-check --target .uv uv==$(UV_VERSION); } \
	 || { echo "make: neither 'python3 -m venv' nor 'python3 -m pip' works here; install uv, python3-venv or python3-pip" >&2; exit 1; }

$(filter-out .uv/bin/uv,$(UV)):

demo: setup
	$(PY) -m shadowtape demo

test: check
	$(PY) -m pytest -q -n 2 --dist loadfile

check: lint types

lint: setup
	$(VENV)/bin/ruff check --quiet .
	$(VENV)/bin/ruff format --check --quiet .

types: setup
	$(VENV)/bin/mypy

bench: setup
	$(PY) -m bench.formats
	$(PY) -m bench.run

fuzz: setup
	$(PY) -m fuzz.run

lock: | $(UV)
	$(UV) pip compile --quiet --universal --generate-hashes --python-version $(UV_PYTHON) \
	  --custom-compile-command 'make lock' --extra demo --extra parquet --extra s3 --group build --group lint --group tests \
	  --output-file requirements.lock pyproject.toml
	$(UV) pip compile --quiet --universal --generate-hashes --python-version $(UV_PYTHON) --no-annotate \
	  --custom-compile-command 'make lock: what an image needs of requirements.lock' --extra s3 --group build \
	  --constraint requirements.lock --output-file deploy/requirements.lock pyproject.toml

clean:
	rm -rf $(VENV) .uv .mypy_cache .ruff_cache .pytest_cache .hypothesis demo-out bench-out build dist
