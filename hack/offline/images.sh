# shellcheck shell=bash disable=SC2154 # $hack and $repo are lib.sh's
# The images that a cluster runs where none can be pulled: TiDB Operator, built from its Go module, and stand-ins for
# PD, TiKV, TiDB, TiFlash and TiCDC. Each function prints the path of an archive, and builds it first where that was
# not done yet. They are archives, not images of the engine: there a stand-in named pingcap/tidb would be a trap for its
# user. Sourced after lib.sh and programs.sh.

operator_archive() { # IMAGE
  local manager discovery dir
  manager=$(operator_program controller-manager)
  discovery=$(operator_program discovery)
  dir=$(artefact tidb-operator-image "$(stamp "$1" "of $manager" "of $discovery" "$hack/modules/oci")" \
    "pack $1" pack_operator "$1" "$manager" "$discovery")
  printf '%s\n' "$dir/image.tar"
}

pack_operator() { # IMAGE MANAGER DISCOVERY DIR
  oci archive \
    -program "manager=/usr/local/bin/tidb-controller-manager=$2" \
    -program "discovery=/usr/local/bin/tidb-discovery=$3" \
    -image "$1=/usr/local/bin/tidb-controller-manager=manager,discovery" \
    "$4/image.tar"
}

standin_archive() { # IMAGE...
  local dir
  dir=$(artefact standin-image "$(stamp "$@" "$repo/e2e/standin" "$hack/modules/oci")" \
    "build stand-ins for the databases" pack_standin "$@")
  printf '%s\n' "$dir/image.tar"
}

pack_standin() { # IMAGE... DIR
  local dir=${*: -1} image flags=()
  "$hack/go-build.sh" "$dir/standin" ./e2e/standin
  for image in "${@:1:$#-1}"; do
    flags+=(-image "$image=/bin/sh=standin")
  done
  oci archive -program "standin=/bin/sh=$dir/standin" "${flags[@]}" "$dir/image.tar"
  rm "$dir/standin"
}
