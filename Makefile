# seawall: everything a newcomer or a machine needs to type. `make` alone prints this list.

CARGO ?= cargo
SOAK_SECONDS ?= 60
SOAK_ARGS ?=
PROPERTY_CASES ?= 100000
EXPLORE_SECONDS ?= 10
POWERCUT_SECONDS ?= 180
POWERCUT_ARGS ?=
OUT ?= reports/out
FEATURES = http prometheus tokio tracing
PEERS = scenarios/benches/peers/Cargo.toml
SEAWALL = $(CARGO) run --quiet --release --package seawall-scenarios --bin seawall --

.PHONY: help setup check features test soak properties explore powercut replay bench bench-instructions bench-peers report clean

help: ## this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 20

setup: ## fetch and build everything that the other targets need
	$(CARGO) build --locked --release --package seawall-scenarios --bin seawall
	$(CARGO) test --locked --workspace --no-run

soak: ## the main job: every strategy under every fault, a matrix of verdicts, a report in reports/out; then the properties
	$(CARGO) build --locked --release --package seawall-scenarios --bin seawall
	$(SEAWALL) soak --duration $(SOAK_SECONDS)s --out $(OUT) $(SOAK_ARGS)
	$(SEAWALL) properties --count $(PROPERTY_CASES)

properties: ## the property suites of breaker, registry and store alone
	$(CARGO) build --locked --release --package seawall-scenarios --bin seawall
	$(SEAWALL) properties --count $(PROPERTY_CASES)

powercut: ## what each journal mode and level of synchronous loses when the power is cut
	$(CARGO) build --locked --release --package seawall-scenarios --bin seawall
	$(SEAWALL) powercut --table --max-seconds $(POWERCUT_SECONDS) $(POWERCUT_ARGS)

explore: ## every scenario of the simulator on the linked SQLite, each execution twice and compared call by call
	$(CARGO) build --locked --release --package seawall-scenarios --bin seawall
	$(SEAWALL) explore all --twice --max-seconds $(EXPLORE_SECONDS) --out $(OUT)

test: replay ## all tests, after the runs that once failed
	$(CARGO) test --locked --workspace

replay: ## the committed regressions: runs that once failed must come out as expected
	$(CARGO) run --quiet --locked --package seawall-scenarios --bin seawall -- replay @scenarios/tests/regressions/tokens.txt @scenarios/tests/regressions/losses.txt

check: features ## format, lints, documentation, every feature alone and all together
	$(CARGO) fmt --all --check
	$(CARGO) fmt --manifest-path $(PEERS) --check
	rustfmt --edition 2024 --check scenarios/src/explore/scenarios/*.rs # a macro declares them, and cargo fmt does not see that
	$(CARGO) clippy --locked --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS='-D warnings' $(CARGO) doc --locked --workspace --no-deps

features: ## the connection layer without features, with each one alone, and with all
	$(CARGO) check --locked --package seawall --all-targets --no-default-features
	for feature in $(FEATURES); do \
	  $(CARGO) check --locked --package seawall --all-targets --no-default-features --features $$feature || exit; done
	$(CARGO) check --locked --package seawall --all-targets --all-features

bench: ## benches of the connection layer, the shim and the simulator
	$(CARGO) bench --locked --package seawall-scenarios --bench connections
	$(CARGO) bench --locked --package seawall-scenarios --bench store
	$(CARGO) bench --locked --package seawall-scenarios --bench shim
	$(CARGO) bench --locked --package seawall-scenarios --bench simulator

bench-instructions: ## the shim's and the layer's cost in instructions, against their budgets (needs valgrind)
	$(CARGO) bench --locked --package seawall-scenarios --bench instructions
	$(CARGO) bench --locked --package seawall-scenarios --bench layer_instructions

bench-peers: ## other pools against a bare mutex, and what they do about dirty transactions and replaced files
	$(CARGO) test --locked --release --manifest-path $(PEERS)
	$(CARGO) bench --locked --manifest-path $(PEERS)

report: ## render the last soak's record again
	$(SEAWALL) report $(OUT)/record.json --out $(OUT)

clean: ## remove what was built and rendered
	$(CARGO) clean
	$(CARGO) clean --manifest-path $(PEERS)
	rm -rf reports/out
