# The one door to the project. `make` alone prints what there is.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.ONESHELL:
.DELETE_ON_ERROR:
.NOTPARALLEL:
MAKEFLAGS += --no-print-directory

# A test run's full output, from which the closing count is taken.
TEST_LOG := target/test.log
SCRIPTS := packaging/scripts

.PHONY: help demo test check bench release package deps fmt clippy docs scripts tests audit

help:
	@echo 'make demo     two backends and the gateway on loopback, real requests, what came back'
	echo 'make test     everything CI runs; installs the tools that are missing'
	echo 'make check    the same, installing nothing'
	echo 'make bench    the side-by-side benchmark with the peers that are installed'
	echo 'make release  the program as it is shipped: target/pgo/sluicegate; PGO=no: in half of the time, target/plain/sluicegate'
	@echo 'make package  .deb and .rpm of it under dist/; BINARY=FILE packages that program, PACKAGE_VERSION=V sets the version'

demo:
	@$(SCRIPTS)/deps demo
	$(SCRIPTS)/demo

test: deps check

# From the quickest to the slowest, so that a slip is told early; the tests last, so that their count ends the output.
check: fmt scripts audit clippy docs tests

# Whether the program is optimised for what it runs under a load, which takes two builds: yes, no, or a file of counts from
# another build. bench and package go by it too.
PGO ?= yes
export PGO
PROGRAM := target/$(if $(filter no,$(PGO)),plain,pgo)/sluicegate

# What is measured is what is shipped. BENCH holds arguments: make bench BENCH='web --rounds 1 --only sluicegate,nginx', or ai,
# or streams; all without one.
BENCH ?=
bench:
	@$(SCRIPTS)/deps bench
	cargo build --release --locked --package sluicegate-bench --bins
	packaging/package/build $(PROGRAM)
	target/release/sluicegate-bench --gateway $(PROGRAM) $(BENCH)

release:
	@$(SCRIPTS)/deps release
	packaging/package/build $(PROGRAM)
	ls -l $(PROGRAM)

BINARY ?=
PACKAGE_VERSION ?=
package:
	@$(if $(BINARY),PGO=no )$(SCRIPTS)/deps package
	$(SCRIPTS)/package $(if $(BINARY),--binary '$(BINARY)') $(if $(PACKAGE_VERSION),--version '$(PACKAGE_VERSION)')

deps:
	@$(SCRIPTS)/deps all

fmt:
	@echo '== format'
	cargo fmt --all --check

scripts:
	@echo '== shell scripts'
	$(SCRIPTS)/lint

audit:
	@echo '== dependency audit'
	$(SCRIPTS)/audit

clippy:
	@echo '== clippy'
	cargo clippy --workspace --all-targets --locked -- -D warnings

# `--examples` (there are none) makes cargo resolve features as it does for tests; without it most crates build twice.
docs:
	@echo '== documentation'
	RUSTDOCFLAGS='-D warnings' cargo doc --workspace --no-deps --locked --lib --examples

# `build --all-targets` makes the programs and the test programs in one resolution of features, so that nothing is
# compiled twice; the runner then finds all of it made.
tests:
	@echo '== tests'
	cargo build --workspace --all-targets --locked
	$(SCRIPTS)/run-tests $(TEST_LOG)
