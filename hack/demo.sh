#!/usr/bin/env bash
# demo.sh up|down: shows Tidelay's main job on a kind cluster: a TidbCluster is annotated, its pods carry the agent, and
# one curl makes a pod's packets late.
#   up     makes the cluster and shows it. Prints each command before its output
#   down   deletes the cluster. A Docker engine that was started for it stays; clean.sh ends that
# The parameters are those of cluster.sh.
set -euo pipefail
# shellcheck source=hack/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
# shellcheck source=hack/versions.env
source "$hack/versions.env"

namespace=tidelay-demo
pod=basic-tikv-0
node=${TIDELAY_CLUSTER:-tidelay}-control-plane

title() { printf '\n== %s\n' "$*"; }

# show COMMAND...: prints a command as one would type it, and runs it.
show() {
  printf '\n$ %s\n' "$*"
  "$@"
}

# The cluster's pods have addresses on the node only, so ping and curl run there.
on_node() { show docker exec "$node" "$@"; }
ping_pod() { on_node ping -c 5 -i 0.3 "$ip"; }
agent() { on_node curl -sS -X "$1" "http://$ip:2332/$2" && echo; }

tidbcluster() {
  cat <<EOT
apiVersion: pingcap.com/v1alpha1
kind: TidbCluster
metadata:
  name: basic
  namespace: $namespace
  annotations:
    tidelay.io/inject: "true"
spec:
  version: ${TIDELAY_DB_VERSION:-$DB_VERSION}
  timezone: UTC
  pvReclaimPolicy: Delete
  enableDynamicConfiguration: true
  configUpdateStrategy: RollingUpdate
  discovery: {}
  pd:
    baseImage: ${TIDELAY_PD_IMAGE:-pingcap/pd}
    replicas: 1
    requests:
      storage: 1Gi
    config: {}
  tikv:
    baseImage: ${TIDELAY_TIKV_IMAGE:-pingcap/tikv}
    replicas: 1
    requests:
      storage: 1Gi
    config: {}
  tidb:
    baseImage: ${TIDELAY_TIDB_IMAGE:-pingcap/tidb}
    replicas: 1
    service:
      type: ClusterIP
    separateSlowLog: false
    config: {}
EOT
}

# install puts Tidelay on the cluster. What was there before is restarted with the images just loaded.
install() {
  local before deployment
  before=$("$kubectl" -n tidelay-system get deployments -o name 2>/dev/null || true)
  show kubectl apply -k manifests
  for deployment in $before; do
    show kubectl -n tidelay-system rollout restart "$deployment"
  done
  for deployment in tidelay-injector tidelay-controller; do
    show kubectl -n tidelay-system rollout status "deployment/$deployment" --timeout=120s
  done
}

up() {
  cd "$repo"
  "$hack/images.sh"
  "$hack/cluster.sh" up
  KUBECONFIG=$("$hack/cluster.sh" kubeconfig)
  export KUBECONFIG
  kubectl=$("$hack/program.sh" kubectl)
  kubectl() { "$kubectl" "$@"; }

  title "Install Tidelay"
  printf '\n$ export KUBECONFIG=%s\n' "$KUBECONFIG"
  install

  title "Create an annotated TidbCluster"
  printf '\n$ kubectl apply -f - <<EOF\n%s\nEOF\n' "$(tidbcluster)"
  "$kubectl" create namespace "$namespace" --dry-run=client -o yaml | "$kubectl" apply -f - >/dev/null
  tidbcluster | kubectl apply -f -
  show kubectl -n "$namespace" wait --for=condition=Ready tidbcluster/basic --timeout=600s

  title "Its pods carry the agent"
  show kubectl -n "$namespace" get pods \
    -o 'custom-columns=POD:.metadata.name,IP:.status.podIP,CONTAINERS:.spec.containers[*].name'
  ip=$("$kubectl" -n "$namespace" get pod "$pod" -o 'jsonpath={.status.podIP}')

  docker exec "$node" curl -sS -o /dev/null -X DELETE "http://$ip:2332/latency" # of a demo that was interrupted
  title "Ping $pod from the node, before"
  ping_pod
  title "20 ms"
  agent GET latency/20ms
  ping_pod
  title "50 ms instead"
  agent GET latency/50ms
  ping_pod
  title "None"
  agent DELETE latency
  ping_pod
  title "The cluster is yours: make demo-down deletes it, and make clean also what was built and started for it"
}

case ${1:-} in
  up) up ;;
  down) "$hack/cluster.sh" down ;;
  *) die "usage: demo.sh up|down" ;;
esac
