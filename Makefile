# Every target sets up .venv first if need be; all that it takes is Python 3.11 or 3.12, make and pip.
#   PYTHON=...       the Python to build .venv with
#   TORCH_INDEX=...  the package index for torch alone: PyTorch's page "Start locally" prints the one of its CPU
#                    build, which spares a Linux machine without a GPU several GB
#   WORKERS=...      processes that `make test` runs in, each with up to 3 GB (default 2)

PYTHON ?= $(shell for p in python3.11 python3.12 python3; do $$p -c $(SUPPORTED) 2>/dev/null && echo $$p && break; done)
SUPPORTED := 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 12))'
TORCH_INDEX ?=
WORKERS ?= 2

PY := .venv/bin/python
QUIET := $(if $(CI),--quiet)
TORCH_FLAGS := --no-deps $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX))
LINT := $(PY) -m ruff check . && $(PY) -m ruff format --check .
LECTURES := $(wildcard lectures/*.ipynb)
SOLUTIONS := $(wildcard solutions/*/*.ipynb)
FIGURES := data_efficiency leaderboard evaluation whole_shells pressure angles ceiling qm9_curve attention discovery calibration \
  long_range scaling_laws pretraining softening
# A file stays in one process.
SIDE_BY_SIDE := --numprocesses $(WORKERS) --dist loadfile --no-loadscope-reorder
NBVAL := --nbval-lax --nbval-current-env --nbval-cell-timeout=900

# Threads that wait sleep instead of spinning: on a machine that others use too, several times faster.
export OMP_WAIT_POLICY ?= passive

.DEFAULT_GOAL := help
.PHONY: help setup sandbox browser demo hub sources test full slides figures build site release lock bench lint format clean

help:  ## print this list
	@sed -n 's/^\([a-z]*\):.*## /  make \1 \t/p' $(MAKEFILE_LIST) | expand -t 16

setup: .venv/.ready  ## make .venv with the versions of requirements.lock

