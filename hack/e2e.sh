#!/usr/bin/env bash
# e2e.sh: runs the cluster tier. Without E2E_KUBECONFIG it makes a kind cluster (see cluster.sh for its parameters), and
# deletes it afterwards if it was not there before.
#   E2E_KUBECONFIG   a cluster to use instead. It must have TiDB Operator and must be able to pull the images: the ones
#                    the manifests name, and TIDELAY_PINGER_IMAGE (tidelay/pinger:dev, made by images.sh). One test
#                    changes the label topology.kubernetes.io/zone of its nodes for some seconds
#   E2E_KEEP=1       keep the cluster that was made
#   TEST_ARGS        more arguments for go test, such as -run=TestLatency
set -euo pipefail
# shellcheck source=hack/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
# shellcheck source=hack/versions.env
source "$hack/versions.env"

export DB_VERSION=${TIDELAY_DB_VERSION:-$DB_VERSION}
pinger=${TIDELAY_PINGER_IMAGE:-tidelay/pinger:dev}

if [[ -n ${E2E_KUBECONFIG:-} ]]; then
  KUBECONFIG=$(realpath "$E2E_KUBECONFIG")
  export KUBECONFIG
else
  "$hack/images.sh" injector controller agent pinger
  KUBECONFIG=$("$hack/cluster.sh" kubeconfig)
  export KUBECONFIG
  if ! docker container inspect "${TIDELAY_CLUSTER:-tidelay}-control-plane" >/dev/null 2>&1 && [[ ${E2E_KEEP:-} != 1 ]]; then
    trap '"$hack/cluster.sh" down' EXIT
    export TIDELAY_CLUSTER_ENDS=1 # the tests leave it as it is then
  fi
  "$hack/cluster.sh" up
  "$hack/cluster.sh" load "$pinger"
fi

kubectl=$("$hack/program.sh" kubectl)
export TIDELAY_KUBECTL=$kubectl TIDELAY_PINGER_IMAGE=$pinger
step "build the plugin" "$hack/go-build.sh" "$repo/bin/kubectl-tidelay" ./cmd/kubectl-tidelay
export PATH="$repo/bin:$PATH" # where kubectl finds it
read -ra args <<<"${TEST_ARGS:-}"
cd "$repo"
say "== cluster tier"
# Tests wait for one another by what they claim, so that all may begin at once.
log=$cache/log/cluster-tier.log rc=0
go test -tags e2e -count=1 -parallel 100 -timeout 35m -v ./e2e/cluster/ "${args[@]}" 2>&1 | tee "$log" || rc=$?
((rc == 0)) && exit
say "== failed in the cluster tier; all that it printed is in $log"
failed_tests "$log" # again, where a reader of a long log looks
exit "$rc"
