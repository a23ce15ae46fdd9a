#!/usr/bin/env bash
# generate.sh: makes from the types in pkg/apis the CRDs (manifests/crds), the deep copies (zz_generated.deepcopy.go) and
# docs/api.md, and from the plugin's commands docs/cli.
# generate.sh --check: changes nothing, and fails where one of these files is not what would be made.
set -euo pipefail
# shellcheck source=hack/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
cd "$repo"

made=$(mktemp -d)
trap 'rm -rf "$made"' EXIT

# Each path as it is in the repository, so that what was made is copied or compared as a whole.
types=pkg/apis/v1alpha1 crds=manifests/chart/files/crds
generate() {
  mkdir -p "$made/$crds" "$made/$types" "$made/docs"
  # A percentage is a float in the types and a number in the CRD: that is what is dangerous.
  "$1" paths="./$types" \
    crd:allowDangerousTypes=true,maxDescLen=2000 output:crd:dir="$made/$crds" \
    object:headerFile=/dev/null output:object:dir="$made/$types"
  "$2" --source-path="$types" --config="$hack/api-docs/config.yaml" --templates-dir="$hack/api-docs" \
    --renderer=markdown --output-path="$made/docs/api.md"
  go run ./hack/cli-docs "$made/docs/cli"
}

controller_gen=$("$hack/program.sh" controller-gen)
crd_ref_docs=$("$hack/program.sh" crd-ref-docs)
step "make CRDs, deep copies, docs/api.md and docs/cli" generate "$controller_gen" "$crd_ref_docs"
case ${1:-} in
  --check)
    stale=0
    while read -r file; do
      diff -u "$file" "$made/$file" >&2 || stale=1
    done < <(cd "$made" && find . -type f -printf '%P\n')
    for file in docs/cli/*.md; do
      [[ -e $made/$file ]] || { say "$file: there is no such verb" && stale=1; }
    done
    ((stale == 0)) || die "these files are not what pkg/apis and pkg/plugin say: run \`make generate\` and commit what it changes"
    ;;
  '')
    rm -rf docs/cli # a verb may be gone
    cp -R "$made/." .
    ;;
  *) die "usage: generate.sh [--check]" ;;
esac
