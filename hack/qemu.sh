#!/usr/bin/env bash
# qemu.sh FOLDER COMMAND [ARGUMENT...]: runs one command on the kernel of a Debian system, which debian.sh made in FOLDER,
# under QEMU's emulation of a computer with one CPU. Exits with the command's status. The command finds the system's
# programs, and bin, hack, manifests and the kernel tier's folders of this clone, as they are here.
#   QEMU_TIMEOUT   how many seconds it may take (600)
# When it takes longer, or when the kernel or QEMU ends first, the exit status is 1, and the last lines of the output are
# what the kernel said.
set -euo pipefail
# shellcheck source=hack/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

(($# > 1)) || die "usage: hack/qemu.sh FOLDER COMMAND [ARG...]"
system=$1 limit=${QEMU_TIMEOUT:-600}
shift
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# What is added to the system: the clone's files, and what starts the command. The command's output is the first serial
# line, its exit status goes to the second.
mkdir -p "$work/tree$repo"
(cd "$repo" && cp --parents -r bin hack manifests e2e/{kernel,etcd,netlab} pkg/agent "$work/tree$repo/")
cat >"$work/tree/init" <<INIT
#!/bin/bash
export PATH=/usr/sbin:/usr/bin HOME=/root
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
mount -t cgroup2 cgroup2 /sys/fs/cgroup
echo +memory >/sys/fs/cgroup/cgroup.subtree_control
stty -onlcr
for m in veth bridge ifb dummy sch_prio sch_netem sch_htb sch_tbf sch_fq sch_ingress cls_u32 cls_bpf act_mirred \
  nf_tables nfnetlink_queue nft_queue nft_dup_ipv4 nft_dup_ipv6; do
  modprobe \$m || echo "hack/qemu.sh: no module \$m"
done
ip link set lo up
ulimit -n 65536
$(export -p | sed -nE 's/^declare -x ((TIDELAY|REQUIRE)[A-Z_]*=)/export \1/p')
export TIDELAY_MACHINE=qemu
cd $(printf %q "$PWD")
$(printf '%q ' "$@")
echo \$? >/dev/ttyS1
echo o >/proc/sysrq-trigger
sleep 60
INIT
chmod +x "$work/tree/init"
# The kernel unpacks one archive after the other.
(cat "$system/root.cpio" && cd "$work/tree" && find . | cpio --create --format=newc --quiet) >"$work/initrd"
rm -r "$work/tree"

# One CPU: with two, the emulation of QEMU 7.2 trips over code that the kernel changes while it runs. The kernel ends at
# its first fault, and QEMU with it; QEMU also ends with this script, however that ends.
options=(-accel tcg -cpu max -smp 1 -m 2048 -nodefaults -display none -no-reboot -serial stdio -serial "file:$work/status")
options+=(-kernel "$system/vmlinuz" -initrd "$work/initrd")
options+=(-append "console=ttyS0 quiet oops=panic panic=-1 rdinit=/init mitigations=off")
ended=0
: >"$work/status"
setpriv --pdeathsig TERM timeout --foreground --kill-after=10 "$limit" qemu-system-x86_64 "${options[@]}" </dev/null || ended=$?
status=$(tr -dc '0-9' <"$work/status")
[[ -z $status ]] || exit "$status"
case $ended in
  0) die "hack/qemu.sh: the kernel stopped before the command ended; what it said last is above" ;;
  124) die "hack/qemu.sh: the command did not end within $limit s (QEMU_TIMEOUT)" ;;
  *) die "hack/qemu.sh: the command did not end: QEMU did, with exit status $ended" ;;
esac
