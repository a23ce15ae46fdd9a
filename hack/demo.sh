#!/usr/bin/env bash
# demo.sh up|down: shows Tidelay's main job on a kind cluster: a TidbCluster is annotated, its pods carry the agent, and
# one curl makes a pod's packets late. Then "kubectl tidelay" makes three zones and a slow PD leader.
#   up     makes the cluster and shows it. Prints each command before its output. What an earlier one left is cleared
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
  printf '\n$ %s\n' "$(typed "$@")"
  "$@"
}

# typed WORD...: the words as one would type them, in quotes where a shell needs that.
typed() {
  local word line=''
  for word; do
    [[ $word =~ ^[A-Za-z0-9_.,:/=@%+-]+$ ]] || word="'$word'"
    line+=" $word"
  done
  printf '%s\n' "${line# }"
}

# The cluster's pods have addresses on the node only, so ping and curl run there.
on_node() { show docker exec "$node" "$@"; }
ping_pod() { on_node ping -c 4 -i 0.2 "$ip"; }
agent() { on_node curl -sS -X "$1" "http://$ip:2332/$2" && echo; }

# The plugin's verbs, for the demo's TidbCluster.
tidelay() { show kubectl tidelay -n "$namespace" "$@"; }

# choose_size sets $pds, $tikvs and $tidbs. Real databases get as many as there is memory for: a TiKV takes about 1.5 GiB,
# and each of the others 0.5 GiB. Stand-ins take next to nothing.
choose_size() {
  local there available
  pds=3 tikvs=3 tidbs=2
  [[ $("$hack/cluster.sh" images) == public ]] || return 0
  there=$("$kubectl" -n "$namespace" get tidbcluster basic --ignore-not-found \
    -o 'jsonpath={.spec.pd.replicas} {.spec.tikv.replicas} {.spec.tidb.replicas}')
  if [[ -n $there ]]; then # it has its memory already
    read -r pds tikvs tidbs <<<"$there"
    return
  fi
  available=$(docker exec "$node" awk '/^MemAvailable/ {print int($2 / 1024 / 1024)}' /proc/meminfo)
  ((available >= 8)) || tikvs=1 tidbs=1
  say "$available GiB of memory are available: the TidbCluster gets $pds PD, $tikvs TiKV and $tidbs TiDB"
}

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
    replicas: $pds
    requests:
      storage: 1Gi
    config: {}
  tikv:
    baseImage: ${TIDELAY_TIKV_IMAGE:-pingcap/tikv}
    replicas: $tikvs
    requests:
      storage: 1Gi
    config: {}
  tidb:
    baseImage: ${TIDELAY_TIDB_IMAGE:-pingcap/tidb}
    replicas: $tidbs
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

# clear_left ends what a demo that was interrupted has left.
clear_left() {
  "$kubectl" -n "$namespace" delete networkfaults,networktopologies --all >/dev/null
  ip=$("$kubectl" -n "$namespace" get pod "$pod" --ignore-not-found -o 'jsonpath={.status.podIP}')
  [[ -z $ip ]] || docker exec "$node" curl -sS -o /dev/null -X DELETE "http://$ip:2332/latency" || true # none answers yet
}

# late_by_curl shows that the pods of an annotated TidbCluster have agents, and what one curl does.
late_by_curl() {
  title "Create an annotated TidbCluster"
  choose_size
  printf '\n$ kubectl apply -f - <<EOF\n%s\nEOF\n' "$(tidbcluster)"
  tidbcluster | kubectl apply -f -
  show kubectl -n "$namespace" wait --for=condition=Ready tidbcluster/basic --timeout=600s

  title "Its pods carry the agent"
  show kubectl -n "$namespace" get pods \
    -o 'custom-columns=POD:.metadata.name,IP:.status.podIP,CONTAINERS:.spec.containers[*].name'
  ip=$("$kubectl" -n "$namespace" get pod "$pod" -o 'jsonpath={.status.podIP}')

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
}

# far_apart shows what the plugin of kubectl does with all of a TidbCluster.
far_apart() {
  title "Three zones"
  show make plugin
  printf '\n$ export PATH=%s/bin:%s\n' "$repo" "\$PATH"
  export PATH="$repo/bin:$PATH"
  tidelay topology basic --spread 3 --profile three-az --wait=false # agents measure it beside what comes next
  show kubectl -n "$namespace" wait --for=condition=Applied networktopology/basic-topology --timeout=120s
  title "Round trips between all pods, asked and measured"
  tidelay matrix basic
  tidelay matrix basic -o html --file "$repo/bin/matrix.html"
  title "A slow PD leader on top"
  tidelay set basic 50ms --from 'pd(leader)' --to 'pd(follower)' --for 10m --wait
  tidelay status basic
  title "Clear"
  tidelay clear --all
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
  "$kubectl" create namespace "$namespace" --dry-run=client -o yaml | "$kubectl" apply -f - >/dev/null
  clear_left

  late_by_curl
  far_apart
  title "The cluster is yours: make demo-down deletes it, and make clean also what was built and started for it"
  printf '\nIn another shell:\n\n  export KUBECONFIG=%s PATH=%s/bin:%s\n  kubectl tidelay -n %s status basic\n' "$KUBECONFIG" "$repo" "\$PATH" "$namespace"
}

case ${1:-} in
  up) up ;;
  down) "$hack/cluster.sh" down ;;
  *) die "usage: demo.sh up|down" ;;
esac
