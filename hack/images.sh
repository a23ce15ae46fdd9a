#!/usr/bin/env bash
# images.sh [NAME...]: builds the images tidelay/NAME:dev of injector and agent, or of those named; pinger is the cluster
# tier's own. They are made from scratch: one static program in each and nothing else.
#   TIDELAY_TAG       their tag (dev)
#   TIDELAY_VERSION   the version they report (git describe)
set -euo pipefail
# shellcheck source=hack/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

tag=${TIDELAY_TAG:-dev}
(($#)) || set -- injector agent
version=${TIDELAY_VERSION:-$(git -C "$repo" describe --tags --always --dirty 2>/dev/null || echo dev)}

# Where the source of an image's program is.
source_of() { if [[ $1 == pinger ]]; then echo ./e2e/pinger; else echo "./cmd/$1"; fi; }

build() { # NAME DIR
  GOOS=linux GOARCH=$(docker version -f '{{.Server.Arch}}') TIDELAY_VERSION=$version "$hack/go-build.sh" "$2/$1" "$(source_of "$1")"
  docker_build "tidelay/$1:$tag" --label "org.opencontainers.image.version=$version" \
    --file "$hack/images/$1.Dockerfile" "$2"
}

"$hack/engine.sh" up
context=$(mktemp -d)
trap 'rm -rf "$context"' EXIT
for name; do
  mkdir "$context/$name"
  step "build tidelay/$name:$tag" build "$name" "$context/$name"
done
