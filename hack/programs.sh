# shellcheck shell=bash disable=SC2154 # $hack is lib.sh's
# The programs of a cluster, built from the Go modules in hack/modules: static, stripped, once per version. Sourced
# after lib.sh. The functions without arguments print the path of their program.

# module_version MODULE PATH: the version that hack/modules/MODULE requires of the module PATH.
module_version() {
  awk -v path="$2" '{sub(/^require /, "")} $1 == path && $2 ~ /^v/ {print $2; exit}' "$hack/modules/$1/go.mod"
}

# go_in MODULE ARGUMENT...: runs the go command in hack/modules/MODULE, whatever the caller's settings for a module are.
go_in() { GOFLAGS=-mod=readonly GOWORK=off go -C "$hack/modules/$1" "${@:2}"; }

# module_folder MODULE PATH: where the sources of the module PATH are; fetches them if need be.
module_folder() {
  go_in "$1" mod download "$2"
  go_in "$1" list -m -f '{{.Dir}}' "$2"
}

# program NAME MODULE PATH PACKAGE [LDFLAGS]
program() {
  local name=$1 module=$2 path=$3 dir
  shift 3
  dir=$(artefact "$name" "$(stamp "$hack/modules/$module" "$@")" \
    "build $name $(module_version "$module" "$path")" build_program "$name" "$module" "$@")
  printf '%s\n' "$dir/$name"
}

build_program() { # NAME MODULE PACKAGE [LDFLAGS] DIR
  local name=$1 module=$2 package=$3 dir=${*: -1} ldflags=
  (($# < 5)) || ldflags=$4
  CGO_ENABLED=0 go_in "$module" build -buildvcs=false -ldflags "-s -w $ldflags" -o "$dir/$name" "$package"
}

kind_program() { program kind kind sigs.k8s.io/kind sigs.k8s.io/kind; }
golangci_lint_program() {
  program golangci-lint golangci-lint github.com/golangci/golangci-lint/v2 github.com/golangci/golangci-lint/v2/cmd/golangci-lint
}
helm_program() { program helm helm helm.sh/helm/v3 helm.sh/helm/v3/cmd/helm; }
etcd_program() { program etcd etcd go.etcd.io/etcd/server/v3 go.etcd.io/etcd/server/v3; }
coredns_program() { program coredns coredns github.com/coredns/coredns .; }
oci_program() { program oci oci github.com/google/go-containerregistry .; }

operator_program() { # controller-manager|discovery
  local path=github.com/pingcap/tidb-operator
  program "tidb-$1" operator "$path" "$path/cmd/$1"
}

# All of Kubernetes that a node runs, in one program.
kubernetes_program() { kubernetes_part kubernetes .; }
apiserver_program() { kubernetes_part kube-apiserver k8s.io/kubernetes/cmd/kube-apiserver; }
kubectl_program() {
  command -v kubectl || kubernetes_part kubectl k8s.io/kubernetes/cmd/kubectl
}

kubernetes_part() { program "$1" kubernetes k8s.io/kubernetes "$2" "$(kubernetes_ldflags)"; }

kubernetes_version() { module_version kubernetes k8s.io/kubernetes; }

# Kubernetes is told its version by the linker.
kubernetes_ldflags() {
  local package version minor
  version=$(kubernetes_version)
  minor=${version#v1.}
  for package in k8s.io/component-base/version k8s.io/client-go/pkg/version; do
    printf -- '-X %s ' "$package.gitVersion=$version" "$package.gitMajor=1" "$package.gitMinor=${minor%%.*}" \
      "$package.gitTreeState=clean"
  done
}
