# `make` alone lists the targets. Everything runs in the project's environment, .venv/, which the first call
# creates. Options for pytest go into ARGS: make smoke ARGS="--seed 3 -x"

.DEFAULT_GOAL := help
VENV ?= .venv
BIN := $(VENV)/bin
# The measurement of `make bench`.
BENCH ?= train
# Processes of `make test` and `make mutants`; JOBS=0 runs the tests in one.
JOBS ?= 2
STAMP := $(VENV)/.installed
NEW_ENOUGH := import sys; sys.exit(sys.version_info < (3, 11))

# The first interpreter that is new enough; `make setup PYTHON=python3.12` selects another.
PYTHON ?= $(shell for name in python3 python3.13 python3.12 python3.11 python3.14 python; do \
	command -v $$name >/dev/null 2>&1 && $$name -c '$(NEW_ENOUGH)' 2>/dev/null && { echo $$name; break; }; done)

.PHONY: help setup smoke test faults crash-points soak mutants longrun lint docs bench clean distclean

help:
	@echo 'make smoke      set up, then run the closed loop in minutes on the CPU: pytest validation/ -m smoke'
	@echo 'make test       set up, then run the tests of the harness itself'
	@echo 'make faults     run the fault matrix and record the results in docs/faults.md'
	@echo 'make crash-points  inject a fault at every change of the disk and record the counts in docs/faults.md'
	@echo 'make soak       kill one smoke run 20 times at random, compare its end and record it in docs/faults.md'
	@echo 'make mutants    change the code in copies and record which changes no test notices'
	@echo 'make longrun    run the closed loop on the long-run profile, hours on two GPUs: pytest -m longrun'
	@echo 'make lint       run ruff and mypy'
	@echo 'make docs       build the documentation in build/site/; a broken link is an error'
	@echo 'make bench      compare training updates per second with a plain yardstick; BENCH=rollout|gate|loop|audit'
	@echo 'make setup      create only the environment; a second call installs nothing'
	@echo 'make clean      remove caches and build files; keep runs, data and reports'
	@echo 'make distclean  make clean, and remove the environment'
	@echo 'Options for pytest: make smoke ARGS="--seed 3 --max-mse 0.02". Before a first run: $(BIN)/tinyworlds-gate doctor'

setup: $(STAMP)

# Two installs: first torch with its exact pin, so that no other package's bound selects another build of it.
$(STAMP): pyproject.toml constraints.txt
	@command -v git >/dev/null 2>&1 || { \
		echo 'setup: git is not installed. The loop audits the git history of the project; install git.' >&2; exit 1; }
	@if ! $(BIN)/python -m pip --version >/dev/null 2>&1; then \
		if [ -z "$(PYTHON)" ]; then \
			echo 'setup: needs Python 3.11 or newer, but python3, python3.11 to python3.14 and python on PATH are not.' \
				'Install one, or select one: make setup PYTHON=/path/to/python3.12' >&2; exit 1; fi; \
		$(PYTHON) -c '$(NEW_ENOUGH)' || { \
			echo 'setup: $(PYTHON) is older than Python 3.11 or does not start; select another: make setup PYTHON=…' >&2; \
			exit 1; }; \
		echo 'setup: creating $(VENV) with $(PYTHON)'; \
		$(PYTHON) -m venv $(VENV) || { \
			echo 'setup: $(PYTHON) cannot make an environment; on Debian and Ubuntu install the package python3-venv.' >&2; \
			exit 1; }; fi
	@$(BIN)/python -c '$(NEW_ENOUGH)' || { \
		echo 'setup: $(VENV) has a Python older than 3.11; remove that folder (make distclean) and try again.' >&2; exit 1; }
	@echo 'setup: installing into $(VENV); torch is the largest download'
	$(BIN)/python -m pip install --disable-pip-version-check -c constraints.txt "$$(grep '^torch==' constraints.txt)"
	$(BIN)/python -m pip install --disable-pip-version-check -c constraints.txt -e '.[dev,games,play]'
	@touch $(STAMP)

smoke: $(STAMP)
	$(BIN)/python -m pytest validation/ -m smoke $(ARGS)

# Several hundred child processes import the package; where bytecode is switched off, each would compile it again.
test: $(STAMP)
	env -u PYTHONDONTWRITEBYTECODE $(BIN)/python -m pytest tests -m 'not slow and not longrun' -n $(JOBS) --dist loadfile $(ARGS)

# The marked tests are in tests/faults/ and in other folders; tests/faults comes first because its conftest.py adds
# the option --record-faults.
faults: $(STAMP)
	$(BIN)/python -m pytest tests/faults tests -m fault --record-faults docs/results/faults.json $(ARGS); \
		status=$$?; $(BIN)/python -m tests.faults.render && exit $$status

crash-points: $(STAMP)
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.crash_points --jobs $(JOBS) $(ARGS)

soak: $(STAMP)
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.soak $(ARGS)

mutants: $(STAMP)
	$(BIN)/python -m tests.mutants --jobs $(JOBS) $(ARGS)

# Several machines: the same command on each, with its own NODE_RANK (docs/cluster.md).
NODES = $(if $(NPROC), --nproc-per-node $(NPROC))$(if $(NNODES), --nnodes $(NNODES))$(if \
	$(NODE_RANK), --node-rank $(NODE_RANK))$(if $(RDZV_ENDPOINT), --rdzv-endpoint $(RDZV_ENDPOINT))$(if \
	$(RDZV_ID), --rdzv-id $(RDZV_ID))

longrun: $(STAMP)
	$(BIN)/python -m pytest -m longrun$(NODES) $(ARGS)

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: $(STAMP)
	$(BIN)/python -m mkdocs build $(ARGS)

bench: $(STAMP)
	$(BIN)/python -m tinyworlds_gate bench $(BENCH) $(ARGS)

clean:
	rm -rf .pytest_cache .mypy_cache .ruff_cache .hypothesis build dist *.egg-info
	find tinyworlds_gate tests validation -name __pycache__ -type d -prune -exec rm -rf {} +

distclean: clean
	rm -rf .venv
