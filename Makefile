# `make` alone says what there is. Variables: PYTHON, TARGET (cpu or cuda), ARGS,
# and for `serve`: CONFIG, MODEL, PORT, ENGINE (llamacpp or mlx: installs and serves without vLLM).

PYTHON ?= python3
BIN := .venv/bin
SETUP = $(PYTHON) -m cli.setup $(if $(TARGET),--target $(TARGET)) \
	$(if $(ENGINE),--engine $(ENGINE)) \
	$(if $(filter environment% command%,$(origin PYTHON)),--python-chosen)
ifneq ($(filter llamacpp mlx,$(ENGINE)$(MODEL)$(CONFIG)),)
CONFIG := configs/$(ENGINE).yaml
endif
SERVE_FLAGS = $(if $(CONFIG),--config $(CONFIG)) $(if $(MODEL),--model $(MODEL)) \
	$(if $(PORT),--port $(PORT))

.DEFAULT_GOAL := help
.PHONY: help setup setup-dev serve test lint format bench bench-placement bench-routing train-classifier bench-learning bench-prefix bench-swaps bench-decision bench-ensembles bench-overhead lock clean

help:  ## This list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup:  ## Install everything into .venv (quick when nothing changed)
	@$(SETUP)

setup-dev:  ## The same with the test and lint tools
	@$(SETUP) --dev

# exec: the shell makes way, so that Ctrl-C reaches roundhouse once and make sees its exit code.
serve: setup  ## Serve: make serve [CONFIG=file] [MODEL=name] [PORT=8000] [ARGS=...]
	@exec $(BIN)/roundhouse serve $(SERVE_FLAGS) $(ARGS)

# Real engines want the box for themselves; all else runs two files at a time.
test: setup-dev  ## Run the tests: make test [ARGS="-m engine -x"]
	$(if $(ARGS),$(BIN)/python -m pytest $(ARGS),\
		$(BIN)/python -m pytest -m "not engine" -n 2 --dist loadfile && \
		$(BIN)/python -m pytest -m engine)

lint: setup-dev  ## Style, types and the layers of the house
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: setup-dev  ## Let ruff put the style right
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# A target that is missed is told and stops nothing; ARGS="--strict" makes it an error of its own.
bench: setup-dev  ## All benchmarks, one after another
	@$(MAKE) --no-print-directory --keep-going bench-placement bench-routing bench-learning \
		bench-prefix bench-swaps bench-decision bench-ensembles bench-overhead ARGS=

bench-placement: setup-dev  ## Predicted memory against starts that were logged
	$(BIN)/python -m benchmarks.placement $(ARGS)

bench-routing: setup-dev  ## How often the task of a prompt is found: make bench-routing [ARGS="--set FILE"]
	$(BIN)/python -m benchmarks.routing $(ARGS)

train-classifier: setup-dev  ## Learn anew which words tell a task; needs scikit-learn
	$(BIN)/python -m pip install --quiet scikit-learn
	$(BIN)/python -m benchmarks.learned_training $(ARGS)

bench-learning: setup-dev  ## What ratings gain over fixed scores, simulated
	$(BIN)/python -m benchmarks.learning $(ARGS)

bench-prefix: setup-dev  ## Prefix cache hits by replica policy, simulated and on real engines
	$(BIN)/python -m benchmarks.prefix_routing $(ARGS)

bench-swaps: setup-dev  ## Swaps of models in groups or first in, first out, simulated
	$(BIN)/python -m benchmarks.swaps $(ARGS)

bench-decision: setup-dev  ## What a decision of `auto` adds to the first token, at 32 concurrent
	$(BIN)/python -m benchmarks.decision $(ARGS)

bench-ensembles: setup-dev  ## Right answers of a vote and a cascade against single models, on real engines
	$(BIN)/python -m benchmarks.ensembles $(ARGS)

bench-overhead: setup-dev  ## What the router adds to an engine: make bench-overhead [ARGS=...]
	$(BIN)/python -m benchmarks.overhead $(ARGS)

lock: setup-dev  ## Resolve pyproject.toml anew and write requirements/
	$(BIN)/python -m cli.lock

clean:  ## Remove .venv and the caches
	rm -rf .venv .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -not -path './.git/*' -prune -exec rm -rf {} +
