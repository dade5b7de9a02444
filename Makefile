# `make` alone lists what there is. Everything that needs Postgres gets a fresh one of its own, in a
# private directory and on a free port, which is removed at the end (see e2e/postgres.sh).

SHELL := /bin/bash
CARGO ?= cargo
SECONDS ?= 60
SEEDS ?= 2000
export PATH := $(PATH):$(HOME)/.cargo/bin

WITH_POSTGRES := e2e/postgres.sh run
BENCHES := --bench agent --bench apply --bench hops --bench inbox --bench log --bench pages --bench route --bench sync

# Each end-to-end test starts several homeservers and plugins, with a dozen connections to Postgres each, and mostly waits for logs and
# deadlines: twice as many at once as there are processors.
export RUST_TEST_THREADS ?= $(shell n=$$((2 * $$(nproc))); echo $$((n < 8 ? n : 8)))

.PHONY: help demo test crashes bench sim sim-planted fuzz lint docs book deb guide containers screenshots build
.DEFAULT_GOAL := help

help: ## lists these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build:
	@e2e/tools.sh build
	$(CARGO) build --locked --workspace --bins

demo: build ## plays the story on real homeservers, a real DHT, a real Postgres and real Lightning nodes
	@e2e/tools.sh lightning >/dev/null || [ -z "$$CI" ]
	@$(WITH_POSTGRES) "$$(e2e/tools.sh bin-dir)/atomicity-demo"

# `cargo test` builds the programs too.
test: ## runs every test of the workspace
	@e2e/tools.sh build
	@e2e/tools.sh jose >/dev/null || [ -z "$$CI" ]
	@e2e/tools.sh browser >/dev/null || [ $$? -eq 3 ] || [ -z "$$CI" ]
	@e2e/tools.sh axe >/dev/null || [ $$? -eq 3 ] || [ -z "$$CI" ]
	@e2e/tools.sh promtool >/dev/null || [ $$? -eq 3 ] || [ -z "$$CI" ]
	@e2e/tools.sh lightning >/dev/null || [ -z "$$CI" ]
	$(WITH_POSTGRES) $(CARGO) test --locked --workspace

crashes: ## has everybody in a payment die before and after each commit, one after the other: an hour
	@e2e/tools.sh build
	@e2e/tools.sh lightning >/dev/null
	ATOMICITY_TEST_COMMITS=all $(WITH_POSTGRES) $(CARGO) test --locked --workspace --test all dies_at_any_commit

bench: ## prints the numbers of docs/PERFORMANCE.md
	@e2e/tools.sh build
	$(CARGO) build --locked --release --workspace --bins $(BENCHES)
	$(WITH_POSTGRES) --durable $(CARGO) bench --locked --workspace $(BENCHES)

sim: ## plays the simulator: make sim SEEDS=2000; for hours: target/release/atomicity-sim --minutes 240
	@e2e/tools.sh build
	$(CARGO) build --locked --release -p atomicity-sim
	"$$(e2e/tools.sh bin-dir | sed 's|/debug$$|/release|')/atomicity-sim" --seeds $(SEEDS)

sim-planted: ## shows that the simulator finds each of the bugs that can be planted
	@e2e/tools.sh build
	$(CARGO) test --locked --release -p atomicity-sim --features planted --test planted -- --nocapture

fuzz: ## feeds the decoders arbitrary bytes: make fuzz SECONDS=60 (for each of them)
	@e2e/tools.sh build
	@e2e/tools.sh fuzz
	fuzz/run.sh $(SECONDS)

lint: ## checks formatting and runs clippy, warnings are errors
	@e2e/tools.sh build
	@e2e/tools.sh lint
	$(CARGO) fmt --all --check
	$(CARGO) clippy --locked --workspace --all-targets -- -D warnings

docs: ## builds the documentation of the crates into target/doc
	@e2e/tools.sh build
	$(CARGO) doc --locked --workspace --no-deps

book: ## makes the site of the docs in target/book
	@e2e/tools.sh build
	packaging/book.sh

screenshots: ## takes the pictures of pages in docs/images anew
	@e2e/tools.sh build
	@e2e/tools.sh browser >/dev/null
	@e2e/tools.sh axe >/dev/null
	ATOMICITY_PICTURES=docs/images $(WITH_POSTGRES) $(CARGO) test --locked --workspace --test all -- pages:: operator:: shop::

deb: ## makes the Debian packages in target/debian: the wallet, and the sidecar for operators
	@e2e/tools.sh build
	packaging/deb.sh $(PROFILE)

guide: ## follows the guide for operators word by word on an empty Debian: minutes, needs root
	@e2e/tools.sh build
	e2e/guide/run.sh

containers: ## builds the images of docker/ and runs them as the compose file says, without an engine: minutes, needs root
	@e2e/tools.sh build
	e2e/containers/run.sh
