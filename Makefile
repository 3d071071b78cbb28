# Each target sets up what it needs: a .venv, made again only when pyproject.toml or constraints.txt has changed.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/ready

.PHONY: demo test slow lint format bench clean

demo: $(READY)
	$(BIN)/frostline compare experiment=demo

TEST := $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

test: $(READY)
	$(TEST) -m "not slow"

# Kills, many ranks, whole comparisons; on a machine with slurmctld, slurmd and munge, as root, a SLURM of its own.
slow: $(READY)
	$(TEST) -m slow

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# make bench DATA=FOLDER, with train/, val/ and test/ and a folder for each class in each.
bench: $(READY)
	$(BIN)/python benchmarks/versus_plain.py $(DATA)

clean:
	rm -rf .venv .pytest_cache .ruff_cache .hypothesis build dist

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 11) and 'Python 3.11 or newer is needed: make PYTHON=...')"
	$(PYTHON) -m venv --clear .venv
	$(BIN)/python -m pip install --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@
