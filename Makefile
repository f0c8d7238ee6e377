# Everything a developer types. `make` alone prints the list.
# What a target needs beyond Go, make and git stands in its line.

GO       ?= go
TOOL      = $(GO) tool -modfile=internal/tools/go.mod
VERSION  ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
LDFLAGS   = -s -w -X main.version=$(VERSION)
BINARIES  = streamd streamagent streamctl

# Modules below the main one. internal/tools only pins tools and has no code.
NESTED    = $(patsubst %/go.mod,%,$(shell git ls-files '*/go.mod'))
TESTED    = $(filter-out internal/tools,$(NESTED))

PKG      ?= ./...
FUZZTIME ?= 10s
BENCH    ?= .
BENCH_ROUNDS  ?= 3
BENCH_SECONDS ?= 3
CUTS     ?= 100000
SEEDS    ?= 10000
ROUNDS   ?= 30
MODES    ?= kcl2,native,native+peers
FAILOVER ?= 10s
FROM     ?= 1
OUTAGE   ?= 1s
FLEET    ?= 2500ms
SOAK     ?= 4s
RATE     ?= 500000
SPILLS   ?= always,pressure
KILLS    ?= 200
GAPS     ?= 15
FILES    ?= 20000
RELOADS  ?= 100
LOAD     ?= 10m
RATES    ?= 20,25,30,60
ARGS     ?=
ROWS     ?=

.DEFAULT_GOAL := help
.PHONY: help demo build package test race short fuzz bench microbench lint fmt tidy-check cover integration interop interop-long interop-smoke interop-tables failover outage outage-agent long-agent load-agent soak crash sim ci

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: build ## the whole product at work on real text; ARGS='--keep FILE...'
	bin/streamctl demo $(ARGS)

build: ## bin/streamd, bin/streamagent, bin/streamctl
	@for b in $(BINARIES); do \
		echo "build bin/$$b"; \
		CGO_ENABLED=0 $(GO) build -trimpath -ldflags '$(LDFLAGS)' -o bin/$$b ./cmd/$$b || exit 1; \
	done

# What git describes as a commit alone becomes a version that sorts before all.
PACKAGE_ARCH    ?= $(shell $(GO) env GOARCH)
PACKAGE_VERSION ?= $(shell echo '$(VERSION)' | sed -E 's/^v//; /^[0-9]+[.][0-9]/!s/^/0.0.0~git./; s/-/./g')

# Not part of ci: it would fetch 48 modules first, 64 MB, that nothing else there needs, and
# build nfpm of them, which takes 110 s of CPU time. The tests of cmd/streamagent hold what
# is packaged against the checkout.
package: ## bin/package/*.deb and *.rpm of streamagent; PACKAGE_ARCH=arm64 for another processor
	@mkdir -p bin/package
	CGO_ENABLED=0 GOOS=linux GOARCH=$(PACKAGE_ARCH) $(GO) build -trimpath -ldflags '$(LDFLAGS)' -o bin/package/streamagent ./cmd/streamagent
	cd agent/javaimport && CGO_ENABLED=0 GOOS=linux GOARCH=$(PACKAGE_ARCH) $(GO) build -trimpath -ldflags '-s -w' -o ../../bin/package/javaimport .
	@for p in deb rpm; do \
		PACKAGE_ARCH=$(PACKAGE_ARCH) PACKAGE_VERSION='$(PACKAGE_VERSION)' $(TOOL) nfpm package -f packaging/nfpm.yaml -p $$p -t bin/package || exit 1; \
	done

test: ## all tests of all modules
	CGO_ENABLED=0 $(GO) test -timeout 20m $(PKG)
	@for m in $(TESTED); do \
		echo "test module $$m"; \
		(cd $$m && CGO_ENABLED=0 $(GO) test ./...) || exit 1; \
	done

# One processor for each test binary: in a bubble of testing/synctest, Go 1.26
# lets several goroutines run timers in one context of the race detector at once,
# which now and then ends the process with SIGSEGV inside the detector. What it
# looks for are accesses that nothing orders; it needs no second processor.
race: ## all tests under the race detector; needs a C compiler
	CGO_ENABLED=1 $(GO) test -race -cpu 1 -timeout 20m $(PKG)

short: ## the quickest tests, without real processes
	CGO_ENABLED=0 $(GO) test -short $(PKG)

