# The two commands of a fresh machine (python3 with venv, and make): `make demo`, `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Workers of pytest; each has a server of its own.
WORKERS := $(shell cores=$$(getconf _NPROCESSORS_ONLN); echo $$((cores < 8 ? cores : 8)))
# PostgreSQL with TLS for the tests, the newest and the oldest version that is supported; the demo's own has none.
MAJORS := 14 15 16 17 18
PG := .pg/14/.ok .pg/18/.ok

.PHONY: demo test unit live check captures-check bench bench-reading bench-feeds bench-legs bench-call-sites bench-watching bench-exporting nightly evidence evidence-load image accessible collector schemas site soak suites poolers versions clean

$(VENV)/.ok: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q --disable-pip-version-check -e '.[dev]'
	touch $@

.pg/%/.ok: $(VENV)/.ok tests/live/install_postgres.py
	$(BIN)/python tests/live/install_postgres.py $*
	touch $@

demo: $(VENV)/.ok
	$(BIN)/pgtrace demo

# First what needs neither PostgreSQL nor a driver, where neither can be had; then what does. Both wait now and then, the second kind mostly: more workers than cores.
test: unit live

unit: $(VENV)/.ok
	PYTHONPATH=$(CURDIR)/tests/without_servers $(BIN)/python -m pytest -q -n $$(($(WORKERS) + 1)) --dist worksteal -m "not live"

live: $(VENV)/.ok $(PG)
	$(BIN)/python -m pytest -q -n $$((2 * $(WORKERS))) --dist worksteal -m live

check: $(VENV)/.ok $(PG)
	.ci/run

# Play every recorded scenario once more, seen by a recorder and by tcpdump: they must agree.
captures-check: $(VENV)/.ok
	$(BIN)/python -m captures.recording.twice

bench: $(VENV)/.ok
	$(BIN)/python -m bench --with-tui

bench-reading: $(VENV)/.ok
	$(BIN)/python -m bench.reading

# What the screen does with each row, and what a filter costs.
bench-feeds: $(VENV)/.ok
	$(BIN)/python -m bench.feeds

# What both sides of a pooler cost, and joining them.
bench-legs: $(VENV)/.ok
	$(BIN)/python -m bench.legs

# What a note of a line of code costs, alone and through ORMs.
bench-call-sites: $(VENV)/.ok
	$(BIN)/python -m bench.call_sites

# What the TUI costs, and how well it keeps up, at 20,000 messages each second.
bench-watching: $(VENV)/.ok
	$(BIN)/python -m bench.watching

# What sending spans to a collector costs the traffic, at 20,000 messages each second.
bench-exporting: $(VENV)/.ok
	$(BIN)/python -m bench.exporting

# What holds the promises, with more of everything: 500,000 mutated messages, 300 times kill -9, two hours of mutated files, every capture in every way.
nightly: $(VENV)/.ok $(PG)
	PGTRACE_NIGHTLY=1 $(BIN)/python -m pytest -q -s --timeout 7200 tests/live/test_transparency.py tests/live/test_promises_kept.py tests/live/test_bounds.py tests/live/test_reader_crowds.py
	PGTRACE_NIGHTLY=1 $(BIN)/python -m pytest -q -s --timeout 10000 tests/readers/test_readers.py
	PGTRACE_NIGHTLY=1 $(BIN)/python -m pytest -q -n $(WORKERS) tests/capture tests/ask tests/compare tests/judge tests/session tests/sqltext tests/report tests/trace
	PGTRACE_NIGHTLY=1 $(BIN)/python -m pytest -q -s --timeout 3600 tests/serve tests/cli/test_serve_command.py tests/replay tests/live/test_serve_drivers.py tests/live/test_replay.py
	PGTRACE_NIGHTLY=1 $(BIN)/python -m pytest -q -n $(WORKERS) -m sampled
	$(MAKE) versions
	$(MAKE) evidence
	$(MAKE) evidence-load
	PGTRACE_NIGHTLY=1 $(MAKE) poolers
	$(MAKE) accessible

# Both sides of PgBouncer 1.24.1, built from its source; needs apt and a compiler.
PGBOUNCER := .pg/pgbouncer/pgbouncer
$(PGBOUNCER):
	tests/live/install_pgbouncer.sh $(@D) >/dev/null

