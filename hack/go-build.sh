#!/usr/bin/env bash
# go-build.sh OUTPUT PACKAGE: builds a program of this module: static, stripped, without Gin's MessagePack.
#   TIDELAY_VERSION   the version it reports (git describe)
#   GOARCH            for another architecture than this one
set -euo pipefail
# shellcheck source=hack/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

output=$(realpath -m "$1")
version=${TIDELAY_VERSION:-$(git -C "$repo" describe --tags --always --dirty 2>/dev/null || echo dev)}
go -C "$repo" build -tags nomsgpack -ldflags "-s -w -X main.version=$version" -o "$output" "$2"
