#!/usr/bin/env bash
# program.sh NAME: prints the path of a program that the scripts and tests call.
#   helm, kind, golangci-lint, controller-gen, crd-ref-docs
#             at the version in tools/NAME.mod, compiled by `go tool` where Go's cache lacks it; by hand:
#             go tool -modfile=hack/tools/helm.mod helm
#   kubectl   the one in PATH; where there is none it is built
set -euo pipefail
# shellcheck source=hack/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

# tool NAME FILE: writes the path of a compiled tool to FILE.
tool() { GOWORK=off go -C "$repo" tool -n -modfile="$hack/tools/$1.mod" "$1" >"$2"; }

case ${1:-} in
  helm | kind | golangci-lint | controller-gen | crd-ref-docs)
    path=$(mktemp)
    trap 'rm "$path"' EXIT
    step "find or compile $1" tool "$1" "$path"
    cat "$path"
    ;;
  kubectl)
    command -v kubectl && exit
    # shellcheck source=hack/offline/programs.sh
    source "$hack/offline/programs.sh"
    kubectl_program
    ;;
  *) die "usage: program.sh helm|kind|golangci-lint|controller-gen|crd-ref-docs|kubectl" ;;
esac
