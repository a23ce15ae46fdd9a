#!/usr/bin/env bash
# lint.sh: runs golangci-lint, which also enforces the import arrows, shellcheck, helm lint and go mod
# tidy -diff, and checks that what generate.sh makes is up to date.
set -euo pipefail
# shellcheck source=hack/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

"$hack/deps.sh" lint
cd "$repo"
step "go mod tidy -diff" go mod tidy -diff
step "shellcheck" shellcheck -x .ci/run hack/*.sh hack/offline/{*.sh,runc-capbound,node/*.sh}
for system in darwin windows; do # where people run the plugin
  step "vet the plugin for $system" env GOOS=$system go vet ./cmd/kubectl-tidelay
done
"$hack/generate.sh" --check
helm=$("$hack/program.sh" helm)
step "helm lint --strict" "$helm" lint --strict manifests/chart
lint=$("$hack/program.sh" golangci-lint)
"$lint" run ./...
cd "$hack/modules/oci" # a module of its own
"$lint" run ./...
