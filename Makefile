# `make help` lists the targets. Every target may be run again at any time.
.DEFAULT_GOAL := help
SHELL := /bin/bash

PYTHON  ?= python3
BASE    ?= models/base
LORA    ?= miyazaki
MODE    ?= external
STRENGTH ?= 1.0
OUT     ?= dist
HOST    ?= 127.0.0.1
PORT    ?= 8000
DEVICE  ?= cpu# cpu or gpu: which onnxruntime is installed

VENV := .venv
PY   := $(VENV)/bin/python
PAGE := web/dist
export HF_HUB_OFFLINE ?= 1

.PHONY: help setup demo test check train export serve page parity bench model-report clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 16

setup: $(VENV)/.done web/node_modules/.done ## install what is needed (Python packages, npm packages, a Chromium for the tests)
	@tests/chromium >/dev/null

$(VENV)/.done: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python >= 3.11 is needed; PYTHON=python3.12 names another one" >&2; exit 1; }
	test -x $(PY) || $(PYTHON) -m venv $(VENV)
	$(PY) -m pip install --quiet --upgrade pip
	$(PY) -m pip install --quiet --editable '.[$(strip $(DEVICE)),dev]'
	touch $@

web/node_modules/.done: web/package-lock.json
	@node -e 'process.exit(+process.versions.node.split(".")[0] < 20 ? 1 : 0)' || { echo "Node >= 20 is needed" >&2; exit 1; }
	cd web && npm ci --no-audit --no-fund --loglevel=error
	touch $@

demo: setup page ## everything in one go: export the embedded styles, build the page, start the server
	for lora in miyazaki gothic cyberpunk; do $(MAKE) --no-print-directory export LORA=$$lora || exit; done
	$(MAKE) --no-print-directory serve

test: setup page ## run every test
	cd web && npm test
	CHROMIUM=$$(tests/chromium) $(PY) -m pytest

check: setup ## types, style and formatting of Python and TypeScript
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	cd web && npm run --silent check

train: $(VENV)/.done ## train LORA= on the embedded base (DATA= a folder of your own pictures)
	$(PY) -m trainer $(LORA) $(if $(DATA),--data $(DATA))

export: $(VENV)/.done ## write LORA= (a name under models/loras/ or a path) into OUT= (MODE=external|merged, BASE=, STRENGTH=)
	$(PY) -m exporter export --lora $(LORA) --mode $(MODE) --base $(BASE) --out $(OUT) --strength $(STRENGTH)

page: web/node_modules/.done ## build the page into web/dist
	cd web && npm run --silent build

serve: $(VENV)/.done ## serve the bundle in OUT= and the page on HOST= and PORT=
	$(PY) -m server --bundle $(OUT) --page $(PAGE) --host $(HOST) --port $(PORT)

parity: setup page ## hold every runtime against PyTorch and print the table of promises
	CHROMIUM=$$(tests/chromium) $(PY) -m tests.parity

bench: setup page ## measure, as ratios taken in one run
	CHROMIUM=$$(tests/chromium) $(PY) -m benchmarks

model-report: $(VENV)/.done ## judge the embedded model and its LoRAs; writes models/report.json and report.png
	$(PY) -m models.report

clean: ## remove what was built and installed here
	rm -rf dist $(PAGE) $(VENV) web/node_modules *.egg-info .mypy_cache .ruff_cache .pytest_cache
