#!/usr/bin/env bash
# capture.sh: writes pkg/injection/testdata/<component>/in.yaml again, from the pods that TiDB Operator makes in a kind
# cluster (see cluster.sh, which also says how to delete it). Afterwards write out.yaml again, and read the difference:
#   go test ./pkg/injection/ -run=TestGolden -update
# The cluster must reach this machine at the gateway of its network, as it does where the Docker engine runs on Linux.
set -euo pipefail
# shellcheck source=hack/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

KUBECONFIG=$("$hack/cluster.sh" kubeconfig)
export KUBECONFIG
"$hack/cluster.sh" up
gateways=$(docker network inspect kind -f '{{range .IPAM.Config}}{{println .Gateway}}{{end}}')
go -C "$repo" run ./e2e/capture -host "$(grep -m 1 -F . <<<"$gateways")" -out pkg/injection/testdata
