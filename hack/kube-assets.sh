#!/usr/bin/env bash
# kube-assets.sh: prints the path of a folder with kube-apiserver, etcd and kubectl, to use as KUBEBUILDER_ASSETS. The
# first two are built from Go modules, where that was not done yet.
set -euo pipefail
# shellcheck source=hack/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
# shellcheck source=hack/offline/programs.sh
source "$hack/offline/programs.sh"

link() { ln -s "$@"; }

apiserver=$(apiserver_program)
etcd=$(etcd_program)
kubectl=$("$hack/program.sh" kubectl)
artefact kube-assets "$(stamp "path $apiserver" "path $etcd" "path $kubectl")" "link the three into a folder" \
  link "$apiserver" "$etcd" "$kubectl"
