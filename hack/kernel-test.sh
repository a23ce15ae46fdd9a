#!/usr/bin/env bash
# kernel-test.sh [SUITE...]: the kernel tier, for each engine: the agent from outside (e2e/kernel), the engine's own tests,
# and etcd under faults (e2e/etcd). netem runs on this kernel where it has it, else under User Mode Linux; nfqueue runs on
# this kernel. With suites of Debian, such as trixie, both run on the kernels of these suites instead, under QEMU.
#   TEST_ARGS          more arguments for the test binaries, such as -test.run=TestDelay
#   TIDELAY_JOBS       how many processes test at once (2; 1 with benchmarks and on one CPU). With more than one, what a
#                      process prints comes when it ends, and the tests on this kernel are split in two. Those under
#                      User Mode Linux are not: two of them at once are each more than twice as slow.
#   TIDELAY_PARTITION  how long the long partition lasts, such as 10m (9s)
#   TIDELAY_SEED       repeats the random operations of a run (TestOperations prints it); TIDELAY_OPERATIONS is for how
#                      long to go on with them, such as 10m (40s, and 60s with netem)
#   REQUIRE_NETEM=1    to fail, not warn, when netem can be tried nowhere
set -euo pipefail
# shellcheck source=hack/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
# shellcheck source=hack/offline/programs.sh
source "$hack/offline/programs.sh"
PATH=$PATH:/usr/sbin:/sbin

# try FOLDER NAME [ARG...]: runs the tests of one package, here.
try() {
  cd "$repo/$1"
  "$repo/bin/$2.test" -test.v "${@:3}"
}

# without_engine [ARG...]: runs the tests of the packages that have no engine, here, and fails when one did.
without_engine() {
  local rc=0
  export TIDELAY_ENGINE='' TIDELAY_ENGINES=''
  say "== the lab, on Linux $(uname -r)"
  try e2e/netlab netlab "$@" || rc=$?
  say "== links and routes, on Linux $(uname -r)"
  try pkg/agent/rtnl rtnl "$@" || rc=$?
  return "$rc"
}

# binaries ENGINE [ARG...]: runs all tests of an engine, here, and fails when one did.
binaries() {
  local engine=$1 rc=0
  shift
  if [[ $TIDELAY_NETEM == qemu && $TIDELAY_ENGINES == "$engine "* ]]; then
    (without_engine "$@") || rc=$?
  fi
  export TIDELAY_ENGINE=$engine
  if [[ $engine == nfqueue && $TIDELAY_NETEM =~ ^(here|qemu)$ ]]; then
    export TIDELAY_ENGINE_FLAG=nfqueue # auto would choose netem
  fi
  try e2e/kernel kernel "$@" || rc=$?
  try "pkg/agent/$engine" "$engine" "$@" || rc=$?
  try e2e/etcd etcd "$@" || rc=$?
  return "$rc"
}

