#!/usr/bin/env bash
# cluster.sh up|load [IMAGE...]|status|images|kubeconfig|down: a kind cluster with TiDB Operator, for tests and the demo.
#   up          makes the cluster, or repairs it. Where it runs, loads the images that have changed
#   load        loads Tidelay's images, or those named, from the Docker engine where they have changed
#   status      says what there is
#   images      prints where the cluster's images came from: public, or built, which has stand-ins for the databases
#   kubeconfig  prints the file that kubectl needs. ~/.kube/config is not touched
#   down        deletes the cluster
#
# Parameters, from the environment:
#   TIDELAY_CLUSTER         the cluster's name (tidelay)
#   TIDELAY_KUBECONFIG      the file to write (kubeconfig-<cluster> in the cache folder)
#   TIDELAY_IMAGES          where images come from: public (a registry), built (from Go modules and Debian packages), or
#                           auto (the default): those built earlier, else public, else built
#   TIDELAY_PULL_TIMEOUT    how many seconds auto waits for the registry's first answer (15)
#   TIDELAY_NODE_IMAGE      a node image, instead of those
#   TIDELAY_OPERATOR_IMAGE  TiDB Operator's image (pingcap/tidb-operator, at the version in modules/operator/go.mod)
#   TIDELAY_PD_IMAGE, TIDELAY_TIKV_IMAGE, TIDELAY_TIDB_IMAGE
#                           database images, without a tag (pingcap/pd, pingcap/tikv, pingcap/tidb)
#   TIDELAY_DB_VERSION      their tag (DB_VERSION in versions.env)
#   TIDELAY_INJECTOR_IMAGE, TIDELAY_CONTROLLER_IMAGE, TIDELAY_AGENT_IMAGE
#                           Tidelay's own images (tidelay/injector:dev, tidelay/controller:dev, tidelay/agent:dev)
set -euo pipefail
here=$(dirname "${BASH_SOURCE[0]}")
# shellcheck source=hack/lib.sh
source "$here/lib.sh"
# shellcheck source=hack/versions.env
source "$hack/versions.env"
# shellcheck source=hack/offline/programs.sh
source "$hack/offline/programs.sh"
# shellcheck source=hack/offline/images.sh
source "$hack/offline/images.sh"

cluster=${TIDELAY_CLUSTER:-tidelay}
node=$cluster-control-plane
kubeconfig=${TIDELAY_KUBECONFIG:-$cache/kubeconfig-$cluster}
images=${TIDELAY_IMAGES:-auto}
pull_timeout=${TIDELAY_PULL_TIMEOUT:-15}
operator_image=${TIDELAY_OPERATOR_IMAGE:-pingcap/tidb-operator:$(required modules/operator/go.mod github.com/pingcap/tidb-operator)}
db_version=${TIDELAY_DB_VERSION:-$DB_VERSION}
db_images=(
  "${TIDELAY_PD_IMAGE:-pingcap/pd}:$db_version"
  "${TIDELAY_TIKV_IMAGE:-pingcap/tikv}:$db_version"
  "${TIDELAY_TIDB_IMAGE:-pingcap/tidb}:$db_version"
)
# Only TidbClusters of the cluster tier have these. Where images are pulled, kubelet does it when such a pod starts.
more_db_images=("pingcap/tiflash:$db_version" "pingcap/ticdc:$db_version")
own_images=(
  "${TIDELAY_INJECTOR_IMAGE:-tidelay/injector:dev}"
  "${TIDELAY_CONTROLLER_IMAGE:-tidelay/controller:dev}"
  "${TIDELAY_AGENT_IMAGE:-tidelay/agent:dev}"
)

kube() { "$kubectl" --kubeconfig "$kubeconfig" "$@"; }
on_node() { docker exec "$node" "$@"; }

# What has been done to a cluster is noted in files on its node, so that the notes end with the cluster.
note() { docker exec -i "$node" dd status=none "of=$(note_file "$1")" <<<"$2"; }
noted() { on_node cat "$(note_file "$1")" 2>/dev/null; }
note_file() { printf '/kind/tidelay-%s\n' "${1//[^A-Za-z0-9.]/-}"; }

