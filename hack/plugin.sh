#!/usr/bin/env bash
# plugin.sh: builds the plugin of kubectl for this machine, into bin/kubectl-tidelay.
#   PLATFORMS         such as linux/amd64,darwin/arm64: builds it for all of these, into archives, with their sums
#                     (checksums.txt) and a manifest for Krew (tidelay.yaml)
#   DIST              the folder of the archives (dist)
#   TIDELAY_VERSION   the version it reports (git describe); for archives a semantic one, such as v1.2.3
#   PLUGIN_URL        where the archives will be fetched from (the release of that version on GitHub)
set -euo pipefail
# shellcheck source=hack/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

if [[ -z ${PLATFORMS:-} ]]; then
  "$hack/go-build.sh" "$repo/bin/kubectl-tidelay" ./cmd/kubectl-tidelay
  exit
fi
version=${TIDELAY_VERSION:-$(git -C "$repo" describe --tags --always --dirty 2>/dev/null || echo dev)}
url=${PLUGIN_URL:-https://github.com/tidelay/tidelay/releases/download/$version}
dist=$(realpath -m "${DIST:-$repo/dist}")
mkdir -p "$dist"

compile() { # PLATFORM FILE
  GOOS=${1%%/*} GOARCH=${1#*/} TIDELAY_VERSION=$version "$hack/go-build.sh" "$2" ./cmd/kubectl-tidelay
}

pack() { # OS/ARCHITECTURE=PROGRAM...
  go -C "$repo" run ./hack/krew -version "$version" -url "$url" -dist "$dist" \
    -with LICENSE -with pkg/plugin/kubectl_complete-tidelay "$@"
}

context=$(mktemp -d)
trap 'rm -rf "$context"' EXIT
programs=()
for platform in ${PLATFORMS//,/ }; do
  step "build the plugin for $platform" compile "$platform" "$context/$platform"
  programs+=("$platform=$context/$platform")
done
step "pack the plugin, version $version" pack "${programs[@]}"
