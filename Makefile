# `make demo` and `make test` need Python 3.11 or later and nothing else; the environment goes into .venv.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
READY := .venv/ready

.DEFAULT_GOAL := help
.PHONY: help demo test check format clean

help: ## Show this list.
	@sed -n 's/^\([a-z]*\):.*## /make \1	/p' $(MAKEFILE_LIST) | expand -t 14

demo: $(READY) ## Draw signs, train an honest and a backdoored network, vet both (three minutes).
	@$(BIN)/gifthorse demo --out demo

test: $(READY) ## Run the tests.
	@$(BIN)/pytest -q -n 2

check: $(READY) ## What a change has to pass: format, lint, types, tests.
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/pytest -q -n 2

format: $(READY) ## Format the code.
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

clean: ## Remove the environment and what the demo has written.
	@rm -rf .venv demo

# Set up once, and again when what it is made from changes.
$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "gifthorse needs Python 3.11 or later; name it: make PYTHON=…")'
	@echo "Setting up .venv (a few minutes, once) …"
	@$(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install -qq --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@
