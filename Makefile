# `make help` lists the targets. Every target may be run again at any time.
.DEFAULT_GOAL := help
SHELL := /bin/bash

PYTHON  ?= python3
BASE    ?= models/base
BASE_CONFIG ?=# of a single-file BASE=: the diffusers folder that says how it is built; default: the hub's
LORA    ?= miyazaki
MODE    ?=# external (the default) or merged
RECIPE  ?=# a JSON that puts a style together from LoRAs, instead of LORA=
FORMAT  ?= bundle# bundle, optimum or adapter
STYLE   ?=# the style's name (default: the file's; merged: with -merged)
STRENGTH ?=# where the slider starts (default: what its maker prefers), or of a merge (default: 1)
FRESH   ?=# 1: export the base again
SLOTS   ?=# attn, transformer (the default) or full: where LoRAs can attach
DTYPE   ?=# fp32, fp16 (the default), q8 or q4: how the UNet's weights are stored
EXAMPLES ?=# 1: draw the thumbnail and example pictures that a style lacks
OUT     ?= dist
SITE    ?= site# where `make dist` publishes
SERVER  ?=# address of the brushlet server for the site; none: beside the page
ALLOW_ORIGIN ?=# another site whose pages may load the site's bundle
HOST    ?= 127.0.0.1
PORT    ?= 8000
SD15    ?=# 1: `make bench` at the size of Stable Diffusion 1.5, 10 GB and half an hour
DEVICE  ?= cpu# cpu or gpu: which onnxruntime is installed

VENV := .venv
PY   := $(VENV)/bin/python
DONE := $(VENV)/.done-$(strip $(DEVICE))
PAGE := web/dist

.PHONY: help setup demo test check train export serve page dist parity bench model-report clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 16

setup: $(DONE) web/node_modules/.done ## install what is needed (Python packages, npm packages, a Chromium for the tests)
	@tests/chromium >/dev/null

$(DONE): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python >= 3.11 is needed; PYTHON=python3.12 names another one" >&2; exit 1; }
	@$(PY) -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear $(VENV) || { echo "Python's venv is needed (Debian: apt-get install python3-venv)" >&2; exit 1; }
	$(PY) -m pip install --quiet --upgrade pip
	@# onnxruntime and onnxruntime-gpu install the same files: the other one goes first
	@if ls $(VENV)/.done-* >/dev/null 2>&1; then rm -f $(VENV)/.done-*; $(PY) -m pip uninstall --quiet --yes onnxruntime onnxruntime-gpu; fi
	$(PY) -m pip install --quiet --editable '.[$(strip $(DEVICE)),dev]'
	touch $@

web/node_modules/.done: web/package-lock.json
	@node -e 'const [a, b] = process.versions.node.split("."); process.exit(a < 20 || (a == 20 && b < 19) ? 1 : 0)' || { echo "Node >= 20.19 is needed" >&2; exit 1; }
	cd web && npm ci --no-audit --no-fund --loglevel=error
	touch $@

demo: $(DONE) page ## everything in one go: export the embedded styles, build the page, start the server
	for lora in miyazaki gothic cyberpunk; do $(MAKE) --no-print-directory export LORA=$$lora || exit; done
	$(MAKE) --no-print-directory serve

test: setup page ## run every test
	cd web && npm test
	CHROMIUM=$$(tests/chromium) $(PY) -m pytest --numprocesses auto --dist loadfile

check: setup ## types, style and formatting of Python and TypeScript
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	cd web && npm run --silent check

train: $(DONE) ## train LORA= on BASE= (DATA= a folder of your own pictures)
	$(PY) -m trainer "$(LORA)" --base "$(BASE)" $(if $(strip $(BASE_CONFIG)),--base-config "$(strip $(BASE_CONFIG))") $(if $(DATA),--data "$(DATA)")

# The default LoRA does not come with a recipe; one that was asked for does, and is an error.
export: NAMED = $(if $(and $(strip $(RECIPE)),$(filter file,$(origin LORA))),,$(LORA))
export: $(DONE) ## write LORA= (names under models/loras/ or paths: a or a:0.7,b:0.4) or RECIPE= into OUT= (MODE=external|merged, FORMAT=bundle|optimum|adapter, BASE=, BASE_CONFIG=, STYLE=, STRENGTH=, SLOTS=, DTYPE=fp32|fp16|q8|q4, EXAMPLES=1, FRESH=1)
	$(PY) -m exporter export $(if $(strip $(NAMED)),--lora "$(NAMED)") $(if $(strip $(RECIPE)),--recipe "$(strip $(RECIPE))") --format $(strip $(FORMAT)) $(if $(strip $(MODE)),--mode $(strip $(MODE))) --base "$(BASE)" $(if $(strip $(BASE_CONFIG)),--base-config "$(strip $(BASE_CONFIG))") --out "$(OUT)" $(if $(strip $(STYLE)),--name "$(strip $(STYLE))") $(if $(strip $(STRENGTH)),--strength $(STRENGTH)) $(if $(strip $(SLOTS)),--slots $(SLOTS)) $(if $(strip $(DTYPE)),--dtype $(strip $(DTYPE))) $(if $(strip $(EXAMPLES)),--examples) $(if $(strip $(FRESH)),--fresh)

page: web/node_modules/.done ## build the page into web/dist
	cd web && npm run --silent build

serve: $(DONE) ## serve the bundle in OUT= and the page on HOST= and PORT=
	$(PY) -m server --bundle "$(OUT)" --page $(PAGE) --host $(HOST) --port $(PORT)

dist: $(DONE) page ## gather bundle (OUT=) and page into SITE=, ready for a CDN (SERVER=https://..., ALLOW_ORIGIN=)
	$(PY) -m exporter dist --bundle "$(OUT)" --page $(PAGE) --out "$(strip $(SITE))" $(if $(strip $(SERVER)),--server "$(strip $(SERVER))") $(if $(strip $(ALLOW_ORIGIN)),--allow-origin "$(strip $(ALLOW_ORIGIN))")

parity: setup page ## hold every runtime against PyTorch and print the table of promises
	CHROMIUM=$$(tests/chromium) $(PY) -m tests.parity

bench: setup page ## measure, as ratios taken in one run (SD15=1: exports and steps at the size of Stable Diffusion 1.5)
	CHROMIUM=$$(tests/chromium) $(PY) -m benchmarks $(if $(strip $(SD15)),--sd15)

model-report: $(DONE) ## judge the embedded model and its LoRAs; writes models/report.json and report.png
	$(PY) -m models.report

clean: ## remove what was built and installed here
	rm -rf dist site $(PAGE) web/lib $(VENV) web/node_modules *.egg-info .mypy_cache .ruff_cache .pytest_cache
