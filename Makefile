# Each target sets up what it needs in .venv and no more: the program, what its tests import, or everything. Steps done
# before are not done again until pyproject.toml or constraints.txt changes.
PYTHON ?= python3
BIN := .venv/bin
# Wheels alone, so that no compiler is ever needed. antlr4 comes as source, which is all Python and only has to be packed.
INSTALL := $(BIN)/python -m pip install --disable-pip-version-check -c constraints.txt \
	--only-binary :all: --no-binary antlr4-python3-runtime

.PHONY: demo test slow lint format bench clean

demo: .venv/program
	$(BIN)/frostline compare experiment=demo

TEST := $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder -rs

# Tests of a service that is not here (Ray, MLflow, W&B, SLURM, a browser) are skipped, and the last lines say why.
test: .venv/tests
	$(TEST) -m "not slow"

# Kills, many ranks, whole comparisons; on a machine with slurmctld, slurmd and munge, as root, a SLURM of its own.
slow: .venv/everything
	$(TEST) -m slow

lint: .venv/everything
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright

format: .venv/everything
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# make bench DATA=FOLDER, with train/, val/ and test/ and a folder for each class in each.
bench: .venv/program
	$(BIN)/python benchmarks/versus_plain.py $(DATA)

clean:
	rm -rf .venv .pytest_cache .ruff_cache .hypothesis build dist

.venv/program: pyproject.toml constraints.txt
	$(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 11) and 'Python 3.11 or newer is needed: make PYTHON=...')"
	@echo "== Setting up .venv: what the program needs (5.8 GB with PyTorch for CUDA; minutes)"
	$(PYTHON) -m venv --clear .venv
	$(INSTALL) -e .
	@touch $@

# The weights of backbone=voice_encoder are in a package whose dependencies would have to be compiled, and go unused.
.venv/tests: .venv/program
	@echo "== Setting up .venv: what the tests need (0.9 GB more)"
	$(INSTALL) -e '.[test]'
	$(INSTALL) --no-deps resemblyzer
	@touch $@

.venv/everything: .venv/tests
	@echo "== Setting up .venv: clients of Ray, MLflow and W&B, the linters (0.7 GB more)"
	$(INSTALL) -e '.[dev]'
	@touch $@
