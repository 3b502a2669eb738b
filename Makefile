# peer-observer: `make help` lists the targets.

GO ?= go

# The linter is built from source into a cache outside the tree, once a version.
GOLANGCI_LINT_VERSION := v2.15.0
CACHE := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/peer-observer
GOLANGCI_LINT := $(CACHE)/tools/golangci-lint-$(GOLANGCI_LINT_VERSION)/golangci-lint

# So is the packager.
NFPM_VERSION := v2.45.2
NFPM := $(CACHE)/tools/nfpm-$(NFPM_VERSION)/nfpm

# Where `make packages` puts what it makes.
DIST ?= dist
# What it makes; `make packages ARCHITECTURES=amd64 PACKAGERS=deb` for some.
ARCHITECTURES ?= amd64 arm64
PACKAGERS ?= deb rpm

# How long each fuzz target runs.
FUZZTIME ?= 30s
# Packages to test; `make test PACKAGES=./proto/...` for some.
PACKAGES ?= ./...
# The package that is tested behind the others: it waits for alerts on a node that works
# hard, in time that runs 30 times as fast.
ALONE := github.com/peerobserver/peerobserver/lab/scenario
# More flags for go test, such as -v.
TESTFLAGS ?=

VERSION := $(or $(shell git describe --tags --always --dirty 2>/dev/null),unknown)
VERSION_PACKAGE := github.com/prometheus/common/version
LDFLAGS := -s -w \
	-X $(VERSION_PACKAGE).Version=$(VERSION) \
	-X $(VERSION_PACKAGE).Revision=$(shell git rev-parse HEAD 2>/dev/null) \
	-X $(VERSION_PACKAGE).Branch=$(shell git rev-parse --abbrev-ref HEAD 2>/dev/null)

.DEFAULT_GOAL := help

.PHONY: help
help: ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  %-10s %s\n", $$1, $$2}'

.PHONY: build
build: ## Build the program: ./peer-observer, static
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '$(LDFLAGS)' -o peer-observer ./cmd/peer-observer

# Packages have a version that can be compared: that of the tag, or 0.0.0 and the day.
PACKAGE_VERSION ?= $(or $(patsubst v%,%,$(shell git describe --tags --exact-match --match 'v[0-9]*' 2>/dev/null)),\
	0.0.0+git$(shell git log -1 --format=%cd.%h --date=format:%Y%m%d 2>/dev/null))
# Times in the packages, so that the same source makes the same bytes.
SOURCE_DATE_EPOCH ?= $(or $(shell git log -1 --format=%ct 2>/dev/null),0)
export SOURCE_DATE_EPOCH

.PHONY: programs
programs: ## Build dist/: the static programs for amd64 and arm64
	mkdir -p $(DIST)
	for arch in $(ARCHITECTURES); do \
		GOARCH=$$arch CGO_ENABLED=0 $(GO) build -trimpath -ldflags '$(LDFLAGS)' \
			-o $(DIST)/peer-observer-linux-$$arch ./cmd/peer-observer || exit; \
	done

.PHONY: packages
packages: programs $(NFPM) ## Build dist/: the static programs, and deb and rpm with them
	rm -f $(DIST)/*.deb $(DIST)/*.rpm $(DIST)/SHA256SUMS
	gzip -9nc deploy/packages/peer-observer.1 >$(DIST)/peer-observer.1.gz
	for arch in $(ARCHITECTURES); do for packager in $(PACKAGERS); do \
		DIST=$(DIST) ARCH=$$arch PACKAGE_VERSION='$(strip $(PACKAGE_VERSION))' $(NFPM) package \
			--config deploy/packages/nfpm.yaml --packager $$packager --target $(DIST)/ || exit; \
	done; done
	cd $(DIST) && sha256sum peer-observer[-_]* >SHA256SUMS

$(NFPM):
	@echo "building nfpm $(NFPM_VERSION), once, about half a minute …"
	GOBIN=$(dir $@) $(GO) install github.com/goreleaser/nfpm/v2/cmd/nfpm@$(NFPM_VERSION)

.PHONY: run
run: build ## Observe the bitcoind of this machine, or a local regtest pair where none runs
	./peer-observer lab demo

.PHONY: test
test: setup lint ## Everything that a change must pass: setup, lint, all tests with the race detector
	@all=$$($(GO) list $(PACKAGES)) || exit; \
		others=$$(echo "$$all" | grep -vxF '$(ALONE)'); alone=$$(echo "$$all" | grep -xF '$(ALONE)'); status=0; \
		if [ -n "$$others" ]; then $(GO) test -race -p 2 -timeout 30m $(TESTFLAGS) $$others || status=$$?; fi; \
		if [ -n "$$alone" ]; then $(GO) test -race -timeout 40m $(TESTFLAGS) $$alone || status=$$?; fi; \
		exit $$status

.PHONY: lint
lint: $(GOLANGCI_LINT) ## Check format, go vet and the rules of .golangci.yml
	@unformatted=$$(git ls-files -co --exclude-standard '*.go' | xargs -r gofmt -l); \
		if [ -n "$$unformatted" ]; then echo "not formatted (run gofmt -w):" $$unformatted; exit 1; fi
	$(GO) vet $(PACKAGES)
	$(GOLANGCI_LINT) run $(PACKAGES)

$(GOLANGCI_LINT):
	@echo "building golangci-lint $(GOLANGCI_LINT_VERSION), once, about two minutes …"
	GOBIN=$(dir $@) $(GO) install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(GOLANGCI_LINT_VERSION)

.PHONY: fuzz
fuzz: ## Run every fuzz target for FUZZTIME (30s)
	.ci/fuzz $(FUZZTIME)

.PHONY: bench
bench: ## Run the benchmarks
	$(GO) test -run '^$$' -bench . -benchmem $(PACKAGES)

.PHONY: scale
scale: ## Measure what a fleet costs its hub and its Prometheus (docs/scale.md)
	$(GO) test -run '^$$' -bench BenchmarkScale -benchtime 1x -timeout 40m ./deploy/fleet

# How long each kind of honest traffic goes on in `make detection`, in the rules' time.
HONEST ?= 30m
# What it provokes once more with the rules as they are: scenarios or rules between commas,
# or all, which takes hours; nothing for a few.
UNSCALED ?=
DETECTION := lab/detection/testdata/results.jsonl

.PHONY: detection
detection: setup ## Provoke every alert, and write docs/detection.md; needs root and a quiet machine
	results=$$(mktemp) && status=0; \
		PEER_OBSERVER_TEST_RESULTS=$$results PEER_OBSERVER_TEST_BACKGROUND=$(HONEST) PEER_OBSERVER_TEST_UNSCALED=$(UNSCALED) $(GO) test -count=1 -timeout 3h \
			-run 'Alert|StaySilent' $(TESTFLAGS) $(ALONE) || status=$$?; \
		mv $$results $(DETECTION) && chmod 644 $(DETECTION) && $(GO) test -count=1 -run TestReport ./lab/detection -update || status=$$?; \
		exit $$status

.PHONY: proto
proto: ## Generate Go types, Python types, field numbers and docs/events.md from proto/
	$(GO) run ./proto/generate

.PHONY: generate
generate: proto ## Generate all generated files: those of proto and the eBPF objects
	$(GO) generate ./...

.PHONY: docs
docs: proto ## Generate the pages of docs/ that follow from the code
	$(GO) generate ./exporters/... ./cmd/... ./dashboards/...

.PHONY: setup
setup: ## Install what the tests need (Debian, Ubuntu); does nothing when all is there
	@.ci/setup
