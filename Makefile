# Everything a person does with Candlewire, one word each. `make` alone lists it.

PYTHON ?= python3
VENV_PYTHON := .venv/bin/python
# Folders that are not there yet are left out.
CODE := $(wildcard app websocket_client tests benchmarks scripts)
# What a hub starts with that nobody has configured; flags, environment, .env and YAML all win over it.
DEFAULT_SYMBOLS := BTCUSDT,ETHUSDT,BNBUSDT,SOLUSDT
# Pass more to a program or to pytest: make run ARGS="--log-level debug", make test ARGS="-k candles -x"
ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help run demo test test-clients soak bench check format lock proto clean \
  run-environment dev-environment client-environments

help: ## list what can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' Makefile

run: run-environment ## run the hub: Binance if it can be reached, else the built-in simulator
	@exec $(VENV_PYTHON) -m app.main --default-source auto --default-symbols $(DEFAULT_SYMBOLS) $(ARGS)

demo: run-environment ## run the hub on the built-in simulator
	@exec $(VENV_PYTHON) -m app.main --source simulated --default-symbols $(DEFAULT_SYMBOLS) $(ARGS)

# Most wait for something most of the time, so three run at once; then those that need a core to themselves, two at once.
test: dev-environment ## run the tests
	@$(VENV_PYTHON) -m pytest -n 3 --dist worksteal -m "not soak and not clients and not alone" $(ARGS); parallel=$$?; \
	$(VENV_PYTHON) -m pytest -n 2 --dist loadgroup -m "alone and not soak and not clients" $(ARGS); alone=$$?; \
	for status in $$parallel $$alone; do [ $$status -eq 0 ] || [ $$status -eq 5 ] || exit $$status; done; \
	[ $$parallel -eq 0 ] || [ $$alone -eq 0 ] || { echo "No test fits: $(ARGS)"; exit 5; }

test-clients: dev-environment client-environments ## run third-party clients against the hub, each in its own environment
	@$(VENV_PYTHON) -m pytest -m "clients and not soak" tests/clients $(ARGS)

soak: dev-environment client-environments ## run the long forms, SOAK_MINUTES=20 to bound them
	@if grep -rqs --include='*.py' 'mark\.soak' tests; \
	then SOAK_MINUTES="$(SOAK_MINUTES)" $(VENV_PYTHON) -m pytest -m soak --timeout 0 -s $(ARGS); \
	else echo "There are no long forms yet."; fi

bench: dev-environment ## measure: SUITE=name; without it, list the suites
	@if [ -n "$(SUITE)" ]; then exec $(VENV_PYTHON) -m benchmarks.$(SUITE) $(ARGS); fi; \
	echo "make bench SUITE=…, one of:"; \
	ls benchmarks/*.py 2>/dev/null | sed -n 's|^benchmarks/\([a-z][a-z0-9_]*\)\.py$$|  \1|p'

check: dev-environment ## check format, lint, types, import contracts, spelling, locks
	$(VENV_PYTHON) -m ruff format --check $(CODE)
	$(VENV_PYTHON) -m ruff check $(CODE)
	$(VENV_PYTHON) -m mypy $(CODE)
	.venv/bin/lint-imports
	$(VENV_PYTHON) -m codespell_lib
	$(VENV_PYTHON) -m scripts.lock --check

format: dev-environment ## format the code and mend what can be mended by itself
	$(VENV_PYTHON) -m ruff check --fix $(CODE)
	$(VENV_PYTHON) -m ruff format $(CODE)

lock: dev-environment ## write requirements*.txt anew from pyproject.toml (ARGS=--upgrade: newest versions)
	@$(VENV_PYTHON) -m scripts.lock $(ARGS)

proto: dev-environment ## write app/proto anew from proto/*.proto
	@$(VENV_PYTHON) -m scripts.proto

clean: ## remove caches and build outputs; environments and data stay
	rm -rf build dist *.egg-info htmlcov .coverage .coverage.* \
	  .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find $(CODE) -name __pycache__ -type d -prune -exec rm -rf {} +

run-environment:
	@$(PYTHON) scripts/bootstrap.py requirements.txt

dev-environment:
	@$(PYTHON) scripts/bootstrap.py requirements-dev.txt

# One for each lock file; a package of Node.js besides.
client-environments:
	@for lock in tests/clients/requirements-*.txt; do \
	  name=$${lock#tests/clients/requirements-}; \
	  $(PYTHON) scripts/bootstrap.py --venv ".venvs/$${name%.txt}" "$$lock" || exit 1; \
	done
	@cmp -s tests/clients/ws/package-lock.json .venvs/ws/package-lock.json && test -d .venvs/ws/node_modules/ws || \
	{ cp tests/clients/ws/package.json tests/clients/ws/package-lock.json .venvs/ws/ && \
	  cd .venvs/ws && PATH="$$PWD/bin:$$PATH" npm ci --no-audit --no-fund --loglevel=error; }
