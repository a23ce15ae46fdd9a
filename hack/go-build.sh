#!/usr/bin/env bash
# go-build.sh OUTPUT PACKAGE: builds a program of ours: static, stripped, and the agent also small.
#   TIDELAY_VERSION   the version it reports (git describe)
#   GOARCH            for another architecture than this one
set -euo pipefail
# shellcheck source=hack/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

output=$(realpath -m "$1")
package=$2
version=${TIDELAY_VERSION:-$(git -C "$repo" describe --tags --always --dirty 2>/dev/null || echo dev)}
flags=()
if [[ $package == ./cmd/agent ]]; then
  # Every pod carries it. Functions of others that no packet waits for are not inlined, which takes 0.8 MB off it.
  for pattern in github.com google.golang.org go.mongodb.org golang.org/x/{crypto,net,text} compress crypto html net regexp text; do
    flags+=("-gcflags=$pattern/...=-l")
  done
  flags+=(-gcflags=encoding/json=-l -gcflags=math/big=-l -gcflags=github.com/tidelay/...=)
fi
CGO_ENABLED=0 go -C "$repo" build -trimpath -tags nomsgpack "${flags[@]}" -ldflags "-s -w -X main.version=$version" \
  -o "$output" "$package"