.venv/.ready: requirements.lock pyproject.toml
	@$(or $(PYTHON),false) -c $(SUPPORTED) 2>/dev/null || { \
	  echo "make: needs Python 3.11 or 3.12, found $$($(or $(PYTHON),python3) --version 2>&1 | head -n 1)." \
	    "Install one, then: make setup PYTHON=/path/to/python3.11" >&2; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { \
	  package=$$($(PYTHON) -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])'); \
	  if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	    echo "make: $(PYTHON) has no venv; installing $$package" >&2; \
	    apt-get update -qq && apt-get install -qq -y $$package; \
	  else \
	    echo "make: $(PYTHON) cannot make a virtual environment: install the package $$package" \
	      "(Debian, Ubuntu: sudo apt-get install $$package), then try again" >&2; exit 1; \
	  fi; }
	@echo "Setting up .venv: one to ten minutes, about 2 GB on disk without GPU packages"
	@{ $(PY) -c $(SUPPORTED) && $(PY) -m pip --version; } >/dev/null 2>&1 || $(PYTHON) -m venv --clear .venv
	$(PY) -m pip install $(QUIET) $(TORCH_FLAGS) "$$(grep '^torch==' requirements.lock)"
	$(PY) -m pip install $(QUIET) -r requirements.lock
	$(PY) -m pip install $(QUIET) --no-deps --no-build-isolation -e .
	@touch $@

sandbox:  ## bring bubblewrap, in which students' code runs; without it the grader refuses
	@command -v bwrap >/dev/null || { \
	  if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	    echo "make: no bubblewrap; installing it" >&2; \
	    apt-get update -qq && apt-get install -qq -y bubblewrap; \
	  else \
	    echo "make: students' code needs a sandbox: install the package bubblewrap" \
	      "(Debian, Ubuntu: sudo apt-get install bubblewrap); .venv/bin/mg9-course doctor says what holds" >&2; \
	  fi; }

browser:  ## bring Chromium, in which hub and site are tested; without it those tests are skipped
	@command -v chromium >/dev/null || command -v google-chrome >/dev/null || { \
	  if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	    echo "make: no Chromium; installing it" >&2; \
	    { apt-get update -qq && apt-get install -qq -y --no-install-recommends chromium; } \
	      || echo "make: Chromium could not be installed; tests of the hub are skipped" >&2; \
	  else \
	    echo "make: tests of the hub need a browser: install the package chromium" \
	      "(Debian: sudo apt-get install chromium)" >&2; \
	  fi; }

hub: .venv/.ready sandbox  ## a JupyterHub to try on this machine, with two students and an instructor
	$(PY) -m course.hub

demo: .venv/.ready sandbox  ## grade the small class that comes with the course
	.venv/bin/mg9-course demo

sources: .venv/.ready  ## bring the released archives that tests compare with (230 MB, once)
	@$(PY) tests/pinned.py

test: sources sandbox browser  ## style, tests, and every notebook at a tiny training budget
	$(LINT)
	MG9_BUDGET=tiny $(PY) -m pytest $(NBVAL) $(SIDE_BY_SIDE) tests $(LECTURES) $(SOLUTIONS)

full: sources  ## every notebook at the full training budget; stores what the lectures print and draw
	MG9_BUDGET=full $(PY) -m course.lectures $(LECTURES)
	MG9_BUDGET=full $(PY) -m pytest $(NBVAL) $(SOLUTIONS)

slides: .venv/.ready  ## the lectures as reveal.js decks in build/slides
	$(PY) -m nbconvert --to slides --template deck --TemplateExporter.extra_template_basedirs=course \
	  --SlidesExporter.reveal_scroll=True \
	  --output-dir build/slides $(LECTURES)

figures: sources  ## what lectures show and what takes longer than three minutes, into course/figures
	@for name in $(FIGURES); do $(PY) -m benchmarks.$$name || exit 1; done

build: .venv/.ready  ## generate exercises/ from solutions/
	.venv/bin/mg9-course build

site: .venv/.ready  ## lectures, exercises, syllabus and reference as a site in build/site
	$(PY) -m course.site

release: .venv/.ready  ## the student package in dist/, searched for what students must not have
	.venv/bin/mg9-course package

bench: .venv/.ready  ## measure against peers: one command and one ratio each
	@for file in benchmarks/[a-z]*.py; do $(PY) -m benchmarks.$$(basename $$file .py) || exit 1; done

lint: .venv/.ready  ## check style
	$(LINT)

format: .venv/.ready  ## mend style
	$(PY) -m ruff check --fix . && $(PY) -m ruff format .

# soupsieve 3 asks for Python 3.11.5; Debian 12 has 3.11.2.
DIRECT := import tomllib; p = tomllib.load(open("pyproject.toml", "rb"))["project"]; \
  print(*p["dependencies"], *sum(p["optional-dependencies"].values(), []), "setuptools", "soupsieve<3", sep="\n")

lock:  ## renew requirements.lock from pyproject.toml (with Python 3.11)
	@set -e; new=$$(mktemp -d); trap 'rm -rf "$$new"' EXIT; \
	python3.11 -c '$(DIRECT)' > "$$new/direct.txt"; \
	python3.11 -m venv "$$new/venv"; pip="$$new/venv/bin/python -m pip"; \
	$$pip install $(TORCH_FLAGS) "$$(grep '^torch==' "$$new/direct.txt")"; \
	$$pip install -r "$$new/direct.txt"; \
	{ echo '# Generated by `make lock` from pyproject.toml, with Python 3.11. Do not edit by hand: change pyproject.toml,'; \
	  echo '# run `make lock`, bring environment.yml up to date (tests/test_setup.py says which lines), run `make test`.'; \
	  $$pip freeze --all --exclude pip | sed 's/+cpu$$//' | grep -iv '^nvidia\|^triton=\|^cuda'; \
	} > "$$new/requirements.lock"; \
	cp "$$new/requirements.lock" requirements.lock

clean:  ## remove .venv and caches; never exercises, submissions or grades
	rm -rf .venv build dist *.egg-info .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -prune -exec rm -rf {} +
