#!/usr/bin/env bash
# clean.sh: deletes the cluster, the images, and what the scripts built or keep in the cache folder. Ends the Docker
# engine if they started it. Go's own caches stay.
set -euo pipefail
# shellcheck source=hack/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

if docker info >/dev/null 2>&1; then
  "$hack/cluster.sh" down
  for image in $(docker images --format '{{.Repository}}:{{.Tag}}' --filter 'reference=tidelay/*'); do
    if docker rmi "$image" >/dev/null 2>&1; then
      say "deleted $image"
    else
      say "kept $image: it is in use"
    fi
  done
  "$hack/offline/engine.sh" down
fi
rm -rf "${repo:?}/bin" "${repo:?}/dist"
# By name, since the cache folder may hold other things too.
find "$cache" -mindepth 1 -maxdepth 1 \
  \( -name '*-[0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f]' -o -name '*-[0-9a-f]*.partial' -o -name 'kubeconfig-*' -o -name apt -o -name engine -o -name log -o -name lock \) \
  -exec rm -rf {} +
rmdir "$cache" 2>/dev/null || say "$cache is not empty: what is left in it is not from here"
