# Everything on a fresh machine: `make evaluate` runs the benchmark, `make test` the tests.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: evaluate test lint clean

evaluate: $(READY)
	$(BIN)/python tools/evaluate.py agents.last_frame agents.rover agents.convgru agents.trajgru --env both $(WORDS)

test: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses logical --dist loadfile

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

$(READY): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --editable '.[test,dev]'
	touch $@

clean:
	rm -rf $(VENV)