# part ENGINE SHARD KERNEL [ARG...]: a part of the tests of an engine, on this kernel ("here"), under "uml", or under
# QEMU on the kernel that debian.sh put in the folder KERNEL.
part() {
  local engine=$1 kernel=$3 start=$SECONDS rc=0
  local title="$engine, part $2, on $kernel" run=()
  [[ $kernel != /* ]] || title="$engine, part $2, on Linux $(<"$kernel/version")"
  export TIDELAY_SHARD=$2
  shift 3
  case $kernel in
    here) ;;
    uml) run=(env UML_TIMEOUT=1800 "$hack/uml.sh") ;;
    *) run=(env QEMU_TIMEOUT=5400 "$hack/qemu.sh" "$kernel") ;;
  esac
  run+=("$hack/kernel-test.sh" binaries "$engine" "$@")
  if ((TIDELAY_JOBS == 1)); then
    say "== $title"
    "${run[@]}" || rc=$?
  else
    local log
    log=$(mktemp)
    "${run[@]}" >"$log" 2>&1 || rc=$?
    printf '== %s\n%s\n' "$title" "$(<"$log")"
    ((rc == 0)) || { printf '== failed: %s\n' "$title" && failed_tests "$log"; } >>"$TIDELAY_FAILURES"
    rm -f "$log"
  fi
  say "== $title: exit status $rc after $((SECONDS - start)) s"
  return "$rc"
}

case ${1:-} in
  binaries | part) # this script, started by itself
    "$@"
    exit
    ;;
esac

if (($# > 0)); then
  "$hack/deps.sh" qemu
else
  ((EUID == 0)) || die "the kernel tier makes network namespaces, which takes root; run: sudo env PATH=\"\$PATH\" make test-kernel"
  "$hack/deps.sh" kernel
fi
cd "$repo"
mkdir -p bin
export CGO_ENABLED=0 GOFLAGS=-trimpath TIDELAY_AGENT="$repo/bin/agent"
step "build the agent and its tests" bash -ec '
  hack/go-build.sh bin/agent ./cmd/agent
  go test -c -tags kernel -o bin/kernel.test ./e2e/kernel
  go test -c -tags kernel -o bin/etcd.test ./e2e/etcd
  go test -c -tags kernel -o bin/netlab.test ./e2e/netlab
  go test -c -tags kernel -o bin/rtnl.test ./pkg/agent/rtnl
  go test -c -tags kernel -o bin/netem.test ./pkg/agent/netem
  go test -c -tags kernel -o bin/nfqueue.test ./pkg/agent/nfqueue'
cp "$(etcd_program)" bin/etcd
export TIDELAY_ETCD="$repo/bin/etcd"

# Whether this kernel has netem, tried in a namespace of its own.
has_netem() {
  local ns="tidelay-$$-netem" rc=0
  ip netns add "$ns"
  ip netns exec "$ns" tc qdisc add dev lo root netem delay 1ms 2>/dev/null || rc=1
  ip netns del "$ns"
  return "$rc"
}

read -ra args <<<"${TEST_ARGS:-}"
jobs=${TIDELAY_JOBS:-$(($(nproc) > 1 ? 2 : 1))}
benchmarks=no
if [[ ${TEST_ARGS:-} == *-test.bench=* ]]; then
  benchmarks=yes jobs=1
fi
export TIDELAY_JOBS=$jobs
if ((jobs > 1)); then shards=(1/2 2/2); else shards=(1/1); fi

# Tests that don't depend on the engine run with the first of these (EngineIndependent in e2e/netlab).
export TIDELAY_ENGINES="nfqueue netem" TIDELAY_CACHE=$cache # User Mode Linux gets variables of this name, and no other
export TIDELAY_NETEM=nowhere
parts=() # the longest first
if (($# > 0)); then
  TIDELAY_NETEM=qemu
  for suite in "$@"; do
    system=$("$hack/debian.sh" "$suite")
    say "Debian $suite has Linux $(<"$system/version")"
    for engine in $TIDELAY_ENGINES; do parts+=("$engine 1/1 $system"); done
  done
else
  if has_netem; then
    TIDELAY_NETEM=here
    for shard in "${shards[@]}"; do parts+=("netem $shard here"); done
  elif "$hack/deps.sh" uml; then
    TIDELAY_NETEM=uml
    parts+=("netem 1/1 uml")
  elif [[ ${REQUIRE_NETEM:-} == 1 ]]; then
    die "this kernel has no netem and there is no User Mode Linux to try it in"
  else
    say "WARNING: the netem engine is NOT tested: this kernel has no netem, and there is no User Mode Linux to try it in"
  fi
  for shard in "${shards[@]}"; do parts+=("nfqueue $shard here"); done

  (without_engine "${args[@]}")
  if [[ $benchmarks == yes ]]; then
    say "== netem's requests, on this kernel"
    TIDELAY_ENGINE=netem bin/netem.test -test.run='^$' -test.bench=KernelRequests
  fi
fi
TIDELAY_FAILURES=$(mktemp) # repeated at the end, where a reader of a long log looks
export TIDELAY_FAILURES
rc=0
# shellcheck disable=SC2016 # the inner shell expands it
printf '%s\n' "${parts[@]}" | xargs -P "$jobs" -I {} bash -c '"$0" part $1 "${@:2}"' "$hack/kernel-test.sh" {} "${args[@]}" || rc=$?
cat "$TIDELAY_FAILURES"
rm -f "$TIDELAY_FAILURES"
((rc == 0))