# `go test -fuzz` takes one target at a time. Go ends a run that is minimising
# when its time is up with "context deadline exceeded" and no failing input:
# that alone is tried again, twice at most; every other failure counts.
fuzz: ## each fuzz target for FUZZTIME (10s)
	@set -e; \
	list=$$(CGO_ENABLED=0 $(GO) test -list '^Fuzz' $(PKG)); \
	echo "$$list" | awk '/^Fuzz/ { t[n++] = $$1; next } /^ok/ { for (i = 0; i < n; i++) print $$2, t[i]; n = 0 }' > .fuzz.out; \
	trap 'rm -f .fuzz.out .fuzz-log.out' EXIT; \
	while read -r pkg target; do \
		echo "fuzz $$pkg $$target $(FUZZTIME)"; \
		for try in 1 2 3; do \
			if CGO_ENABLED=0 $(GO) test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) "$$pkg" > .fuzz-log.out 2>&1 < /dev/null; then \
				tail -n 1 .fuzz-log.out; break; \
			fi; \
			cat .fuzz-log.out; \
			if [ $$try = 3 ] || grep -q 'Failing input' .fuzz-log.out || ! grep -q 'context deadline exceeded' .fuzz-log.out; then exit 1; fi; \
		done; \
	done < .fuzz.out

bench: ## streamd beside a server that does nothing, and the disk; BENCH=regexp of rows, BENCH_ROUNDS, BENCH_SECONDS, ARGS=-long
	@mkdir -p bin
	CGO_ENABLED=0 $(GO) run ./integration/load/cmd/loadbench -rounds $(BENCH_ROUNDS) -seconds $(BENCH_SECONDS) \
		-rows '$(value BENCH)' -json bin/bench.json $(ARGS)

microbench: ## benchmarks of packages; BENCH=regexp PKG=./producer
	CGO_ENABLED=0 $(GO) test -run '^$$' -bench '$(value BENCH)' -benchmem $(PKG)

lint: ## golangci-lint, and vet for the other systems
	$(TOOL) golangci-lint run
	@for m in $(TESTED); do \
		echo "lint module $$m"; \
		(cd $$m && $(GO) tool -modfile=$(CURDIR)/internal/tools/go.mod golangci-lint run) || exit 1; \
	done
	GOOS=darwin CGO_ENABLED=0 $(GO) vet $(PKG)
	GOOS=windows CGO_ENABLED=0 $(GO) vet $(PKG)
	GOOS=darwin CGO_ENABLED=0 $(GO) test -c -o /dev/null ./agent/... ./cmd/streamagent
	GOOS=windows CGO_ENABLED=0 $(GO) test -c -o /dev/null ./agent/... ./cmd/streamagent
	GOOS=linux GOARCH=arm64 CGO_ENABLED=0 $(GO) vet $(PKG)
	GOOS=linux GOARCH=386 CGO_ENABLED=0 $(GO) vet ./producer/... # 32 bits

fmt: ## format all Go files
	$(TOOL) golangci-lint fmt

tidy-check: ## go.mod of every module is tidy, every file is gofumpt's
	$(GO) mod tidy -diff
	@for m in $(NESTED); do \
		echo "tidy-check $$m"; \
		(cd $$m && $(GO) mod tidy -diff) || exit 1; \
	done
	@bad=$$($(TOOL) gofumpt -l .); \
	if [ -n "$$bad" ]; then echo "not formatted, run make fmt:"; echo "$$bad"; exit 1; fi

cover: ## tests with coverage, total at the end; report in cover.out
	CGO_ENABLED=0 $(GO) test -short -coverpkg=./... -coverprofile=cover.out $(PKG)
	$(GO) tool cover -func=cover.out | tail -n 1

integration: ## real binaries, real clients, killed processes
	CGO_ENABLED=0 $(GO) test -count=1 -timeout 10m ./integration/...

failover: ## time what a fleet does ROUNDS (30) times in MODES (kcl2,native,native+peers): killed, stopped and new workers, splits
	CGO_ENABLED=0 $(GO) test -count=1 -timeout 6h -v -run '^TestFailover$$' ./integration -failover-rounds $(ROUNDS) -failover-modes $(MODES) -failover-time $(FAILOVER)

outage: ## log through an outage of OUTAGE (1s) at RATE (500000) bytes a second with SPILLS (always,pressure), and by four programs for FLEET (2500ms)
	CGO_ENABLED=0 $(GO) test -count=1 -timeout 6h -v -run '^TestLog(OutlivesAnOutage|sOfManyPrograms)$$' ./integration -log-outage $(OUTAGE) -log-fleet $(FLEET) -log-rate $(RATE) -log-modes $(SPILLS)

outage-agent: ## write and rotate a file of the agent through an outage of OUTAGE (1s) at RATE (500000) bytes a second
	CGO_ENABLED=0 $(GO) test -count=1 -timeout 6h -v -run '^TestAgentOutlivesAnOutage$$' ./integration -agent-outage $(OUTAGE) -agent-rate $(RATE)

