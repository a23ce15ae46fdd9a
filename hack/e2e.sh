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
read -ra args <<<"${TEST_ARGS:-}"
cd "$repo"
say "== cluster tier"
log=$(mktemp)
rc=0
# Tests wait for one another by what they claim, so that all may begin at once.
go test -tags e2e -count=1 -parallel 100 -timeout 25m -v "${args[@]}" ./e2e/cluster/ | tee "$log" || rc=$?
# The tests' lines are mixed, and a long way up. Of each thing that one has logged, the first lines say what it is.
awk '
  $1 == "===" { test = $3; next }
  $1 == "---" { if ($2 == "FAIL:") printf "== failed: %s\n%s", $3, said[$3]; next }
  /^ +[a-z_]+_test\.go:[0-9]+: / { lines = 0 }
  ++lines <= 12 { said[test] = said[test] $0 "\n" }
' "$log"
rm -f "$log"
exit "$rc"
