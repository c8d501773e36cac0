# All targets work on a fresh clone: they create .venv and install what they need into it.
# PYTHON=python3.13 chooses the interpreter of .venv.
PYTHON ?= python3
BIN := .venv/$(if $(filter Windows_NT,$(OS)),Scripts,bin)
OUT ?= out
# Extras of the package that its tests use. A Python or a processor without wheels for some of them names fewer.
EXTRAS ?= bench,dask,data,mpi,plot,tables
export PIP_DISABLE_PIP_VERSION_CHECK := 1
# Bytecode is kept, also where the environment forbids it: tests and pages start many processes.
export PYTHONDONTWRITEBYTECODE :=

ORDINARY := not attack and not nvrtc and not cuda_host and not docstrings and not exhaustive and not site
QUICK := $(ORDINARY) and not slow
BESIDES := (attack or nvrtc or cuda_host or docstrings or slow) and not exhaustive
# Each worker begins with one half of the files and takes tests of the other when it is done: so most fixtures of a
# file are made once, and most kernels are compiled once.
PARALLEL := -n 2 --dist worksteal
# A worker has one core: threads of BLAS and OpenMP in each would wait for those of the other.
PYTEST := OPENBLAS_NUM_THREADS=1 OMP_NUM_THREADS=1 $(BIN)/python -m pytest $(PARALLEL)
# Time out after 10 minutes with a traceback of all threads; the remaining tests go on in a new process.
BOUNDED := -o faulthandler_timeout=600 -o faulthandler_exit_on_timeout=true

.PHONY: digits types-complete test test-changed test-slow test-more test-more-changed test-all test-oldest test-threads test-wheel test-aarch64 attack types lint format bench wheel sdist release-check docs links site docs-serve test-gpu bench-gpu gpu-first clean
.PHONY: changelog snapshots fuzz coverage mutants types-at-run-time

digits: .venv/ready  ## the notebook's two tables, and a short training with a plot
	$(BIN)/xpnet reproduce
	mkdir -p $(OUT)
	$(BIN)/xpnet train digits --hidden 64 --epochs 30 -o $(OUT)/digits.safetensors --plot $(OUT)/digits.png
	@echo "The model is $(OUT)/digits.safetensors, the loss by epoch $(OUT)/digits.png."

test: lint  ## the linter, and the tests of each change, on two cores; test-all adds the others
	$(PYTEST) $(BOUNDED) -m "$(QUICK)" --ignore=tests/installed

test-changed: .venv/ready  ## the tests of the folders that differ from main, or from another commit: make test-changed BASE=v0.1.0
	@tests="$$($(BIN)/python .ci/test-changed $(BASE))" && if [ -z "$$tests" ]; then echo "No test belongs to a changed file."; \
		else echo "pytest $$tests" && $(PYTEST) $(BOUNDED) -m "not attack and not nvrtc and not exhaustive and not site" $$tests; fi

test-slow: test  ## besides: what starts processes, a cluster or a C compiler, or reads large tables
	$(PYTEST) $(BOUNDED) -m "$(ORDINARY) and slow"

test-more: test  ## besides: what takes seconds a test, CUDA kernels on the host, docstrings, and a few rounds of each attack
	$(PYTEST) $(BOUNDED) -m "$(BESIDES)"

test-more-changed: test  ## of these, the tests of the folders that differ from a commit: make test-more-changed BASE=v0.1.0
	@tests="$$($(BIN)/python .ci/test-changed $(BASE))" && if [ -z "$$tests" ]; then echo "No test belongs to a changed file."; \
		else echo "pytest $$tests" && { $(PYTEST) $(BOUNDED) -m "$(BESIDES)" $$tests || [ $$? -eq 5 ]; }; fi

test-all: test-more  ## besides: all cases of what `make test` proves with a few
	$(PYTEST) $(BOUNDED) -m "exhaustive and not site"

attack: .venv/ready  ## the attacks that SECURITY.md lists, and CUDA kernels built with NVIDIA's compiler: about an hour
	$(BIN)/python -m pytest --attack -m "attack or nvrtc"

# tests/test_import_time.py is left out, since coverage itself imports what xpnet must not.
coverage: .venv/ready  ## which branches run in the tests of each change and in a few rounds of each attack: build/coverage/html
	$(BIN)/python -m pip install --quiet 'coverage>=7.10'
	rm -rf build/coverage
	mkdir -p build/coverage
	export NUMBA_CACHE_DIR="$$PWD/build/coverage/cache" OPENBLAS_NUM_THREADS=1 OMP_NUM_THREADS=1; \
		$(BIN)/python -m coverage run -m pytest $(PARALLEL) $(BOUNDED) -m "not nvrtc and not docstrings and not site and not exhaustive" \
		--ignore=tests/installed --ignore=tests/test_import_time.py; status=$$?; \
		$(BIN)/python -m coverage combine --quiet && $(BIN)/python -m coverage html --quiet && \
		$(BIN)/python -m coverage report && $(BIN)/python -m coverage json --quiet -o build/coverage/report.json && \
		$(BIN)/python .ci/branch-coverage build/coverage/report.json && exit $$status

