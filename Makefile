# Everything starts here: `make help`.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV ?= .venv
# An index of CPU-only torch wheels, where the default index would bring gigabytes of CUDA: see README, "Installing".
TORCH_INDEX ?=
# cpu or gpu: which build of FAISS.
DEVICE ?= cpu
CONFIG ?= configs/movielens-100k.yaml
USER_ID ?= 196

BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet --constraint constraints.txt \
	$(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX))
PYTEST := $(BIN)/python -m pytest

.DEFAULT_GOAL := help
.PHONY: help install demo test test-portable test-slow check format docs bench ui clean

help: ## Lists what can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(VENV)/.train: pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed: make PYTHON=/path/to/python3.11"; exit 1; }
	@echo "Installing recsys into $(VENV) (a few minutes the first time) …"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(PIP) --editable '.[train,$(DEVICE)]'
	@touch $@

$(VENV)/.dev: $(VENV)/.train
	@$(PIP) --editable '.[train,$(DEVICE),dev]'
	@touch $@

install: $(VENV)/.train ## Creates .venv with everything the pipeline needs

demo: $(VENV)/.train ## Trains, evaluates and serves MovieLens 100K, end to end
	@$(BIN)/recsys run $(CONFIG)
	@$(BIN)/recsys report $(CONFIG)
	@$(BIN)/recsys recommend $(CONFIG) --user $(USER_ID) --explain
	@echo
	@echo "Next:"
	@echo "  $(BIN)/recsys ui $(CONFIG)       the MLflow UI: runs, curves, plots, the registered bundle"
	@echo "  $(BIN)/recsys serve $(CONFIG)    POST /v1/recommend on http://127.0.0.1:8501"

check: $(VENV)/.dev ## Style, types, import directions
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-timing 2>/dev/null || $(BIN)/lint-imports

test: check ## Checks and tests (minutes)
	@$(PYTEST) -m "not slow and not gpu and not network" --numprocesses auto --dist worksteal

test-portable: $(VENV)/.dev ## Tests under other instruction sets, threads, locales and time zones (an hour)
	@$(BIN)/python tests/portable.py

test-slow: $(VENV)/.dev ## Quality floors on real data (needs the network once)
	@$(PYTEST) -m "slow or network"

format: $(VENV)/.dev ## Formats the code
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

docs: $(VENV)/.dev ## Writes docs/configuration.md from the models
	@$(BIN)/python docs/reference.py

bench: $(VENV)/.dev ## The benchmarks behind the README's numbers
	@$(BIN)/python -m benchmarks

ui: $(VENV)/.train ## Opens the MLflow UI on the demo's workspace
	@$(BIN)/recsys ui $(CONFIG)

clean: ## Removes the virtual environment and the demo's workspace
	rm -rf $(VENV) workspace build *.egg-info
