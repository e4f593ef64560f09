# The two commands of a fresh machine (python3 with venv, and make): `make demo`, `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test check live bench clean

$(VENV)/.ok: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q --disable-pip-version-check -e '.[dev]'
	touch $@

demo: $(VENV)/.ok
	$(BIN)/pgtrace demo

test: $(VENV)/.ok
	$(BIN)/python -m pytest -q

check: $(VENV)/.ok
	.ci/run

bench: $(VENV)/.ok
	$(BIN)/python -m bench

clean:
	rm -rf $(VENV) .pg
