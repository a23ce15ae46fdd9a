#!/usr/bin/env bash
# tiers.sh: fails where a _test.go file is in no tier, so that a test can't be forgotten. It reads the packages and build
# tags of every `go test` in the Makefile and in hack/*.sh. One with -run '^$' covers benchmarks only, not tests.
set -euo pipefail
# shellcheck source=hack/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
cd "$repo"

commands() { grep -hE '^[^#]*\bgo( -C [^ ]+)? test .*\./' Makefile hack/*.sh; }

# covered WORD...: prints the test files that one such command compiles.
covered() {
  local word before='' folder=. tags='' functions='^func (Test|Fuzz|Example|Benchmark)' patterns=()
  for word; do
    case $before:$word in
      -C:* | cd:*) folder=$word ;;
      -tags:*) tags=$word ;;
      -run:*^\$*) functions='^func Benchmark' ;;
      *:./*) patterns+=("${word%%[\'\"]*}") ;;
    esac
    before=$word
  done
  local files
  files=$(GOOS=linux GOWORK=off go -C "$folder" list -find -tags "$tags" -f \
    '{{range .TestGoFiles}}{{$.Dir}}/{{.}}{{"\n"}}{{end}}{{range .XTestGoFiles}}{{$.Dir}}/{{.}}{{"\n"}}{{end}}' "${patterns[@]}")
  [[ -z $files ]] || covers "$functions" <<<"$files"
}

# covers FUNCTIONS: of the files in its input, those whose tests all match FUNCTIONS.
covers() {
  local file
  while read -r file; do
    [[ -z $file ]] || grep -E '^func (Test|Fuzz|Example|Benchmark)' "$file" | grep -qvE "$1" || printf '%s\n' "${file#"$repo"/}"
  done
}

all_covered() {
  local line words
  while read -r line; do
    read -ra words <<<"$line"
    covered "${words[@]}"
  done <<<"$(commands)"
}

tests=$(git ls-files --cached --others --exclude-standard '*_test.go')
tiers=$(all_covered)
missing=$(LC_ALL=C comm -23 <(for file in $tests; do [[ ! -e $file ]] || echo "$file"; done | LC_ALL=C sort -u) <(LC_ALL=C sort -u <<<"$tiers"))
[[ -z $missing ]] || die "no target of the Makefile runs the tests in:
$missing"
say "every test file is in a tier: $(LC_ALL=C sort -u <<<"$tiers" | grep -c .)"
