#!/usr/bin/env bash
# deps.sh GROUP...: installs the missing programs of each group, as root on Debian and its relatives. Elsewhere it names
# them and fails. Groups:
#   kernel   the kernel tier of the tests
#   uml      netem under User Mode Linux, where this kernel has none
#   qemu     other kernels, under QEMU
#   engine   a Docker engine
#   node     a kind node image made from Debian packages
#   browser  Chromium, in which a test opens the heat map
#   shells   the shells that complete the plugin's words, for the API-server tier
#   lint     the linters that are not Go modules
set -euo pipefail
# shellcheck source=hack/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

# programs GROUP: PROGRAM:PACKAGE pairs.
programs() {
  case $1 in
    kernel) echo ip:iproute2 tc:iproute2 nstat:iproute2 setpriv:util-linux ping:iputils-ping nft:nftables iptables-legacy:iptables ;;
    uml) echo modprobe:kmod linux.uml:user-mode-linux taskset:util-linux gcc:gcc gcc:libc6-dev ;;
    qemu) echo qemu-system-x86_64:qemu-system-x86 qemu-system-x86_64:debian-archive-keyring cpio:cpio depmod:kmod ;;
    engine) echo dockerd:docker.io docker:docker.io iptables:iptables jq:jq ;;
    node) echo mmdebstrap:mmdebstrap mmdebstrap:debian-archive-keyring jq:jq ;;
    browser) echo chromium:chromium fc-list:fontconfig fc-list:fonts-dejavu-core ;;
    shells) echo bash:bash dh_bash-completion:bash-completion zsh:zsh fish:fish ;;
    lint) echo shellcheck:shellcheck ;;
    *) die "deps.sh: group \"$1\": want kernel, uml, qemu, engine, node, browser, shells or lint" ;;
  esac
}

# missing GROUP...: the pairs whose program is not there. One by one, since `command -v a b` succeeds with either.
missing() {
  local group pair pairs
  for group in "$@"; do
    pairs=$(programs "$group")
    for pair in $pairs; do
      have "${pair%:*}" || printf '%s\n' "$pair"
    done
  done
}

install_packages() {
  export DEBIAN_FRONTEND=noninteractive
  local options=(-qq -o DPkg::Lock::Timeout=120)
  apt-get "${options[@]}" update
  apt-get "${options[@]}" install -y --no-install-recommends "$@"
}

PATH=$PATH:/usr/sbin:/sbin
lacking=$(missing "$@")
[[ -n $lacking ]] || exit 0
packages=$(printf '%s\n' "$lacking" | cut -d: -f2 | sort -u | tr '\n' ' ')
packages=${packages% }

if ! have apt-get; then
  die "missing: $(printf '%s\n' "$lacking" | cut -d: -f1 | tr '\n' ' ')
Install them with your system's package manager; Debian has them in: $packages"
elif ((EUID != 0)); then
  die "missing: $packages
Run: sudo apt-get update && sudo apt-get install --no-install-recommends $packages"
fi
# shellcheck disable=SC2086 # a list of words
step "install $packages" install_packages $packages
