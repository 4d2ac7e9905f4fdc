# Every command of this project. `make` alone lists them.
# Needed beforehand: Python >= 3.11 with its venv module, make, and a C compiler.

.DEFAULT_GOAL := help
.PHONY: help setup demo run test debian check bench bench-peers fuzz docs lock clean

BIN := .venv/bin
STAMP := .venv/.stamp-dev
DEBIAN := chromium prometheus-alertmanager
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet install
COMPILE := $(BIN)/uv pip compile --quiet --generate-hashes --no-header --no-emit-index-url --python-version 3.11 pyproject.toml

help: ## list these commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-11s %s\n", $$1, $$2}' Makefile

setup: $(STAMP) ## create .venv and install the locked dependencies

demo: $(STAMP) ## a simulated fleet breaks in seven ways and is healed, live in the terminal (90 s at most)
	@$(BIN)/self-healing demo

run: $(STAMP) ## run the service in this directory
	@$(BIN)/self-healing run

test: $(STAMP) debian ## the whole test suite
	$(BIN)/python -m pytest -n 3 --dist worksteal

debian: ## install Debian's chromium and Alertmanager, which some tests want, where it can
	@for each in $(DEBIAN); do command -v $$each >/dev/null || { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null \
	  && apt-get update -qq >/dev/null && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq $$each >/dev/null; } \
	  || echo "make: NO $$each: its tests are skipped; install Debian's package and run this again" >&2; done

check: $(STAMP) ## lint, format and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(STAMP) ## the measured numbers, each beside its baseline
	$(BIN)/python -m benchmarks

bench-peers: $(STAMP) ## the same rules on the same samples in Prometheus too, and the ratio (all of it with WHOLE=1; minutes)
	$(BIN)/python -m benchmarks.peers $(if $(WHOLE),--whole)

fuzz: $(STAMP) ## feed the parsers what nobody should send, for a minute
	$(BIN)/python -m fuzz

docs: $(STAMP) ## build the documentation into site/
	$(BIN)/zensical build --strict

lock: $(STAMP) ## recompile requirements/ from pyproject.toml
	$(COMPILE) --group dev --all-extras -o requirements/dev.txt >/dev/null
	$(COMPILE) --constraint requirements/dev.txt -o requirements/run.txt >/dev/null

clean: ## remove .venv and everything built (never logs/ or .self-healing/)
	rm -rf .venv site dist .cache .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find src tests benchmarks fuzz -type d -name __pycache__ -prune -exec rm -rf {} +

# The stamp is touched last, so an install that was cut short is done again.
$(STAMP): requirements/dev.txt pyproject.toml
	@if [ ! -x $(BIN)/python ]; then \
	  found=; for python in python3.11 python3; do \
	    if "$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then found=$$python; break; fi; \
	  done; \
	  if [ -z "$$found" ]; then echo "make: Python 3.11 or newer is needed: neither python3.11 nor python3 is one" >&2; exit 1; fi; \
	  echo "creating .venv with $$("$$found" --version)"; \
	  "$$found" -m venv .venv || { rm -rf .venv; echo "make: $$found cannot create .venv; install its venv module" >&2; exit 1; }; \
	fi
	@echo "installing the locked dependencies into .venv (a minute or two the first time)"
	@$(PIP) --require-hashes -r requirements/dev.txt
	@$(PIP) --no-deps --no-build-isolation -e .
	@touch $@
