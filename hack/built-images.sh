# shellcheck shell=bash disable=SC2154 # $hack and $repo are lib.sh's
# The images that a cluster runs where none can be pulled: TiDB Operator, built from its Go module, and stand-ins for
# PD, TiKV and TiDB. Each function prints an archive, and builds it first where that was not done yet. Sourced after
# lib.sh, programs.sh and archive.sh.

operator_archive() { # IMAGE
  local manager discovery dir
  manager=$(operator_program controller-manager)
  discovery=$(operator_program discovery)
  dir=$(artefact tidb-operator-image "$(stamp "$1" "of $manager" "of $discovery" "$hack/archive.sh")" \
    "pack $1" pack_operator "$1" "$manager" "$discovery")
  printf '%s\n' "$dir/image.tar"
}

pack_operator() { # IMAGE MANAGER DISCOVERY DIR
  local layers=$4/layers
  mkdir "$layers"
  program_layer /usr/local/bin/tidb-controller-manager "$2" "$layers/manager.tar"
  program_layer /usr/local/bin/tidb-discovery "$3" "$layers/discovery.tar"
  archive_add "$layers" "$1" /usr/local/bin/tidb-controller-manager manager.tar discovery.tar
  archive_write "$layers" "$4/image.tar"
  rm -rf "$layers"
}

standin_archive() { # IMAGE...
  local dir
  dir=$(artefact standin-image "$(stamp "$@" "$repo/e2e/standin" "$hack/archive.sh")" \
    "build stand-ins for PD, TiKV and TiDB" pack_standin "$@")
  printf '%s\n' "$dir/image.tar"
}

pack_standin() { # IMAGE... DIR
  local dir=${*: -1} layers image
  layers=$dir/layers
  mkdir "$layers"
  CGO_ENABLED=0 go -C "$repo" build -trimpath -buildvcs=false -ldflags '-s -w' -o "$dir/standin" ./e2e/standin
  program_layer /bin/sh "$dir/standin" "$layers/standin.tar"
  for image in "${@:1:$#-1}"; do
    archive_add "$layers" "$image" /bin/sh standin.tar
  done
  archive_write "$layers" "$dir/image.tar"
  rm -rf "$layers" "$dir/standin"
}
