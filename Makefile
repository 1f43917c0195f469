# Every command a person needs. `make help` lists them.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
# The CPU build of torch. Where the default index serves a CUDA build for this version, name
# an index of CPU wheels: make setup TORCH_INDEX=https://download.pytorch.org/whl/cpu
TORCH_INDEX ?=
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest

.PHONY: help setup demo test check bench bench-verdict soak assets clean

help:  ## list the commands
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 16

setup: $(VENV)/.installed  ## make .venv with the program, torch (CPU), TVM and the test tools

$(VENV)/.installed: pyproject.toml constraints.txt
	@command -v $(PYTHON) >/dev/null || { echo "python3 (3.11 or newer) is needed"; exit 1; }
	@echo "setting up $(VENV) (a few minutes the first time)"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check "pip>=25.1"
	@$(PIP) torch $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX))
	@$(PIP) --editable '.[all]' --group test
	@touch $@

demo: setup  ## open the debugger on the demo trace
	@$(BIN)/tapml-tui assets/demo.trace

check: setup  ## under a minute: lint, types, import contracts, tests without torch or tvm
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	@# More processes than cores: the tests of the screen mostly wait.
	$(PYTEST) -n 5 -m "not torch and not tvm and not tmux and not slow"

test: setup  ## the whole suite on a fresh random sample, seed printed; torch, TVM and tmux are needed
	@command -v tmux >/dev/null || { echo "tmux is needed by the end-to-end tests: install it (apt-get install tmux)"; exit 1; }
	$(PYTEST) -n 2 --durations=15

soak: setup  ## the full counts, for hours; stop and start at will, the report is .soak/report.md
	$(BIN)/python -m tests.soak

bench: setup  ## every number that we promise, as a ratio measured in one run
	$(BIN)/python -m tests.bench

bench-verdict: setup  ## wrong kernels found and false alarms raised, by us and by the criteria of others; an hour, SEED=N goes on
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.bench.verdict $(if $(SEED),--seed $(SEED))

assets: setup  ## make the demo trace and the screenshots again
	$(BIN)/python assets/make_demo.py
	$(BIN)/python assets/make_screenshots.py

clean:  ## remove what the commands above made
	rm -rf $(VENV) .soak .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
