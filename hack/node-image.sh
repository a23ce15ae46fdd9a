#!/usr/bin/env bash
# node-image.sh [check]: prints the name of a kind node image built from Go modules and Debian packages, and builds it
# where that was not done yet. `check` builds nothing: it fails where the image is not there.
set -euo pipefail
# shellcheck source=hack/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
# shellcheck source=hack/programs.sh
source "$hack/programs.sh"
# shellcheck source=hack/archive.sh
source "$hack/archive.sh"
# shellcheck source=hack/versions.env
source "$hack/versions.env"

packages=systemd,systemd-sysv,dbus,util-linux,mount,kmod,procps,ca-certificates,jq,curl
packages+=,containerd,runc,containernetworking-plugins,conntrack,iptables,nftables,iproute2,ethtool,socat,iputils-ping
version=$(kubernetes_version)
debian=tidelay/debian:$DEBIAN_RELEASE
debian_stamp=$(stamp "$DEBIAN_RELEASE" "$packages")
image=tidelay/node:$version
work=$cache/node-image.partial
image_stamp=$(stamp "$debian_stamp" "$hack/node" "$hack/archive.sh" "$hack/node-image.sh" \
  "$hack"/modules/{coredns,etcd,kind,kubernetes})

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

# wanted prints the images that kubeadm asks for.
wanted() { (exec -a kubeadm "$kubernetes" config images list --kubernetes-version "$version"); }

# write_archive FILE: those images, each a layer with one program and no operating system. Kubernetes' own share a
# layer; kube-proxy has what it calls in another.
write_archive() {
  local folder=$work/archive image name
  mkdir "$folder"
  program_layer /usr/local/bin/kubernetes "$kubernetes" \
    kube-apiserver kube-controller-manager kube-proxy kube-scheduler "$folder/kubernetes.tar"
  program_layer /usr/local/bin/etcd "$etcd" "$folder/etcd.tar"
  program_layer /usr/local/bin/coredns "$coredns" "$folder/coredns.tar"
  program_layer /usr/local/bin/pause "$work/pause" "$folder/pause.tar"
  docker run --rm -i --network none "$debian" bash -s <"$hack/node/iptables-layer.sh" >"$folder/iptables.tar"
  for image in $(wanted); do
    name=${image##*/} name=${name%:*}
    case $name in
      kube-proxy) archive_add "$folder" "$image" "/usr/local/bin/$name" iptables.tar kubernetes.tar ;;
      kube-*) archive_add "$folder" "$image" "/usr/local/bin/$name" kubernetes.tar ;;
      *) archive_add "$folder" "$image" "/usr/local/bin/$name" "$name.tar" ;;
    esac
  done
  archive_write "$folder" "$1"
}

build_image() {
  local context=$work/context
  mkdir "$context"
  CGO_ENABLED=0 go -C "$repo" build -buildvcs=false -ldflags '-s -w' -o "$work/pause" ./hack/node/pause
  write_archive "$context/kubernetes.tar"
  cp "$kubernetes" "$hack"/node/{Dockerfile,*.conflist,*.nft,*.service,*.yaml} "$context/"
  cp -r "$(module_folder kind sigs.k8s.io/kind)/images/base/files" "$context/kind"
  chmod -R u+w "$context/kind"
  docker_build "$image" --label "io.tidelay.stamp=$image_stamp" --build-arg "DEBIAN=$debian" \
    --build-arg "VERSION=$version" --build-arg "PAUSE=$(wanted | grep /pause:)" "$context"
}

build() {
  if is_built "$image" "$image_stamp"; then
    cached "build $image"
    return
  fi
  rm -rf "$work"
  mkdir "$work"
  if is_built "$debian" "$debian_stamp"; then # first: here is where other systems than Debian stop
    cached "make $debian"
  else
    "$hack/deps.sh" node
    step "make $debian" build_debian
  fi
  etcd=$(etcd_program)
  coredns=$(coredns_program)
  kubernetes=$(kubernetes_program)
  step "build $image" build_image
  rm -rf "$work"
}

case ${1:-} in
  check) is_built "$image" "$image_stamp" ;;
  '') locked node-image build ;;
  *) die "usage: node-image.sh [check]" ;;
esac
printf '%s\n' "$image"
