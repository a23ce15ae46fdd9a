#!/usr/bin/env bash
# debian.sh SUITE: prints the path of a folder with a Debian system of a suite such as trixie, to boot by qemu.sh: the
# cloud kernel in the file vmlinuz, what it unpacks as its file system in root.cpio, and its version in the file version.
# The packages are those that the suite has now, from the mirror that apt uses on this machine, or from DEBIAN_MIRROR.
# This machine's own apt is told nothing of it.
set -euo pipefail
# shellcheck source=hack/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
PATH=$PATH:/usr/sbin:/sbin

suite=${1:?a suite of Debian, such as trixie}
packages=(
  linux-image-cloud-amd64 base-files bash dash coreutils grep sed procps util-linux mount kmod
  iproute2 iputils-ping nftables
)
apt=$cache/apt/$suite # the suite's package lists

# Parts of the kernel's modules that are in the file system, and what of them is not.
modules=(net drivers/net lib crypto)
without=(drivers/net/{ethernet,wireless,usb,can,hamradio,wan,phy})

# suite_apt ARG...: apt-get for the suite, as on a machine that has no package.
suite_apt() {
  apt-get -qq -o Dir::Etc::SourceList="$apt/sources.list" -o Dir::Etc::SourceParts=/dev/null -o Dir::State="$apt" \
    -o Dir::State::Status="$apt/status" -o Dir::Cache="$apt" -o APT::Architecture=amd64 -o APT::Sandbox::User=root \
    -o Acquire::Languages=none -o APT::Install-Recommends=false -o Acquire::Retries=3 "$@"
}

update() {
  local mirrors mirror
  # shellcheck disable=SC2016 # apt expands it
  mirrors=$(apt-get indextargets --format '$(REPO_URI)' | grep -E '/debian/?$' || true)
  mirror=${DEBIAN_MIRROR:-${mirrors%%$'\n'*}}
  [[ -n $mirror ]] || die "apt knows no mirror of Debian: name one by DEBIAN_MIRROR"
  mkdir -p "$apt/lists/partial" "$apt/archives/partial"
  echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror $suite main" >"$apt/sources.list"
  : >"$apt/status"
  suite_apt update
}

# The packages, all that they need, and their versions.
candidates() { suite_apt install --simulate "${packages[@]}" | sed -n 's/^Inst //p' | LC_ALL=C sort; }

build() {
  local dir=$1 tree=$1/tree version part deb
  suite_apt install --yes --download-only "${packages[@]}"
  # /bin and the others are links to what is in /usr, in every suite.
  mkdir -p "$tree"/usr/{bin,sbin,lib,lib64} "$tree"/{dev,proc,run,sys,tmp}
  for part in bin sbin lib lib64; do ln -s "usr/$part" "$tree/$part"; done
  for deb in "$apt"/archives/*.deb; do
    dpkg-deb --fsys-tarfile "$deb" | tar -x -C "$tree" --keep-directory-symlink
  done
  suite_apt clean
  version=$(basename "$tree"/usr/lib/modules/*)
  cp -L "$(find "$tree/boot" "$tree/usr/lib/modules/$version" -maxdepth 1 -name 'vmlinuz*' | head -n 1)" "$dir/vmlinuz"

  mv "$tree/usr/lib/modules/$version" "$dir/modules"
  mkdir -p "$tree/usr/lib/modules/$version/kernel"
  cp "$dir"/modules/modules.{builtin*,order} "$tree/usr/lib/modules/$version/"
  for part in "${modules[@]}"; do
    mkdir -p "$tree/usr/lib/modules/$version/kernel/$(dirname "$part")"
    [[ ! -d $dir/modules/kernel/$part ]] || cp -r "$dir/modules/kernel/$part" "$tree/usr/lib/modules/$version/kernel/$part"
  done
  for part in "${without[@]}"; do rm -rf "$tree/usr/lib/modules/$version/kernel/$part"; done
  depmod -b "$tree" "$version"
  rm -rf "$dir/modules" "${tree:?}/boot" "$tree"/usr/share/{doc,info,locale,man,perl,perl5,zoneinfo} "$tree"/usr/lib/*/perl*
  (cd "$tree" && find . | cpio --create --format=newc --quiet) >"$dir/root.cpio"
  rm -r "$tree"
  echo "$version" >"$dir/version"
}

locked "apt-$suite" step "look for packages of Debian $suite" update
artefact "debian-$suite" "$(stamp "$hack/debian.sh" "$(candidates)")" "build a system of Debian $suite" build
