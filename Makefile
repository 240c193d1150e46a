# What a person or CI runs. `make help` lists the targets; `make demo` and `make test` install what they need.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
export MAKE

# The distribution's Python by preference: the collector runs as an unprivileged user, who may not be able
# to read one that lives in somebody's home directory.
PYTHON ?= $(firstword $(wildcard /usr/bin/python3) python3)
BIN := .venv/bin
# Each guest takes one host CPU (tests/vm/run --tcg), so `make test` runs them side by side.
KERNELS := 6.1 6.12
# What one kernel shows for all, the others need not.
WHOLE_KERNEL := 6.12
# From the oldest that is supported to the newest to be had: what every kernel must pass.
CORE_KERNELS := 5.10 6.1 newest
# Two at once, which take about as long.
LANES := test-most-$(WHOLE_KERNEL)+test-core-newest,test-unit+test-surfaces-$(WHOLE_KERNEL)+test-core-6.1+test-core-5.10
KERNEL ?= $(KERNELS)
MATRIX_KERNELS := 5.10 6.1 6.12 newest
MATRIX_RELEASES := bullseye bookworm trixie sid
C_FILES = $(shell find bpf -name '*.[ch]')

.PHONY: help
help: ## list the targets
	@sed -nE 's/^([a-z-]+):.*## (.*)/  make \1\t\2/p' Makefile | expand -t 24

.PHONY: demo
demo: ## show the tracer at work: live, or from a recording where that cannot be
	@tools/debian-packages || echo "demo: going on without these packages"
	@$(MAKE) --no-print-directory setup-python
	@$(MAKE) --no-print-directory setup-kernels || echo "demo: going on without guests"
	@$(BIN)/python -m tests.demo

.PHONY: test
test: setup ## everything: lint, unit and contract tests, live tests in guests of each kernel
	@tests/vm/kernel $(CORE_KERNELS)
	@tools/stages lint docs $(LANES)

.PHONY: setup setup-system setup-python setup-kernels
setup: setup-system setup-python setup-kernels ## install what demo and test need (Debian packages: as root)
setup-system:
	@tools/debian-packages
setup-python: .venv/installed ## only the virtual environment, in .venv
setup-kernels: setup-python
	@tests/vm/kernel $(KERNELS)

