# Each job is a target. CI runs the same targets.
PYTHON ?= python3
# Python compiles a module when it is first imported, which is less work than to compile all.
PIP_INSTALL := -m pip install --quiet --disable-pip-version-check --no-compile

.DEFAULT_GOAL := help
.PHONY: help setup setup-tests run test test-python test-node soak mutants lint audit openapi hashes bytecode clean

help: ## Show this help
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-11s %s\n", $$1, $$2}'

setup: .venv/.sandbox .venv-ministack/.installed ## Install what `make run` needs, into .venv and .venv-ministack

run: setup ## Start the whole system on this machine, without an account or a key
	@exec .venv/bin/python -m sandbox

setup-tests: setup .venv/.dev .venv-ministack/.dev node_modules/.installed ## Install what `make test` needs, with browsers and nginx
	@scripts/browser
	@scripts/nginx > /dev/null

test: setup-tests ## Run all tests, with those in browsers
	@echo 'The Python and the Node tests run side by side; each half prints its results at its end.'
	@$(MAKE) --no-print-directory --jobs=2 --output-sync=target test-python test-node

test-python:
	.venv/bin/python -m pytest --numprocesses 3 --dist loadfile --no-loadscope-reorder

test-node:
	node --test --test-concurrency=2 --test-timeout=900000 $$(find tests -name '*.test.js')

lint: .venv/.dev node_modules/.installed ## Check the style, the types, the layers and the templates
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	.venv/bin/lint-imports
	node_modules/.bin/biome ci --colors=off
	node_modules/.bin/tsc --project tsconfig.json
	@scripts/lint-template

soak: setup-tests ## Look for rare faults: long random runs, and a thousand uploads among faults and kills
	MACHINE_RUNS=500 EVENT_EXAMPLES=5000 API_EXAMPLES=60 .venv/bin/python -m pytest tests/machine tests/broker/core/test_events.py tests/broker/api/test_schemathesis.py
	.venv/bin/python -m benchmarks.soak

mutants: .venv/.dev .venv-ministack/.dev node_modules/.installed ## Change guarded code, and see which changes the tests notice
	@.venv/bin/python scripts/mutants.py

audit: .venv/.dev node_modules/.installed ## Search the pinned packages for known vulnerabilities
	@.venv/bin/python scripts/audit.py

openapi: .venv/.dev ## Write the OpenAPI document and the checks of bodies after a change of a route or a schema
	.venv/bin/python scripts/checks.py
	.venv/bin/python scripts/openapi.py

hashes: .venv/.dev ## Write the hashes of the deployed packages after a change of their versions
	.venv/bin/python scripts/hashes.py

bytecode: .venv/.sandbox ## Compile the deployed code, for shorter cold starts
	.venv/bin/python -m ops compile

clean: ## Delete everything that setup installed and the sandbox stored
	rm -rf .venv .venv-ministack .nginx vendor node_modules scripts/*/node_modules .sandbox .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .coverage

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; set PYTHON=...")'
	$(PYTHON) -m venv .venv

.venv/.sandbox: .venv/bin/python requirements.txt sandbox/requirements.txt constraints.txt
	@# Two calls, because pip requires hashes for all requirements if one has hashes.
	.venv/bin/python $(PIP_INSTALL) --constraint constraints.txt --requirement requirements.txt
	.venv/bin/python $(PIP_INSTALL) --constraint constraints.txt --requirement sandbox/requirements.txt
	@touch $@

.venv/.dev: .venv/.sandbox requirements-dev.txt
	.venv/bin/python $(PIP_INSTALL) --constraint constraints.txt --requirement requirements-dev.txt
	@touch $@

.venv-ministack/.installed: sandbox/requirements-dynamodb.txt sandbox/constraints-dynamodb.txt
	$(PYTHON) -m venv .venv-ministack
	.venv-ministack/bin/python $(PIP_INSTALL) --constraint sandbox/constraints-dynamodb.txt --requirement sandbox/requirements-dynamodb.txt
	@touch $@

.venv-ministack/.dev: .venv-ministack/.installed tests/deploy/requirements-emulator.txt
	.venv-ministack/bin/python $(PIP_INSTALL) --constraint sandbox/constraints-dynamodb.txt --requirement tests/deploy/requirements-emulator.txt
	@touch $@

node_modules/.installed: package-lock.json
	@# `npm ci` would refuse the lock file, which leaves out the packages of other platforms.
	npm install --no-save --ignore-scripts --loglevel error
	@touch $@
