# Every job is one target, and CI runs the same ones.
PYTHON ?= python3
PIP_INSTALL := -m pip install --quiet --disable-pip-version-check

.DEFAULT_GOAL := help
.PHONY: help setup setup-tests run test test-python test-node lint audit openapi hashes bytecode clean

help: ## Show this help
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-11s %s\n", $$1, $$2}'

setup: .venv/.sandbox .venv-ministack/.installed ## Install what `make run` needs, into .venv and .venv-ministack

run: setup ## Start the whole system on this machine: no account, no key
	@exec .venv/bin/python -m sandbox

setup-tests: setup .venv/.dev .venv-ministack/.dev node_modules/.installed ## Install what `make test` needs, browsers and nginx included
	@scripts/browser
	@scripts/nginx > /dev/null

test: setup-tests ## Run every test, the browser's included
	@$(MAKE) --no-print-directory test-python test-node

test-python:
	.venv/bin/python -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder

test-node:
	node --test --test-concurrency=2 --test-timeout=900000 $$(find tests -name '*.test.js')

lint: .venv/.dev node_modules/.installed ## Check style, types, layers and the templates
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	.venv/bin/lint-imports
	node_modules/.bin/biome ci --colors=off
	node_modules/.bin/tsc --project tsconfig.json
	@scripts/lint-template

audit: .venv/.dev node_modules/.installed ## Ask for known vulnerabilities in what is pinned
	@.venv/bin/python scripts/audit.py

openapi: .venv/.sandbox ## Write the OpenAPI document, after a route or a schema was changed
	.venv/bin/python scripts/openapi.py

hashes: .venv/.dev ## Write the hashes of what is deployed, after a version was changed
	.venv/bin/python scripts/hashes.py

bytecode: .venv/.sandbox ## Compile what is deployed, so that a cold start takes less
	.venv/bin/python scripts/bytecode.py

clean: ## Delete what setup installed and what the sandbox stored
	rm -rf .venv .venv-ministack .nginx vendor node_modules scripts/*/node_modules .sandbox .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .coverage

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; set PYTHON=...")'
	$(PYTHON) -m venv .venv

.venv/.sandbox: .venv/bin/python requirements.txt sandbox/requirements.txt constraints.txt
	@# Two calls: where one requirement has hashes, pip asks for those of all.
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
	@# Not `npm ci`: it refuses a lock file that leaves out what other platforms would need.
	npm install --no-save --ignore-scripts --loglevel error
	@touch $@
