#!/usr/bin/env bash
# node-image.sh [check]: prints the name of a kind node image built from Go modules and Debian packages, and builds it
# where that was not done yet. `check` builds nothing: it fails where the image is not there.
set -euo pipefail
# shellcheck source=hack/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"
# shellcheck source=hack/offline/programs.sh
source "$hack/offline/programs.sh"
# shellcheck source=hack/versions.env
source "$hack/versions.env"

packages=systemd,systemd-sysv,dbus,util-linux,mount,kmod,procps,ca-certificates,jq,curl
packages+=,containerd,runc,containernetworking-plugins,conntrack,iptables,nftables,iproute2,ethtool,socat,iputils-ping
version=$(kubernetes_version)
debian=tidelay/debian:$DEBIAN_RELEASE
debian_stamp=$(stamp "$DEBIAN_RELEASE" "$packages")
image=tidelay/node:$version
work=$cache/node-image.partial
image_stamp=$(stamp "$debian_stamp" "$hack"/offline/{kubernetes,node,node-image.sh} "$hack/modules/oci" "$hack/tools/kind.mod")

# is_built IMAGE STAMP
is_built() { [[ $(docker image inspect -f '{{index .Config.Labels "io.tidelay.stamp"}}' "$1" 2>/dev/null) == "$2" ]]; }

build_debian() {
  mmdebstrap --variant=minbase --include="$packages" --aptopt='Acquire::Languages "none"' --dpkgopt=force-unsafe-io \
    --dpkgopt='path-exclude=/usr/share/locale/*' --dpkgopt='path-exclude=/usr/share/man/*' \
    --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-include=/usr/share/doc/*/copyright' \
    "$DEBIAN_RELEASE" "$work/debian.tar"
  docker import --change "LABEL io.tidelay.stamp=$debian_stamp" "$work/debian.tar" "$debian"
  rm "$work/debian.tar"
}

# fetch FOLDER PACKAGE: the modules that PACKAGE needs, in the module hack/FOLDER.
fetch() { go_in "$1" list -deps "$2" >/dev/null; }

# asked_for prints the images that kubeadm asks for.
asked_for() { (exec -a kubeadm "$kubernetes" config images list --kubernetes-version "$version"); }

# write_archive FILE: those images. Each holds one program and no operating system. The layer with Kubernetes is shared;
# kube-proxy has a second one, with the programs it calls.
write_archive() {
  local image name part flags=()
  for part in kube-apiserver kube-controller-manager kube-proxy kube-scheduler; do
    flags+=(-link "kubernetes=/usr/local/bin/$part")
  done
  docker run --rm -i --network none "$debian" bash -s <"$hack/offline/node/iptables-layer.sh" >"$work/iptables.tar"
  for image in $(asked_for); do
    name=${image##*/} name=${name%:*}
    case $name in
      kube-proxy) flags+=(-image "$image=/usr/local/bin/$name=iptables,kubernetes") ;;
      kube-*) flags+=(-image "$image=/usr/local/bin/$name=kubernetes") ;;
      *) flags+=(-image "$image=/usr/local/bin/$name=$name") ;;
    esac
  done
  oci archive \
    -program "kubernetes=/usr/local/bin/kubernetes=$kubernetes" \
    -program "etcd=/usr/local/bin/etcd=$etcd" \
    -program "coredns=/usr/local/bin/coredns=$coredns" \
    -program "pause=/usr/local/bin/pause=$work/pause" \
    -tar "iptables=$work/iptables.tar" \
    "${flags[@]}" "$1"
}

build_image() {
  local context=$work/context
  mkdir "$context"
  "$hack/go-build.sh" "$work/pause" ./hack/offline/node/pause
  write_archive "$context/kubernetes.tar"
  cp "$kubernetes" "$hack"/offline/node/{Dockerfile,*.conflist,*.nft,*.service,*.yaml} "$context/"
  cp -r "$(tool_folder kind sigs.k8s.io/kind)/images/base/files" "$context/kind"
  chmod -R u+w "$context/kind"
  docker_build "$image" --label "io.tidelay.stamp=$image_stamp" --build-arg "DEBIAN=$debian" \
    --build-arg "VERSION=$version" --build-arg "PAUSE=$(asked_for | grep /pause:)" "$context"
}

build() {
  if is_built "$image" "$image_stamp"; then
    cached "build $image"
    return
  fi
  rm -rf "$work"
  mkdir "$work"
  if is_built "$debian" "$debian_stamp"; then
    cached "make $debian"
  else
    "$hack/deps.sh" node # other systems than Debian stop here, before anything is compiled
    beside "make $debian" build_debian
  fi
  # The downloads for the next programs go on while etcd is compiled.
  beside "fetch the modules of Kubernetes" fetch offline/kubernetes .
  beside "fetch the modules of TiDB Operator" fetch modules/operator github.com/pingcap/tidb-operator/cmd/controller-manager
  etcd=$(etcd_program)
  coredns=$(coredns_program)
  kubernetes=$(kubernetes_program)
  join
  step "build $image" build_image
  rm -rf "$work"
}

case ${1:-} in
  check) is_built "$image" "$image_stamp" ;;
  '') locked node-image build ;;
  *) die "usage: node-image.sh [check]" ;;
esac
printf '%s\n' "$image"