.venv/installed: pyproject.toml
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
	    { echo "setup: $(PYTHON) cannot make virtual environments; as root, run: apt-get install python3-venv" >&2; exit 1; }
	@echo "setup: installing into .venv"
	@$(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --disable-pip-version-check --progress-bar off -e '.[dev]'
	@touch $@

.PHONY: test-unit
test-unit: setup-python ## unit and contract tests, and those of the page in Chromium; on this machine, without root
	$(BIN)/python -m pytest tests/unit tests/contract tests/browser

.PHONY: test-live
test-live: $(KERNEL:%=test-live-%) ## live tests in guests; KERNEL=5.10 for another kernel
.PHONY: test-live-%
test-live-%: setup
	tests/vm/run --progress --timeout 2400 $* python -m tests.live
# The same in two guests that take as long as the rest of `make test` beside each.
.PHONY: test-most-%
test-most-%: setup
	tests/vm/run --progress --timeout 1500 $* python -m tests.live -m 'not surfaces'
.PHONY: test-surfaces-%
test-surfaces-%: setup
	tests/vm/run --progress --timeout 900 $* python -m tests.live -m surfaces
.PHONY: test-each-%
test-each-%: setup
	tests/vm/run --progress --timeout 1500 $* python -m tests.live -m 'not once'
.PHONY: test-core-%
test-core-%: setup
	@tests/vm/kernel $*
	tests/vm/run --progress --timeout 900 $* python -m tests.live -m core

TEST ?= tests/live/test_closing.py
.PHONY: test-one
test-one: setup-system setup-python ## a few live tests in one guest, in minutes: TEST="FILE -k NAME", KERNEL=6.1
	@tests/vm/kernel $(lastword $(KERNEL))
	tests/vm/run --progress --timeout 900 $(lastword $(KERNEL)) python -m pytest -v $(TEST)

MINUTES ?= 10
.PHONY: fuzz
fuzz: setup-python ## fuzz recordings, web inputs and decoding for MINUTES=10, on one core; states the inputs tried
	cd tests && ../$(BIN)/python -m fuzz --minutes $(MINUTES)

.PHONY: test-matrix
test-matrix: setup ## kernels × bcc, in guests: an hour; as root; writes docs/matrix.md; RESUME=1 runs what has not passed
	@tests/vm/kernel $(MATRIX_KERNELS)
	@tests/vm/headers $(KERNELS)
	@tests/vm/root $(MATRIX_RELEASES)
	$(BIN)/python -m tests.matrix --kernels $(MATRIX_KERNELS) --without-btf $(KERNELS) --roots $(MATRIX_RELEASES) \
	    $(if $(RESUME),--resume) --write docs/matrix.md

.PHONY: test-faults
test-faults: $(KERNEL:%=test-faults-%) ## what a trace survives, in guests, 10 minutes a kernel; KERNEL=6.1 for one
.PHONY: test-faults-%
test-faults-%: setup
	tests/vm/run --progress --timeout 2400 $* python -m pytest -v tests/survival

.PHONY: deb
deb: setup-python ## build the Debian package in dist/; needs debhelper, dh-python and dpkg-dev
	packaging/build-deb

.PHONY: test-fleet
test-fleet: setup deb ## package, container, and two hosts under one Prometheus, in guests: half an hour; as root
	@tests/vm/image
	tests/vm/run --progress --timeout 2400 6.12 python -m pytest -v tests/fleet
	$(BIN)/python -m tests.fleet

.PHONY: series
series: setup ## count the series of a host, in a guest: what docs/fleet.md reckons with
	tests/vm/run --progress --timeout 1200 6.12 python -m tests.fleet.series

.PHONY: lint
lint: setup-system setup-python ## style, types, import layers, C format
	@status=0 failed=; check() { echo "$$@"; "$$@" || { status=1; failed+=" $${1##*/}"; }; }; \
	check $(BIN)/ruff check . tests/vm/run; \
	check $(BIN)/ruff format --check . tests/vm/run; \
	check $(BIN)/mypy --strict tcptrace tests dashboards; \
	check $(BIN)/mypy --strict --scripts-are-modules tests/vm/run; \
	check $(BIN)/lint-imports; \
	check clang-format --dry-run -Werror $(C_FILES); \
	echo "lint: $${failed:+failed:}$${failed:-no findings}"; exit $$status

.PHONY: format
format: setup-system setup-python ## format Python and C
	$(BIN)/ruff check --fix-only --exit-zero . tests/vm/run
	$(BIN)/ruff format . tests/vm/run
	clang-format -i $(C_FILES)

.PHONY: clean
clean: ## remove what was built and cached, .venv and the guests' kernels included
	rm -rf .venv .vm build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Its authors' notice of what may come after MkDocs 1; the version is bounded in pyproject.toml.
DOCS := NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs
.PHONY: docs
docs: setup-python ## build the documentation into build/site; fails on a broken link or anchor
	$(DOCS) build --strict
.PHONY: docs-serve
docs-serve: setup-python ## show the documentation on 127.0.0.1:8000 while it is written
	$(DOCS) serve --strict

.PHONY: lives
lives: setup ## record the lives that docs/handshake.md tells, in a guest; LIVES=NAME… for some
	@mkdir -p tests/data/lives
	tests/vm/run --progress --timeout 900 --rwdir tests/data/lives 6.12 \
	    python -m tests.manual.lives --to tests/data/lives $(LIVES)
	$(BIN)/python -m tests.manual

.PHONY: screenshots
screenshots: setup ## draw docs/img anew, from commands traced in a guest; needs fonts-dejavu-core
	$(BIN)/python -m tests.screens
	$(BIN)/python -m tests.screens.top
	$(BIN)/python -m tests.screens.dashboards
	$(BIN)/python -m tests.screens.page

.PHONY: recordings
recordings: setup ## record every alert's fault in a guest, into tests/data/faults; FAULTS=NAME… for some
	tests/vm/run --progress --timeout 1800 --rwdir tests/data/faults 6.12 python -m tests.faults $(FAULTS)

.PHONY: reliability
reliability: setup ## compare with the kernel's figures, under load and faults, on every kernel: docs/reliability.md
	@tests/vm/kernel $(CORE_KERNELS)
	$(BIN)/python -m tests.reliability $(sort $(KERNELS) $(CORE_KERNELS))

.PHONY: bench
bench: setup ## what tracing costs, against its peers: docs/performance.md; PARTS="userland scrape" for some parts
	@tests/vm/headers $(KERNELS)
	@tests/vm/root trixie || echo "bench: going on without peers of a newer release"
	@$(BIN)/python -m tests.bench $(PARTS)

.PHONY: test-histories
test-histories: setup-python ## replay 10,000 generated histories, legal and with losses; HISTORIES=N for another number
	HISTORIES=$(or $(HISTORIES),10000) $(BIN)/python -m pytest tests/unit/lifecycle -k properties

.PHONY: soak
soak: setup-python ## a day of churn, 100 million events, without a kernel: does memory stay flat? EVENTS=N for less
	$(BIN)/python -m tests.soak $(if $(EVENTS),--events $(EVENTS))
