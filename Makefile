# Every target sets up what it needs. `make help` lists them.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
UV     := $(BIN)/uv
STAMP  := $(VENV)/.ready

.DEFAULT_GOAL := help
.PHONY: help setup

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

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
SERVICES := fovea/encoder/v1/encoder.proto fovea/decoder/v1/decoder.proto
PROTOC   := $(BIN)/python -m grpc_tools.protoc -Iprotos
proto: $(STAMP) ## check the contract and generate the Python stubs
	$(BIN)/buf lint protos
	$(PROTOC) --plugin=protoc-gen-mypy=$(BIN)/protoc-gen-mypy --python_out=. --mypy_out=quiet:. $(PROTOS)
	$(PROTOC) --plugin=protoc-gen-mypy_grpc=$(BIN)/protoc-gen-mypy_grpc --grpc_python_out=. --mypy_grpc_out=quiet:. $(SERVICES)

lock: $(UV) ## pin the dependencies anew
	$(UV) pip compile pyproject.toml --extra encoder --extra decoder --extra dev --generate-hashes \
	  --no-emit-index-url --no-header --python-version 3.11 --universal --quiet --output-file requirements.lock
