#!/usr/bin/env bash
# images.sh [NAME...]: builds the images tidelay/NAME:dev of injector, controller and agent, or of the names given.
# pinger is the cluster tier's own. Each image holds one static program and nothing else.
#   PLATFORMS         such as linux/amd64,linux/arm64: builds each image for all of these, into an archive that
#                     docker load, skopeo and, unpacked, crane push read. Needs no engine. Without PLATFORMS the images
#                     are built in the Docker engine, for its own platform
#   DIST              the folder of the archives (dist)
#   TIDELAY_TAG       the images' tag (dev)
#   TIDELAY_VERSION   the version they report (git describe)
set -euo pipefail
# shellcheck source=hack/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

tag=${TIDELAY_TAG:-dev}
(($#)) || set -- injector controller agent
version=${TIDELAY_VERSION:-$(git -C "$repo" describe --tags --always --dirty 2>/dev/null || echo dev)}

# Where the source of an image's program is.
source_of() { if [[ $1 == pinger ]]; then echo ./e2e/pinger; else echo "./cmd/$1"; fi; }

compile() { # NAME OS ARCHITECTURE FILE
  GOOS=$2 GOARCH=$3 TIDELAY_VERSION=$version "$hack/go-build.sh" "$4" "$(source_of "$1")"
}

build() { # NAME DIR
  compile "$1" linux "$(docker version -f '{{.Server.Arch}}')" "$2/$1"
  docker_build "tidelay/$1:$tag" --label "org.opencontainers.image.version=$version" \
    --file "$hack/images/$1.Dockerfile" "$2"
}

pack() { # NAME DIR FILE
  local platform user programs=()
  for platform in ${PLATFORMS//,/ }; do
    compile "$1" "${platform%%/*}" "${platform#*/}" "$2/$platform/$1"
    programs+=("$platform=$2/$platform/$1")
  done
  user=$(awk '$1 == "USER" {print $2}' "$hack/images/$1.Dockerfile")
  oci layout "$3" "tidelay/$1:$tag" "$version" "$user" "${programs[@]}"
}

context=$(mktemp -d)
trap 'rm -rf "$context"' EXIT
if [[ -n ${PLATFORMS:-} ]]; then
  dist=$(realpath -m "${DIST:-$repo/dist}")
  mkdir -p "$dist"
else
  "$hack/offline/engine.sh" up
fi
for name; do
  mkdir "$context/$name"
  if [[ -n ${PLATFORMS:-} ]]; then
    step "pack $name for $PLATFORMS" pack "$name" "$context/$name" "$dist/$name.tar"
  else
    step "build tidelay/$name:$tag" build "$name" "$context/$name"
  fi
done
