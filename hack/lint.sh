#!/usr/bin/env bash
# lint.sh: golangci-lint, which also enforces the import arrows; shellcheck; helm lint; and go.mod as `go mod tidy` would
# have it.
set -euo pipefail
# shellcheck source=hack/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
# shellcheck source=hack/programs.sh
source "$hack/programs.sh"

"$hack/deps.sh" lint
cd "$repo"
step "go mod tidy -diff" go mod tidy -diff
step "shellcheck" shellcheck -x .ci/run hack/*.sh hack/cluster/runc-capbound hack/node/*.sh
helm=$(helm_program)
step "helm lint --strict" "$helm" lint --strict manifests/chart
lint=$(golangci_lint_program)
say "golangci-lint $(module_version golangci-lint github.com/golangci/golangci-lint/v2)"
"$lint" run ./...
cd "$hack/modules/oci" # the one of these modules with more than imports in it
"$lint" run ./...
