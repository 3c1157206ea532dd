# GoHub's commands. `make help` lists them.

SHELL := /bin/bash -o pipefail
.DEFAULT_GOAL := help

VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
LDFLAGS := -s -w -X main.version=$(VERSION)
BIN := .build
# grpcnotrace leaves out gRPC's trace pages, and with them the packages that make the agent a quarter larger.
AGENT_FLAGS := -trimpath -tags grpcnotrace -ldflags '$(LDFLAGS)'

# golangci-lint is run by version, not as a tool of go.mod: its several hundred dependencies would decide the versions
# of the product's own.
GOLANGCI_LINT := go run github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0

.PHONY: help
help: ## list the commands
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  %-14s %s\n", $$1, $$2}'

.PHONY: run
run: build ## start a server and an agent on this machine; DB=timescaledb stores into TimescaleDB instead of SQLite
	@deploy/run $(BIN) "$(DB)"

.PHONY: build
build: web server agent ## build the dashboard, the server and the agent into .build

.PHONY: server
server:
	CGO_ENABLED=0 go build -trimpath -ldflags '$(LDFLAGS)' -o $(BIN)/gohub-server ./cmd/server

.PHONY: agent
agent:
	CGO_ENABLED=0 go build $(AGENT_FLAGS) -o $(BIN)/gohub-agent ./cmd/agent

.PHONY: agents
agents: ## build the agent for Linux, Windows and macOS into .build
	@for target in linux/amd64 linux/arm64 windows/amd64 windows/arm64 darwin/amd64 darwin/arm64; do \
		out=$(BIN)/gohub-agent-$${target%/*}-$${target#*/}; [ $${target%/*} = windows ] && out=$$out.exe; \
		echo "agent for $$target"; \
		CGO_ENABLED=0 GOOS=$${target%/*} GOARCH=$${target#*/} go build $(AGENT_FLAGS) -o $$out ./cmd/agent || exit 1; \
	done

# The dashboard is rebuilt only when a file of it is newer than its export.
WEB_SOURCES := $(shell find web -type f -not -path '*/node_modules/*' -not -path 'web/out/*' -not -path 'web/.next/*' 2>/dev/null)

.PHONY: web
web: web/out/index.html ## build the dashboard into web/out

web/node_modules/.package-lock.json: web/package.json web/package-lock.json
	cd web && npm ci --no-audit --no-fund
	@touch $@

web/out/index.html: web/node_modules/.package-lock.json $(WEB_SOURCES)
	cd web && NEXT_TELEMETRY_DISABLED=1 npm run build
	@touch $@

.PHONY: generate
generate: web/node_modules/.package-lock.json ## generate Go, TypeScript and OpenAPI from proto
	go generate ./...

.PHONY: timescaledb
timescaledb: ## provide a real TimescaleDB and print its URL
	@deploy/timescaledb/provide start

.PHONY: test
test: ## run all tests; installs what they need
	@deploy/test

.PHONY: lint
lint: web/node_modules/.package-lock.json ## run the linters
	$(GOLANGCI_LINT) run ./...
	cd web && npm run lint && npm run typecheck
	cd proto && PATH="$$PWD/../web/node_modules/.bin:$$PATH" buf lint

# Go shrinks each input that reaches new code for up to a minute, and tries no other meanwhile: on a target of some
# milliseconds a run, as a spool that syncs its files, that is all of FUZZTIME.
FUZZ_MINIMIZE := 1s

.PHONY: fuzz
fuzz: ## run every fuzz target for FUZZTIME (30s)
	@grep -rl --include=*_test.go '^func Fuzz' . --exclude-dir=node_modules | while read -r file; do \
		grep -oE '^func Fuzz[A-Za-z0-9_]+' $$file | while read -r _ name; do \
			go test -run '^$$' -fuzz "^$$name\$$" -fuzztime $(or $(FUZZTIME),30s) -fuzzminimizetime $(FUZZ_MINIMIZE) ./$$(dirname $$file) </dev/null || exit 1; \
		done || exit 1; \
	done

.PHONY: bench-program
bench-program: server
	go build -trimpath -o $(BIN)/gohub-bench ./cmd/bench

# BENCH_FLAGS makes runs shorter or other, as BENCH_FLAGS='--hosts 500 --pairs 2'.
.PHONY: bench
bench: bench-program ## run the micro-benchmarks, then measure a server; figures also go to .build/bench.json
	go test -run '^$$' -bench . -benchmem ./...
	$(BIN)/gohub-bench all --json $(BIN)/bench.json $(BENCH_FLAGS)

.PHONY: bench-outage
bench-outage: bench-program ## take the database away for 10 minutes under 1,000 agents, and see it drain
	$(BIN)/gohub-bench outage --json $(BIN)/bench-outage.json $(BENCH_FLAGS)

.PHONY: bench-query
bench-query: bench-program ## fill a database with 4,000 hosts, and ask it what people and TSBS ask
	$(BIN)/gohub-bench query --json $(BIN)/bench-query.json $(BENCH_FLAGS)

.PHONY: bench-soak
bench-soak: bench-program ## stream from 5,000 agents for 15 minutes, and see what grows
	$(BIN)/gohub-bench soak --json $(BIN)/bench-soak.json $(BENCH_FLAGS)

.PHONY: bench-live
bench-live: bench-program ## show a streaming fleet to 1,000 viewers, scrape it, ask for its last hour; each against plain ways to do it
	$(BIN)/gohub-bench live broadcast cluster scrape recent --json $(BIN)/bench-live.json $(BENCH_FLAGS)

.PHONY: chaos
chaos: server ## kill, freeze and cut off everything for 20 minutes, and check that each sample is stored once; CHAOS=--short is quick
	CGO_ENABLED=0 go build -trimpath -o $(BIN)/gohub-bench ./cmd/bench
	$(BIN)/gohub-bench chaos $(CHAOS)

.PHONY: clean
clean: ## remove what was built
	rm -rf $(BIN) web/.next web/node_modules
	find web/out -mindepth 1 -not -name .gitkeep -delete
