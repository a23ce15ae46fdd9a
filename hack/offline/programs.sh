# shellcheck shell=bash disable=SC2154 # $hack is lib.sh's
# Programs built from Go modules: static, stripped, once per version. Sourced after lib.sh. The functions without
# arguments print the path of their program, and build it first where that was not done yet.

# program NAME FOLDER PATH PACKAGE [LDFLAGS]: PACKAGE, built in the module hack/FOLDER. PATH is the module whose version
# is shown.
program() {
  local name=$1 folder=$2 path=$3 dir
  shift 3
  dir=$(artefact "$name" "$(stamp "$hack/$folder" "$@")" \
    "build $name $(required "$folder/go.mod" "$path")" build_program "$name" "$folder" "$@")
  printf '%s\n' "$dir/$name"
}

build_program() { # NAME FOLDER PACKAGE [LDFLAGS] DIR
  local name=$1 folder=$2 package=$3 dir=${*: -1} ldflags=
  (($# < 5)) || ldflags=$4
  go_in "$folder" build -buildvcs=false -ldflags "-s -w $ldflags" -o "$dir/$name" "$package"
}

etcd_program() { program etcd offline/kubernetes go.etcd.io/etcd/server/v3 go.etcd.io/etcd/server/v3; }
coredns_program() { program coredns offline/kubernetes github.com/coredns/coredns ./coredns; }

operator_program() { # controller-manager|discovery
  local path=github.com/pingcap/tidb-operator
  program "tidb-$1" modules/operator "$path" "$path/cmd/$1"
}

# All parts of Kubernetes that a node runs, in one program.
kubernetes_program() { kubernetes_part kubernetes .; }
apiserver_program() { kubernetes_part kube-apiserver k8s.io/kubernetes/cmd/kube-apiserver; }
kubectl_program() { kubernetes_part kubectl k8s.io/kubernetes/cmd/kubectl; }

kubernetes_part() { program "$1" offline/kubernetes k8s.io/kubernetes "$2" "$(kubernetes_ldflags)"; }

kubernetes_version() { required offline/kubernetes/go.mod k8s.io/kubernetes; }

# Kubernetes learns its version from the linker.
kubernetes_ldflags() {
  local package version minor
  version=$(kubernetes_version)
  minor=${version#v1.}
  for package in k8s.io/component-base/version k8s.io/client-go/pkg/version; do
    printf -- '-X %s ' "$package.gitVersion=$version" "$package.gitMajor=1" "$package.gitMinor=${minor%%.*}" \
      "$package.gitTreeState=clean"
  done
}