exists() { [[ -n $(docker ps --all --quiet --filter "name=^$node\$") ]]; }
# complete: the node runs, and the cluster was made to the end.
complete() { noted images >/dev/null; }
answers() { kube get --raw /readyz --request-timeout=5s >/dev/null 2>&1; }
# connect writes the kubeconfig, since the cluster may have been made with another cache folder.
connect() { "$kind" export kubeconfig --name "$cluster" --kubeconfig "$kubeconfig" 2>/dev/null; }

# pull IMAGE: waits $pull_timeout s for the registry's first answer, and without a limit once it has answered.
pull() {
  docker pull "$1" &
  puller=$! # not local: the trap outlives this function
  trap 'kill "$puller" 2>/dev/null || true' EXIT
  if ! poll "$pull_timeout" eval "grep -q 'Pulling from' '$log' || ! kill -0 $puller"; then
    echo "no answer within $pull_timeout s"
    exit 1
  fi
  wait "$puller"
}

# choose_images sets $images to public or built, and $node_image.
choose_images() {
  local public=${TIDELAY_NODE_IMAGE:-$KINDEST_NODE}
  case $images in
    auto)
      if [[ -z ${TIDELAY_NODE_IMAGE:-} ]] && "$hack/offline/node-image.sh" check >/dev/null; then
        say "using the images that were built here earlier (TIDELAY_IMAGES=public to pull instead)"
        images=built
      elif docker image inspect "$public" >/dev/null 2>&1; then
        images=public
      else
        attempt "pull ${public%@*}" pull "$public"
        images=public
        if ((status != 0)); then
          [[ -z ${TIDELAY_NODE_IMAGE:-} ]] || die "TIDELAY_NODE_IMAGE=$public: neither here nor to be pulled, see $log"
          say "no image can be pulled: $(tail -n 1 "$log")"
          say "building from Go modules and Debian packages instead"
          images=built
        fi
      fi
      ;;
    public | built) ;;
    *) die "TIDELAY_IMAGES=$images: want auto, public or built" ;;
  esac
  node_image=$public
  if [[ $images == built && -z ${TIDELAY_NODE_IMAGE:-} ]]; then
    node_image=$("$hack/offline/node-image.sh")
  fi
}

# prepare builds the images that the cluster will load, unless they are pulled.
prepare() {
  [[ $images == built ]] || return 0
  operator=$(operator_archive "$operator_image")
  standins=$(standin_archive "${db_images[@]}" "${more_db_images[@]}")
}

create() {
  # Kept when it fails, so that its logs can be read.
  step "start cluster $cluster" "$kind" create cluster --name "$cluster" --image "$node_image" \
    --kubeconfig "$kubeconfig" --retain
  if ! on_node sh -c 'command -v ping' >/dev/null; then # kind's public image has none
    step "install ping on the node" on_node sh -c 'apt-get -qq update && apt-get -qq install -y iputils-ping'
  fi
  note images "$images"
}

# load_image NAME ID COMMAND...: loads the archive that COMMAND prints, unless the node has the image NAME as ID already.
load_image() {
  if [[ $(noted "$1") == "$2" ]]; then
    cached "load $1"
  else
    step "load $1" import_archive "$@"
  fi
}

import_archive() {
  "${@:3}" | docker exec -i "$node" ctr --namespace k8s.io images import -
  note "$1" "$2"
}

# load_own IMAGE...: loads images from the Docker engine.
load_own() {
  local image id
  for image in "$@"; do
    if id=$(docker image inspect -f '{{.Id}}' "$image" 2>/dev/null); then
      load_image "$image" "$id" docker save "$image"
    else
      say "$image is not loaded: hack/images.sh has not built it yet"
    fi
  done
}

# load_others loads the images of others: those built here, or the node pulls them.
load_others() {
  local image
  if [[ $images == built ]]; then
    load_image "$operator_image" "$operator" cat "$operator"
    load_image "stand-ins for the databases" "$standins" cat "$standins"
    return
  fi
  for image in "$operator_image" "${db_images[@]}"; do
    if on_node crictl inspecti "$image" >/dev/null 2>&1; then
      cached "pull $image"
    else
      step "pull $image" on_node crictl pull "$image"
    fi
  done
}

