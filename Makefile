# Every target makes what it needs and nothing twice. `make help` lists them.

PYTHON ?= python3
VENV   ?= .venv
# What to hand to `pip install` for PyTorch before anything else, where the default build is not the one you want:
#   make test TORCH=torch==2.13.0
#   make train TORCH="torch --index-url <the index of CPU builds>"
TORCH  ?=
ARGS   ?=

ifneq ($(words $(VENV)),1)
$(error VENV: expected a path without spaces, which make takes for several, got '$(VENV)'; name another: make VENV=.venv ...)
endif

# A stamp is written last, so what was interrupted is done again; pyproject.toml is newer when dependencies change.
CREATED       := $(VENV)/.created
INSTALLED     := $(VENV)/.installed
INSTALLED_DEV := $(VENV)/.installed-dev
INSTALLED_DOCS := $(VENV)/.installed-docs
INSTALLED_BENCH := $(VENV)/.installed-bench

PIP = $(VENV)/bin/python -m pip install --disable-pip-version-check
PYTEST := python -m pytest -n 2 --dist worksteal --timeout 900
# Progress bars for a person at a terminal, silence for a log file.
QUIET = $$([ -t 1 ] || echo --quiet)

.DEFAULT_GOAL := help
.NOTPARALLEL:  # two pips in one environment would trample each other
.PHONY: help train test fuzz torture check lint types imports bench docs oldest newest plain offline audit licences clean

help:  ## list the targets
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 16
	@echo
	@echo '  PYTHON=$(PYTHON)  VENV=$(VENV)  TORCH=$(TORCH)  ARGS=$(ARGS)'

train: $(INSTALLED)  ## train an agent: make train ARGS="..."
	$(VENV)/bin/python train.py $(ARGS)

test: $(INSTALLED_DEV)  ## run all tests on two cores: make test ARGS="-k sensor"
	OMP_NUM_THREADS=1 $(VENV)/bin/$(PYTEST) $(ARGS)

fuzz: $(INSTALLED_DEV)  ## thousands of random cases: make fuzz ARGS="--fuzz-minutes 5"
	OMP_NUM_THREADS=1 $(VENV)/bin/python -m pytest tests/fuzz --hypothesis-profile nightly --fuzz-minutes 20 -n 2 $(ARGS)

torture: $(INSTALLED_DEV)  ## kill a training 200 times: make torture ARGS="--kills 20"
	OMP_NUM_THREADS=1 $(VENV)/bin/python -m tests.torture $(ARGS)

check: lint types imports test  ## lint, types, import contracts, tests

lint: $(INSTALLED_DEV)  ## ruff: rules and formatting
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .

types: $(INSTALLED_DEV)  ## pyright
	$(VENV)/bin/pyright --pythonpath $(VENV)/bin/python

imports: $(INSTALLED_DEV)  ## which package may import which
	$(VENV)/bin/lint-imports

bench: $(INSTALLED_BENCH)  ## measure speed: make bench ARGS="..."
	$(VENV)/bin/ram-agent bench $(ARGS)

# ---- what it stands on (docs/supply_chain.md)

oldest: override VENV := $(VENV)-oldest
oldest:  ## run the tests on the oldest version of every dependency that is supported
	$(renewed)
	@$(PIP) $(QUIET) uv
	@# The old ones make the newest of what they need warn; pyparsing 3.3 does so in subprocesses, too.
	$(VENV)/bin/uv pip install --python $(VENV) --resolution lowest-direct --editable '.[dev]' 'pyparsing<3.3'
	$(tried) -W default

newest: override VENV := $(VENV)-newest
newest:  ## run the tests on the newest version of everything
	$(renewed)
	@$(PIP) $(QUIET) --editable '.[dev]'
	$(tried)

plain: override VENV := $(VENV)-plain
plain:  ## run the tests without any optional extra
	$(renewed)
	@$(PIP) $(QUIET) --editable '.[test]'
	$(tried)

offline: $(INSTALLED_DEV)  ## run the tests with the network cut off, subprocesses and all
	unshare --map-root-user --net -- sh -c 'ip link set lo up && $(tried)'

audit: override VENV := $(VENV)-audit
audit:  ## look up known vulnerabilities in what a user installs today; what cannot be looked up fails
	@$(PYTHON) -m venv $(VENV)
	@$(PIP) $(QUIET) --upgrade uv pip-audit
	@$(VENV)/bin/uv pip compile --quiet --no-annotate pyproject.toml --output-file $(VENV)/runtime.txt
	$(VENV)/bin/pip-audit --strict --disable-pip --no-deps --requirement $(VENV)/runtime.txt $(ARGS)

licences: $(INSTALLED_DEV)  ## the licence of everything that is installed along
	@$(VENV)/bin/python -m tests.licences

docs: $(INSTALLED_DOCS)  ## build the site into site/, with the reference
	NO_MKDOCS_2_WARNING=1 $(VENV)/bin/mkdocs build $(ARGS)

clean:  ## remove build output and caches; data, runs and the environment stay
	rm -rf build dist site .cache *.egg-info .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	find ram_agent envs tests -name __pycache__ -type d -prune -exec rm -rf {} +

$(CREATED):
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("ram-agent needs Python 3.11 or newer, this is " + sys.version.split()[0] + ": make PYTHON=/path/to/a/newer/python ...")'
	@echo 'Creating the virtual environment $(VENV)'
	@$(PYTHON) -m venv $(VENV)
	@touch $@

$(INSTALLED): pyproject.toml $(CREATED)
	$(call install,.)
	@touch $@

# An install with an extra (dev, docs, bench) holds the plain one, hence both stamps.
$(VENV)/.installed-%: pyproject.toml $(CREATED)
	$(call install,.[$*])
	@touch $(INSTALLED) $@

# A new environment has the newest of what it is not held back from.
define renewed
	@$(PYTHON) -m venv --clear $(VENV)
	@$(if $(TORCH),$(PIP) $(QUIET) $(TORCH))
endef

tried = OMP_NUM_THREADS=1 $(VENV)/bin/$(PYTEST) -m "not learning" $(ARGS)

define install
	@echo 'Installing ram-agent into $(VENV); PyTorch is large, the first time takes minutes'
	@$(if $(TORCH),$(PIP) $(QUIET) $(TORCH))
	@$(PIP) $(QUIET) --editable '$(1)'
endef
