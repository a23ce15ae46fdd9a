#!/usr/bin/env bash
# kernel-test.sh: the kernel tier, once for each engine: the agent from outside (e2e/kernel), then the engine's own tests.
# netem runs on this kernel where it has it, else under User Mode Linux; nfqueue runs on this kernel.
#   TEST_ARGS          more arguments for the test binaries, such as -test.run=TestDelay
#   TIDELAY_PARTITION  how long the long partition lasts, such as 10m (20s)
#   REQUIRE_NETEM=1    to fail, not warn, when netem can be tried nowhere
set -euo pipefail
# shellcheck source=hack/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
PATH=$PATH:/usr/sbin:/sbin

((EUID == 0)) || die "the kernel tier makes network namespaces, which takes root; run: sudo env PATH=\"\$PATH\" make test-kernel"
"$hack/deps.sh" kernel
cd "$repo"
mkdir -p bin
export CGO_ENABLED=0 GOFLAGS=-trimpath TIDELAY_AGENT="$repo/bin/agent"
step "build the agent and its tests" bash -c '
  hack/go-build.sh bin/agent ./cmd/agent
  go test -c -tags kernel -o bin/kernel.test ./e2e/kernel
  go test -c -tags kernel -o bin/netem.test ./pkg/agent/netem
  go test -c -tags kernel -o bin/nfqueue.test ./pkg/agent/nfqueue'

# Whether this kernel has netem, tried in a namespace of its own.
has_netem() {
  local ns="tidelay-$$-netem" rc=0
  ip netns add "$ns"
  ip netns exec "$ns" tc qdisc add dev lo root netem delay 1ms 2>/dev/null || rc=1
  ip netns del "$ns"
  return "$rc"
}

read -ra args <<<"${TEST_ARGS:-}"
# What is the same for both engines, and takes many processes, is proved with nfqueue: under User Mode Linux each takes
# seconds to start.
engine_independent='TestTokenGuards|TestReadOnly|TestBodiesAre|TestRequestsAre|TestRevisions|TestMaxDuration|TestDamagedState|TestNoEngine|TestMonitoringNames'

# run ENGINE COMMAND...: both tests of an engine, by a command that runs them.
run() {
  local engine=$1
  shift
  (cd e2e/kernel && TIDELAY_ENGINE=$engine "$@" "$repo/bin/kernel.test" -test.v "${args[@]}")
  (cd "pkg/agent/$engine" && "$@" "$repo/bin/$engine.test" -test.v -test.run=Kernel "${args[@]}")
}

say "== nfqueue, on this kernel ($(uname -r))"
flag=auto
if has_netem; then flag=nfqueue; fi
TIDELAY_ENGINE_FLAG=$flag run nfqueue env
if [[ ${TEST_ARGS:-} == *-test.bench=* ]]; then
  say "== netem's requests, on this kernel"
  "$repo/bin/netem.test" -test.run='^$' -test.bench=KernelRequests
fi

if [[ $flag == nfqueue ]]; then
  say "== netem, on this kernel ($(uname -r))"
  run netem env
elif "$hack/deps.sh" uml; then
  say "== netem, under User Mode Linux"
  say "not repeated there, since they don't depend on the engine: ${engine_independent//|/ }"
  args+=("-test.skip=^($engine_independent)")
  UML_TIMEOUT=1800 run netem "$hack/uml.sh"
elif [[ ${REQUIRE_NETEM:-} == 1 ]]; then
  die "this kernel has no netem and there is no User Mode Linux to try it in"
else
  say "WARNING: the netem engine was NOT tested: this kernel has no netem, and there is no User Mode Linux to try it in"
fi
