#!/usr/bin/env bash
# uml.sh COMMAND [ARGUMENT...]: runs one command under User Mode Linux, a kernel with netem that runs as a process on
# this machine's own file tree. Exits with the command's status.
#   UML_TIMEOUT   how many seconds it may take (600)
#   UML_CPU       which of the CPUs that this process may use it runs on, counted from 0 (0)
set -euo pipefail

(($# > 0)) || { echo "usage: hack/uml.sh COMMAND [ARG...]" >&2; exit 2; }
command -v linux.uml >/dev/null || { echo "hack/uml.sh: no linux.uml; install the package user-mode-linux" >&2; exit 127; }

modules=/usr/lib/uml/modules
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p /lib/modules # the mount point, which UML sees too

# The console is this script's output. The command gets a /run (for `ip netns`), a /sys and a temporary folder of its
# own.
cat >"$work/init" <<INIT
#!/bin/sh
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t tmpfs tmpfs /run
mount --bind $modules /lib/modules
for m in veth bridge ifb dummy sch_prio sch_netem sch_htb sch_tbf sch_ingress cls_u32 act_mirred ipv6; do
  modprobe \$m || echo "hack/uml.sh: no module \$m"
done
$(export -p | sed -nE 's/^declare -x ((TIDELAY|REQUIRE)[A-Z_]*=)/export \1/p')
export TIDELAY_MACHINE=uml
cd $(printf %q "$PWD")
mkdir -p /run/tmp && export TMPDIR=/run/tmp
# All that a fault lets go at once fits in the queue of the next interface, whose default is 1000 packets.
echo 10000 >/proc/sys/net/core/netdev_max_backlog
$(printf '%q ' "$@")
echo \$? >$work/status
halt -f
INIT
chmod +x "$work/init"

# One CPU: at every system call of the command, this kernel stops a process of its own, which takes ten times as long
# when that is on another CPU.
mapfile -t cpus < <(sed -n 's/^Cpus_allowed_list:\s*//p' /proc/self/status | tr , '\n' | while IFS=- read -r first last; do
  seq "$first" "${last:-$first}"
done)
cpu=${cpus[${UML_CPU:-0} % ${#cpus[@]}]}

preload=()
if grep -q '\bamx_tile\b' /proc/cpuinfo; then
  gcc -O2 -shared -fPIC -o "$work/xstate.so" "$(dirname "${BASH_SOURCE[0]}")/uml/xstate.c"
  preload=(env LD_PRELOAD="$work/xstate.so")
fi

# The kernel prints to the console too. "quiet" limits that to errors.
timeout --foreground --kill-after=10 "${UML_TIMEOUT:-600}" taskset -c "$cpu" "${preload[@]}" linux.uml mem=1024M umid="tidelay-$$" \
  root=/dev/root rootfstype=hostfs rootflags=/ rw init="$work/init" \
  con=null con0=fd:0,fd:1 quiet </dev/null || true
[[ -f $work/status ]] || { echo "hack/uml.sh: the command did not finish within ${UML_TIMEOUT:-600} s, or the kernel stopped" >&2; exit 1; }
exit "$(<"$work/status")"
