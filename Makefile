# Each target works on a fresh machine that has Python 3.11 or newer.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.DEFAULT_GOAL := help

help: ## List what can be made
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

run: $(VENV)/.installed ## Start the exporter on a ledger in ./data, on loopback; FLAGS=... adds flags
	@echo 'Once it listens, try in another terminal, in this folder:'
	@echo '  curl -d @tests/samples/quick-start/failed.json http://127.0.0.1:10464/webhook'
	@echo '  curl -s http://127.0.0.1:10464/metrics | grep ^aep_flow_consecutive_failures'
	@echo 'README.md goes on from there, to the first alert.'
	@exec $(BIN)/aep-flow-exporter serve $(FLAGS)

# Each file runs in one worker, because the tests of a file share what takes long to make, such as an image.
test: $(VENV)/.developing ## Run all tests and measure coverage; tests whose servers are not installed are skipped
	$(BIN)/pytest -n auto --dist loadfile --no-loadscope-reorder --cov

unit: $(VENV)/.developing ## Run the tests that need no servers, in less than a minute
	$(BIN)/pytest -n auto -m 'not system'

lint: $(VENV)/.developing ## Check style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(VENV)/.developing ## Measure speed beside reference programs and write the ratios to benchmarks/results.md
	$(BIN)/python -m benchmarks.run

dashboards: $(VENV)/.developing ## Generate grafana/dashboards; EXPORTER_URL=... is the start of their links
	$(BIN)/python -m grafana.build $(if $(EXPORTER_URL),--exporter-url=$(EXPORTER_URL))

clean: ## Remove everything that make created, except ledgers
	rm -rf $(VENV) .coverage .hypothesis .mypy_cache .pytest_cache .ruff_cache

$(VENV)/.created:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo '$(PYTHON) is older than 3.11: run make PYTHON=/path/to/a/newer/python3'; exit 1; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || \
		{ echo '$(PYTHON) comes without venv: on Debian and Ubuntu, apt install python3-venv'; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade 'pip>=25.1'
	@touch $@

$(VENV)/.installed: $(VENV)/.created pyproject.toml
	$(BIN)/pip install --quiet --editable .
	@touch $@

$(VENV)/.developing: $(VENV)/.installed
	$(BIN)/pip install --quiet --group dev
	@touch $@

.PHONY: help run test unit lint bench dashboards clean
