#!/usr/bin/env bash
# kube-assets.sh: prints a folder with kube-apiserver, etcd and kubectl, the first two built from Go modules. It serves
# as KUBEBUILDER_ASSETS.
set -euo pipefail
# shellcheck source=hack/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
# shellcheck source=hack/programs.sh
source "$hack/programs.sh"

link() { ln -s "$@"; }

apiserver=$(apiserver_program)
etcd=$(etcd_program)
kubectl=$(kubectl_program)
artefact kube-assets "$(stamp "path $apiserver" "path $etcd" "path $kubectl")" "link the three into a folder" \
  link "$apiserver" "$etcd" "$kubectl"
