# `make help` lists the targets. The scripts in hack/ install what a target
# needs, if they run as root on Debian; elsewhere they say what is missing.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)

# How long each benchmark of the injector runs: a duration, or a number of
# operations such as 1000x.
BENCHTIME ?= 5s

# The suites of Debian whose kernels are tried: those with Linux 6.1, 6.12 and
# the newest.
KERNELS ?= bookworm trixie sid

export TIDELAY_VERSION := $(VERSION)
# The same flags for everything but -race, so that nothing is compiled twice.
export CGO_ENABLED := 0
export GOFLAGS := -trimpath

##@ Build
.PHONY: build
build: ## Build the injector, the controller and the agent as static binaries into bin/
	hack/go-build.sh bin/injector ./cmd/injector
	hack/go-build.sh bin/controller ./cmd/controller
	hack/go-build.sh bin/agent ./cmd/agent

.PHONY: plugin
plugin: ## Build the plugin of kubectl into bin/kubectl-tidelay; on the PATH it is "kubectl tidelay"; with PLATFORMS=linux/amd64,darwin/arm64 into dist/ instead, with a manifest for Krew
	hack/plugin.sh

.PHONY: images
images: ## Build tidelay/injector:dev, tidelay/controller:dev and tidelay/agent:dev, FROM scratch; with PLATFORMS=linux/amd64,linux/arm64 into dist/ instead
	hack/images.sh

.PHONY: generate
generate: ## Make the CRDs, the deep copies and docs/api.md from the types in pkg/apis, and docs/cli from the plugin
	hack/generate.sh

##@ Test
.PHONY: test
test: test-unit test-browser test-kernel test-apiserver ## Run the unit, browser, kernel and API-server tiers

.PHONY: test-unit
test-unit: ## Unit tests with -race, and the seeds of the fuzz targets; checks that every test is in a tier
	hack/tiers.sh
	hack/program.sh helm >/dev/null
	CGO_ENABLED=1 go test -race -count=1 ./...
	go -C hack/modules/oci test -count=1 ./...

.PHONY: test-browser
test-browser: ## Browser tier: the heat map of kubectl tidelay matrix, opened and printed by headless Chromium
	hack/deps.sh browser
	go test -tags browser -count=1 -timeout 10m ./pkg/plugin/heatmap/

.PHONY: test-kernel
test-kernel: ## Kernel tier: the agent in network namespaces, netem and nfqueue, measured by ping and TCP (root)
	hack/kernel-test.sh

.PHONY: test-kernels
test-kernels: ## The same for both engines on Debian's kernels, under QEMU; KERNELS=trixie for one
	hack/kernel-test.sh $(or $(KERNELS),$(error KERNELS names no suite of Debian, such as trixie))

.PHONY: test-apiserver
test-apiserver: ## API-server tier: the shipped manifests on a real kube-apiserver and etcd
	hack/deps.sh shells
	assets=$$(hack/kube-assets.sh); KUBEBUILDER_ASSETS=$$assets go test -tags apiserver -count=1 -parallel 32 -timeout 60m ./e2e/apiserver/

.PHONY: e2e
e2e: ## Cluster tier: kind and the real TiDB Operator, or the cluster of E2E_KUBECONFIG
	hack/e2e.sh

.PHONY: bench-agent
bench-agent: ## Measure the agent: time to set beside exec'ing tc, RTT error, throughput, memory; both engines (root)
	TEST_ARGS='-test.run=^$$ -test.bench=.' hack/kernel-test.sh

.PHONY: bench-injector
bench-injector: ## Measure the injector: admissions/s, p50, p99, memory (15 min); PEER=1 beside Istio's too (compiles long)
	hack/go-build.sh bin/injector ./cmd/injector
	TIDELAY_INJECTOR=$(CURDIR)/bin/injector go test -run '^$$' -bench . -skip BenchmarkController -benchtime $(BENCHTIME) -timeout 0 ./e2e/bench/
ifdef PEER
	cd e2e/peer && go test -run '^$$' -bench . -benchtime $(BENCHTIME) ./...
endif

.PHONY: bench-controller
bench-controller: ## Measure the controller with 1,000 TidbClusters on a real API server: time to apply, CPU, memory, requests (10 min)
	hack/go-build.sh bin/controller ./cmd/controller
	go test -run '^$$' -bench . -benchtime 100x ./pkg/networkfault/compile/ ./pkg/networkfault/decide/
	assets=$$(hack/kube-assets.sh); KUBEBUILDER_ASSETS=$$assets TIDELAY_CONTROLLER=$(CURDIR)/bin/controller \
		go test -run '^$$' -bench BenchmarkController -benchtime 1x -timeout 0 ./e2e/bench/

.PHONY: lint
lint: ## Run golangci-lint (import arrows included), shellcheck, helm lint and go mod tidy -diff; checks what make generate makes
	hack/lint.sh

##@ Cluster
.PHONY: cluster-up
cluster-up: ## Make a kind cluster with TiDB Operator and load the images
	hack/images.sh
	hack/cluster.sh up

.PHONY: cluster-down
cluster-down: ## Delete that cluster
	hack/cluster.sh down

.PHONY: demo
demo: ## Show the main job on a cluster: annotate, inject, curl, ping; and by the plugin three zones and a slow PD leader
	hack/demo.sh up

.PHONY: demo-down
demo-down: ## Delete the demo's cluster. make clean also ends the Docker engine that was started for it
	hack/demo.sh down

##@ Other
.PHONY: clean
clean: ## Delete the cluster, the images, what was built here and in the cache folder; end the Docker engine that was started here
	hack/clean.sh

.PHONY: help
help: ## List the targets
	@awk 'BEGIN {FS = ":.*##"} /^##@/ {printf "\n%s\n", substr($$0, 5)} /^[a-z0-9-]+:.*##/ {printf "  %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
