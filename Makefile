# `make run` and `make test` are all that a fresh machine with Python 3.11 or newer needs.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.DEFAULT_GOAL := help

help: ## List what can be made
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

run: $(VENV)/.installed ## Start the exporter on a ledger in ./data, on loopback; FLAGS=... adds flags
	@echo 'Once it listens, try in another terminal:'
	@echo '  curl -d @tests/samples/source-failure-messages.json http://127.0.0.1:10464/webhook'
	@echo '  curl -s http://127.0.0.1:10464/metrics | grep ^aep_flow'
	@exec $(BIN)/aep-flow-exporter serve $(FLAGS)

test: $(VENV)/.developing ## Run all tests; those with real servers skip where these are not installed
	$(BIN)/pytest --cov

lint: $(VENV)/.developing ## Check style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(VENV)/.developing ## Measure the hot paths side by side, print ratios, keep them in benchmarks/results.md
	$(BIN)/python -m benchmarks.run

dashboards: $(VENV)/.developing ## Write grafana/dashboards anew; EXPORTER_URL=... is where their links lead
	$(BIN)/python -m grafana.build $(if $(EXPORTER_URL),--exporter-url=$(EXPORTER_URL))

clean: ## Remove what was set up, but no ledger
	rm -rf $(VENV) .coverage .hypothesis .mypy_cache .pytest_cache .ruff_cache

$(VENV)/.created:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo '$(PYTHON) is older than 3.11: say make PYTHON=/path/to/a/newer/python3'; exit 1; }
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

.PHONY: help run test lint bench dashboards clean