long-agent: load-agent ## play SEEDS (10000) histories of files under the agent from seed FROM (1), kill it KILLS (200) times, GAPS (15) times with gaps in what is acknowledged, give it FILES (20000) in one directory, play RELOADS (100) histories of its configuration, and load-agent
	CGO_ENABLED=0 $(GO) test -count=1 -timeout 6h -run '^TestFilePrograms$$' ./agent -agent-seeds $(SEEDS) -agent-from $(FROM)
	CGO_ENABLED=0 $(GO) test -count=1 -timeout 6h -v -run '^TestManyFiles$$' ./agent -agent-files $(FILES)
	CGO_ENABLED=0 $(GO) test -count=1 -timeout 6h -v -run '^TestReloadUnderLoad$$' ./agent -reload-seeds $(RELOADS)
	CGO_ENABLED=0 $(GO) test -count=1 -timeout 6h -v -run '^TestAgentKilled(WithGaps)?$$' ./integration -kill-rounds $(KILLS) -gap-rounds $(GAPS)

# Every line stays in the stream until a run has counted them, and the last two minutes
# in files: 60 MB/s for ten minutes are 43 GB.
load-agent: ## have the agent read what is written at RATES (20,25,30,60) MB/s for LOAD (10m) each, 4 and 100 logs and bursts of 1,000,000 lines as fast as can be, and 1 MB/s for its delay, and count in the stream; 43 GB of disk
	CGO_ENABLED=0 $(GO) test -count=1 -timeout 6h -v -run '^TestAgent(Paced|ManyLogs|Bursts|Latency)$$' ./integration -load-rates $(RATES) -load-time $(LOAD) -load-rotate 1m \
		-load-bytes 400000000 -burst-lines 1000000 -latency-runs 100/100,100/20,1000/100 -latency-time 60s

soak: ## make, rotate, truncate and delete files of the agent at random for SOAK (4s) at RATE (500000) bytes a second
	CGO_ENABLED=0 $(GO) test -count=1 -timeout 26h -v -run '^TestAgentSoak$$' ./integration -agent-soak $(SOAK) -agent-rate $(RATE)

crash: ## cut the power of streamd's store CUTS times (100000), a quarter more on Pebble's disk
	cd streamd/internal/crashtest && CGO_ENABLED=0 $(GO) test -count=1 -timeout 6h -v -run '^TestPowerCut' . -cuts $(CUTS)

sim: ## play SEEDS (10000) histories of the producer, of fleets of consumers, of files under the agent and of log appenders from seed FROM (1), and as many of stamps and marks
	CGO_ENABLED=0 $(GO) test -count=1 -timeout 6h -v -run '^TestMarksInHistories$$' ./internal/aggregation -seeds $(SEEDS) -from $(FROM)
	CGO_ENABLED=0 $(GO) test -count=1 -timeout 6h -v -run '^TestSimulation$$' ./producer -sim-seeds $(SEEDS) -sim-from $(FROM)
	CGO_ENABLED=0 $(GO) test -count=1 -timeout 6h -v -run '^TestSpoolHistories$$' ./producer -spool-seeds $(SEEDS)
	CGO_ENABLED=0 $(GO) test -count=1 -timeout 6h -v -run '^TestSimulation$$' ./consumer -sim-seeds $(SEEDS) -sim-from $(FROM)
	CGO_ENABLED=0 $(GO) test -count=1 -timeout 6h -run '^TestFilePrograms$$' ./agent -agent-seeds $(SEEDS) -agent-from $(FROM)
	CGO_ENABLED=0 $(GO) test -count=1 -timeout 6h -v -run '^Test(AccountsAddUp|SpillAccounts|WriteAheadKeepsTheOrder)$$' ./logappender -seeds $(SEEDS) -seed-from $(FROM)

INTEROP = CGO_ENABLED=0 $(GO) run ./integration/interop/matrix/cmd/interop

# What a machine lacks is skipped, with the reason; INTEROP_REQUIRE=java,python,node
# makes a failure of it.
interop: ## the official clients against streamd, and docs/compatibility.md anew; needs java, maven, python3, node; ROWS=regexp, ARGS=-list, -capture
	$(INTEROP) -rows '$(value ROWS)' $(ARGS)

interop-long: ## the same with the rows that take longest, above all fleets of several versions in both languages
	$(INTEROP) -long -rows '$(value ROWS)' $(ARGS)

interop-smoke: ## the short form of it, which writes nothing
	$(INTEROP) -rows '$(value ROWS)' -smoke -write=false $(ARGS)

interop-tables: ## tables beside dynalite and moto, live, and their answers recorded anew; needs node, npm, python3, curl; TABLES=URL for another server
	sh integration/interop/tables.sh

ci: tidy-check lint build race ## what a change must pass; needs a C compiler
	$(MAKE) fuzz FUZZTIME=3s
	$(MAKE) integration
