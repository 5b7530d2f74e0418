# Everything on a fresh machine: `make evaluate` runs the benchmark and writes report.html, `make test` the tests, `make docs` the site.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
DOCS_READY := $(VENV)/.docs

.PHONY: evaluate test lint docs clean

evaluate: $(READY)
	$(BIN)/python tools/evaluate.py agents.last_frame agents.rover agents.calibrated_flow agents.conv2d agents.conv3d agents.convgru agents.trajgru agents.flow_net --env both $(WORDS)
	$(BIN)/python tools/report.py results --out report.html

# Many tests start processes, which start sooner with compiled modules.
test: $(READY)
	OMP_NUM_THREADS=1 PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest --numprocesses logical --dist loadfile

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: $(DOCS_READY)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

$(READY): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --editable '.[test,dev]'
	touch $@

$(DOCS_READY): $(READY)
	$(BIN)/python -m pip install --quiet --editable '.[docs]'
	touch $@

clean:
	rm -rf $(VENV) site