ROOM ?= optimizers
SAMPLE ?= 50
SEED ?= 0
AGAIN ?=
mutants: .venv/ready  ## changes of operators and numbers that no test notices: make mutants ROOM=ops SEED=1; AGAIN=--again for those
	$(BIN)/python -m pip install --quiet cosmic-ray
	$(BIN)/python .ci/mutants $(ROOM) --sample $(SAMPLE) --seed $(SEED) $(AGAIN)

HARNESS ?= model_file checkpoint csv_text onnx_network onnx_table c_table encoder
SECONDS_EACH ?= 3600
fuzz: .venv/ready  ## inputs that reach new branches, for an hour each: make fuzz HARNESS=encoder SECONDS_EACH=60
	$(BIN)/python -m pip install --quiet atheris
	for harness in $(HARNESS); do \
		PYTHONPATH=tests OPENBLAS_NUM_THREADS=1 $(BIN)/python -m fuzz.run $$harness --seconds $(SECONDS_EACH) || exit 1; done

test-oldest: .venv/ready  ## the test suite with the oldest versions that pyproject.toml allows
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/python -m uv venv --quiet --clear --seed --python $(PYTHON) build/oldest
	$(BIN)/python -m uv pip install --quiet --python build/oldest --resolution lowest-direct --group test --editable '.[$(EXTRAS)]'
	build/oldest/$(notdir $(BIN))/python -m pytest $(PARALLEL) $(BOUNDED) -m "$(ORDINARY)"

test-threads: .venv/ready  ## each test of models, estimators and tables in four threads at once
	$(BIN)/python -m pip install --quiet 'pytest-run-parallel>=0.9'
	OPENBLAS_NUM_THREADS=1 OMP_NUM_THREADS=1 $(BIN)/python -m pytest $(BOUNDED) --parallel-threads=4 -m "$(QUICK)" \
		-o thread_unsafe_functions="$$(printf 'signal.*\npytest.MonkeyPatch.context\ntracemalloc.*')" \
		tests/models tests/estimators tests/tabular

TESTS ?= tests
SELECTED ?= $(QUICK)
test-wheel: wheel sdist  ## the tests of the source distribution on the installed wheel, far from the sources
	rm -rf build/installed
	mkdir -p build/installed/sdist
	tar -xzf "$$(ls -t dist/*.tar.gz | head -n 1)" --strip-components 1 -C build/installed/sdist
	$(PYTHON) -m venv build/installed/venv
	build/installed/$(BIN:.%=%)/python -m pip install --quiet --upgrade 'pip>=25.1'
	build/installed/$(BIN:.%=%)/python -m pip install --quiet --group build/installed/sdist/pyproject.toml:test "$$(ls -t dist/*.whl | head -n 1)[$(EXTRAS)]"
	mkdir build/installed/only
	mv build/installed/sdist/tests build/installed/sdist/pyproject.toml build/installed/only
	rm -rf build/installed/sdist
	cd build/installed/only && OPENBLAS_NUM_THREADS=1 OMP_NUM_THREADS=1 ../$(BIN:.%=%)/python -m pytest $(PARALLEL) $(BOUNDED) \
		-m "$(SELECTED) and not repository" $(TESTS)

test-aarch64: .venv/ready  ## xpnet, the Numba backend and the estimators on an emulated ARM processor: 15 minutes to an hour
	tests/aarch64/prepare.sh build/aarch64 $(BIN)/python
	build/aarch64/python -m pytest $(PARALLEL) -p no:cacheprovider tests/ops tests/layers tests/models tests/training \
		tests/steps tests/backends/test_kernels.py tests/backends/xpnet_numba tests/estimators

changelog: .venv/ready  ## the fragments in changes/ become part of CHANGELOG.md; DRAFT=--draft only shows them
	$(BIN)/python -m towncrier build --yes --version "$$($(BIN)/python -m hatchling version)" $(DRAFT)

snapshots: .venv/ready  ## the bits of 100 short trainings, on record for this kind of processor; changed ones need CHANGE="text in CHANGELOG.md"
	PYTHONPATH=tests $(BIN)/python -m helpers.snapshots --change "$(CHANGE)"

