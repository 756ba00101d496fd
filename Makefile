# make quick: set up and run the bake-off.  make test: set up and test.  make setup: install only.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
PARALLEL := -n auto --dist loadfile

.PHONY: quick test test-reference kills fuzz load setup lint sanitize simulations clean

quick: setup
	$(BIN)/bakeoff run mnist-quick --resume

test: setup
	$(BIN)/python -m pytest $(PARALLEL)

# The same tests with the plain PyTorch operations in place of the kernels, but for those of disks, files and pages.
NOT_OF_KERNELS := tests/fuzz tests/studio tests/execute/test_kills.py tests/execute/test_full_disk.py
test-reference: setup
	BAKEOFF_BACKEND=reference $(BIN)/python -m pytest $(PARALLEL) $(NOT_OF_KERNELS:%=--ignore=%)

# Real runs killed 200 times at random points, compared bit for bit (12 to 20 minutes; make test kills 20 times).
kills: setup
	BAKEOFF_KILLS=200 $(BIN)/python -m pytest tests/execute/test_kills.py

# The loaders of files from strangers, 5 000 damaged files of each kind (about 30 minutes; make test tries 100 of each).
fuzz: setup
	BAKEOFF_FUZZ=5000 $(BIN)/python -m pytest -s tests/fuzz

# Twenty clients at the studio for 30 seconds, slow ones, and such that leave.
load: setup
	BAKEOFF_LOAD_S=30 $(BIN)/python -m pytest tests/studio/test_load.py

lint: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright

# Coverage, false winners and power of the statistics, drawn: writes docs/results/simulations.md (minutes).
simulations: setup
	$(BIN)/python scripts/simulate.py

# The C++ kernels under the address, undefined-behaviour and thread sanitizers (about two minutes).
sanitize: build/sanitize-address/ok build/sanitize-thread/ok

build/sanitize-address/ok: SANITIZE = address,undefined
build/sanitize-thread/ok: SANITIZE = thread
build/sanitize-%/ok: CMakeLists.txt $(wildcard csrc/* csrc/tests/*)
	cmake -S . -B $(@D) -DBAKEOFF_KERNEL_TESTS=ON -DBAKEOFF_SANITIZE=$(SANITIZE) -DCMAKE_BUILD_TYPE=RelWithDebInfo
	cmake --build $(@D)
	$(@D)/kernel_tests
	@touch $@

setup: $(STAMP)

$(STAMP): pyproject.toml CMakeLists.txt $(wildcard csrc/*)
	@$(PYTHON) -c 'import sys; sys.exit("bakeoff needs Python 3.11 or newer; set PYTHON=..." if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@

clean:
	rm -rf $(VENV) build dist .pytest_cache .ruff_cache .hypothesis