# Gold Lapel's proxy, from its wheel. It runs without any network; where there is no wheel for this machine its test is skipped.
GOLDLAPEL := .pg/goldlapel
$(GOLDLAPEL)/.ok: $(VENV)/.ok
	-$(BIN)/python -m pip install -q --disable-pip-version-check --no-deps --target $(GOLDLAPEL) goldlapel==0.1.0rc25
	mkdir -p $(GOLDLAPEL) && touch $@

poolers: $(VENV)/.ok $(PGBOUNCER) $(GOLDLAPEL)/.ok
	PGTRACE_PGBOUNCER=$(CURDIR)/$(PGBOUNCER) PGTRACE_GOLDLAPEL=$$(ls $(CURDIR)/$(GOLDLAPEL)/goldlapel/bin/goldlapel-* 2>/dev/null | head -n 1) \
	$(BIN)/python -m pytest -q -n $(WORKERS) tests/live/test_pooler_legs.py tests/live/test_pooler_chain.py tests/live/test_gold_lapel.py tests/live/test_remedies.py

# Who gets in through pgtrace, with every supported version of PostgreSQL.
versions: $(MAJORS:%=.pg/%/.ok)
	$(BIN)/python -m pytest -q tests/live/test_driver_tls.py

# Build an OpenTelemetry collector (Go, some minutes, 2 GB while it lasts) and send spans and metrics through it.
COLLECTOR := $(or $(TMPDIR),/tmp)/pgtrace-collector
collector: $(VENV)/.ok
	mkdir -p $(COLLECTOR)
	sed 's|^dist:|&\n  output_path: $(COLLECTOR)/built|' release/otelcol.yaml >$(COLLECTOR)/builder.yaml
	GOFLAGS=-modcacherw GOPATH=$(COLLECTOR)/go GOCACHE=$(COLLECTOR)/cache go run go.opentelemetry.io/collector/cmd/builder@v0.165.0 --config $(COLLECTOR)/builder.yaml
	PGTRACE_COLLECTOR=$(COLLECTOR)/built/otelcol $(BIN)/python -m pytest -q tests/live/test_real_collector.py; status=$$?; rm -rf $(COLLECTOR); exit $$status

# What axe-core says of the pages that pgtrace writes; needs npm and a Chromium.
AXE := $(or $(TMPDIR),/tmp)/pgtrace-axe
accessible: $(VENV)/.ok
	npm install --silent --no-save --prefix $(AXE) axe-core@4.14.1
	PGTRACE_AXE=$(AXE)/node_modules/axe-core/axe.min.js $(BIN)/python -m pytest -q tests/export/test_accessible.py; status=$$?; rm -rf $(AXE); exit $$status

# The JSON schemas in pgtrace/schemas/, after a change to what `--json` prints.
schemas: $(VENV)/.ok
	PYTHONPATH=$(CURDIR) $(BIN)/python release/schemas.py

# Claims about drivers, decided from recorded captures. The drivers come from requirements.txt; some claims need a PgBouncer that Debian 12 does not have.
EVIDENCE := .evidence
$(EVIDENCE)/.ok: examples/driver_evidence/requirements.txt
	$(PYTHON) -m venv $(EVIDENCE)
	$(EVIDENCE)/bin/python -m pip install -q --disable-pip-version-check -r $<
	touch $@

evidence: $(VENV)/.ok $(EVIDENCE)/.ok
	-$(MAKE) $(PGBOUNCER)
	PGTRACE_PGBOUNCER=$(CURDIR)/$(PGBOUNCER) $(BIN)/python -m examples.driver_evidence.evidence --python $(EVIDENCE)/bin/python --into examples/driver_evidence/results

# The same FastAPI endpoint with each driver under load, directly and through pgtrace. Takes some eight minutes.
evidence-load: $(VENV)/.ok $(EVIDENCE)/.ok
	$(BIN)/python -m examples.driver_evidence.load.load --python $(EVIDENCE)/bin/python --into .evidence/load

# The documents as a site, in site/.
site: $(VENV)/.ok
	$(BIN)/zensical build --strict

# Build the container image and run it, where buildah and debootstrap are.
image: $(VENV)/.ok
	release/image.sh

# Mixed load for MINUTES. Afterwards the recorder's memory and descriptors must be what they were.
MINUTES := 30
soak: $(VENV)/.ok
	$(BIN)/python -m bench.soak --minutes $(MINUTES)

# Run the drivers' own test suites directly and through pgtrace. Fetches them, and takes an hour.
suites: $(VENV)/.ok $(PG)
	$(BIN)/python -m tests.suites --write docs/suites.md

clean:
	rm -rf $(VENV) .pg