types: .venv/ready  ## the type checker, on xpnet, backends and benchmarks
	$(BIN)/python -m mypy

# A type that only a checker imports is left out, with a warning.
CHECKED := tests/ops tests/layers tests/optimizers tests/backend tests/dispatch tests/training tests/data \
	tests/estimators tests/tabular tests/modelfile tests/cli
types-at-run-time: .venv/ready  ## whether arguments, results and variables inside xpnet have the types that their annotations say
	$(BIN)/python -m pip install --quiet 'typeguard>=4.4'
	$(PYTEST) $(BOUNDED) -p helpers.types_at_run_time -W ignore::typeguard.TypeHintWarning -m "$(QUICK)" $(CHECKED)

types-complete: wheel  ## whether a checker knows the type of each public name, in an environment with the wheel
	$(PYTHON) -m venv build/typed
	build/typed/$(notdir $(BIN))/python -m pip install --quiet pyright "$$(ls -t dist/*.whl | head -n 1)[dask,data,onnx,plot]"
	PATH="$$PWD/build/typed/$(notdir $(BIN)):$$PATH" build/typed/$(notdir $(BIN))/pyright --ignoreexternal --verifytypes xpnet

lint: .venv/ready  ## the linter, the spelling, and whether the formatter would change a file
	$(BIN)/python -m ruff check
	$(BIN)/python -m ruff format --check
	$(BIN)/codespell --dictionary - --dictionary docs/contributing/words.txt

format: .venv/ready  ## format all Python files
	$(BIN)/python -m ruff format

bench: .venv/ready  ## a short run of every benchmark
	$(BIN)/xpnet bench --quick -o $(OUT)/bench

docs: .venv/docs  ## the documentation site, in docs/_build/html; warnings are errors
	OPENBLAS_NUM_THREADS=1 $(BIN)/python -m sphinx -j 2 -W --keep-going -q -b html docs docs/_build/html
	@echo "Open docs/_build/html/index.html, or: make docs-serve"

links: .venv/docs  ## whether every address that the pages name answers; needs a network
	OPENBLAS_NUM_THREADS=1 $(BIN)/python -m sphinx -q -b linkcheck docs docs/_build/links

site:  ## the built documentation in a browser, at two widths, light and dark: half a minute
	$(BIN)/python -m pytest -m site tests/site

docs-serve: docs  ## the site at http://127.0.0.1:8000
	$(BIN)/python -m http.server --bind 127.0.0.1 --directory docs/_build/html 8000

wheel: .venv/ready  ## dist/xpnet-*.whl
	$(BIN)/python -m hatchling build -t wheel

sdist: .venv/ready  ## dist/xpnet-*.tar.gz
	$(BIN)/python -m hatchling build -t sdist

release-check:  ## the checks of a package index, on wheel and sdist, which are built twice
	bash .ci/release-check

# A machine with a GPU may have no access to a package index: these run from the clone, with the interpreter that has CuPy.
GPU_RUN = $(PYTHON) tests/gpu/register.py build/gpu && PYTHONPATH=.:backends:bench:build/gpu $(PYTHON)

test-gpu:  ## tests that need an NVIDIA GPU and CuPy; fails where there is none
	$(GPU_RUN) -m pytest -m gpu tests/gpu

bench-gpu:  ## benchmarks on an NVIDIA GPU, in bench/results
	$(GPU_RUN) -m xpnet_bench --suite gpu -o bench/results/gpu

gpu-first:  ## all measurements and tests of a new card, in out/gpu-first
	$(GPU_RUN) tests/gpu/first_hour.py -o $(OUT)/gpu-first

# Created again only when pyproject.toml has changed.
.venv/ready: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "PYTHON must be Python 3.11 or newer; got $(PYTHON); name another with: make PYTHON=python3.13" >&2; exit 1; }
	@echo "Creating .venv and installing xpnet with its packages: a minute or two, once."
	@$(PYTHON) -m venv --clear .venv || \
		{ echo "$(PYTHON) cannot create an environment (on Debian: apt-get install python3-venv)." >&2; exit 1; }
	@$(BIN)/python -m pip install --quiet --upgrade 'pip>=25.1' && \
		$(BIN)/python -m pip install --quiet --group test --editable '.[$(EXTRAS)]' || \
		{ echo "The packages of pyproject.toml could not be installed. Check the network, and the index in pip's settings." >&2; exit 1; }
	@touch $@

.venv/docs: .venv/ready
	@$(BIN)/python -m pip install --quiet --group docs --editable '.[$(EXTRAS),onnx]'
	@touch $@

clean:  ## remove all files that can be created again
	rm -rf .venv build dist docs/_build docs/api/generated docs/auto_gallery $(OUT)
