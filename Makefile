# Two commands for a fresh clone: `make demo` and `make test`. Both set up .venv by themselves (Linux x86-64, CPU).
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
export VLLM_NO_USAGE_STATS := 1
export TOKENIZERS_PARALLELISM := false
# Images of Python set it, and then every process compiles all of llmkit once more.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: demo loop test quick docs attack peft-matrix kernels lint types format clean

# The bundled model as it is, then with the adapter that `make loop` trained, then both beside each other.
demo: $(READY)
	@mkdir -p runs && for recipe in demo-base demo; do \
	  $(BIN)/llmkit rop $$recipe > runs/$$recipe.txt || exit; cat runs/$$recipe.txt; \
	done
	@$(BIN)/llmkit runs compare $$(sed -n 's/^run: *//p' runs/demo-base.txt runs/demo.txt)

# Perturb, train three adapters, repair through vLLM, measure, put beside each other: some hours on two cores. Each
# step goes on where it was cut. The gates of demo-loop come last and decide how it ends.
loop: $(READY)
	$(BIN)/llmkit perturb task:arithmetic --op ec --rate 0.3 --preview 3
	clean="$$($(BIN)/llmkit finetune talklora-small)" && robust="$$($(BIN)/llmkit finetune talklora-robust)" && \
	corrects="$$($(BIN)/llmkit finetune demo-loop)" && \
	for adapter in "" "$$clean" "$$robust" "$$corrects"; do \
	  $(BIN)/llmkit rop demo-loop-beside $${adapter:+--adapter "$$adapter"} > runs/beside.txt || exit; \
	  cat runs/beside.txt >&2; sed -n 's/^run: *//p' runs/beside.txt; \
	done > runs/beside-runs.txt && \
	$(BIN)/llmkit runs compare $$(cat runs/beside-runs.txt) --html runs/beside.html && \
	$(BIN)/llmkit rop demo-loop-arms --adapter "$$corrects" && $(BIN)/llmkit rop demo-loop --adapter "$$corrects"

# Two workers on two cores: more threads in each would only wait for one another.
test: export OMP_NUM_THREADS := 1
test: export VLLM_CPU_OMP_THREADS_BIND := nobind
test: $(READY) lint types
	$(BIN)/python -m pytest -n 2

# What to run between two edits: linters, and the tests that start no model, no server and no second process.
QUICK := $(addprefix tests/,measure perturb recipe report rop runs tasks test_conditions.py test_house.py)
quick: export OMP_NUM_THREADS := 1
quick: $(READY) lint
	$(BIN)/python -m pytest -n 2 -m "not tiny and not e2e and not slow" --ignore=tests/tasks/test_sets.py --ignore=tests/perturb/test_guarantees.py --ignore=tests/rop/test_duel.py --ignore=tests/perturb/test_profile.py $(QUICK)

# The site, in site/: strict, and without the network.
docs: export NO_MKDOCS_2_WARNING := 1
docs: $(READY)
	$(BIN)/mkdocs build --strict --quiet
	@echo "site/index.html"

# Ends with 1 on a finding, and writes benchmarks/results/attack.json and the figures in docs/reliability.md.
MINUTES ?= 30
attack: export OMP_NUM_THREADS := 1
attack: export HF_HUB_OFFLINE := 1
attack: $(READY)
	PYTHONPATH=tests $(BIN)/python -m helpers.attack --minutes $(MINUTES)

# PEFT's own tests with TalkLoRA; writes benchmarks/results/peft_matrix.json and the table in docs/talklora.md.
peft-matrix: export OMP_NUM_THREADS := 1
peft-matrix: $(READY)
	PYTHONPATH=benchmarks $(BIN)/python -m peft_matrix

# TalkLoRA's Triton kernels by the interpreter and the compiler, without a GPU; Triton is installed beside the tests only.
# Writes benchmarks/results/kernels.json and tables in docs/benchmarks.md.
kernels: export OMP_NUM_THREADS := 1
kernels: $(READY)
	PYTHONPATH=benchmarks $(BIN)/python -m kernel_checks

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

types: $(READY)
	$(BIN)/mypy

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

$(READY): requirements/cpu.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit("llmkit needs Python 3.11 or newer: make PYTHON=python3.11") if sys.version_info < (3, 11) else 0'
	@echo "Setting up $(VENV): about 3 GB and two to four minutes."
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -qq --no-deps -r requirements/cpu.txt
	@$(BIN)/python -m pip uninstall -qq -y llmkit  # the distribution's name until November 2026
	$(BIN)/python -m pip install -qq --no-deps --no-build-isolation -e .
	@touch $@

clean:
	rm -rf $(VENV) runs site .pytest_cache .ruff_cache .import_linter_cache .hypothesis
