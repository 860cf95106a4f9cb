# Everything a developer runs, from a clone and Python 3.11 or newer. `make` alone lists it.

VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/installed
PROTO_FILES = $(wildcard proto/clearing/v1/*.proto)
SERVICE_FILES = $(shell grep -l '^service ' $(PROTO_FILES))

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help install demo test fuzz torture check lint types walls proto proto-check lint-proto bench clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

install: $(INSTALLED) ## Make the virtual environment .venv with the project and its tools

$(INSTALLED): pyproject.toml
	@python=; for candidate in $(PYTHON) python3.11 python3 python3.12 python3.13 python3.14; do \
		if $$candidate -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; \
		then python=$$candidate; break; fi; \
	done; \
	if [ -z "$$python" ]; then \
		echo 'Python 3.11 or newer, with its venv module, is needed (on Debian: apt-get install python3-venv).' >&2; \
		echo 'If it is installed under another name: make PYTHON=/path/to/python' >&2; exit 1; \
	fi; \
	[ -x $(BIN)/python ] || $$python -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade --editable '.[dev]'
	@touch $@

demo: $(INSTALLED) ## Three months of an alliance, from signed transactions to an audited settlement, in demo-output/
	$(BIN)/clearing demo --output demo-output

# Two at a time, a file each: most tests wait for processes half of the time.
test: $(INSTALLED) ## Run all tests, on a real PostgreSQL and real gRPC
	$(BIN)/pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder

fuzz: $(INSTALLED) ## A million mutated and random calls at the gateway's handlers; a share of it is in make test
	$(BIN)/python -m tests.fuzz

torture: $(INSTALLED) ## Some hundred kills of the gateway and of PostgreSQL under load, then make fuzz: half an hour
	$(BIN)/python -m tests.torture
	$(MAKE) fuzz

check: lint types walls proto-check lint-proto test ## Everything that must hold before a change is merged

lint: $(INSTALLED) ## Check style and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(INSTALLED) ## Check types
	$(BIN)/mypy

walls: $(INSTALLED) ## Check which folder imports which (contracts in pyproject.toml)
	$(BIN)/lint-imports --no-cache

# $(1) is the folder that receives clearing/v1/*_pb2.py and .pyi and, where there are services, *_pb2_grpc.py and .pyi.
define generate
$(BIN)/python -m grpc_tools.protoc --proto_path=proto --plugin=protoc-gen-mypy=$(BIN)/protoc-gen-mypy \
	--python_out=$(1) --mypy_out=quiet:$(1) $(PROTO_FILES)
$(BIN)/python -m grpc_tools.protoc --proto_path=proto --plugin=protoc-gen-mypy_grpc=$(BIN)/protoc-gen-mypy_grpc \
	--grpc_python_out=$(1) --mypy_grpc_out=quiet:$(1) $(SERVICE_FILES)
endef

proto: $(INSTALLED) ## Generate clearing/v1/ from proto/
	rm -f clearing/v1/*_pb2.py clearing/v1/*_pb2.pyi clearing/v1/*_pb2_grpc.py clearing/v1/*_pb2_grpc.pyi
	$(call generate,.)

proto-check: $(INSTALLED) ## Check that clearing/v1/ is what proto/ generates
	@rm -rf build/proto && mkdir -p build/proto
	$(call generate,build/proto)
	@diff --recursive --brief --exclude=__init__.py --exclude=__pycache__ --exclude=py.typed \
		clearing/v1 build/proto/clearing/v1 \
		|| { echo 'clearing/v1/ is not what proto/ generates: run `make proto` and commit the result.' >&2; exit 1; }

lint-proto: $(INSTALLED) ## Check the contract against buf's rules
	cd proto && ../$(BIN)/buf lint

bench: $(INSTALLED) ## Measure the clearing house on this machine
	$(BIN)/clearing bench

clean: ## Remove what make has made, except local data
	rm -rf $(VENV) build demo-output *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