install_operator() {
  local crds manifest
  crds=$(module_folder modules/operator github.com/pingcap/tidb-operator)/manifests/crd.yaml
  manifest=$(sed "s|TIDB_OPERATOR_IMAGE|$operator_image|" "$hack/cluster/operator.yaml")
  kube apply --server-side --force-conflicts -f "$crds"
  kube apply -f - <<<"$manifest"
  # Tried again, because kubectl gives up on a CRD that has no conditions yet.
  poll 60 kube wait --for condition=Established --timeout 10s crd/tidbclusters.pingcap.com
  kube -n tidb-admin rollout status deployment/tidb-controller-manager --timeout 180s
  kube -n kube-system rollout status deployment/coredns --timeout 120s
}

# diagnose runs when `up` ends. Where it failed, prints the last events and where the logs are.
diagnose() {
  local failed=$?
  ((failed)) && exists || return "$failed"
  say "The cluster's last events:"
  kube get events --all-namespaces --sort-by .lastTimestamp --request-timeout=5s 2>&1 | tail -n 15 | sed 's/^/    /' >&2
  "$kind" export logs --name "$cluster" "$cache/log/cluster-$cluster" >/dev/null 2>&1 || true
  say "Its logs are in $cache/log/cluster-$cluster"
  return "$failed"
}

up() {
  kind=$("$hack/program.sh" kind)
  kubectl=$("$hack/program.sh" kubectl)
  trap diagnose EXIT
  if complete && connect && poll 20 answers; then
    say "cluster $cluster runs"
    images=$(noted images)
    prepare
  else
    if exists; then
      say "cluster $cluster is there but does not answer: making it again"
      step "delete cluster $cluster" "$kind" delete cluster --name "$cluster" --kubeconfig "$kubeconfig"
    fi
    choose_images
    prepare
    create
  fi
  load_own "${own_images[@]}"
  load_others
  local wanted
  wanted=$(stamp "$operator_image" "$hack/cluster/operator.yaml" "$hack/modules/operator/go.mod")
  if [[ $(noted operator) == "$wanted" ]]; then
    cached "install TiDB Operator"
  else
    step "install TiDB Operator" install_operator
    note operator "$wanted"
  fi
  say "export KUBECONFIG=$kubeconfig"
}

load() {
  local image
  complete || die "cluster $cluster does not run: hack/cluster.sh up makes it"
  for image in "$@"; do
    docker image inspect "$image" >/dev/null 2>&1 || die "the Docker engine has no image $image: hack/images.sh builds Tidelay's"
  done
  load_own "$@"
}

down() {
  docker info >/dev/null 2>&1 || die "no Docker engine answers, so cluster $cluster can't be deleted: hack/offline/engine.sh up"
  if exists; then
    kind=$("$hack/program.sh" kind)
    step "delete cluster $cluster" "$kind" delete cluster --name "$cluster" --kubeconfig "$kubeconfig"
  else
    say "there is no cluster $cluster"
  fi
  rm -f "$cache/kubeconfig-$cluster" # a file that was named may hold other clusters too
}

status() {
  kubectl=$("$hack/program.sh" kubectl)
  if ! docker info >/dev/null 2>&1; then
    say "no Docker engine answers"
  elif ! exists; then
    say "there is no cluster $cluster"
  elif ! complete || ! answers; then
    say "cluster $cluster is there but does not answer; hack/cluster.sh up makes it again"
  else
    say "cluster $cluster runs on $(docker inspect -f '{{.Config.Image}}' "$node"); export KUBECONFIG=$kubeconfig"
    kube get pods --all-namespaces
  fi
}

case ${1:-} in
  up)
    "$hack/offline/engine.sh" up
    locked "cluster-$cluster" up
    ;;
  load)
    (($# > 1)) || set -- load "${own_images[@]}"
    locked "cluster-$cluster" "$@"
    ;;
  down) locked "cluster-$cluster" down ;;
  status) status ;;
  images) noted images ;;
  kubeconfig) printf '%s\n' "$kubeconfig" ;;
  *) die "usage: cluster.sh up|load [IMAGE...]|status|images|kubeconfig|down" ;;
esac
