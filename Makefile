# The one door for developers: `make run` starts the gateway, `make test` proves it, `make help` lists the rest.
# All of it is idempotent: stamp files make a second call quick. Needs git, make, gcc, python3 with headers and venv, nothing else.

SHELL := /bin/sh
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PYTEST := $(BIN)/python -m pytest
DEBUG := build/debug
PLAIN := build/fuzz
RUNS ?= 500000
SECONDS ?= 0
TARGETS ?=
SCENARIOS ?=
WRITE ?=
COVERAGE_BAR ?= 95
JOBS ?= 2
DEBIAN_PACKAGES := postfix swaks bogofilter zstd slapd strace
CORE_SOURCES := setup.py $(wildcard src/esa_core/*.pyx src/esa_core/*.pxd src/esa_core/*.h src/esa_core/tables/*.py src/esa_core/tables/*.txt)

.PHONY: help install run test check bench conformance chaos core-debug fuzz coverage model clean debian-packages
.DELETE_ON_ERROR:

help:
	@echo 'make install      .venv with everything, the native core built'
	@echo 'make run          start the gateway on embedded defaults: SMTP 127.0.0.1:2525, health and metrics 127.0.0.1:8025, ./state'
	@echo 'make test         all that the tests need (Debian packages when root), make check, the whole suite'
	@echo 'make check        ruff, cython-lint, mypy strict, stubtest, import contracts'
	@echo 'make bench        benchmarks of core and library; the figures are written by the command'
	@echo 'make conformance  the shared packs, pack by pack'
	@echo 'make chaos        faults of disk, processes and next hops in their full size, each with its figure; SCENARIOS, WRITE=1'
	@echo 'make core-debug   the core with bounds checks, ASan and UBSan: its tests, the fuzzer's found inputs and all packs under it'
	@echo 'make fuzz         every parser under that build, guided by coverage, to RUNS=$(RUNS) executions each; goes on where it ended; SECONDS, TARGETS, WRITE=1'
	@echo 'make coverage     which lines of the core the tests run, line by line with gcov; the bar is $(COVERAGE_BAR) %'
	@echo 'make model        train the default model from the shared corpora'
	@echo 'make clean        remove what was built; .venv and state stay'

# --- environment and core -------------------------------------------------------------------------------------------------------------

$(VENV)/.packages: requirements-dev.lock
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --requirement requirements-dev.lock
	@touch $@

build/core.stamp: $(VENV)/.packages $(CORE_SOURCES)
	$(BIN)/python setup.py --quiet build_ext --inplace --parallel $(JOBS)
	@mkdir -p $(@D) && touch $@

$(VENV)/.installed: $(VENV)/.packages pyproject.toml | build/core.stamp
	ESA_CORE_BUILT=1 $(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

install: build/core.stamp $(VENV)/.installed

run: install
	exec $(BIN)/esa serve

# --- tests ----------------------------------------------------------------------------------------------------------------------------

# The servers are started by the tests themselves, on loopback: policy-rc.d keeps the packages from starting theirs.
debian-packages:
	@if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	  missing=$$(for package in $(DEBIAN_PACKAGES); do \
	    dpkg-query --show --showformat='$${Status}' $$package 2>/dev/null | grep -q 'ok installed' || echo $$package; done); \
	  if [ -n "$$missing" ]; then \
	    echo "installing" $$missing; \
	    policy=/usr/sbin/policy-rc.d; kept=0; [ -e $$policy ] && kept=1; \
	    [ $$kept = 1 ] || { printf '#!/bin/sh\nexit 101\n' > $$policy && chmod 755 $$policy; }; \
	    echo 'postfix postfix/main_mailer_type select No configuration' | debconf-set-selections; \
	    { apt-get -qq update && DEBIAN_FRONTEND=noninteractive apt-get -qq install --yes --no-install-recommends $$missing >/dev/null; }; \
	    done=$$?; [ $$kept = 1 ] || rm -f $$policy; exit $$done; \
	  fi; \
	else echo 'not root: tests that need $(DEBIAN_PACKAGES) use what is installed'; fi

# Tests that measure the machine or kill processes (marker `serial`) run alone, after the others.
test: debian-packages check $(PLAIN)/fuzz.stamp
	$(PYTEST) -n $(JOBS) --dist loadfile -m 'not serial' tests
	$(PYTEST) -m serial tests || [ $$? = 5 ]  # 5: no test bears the marker

# All gates are run, whichever fails, and the failing ones are named at the end.
check: install
	@failed=; gate() { echo "- $$*"; PATH="$(CURDIR)/$(BIN):$$PATH" "$$@" || failed="$$failed, $$*"; }; \
	gate ruff check --quiet .; \
	gate ruff format --quiet --check .; \
	gate cython-lint src/esa_core tests/fuzz/native; \
	gate mypy; \
	gate mypy models; \
	gate python -m mypy.stubtest --allowlist tests/stubtest.allow --ignore-unused-allowlist esa_core; \
	gate lint-imports --no-logo; \
	gate python -m pytest tests/test_layout.py; \
	[ -z "$$failed" ] || { echo "failed: $${failed#, }"; exit 1; }

bench: install
	$(PYTEST) --benchmark-only benchmarks

conformance: install
	$(BIN)/python -m tests.conformance

chaos: debian-packages install
	$(BIN)/python -m tests.chaos $(if $(WRITE),--write) $(SCENARIOS)

# --- the core under sanitizers --------------------------------------------------------------------------------------------------------

# gcc reports every edge and comparison to trace.o, which is linked into each module; engine.c drives the targets (tests/fuzz/native).
FUZZ := tests/fuzz/native

%/libesafuzz.so: $(FUZZ)/engine.c $(FUZZ)/engine.h
	@mkdir -p $(@D)
	gcc -O2 -g -Wall -Wextra -shared -fPIC $< -o $@ -ldl

%/trace.o: $(FUZZ)/trace.c $(FUZZ)/engine.h
	@mkdir -p $(@D)
	gcc -O2 -g -Wall -Wextra -fPIC -c $< -o $@

# Only sources are copied, with their times: what did not change is not built again. A new setup.py may bring new flags.
$(DEBUG)/core.stamp: $(VENV)/.packages $(CORE_SOURCES) $(wildcard src/esa_core/*.py) $(DEBUG)/libesafuzz.so $(DEBUG)/trace.o
	cmp -s setup.py $(DEBUG)/setup.py || rm -rf $(DEBUG)/src $(DEBUG)/build
	mkdir -p $(DEBUG)/src
	cp -p setup.py pyproject.toml README.md LICENSE $(DEBUG)/
	tar -C src --exclude='*.so' --exclude='*.c' --exclude=__pycache__ -cf - esa_core | tar -C $(DEBUG)/src -xf -
	cd $(DEBUG) && ESA_CORE_DEBUG=1 ESA_FUZZ_LIBRARY=$(CURDIR)/$(DEBUG) \
	  $(abspath $(BIN))/python setup.py --quiet build_ext --inplace --parallel $(JOBS)
	ln -sfn $(CURDIR)/src/esa $(DEBUG)/src/esa
	touch $@

FUZZ_SOURCES := $(FUZZ)/targets.pyx $(FUZZ)/setup.py $(FUZZ)/engine.h

$(DEBUG)/fuzz.stamp: $(DEBUG)/core.stamp $(FUZZ_SOURCES)
	ESA_CORE_DEBUG=1 ESA_FUZZ_LIBRARY=$(CURDIR)/$(DEBUG) ESA_CORE_SOURCES=$(CURDIR)/$(DEBUG)/src \
	  $(BIN)/python $(FUZZ)/setup.py --quiet build_ext --force --build-lib $(DEBUG)/src --build-temp $(DEBUG)/build
	touch $@

# The same targets beside the ordinary core, for a bounded run in `make test`.
$(PLAIN)/fuzz.stamp: build/core.stamp $(FUZZ_SOURCES) $(PLAIN)/libesafuzz.so
	ESA_FUZZ_LIBRARY=$(CURDIR)/$(PLAIN) ESA_CORE_SOURCES=$(CURDIR)/src \
	  $(BIN)/python $(FUZZ)/setup.py --quiet build_ext --force --build-lib $(PLAIN) --build-temp $(PLAIN)/build
	touch $@

# PYTHONMALLOC=malloc lets ASan see every Python object; the interpreter's own leaks at exit are not ours.
SANITIZED = PYTHONPATH=$(CURDIR)/$(DEBUG)/src PYTHONMALLOC=malloc \
  LD_PRELOAD="$$(gcc -print-file-name=libasan.so) $$(gcc -print-file-name=libubsan.so)" \
  ASAN_OPTIONS=detect_leaks=0:allocator_may_return_null=1:quarantine_size_mb=64 UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1

core-debug: install $(DEBUG)/fuzz.stamp
	$(SANITIZED) $(PYTEST) tests/core tests/fuzz tests/conformance

fuzz: install $(DEBUG)/fuzz.stamp
	$(SANITIZED) $(BIN)/python -m tests.fuzz --runs $(RUNS) --seconds $(SECONDS) --jobs $(JOBS) $(if $(WRITE),--write) $(TARGETS)

# --- which lines of the core the tests run -----------------------------------------------------------------------------------------------

COVERED := build/coverage

# First C is made, then each of its lines is told where it comes from (tests/coverage/lines.py), then it is compiled.
$(COVERED)/core.stamp: $(VENV)/.packages $(CORE_SOURCES) $(wildcard src/esa_core/*.py) tests/coverage/lines.py \
  $(COVERED)/libesafuzz.so $(COVERED)/trace.o
	cmp -s setup.py $(COVERED)/setup.py || rm -rf $(COVERED)/src $(COVERED)/build
	mkdir -p $(COVERED)/src
	cp -p setup.py pyproject.toml README.md LICENSE $(COVERED)/
	tar -C src --exclude='*.so' --exclude='*.c' --exclude=__pycache__ -cf - esa_core | tar -C $(COVERED)/src -xf -
	cd $(COVERED) && ESA_CORE_COVERAGE=1 $(abspath $(BIN))/python setup.py --quiet --name
	$(BIN)/python tests/coverage/lines.py $(COVERED)/src/esa_core
	cd $(COVERED) && ESA_CORE_COVERAGE=1 ESA_FUZZ_LIBRARY=$(CURDIR)/$(COVERED) \
	  $(abspath $(BIN))/python setup.py --quiet build_ext --inplace --parallel $(JOBS)
	ln -sfn $(CURDIR)/src/esa $(COVERED)/src/esa
	touch $@

$(COVERED)/fuzz.stamp: $(COVERED)/core.stamp $(FUZZ_SOURCES)
	ESA_FUZZ_LIBRARY=$(CURDIR)/$(COVERED) ESA_CORE_SOURCES=$(CURDIR)/$(COVERED)/src \
	  $(BIN)/python $(FUZZ)/setup.py --quiet build_ext --force --build-lib $(COVERED)/src --build-temp $(COVERED)/fuzz
	touch $@

coverage: install $(COVERED)/fuzz.stamp
	find $(COVERED)/build -name '*.gcda' -delete
	PYTHONPATH=$(CURDIR)/$(COVERED)/src $(PYTEST) tests/core tests/fuzz tests/engine tests/conformance
	$(BIN)/python -m tests.coverage $(COVERED)/build --bar $(COVERAGE_BAR) $(if $(WRITE),--write)

# --- artefacts ------------------------------------------------------------------------------------------------------------------------

model: install
	$(BIN)/python models/train_default.py

clean:
	rm -rf build dist src/*.egg-info .mypy_cache .ruff_cache .import_linter_cache .hypothesis .benchmarks
	rm -f src/esa_core/*.so src/esa_core/*.c src/esa_core/tables/*.h
	find src tests benchmarks models -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true
