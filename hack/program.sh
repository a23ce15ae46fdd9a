#!/usr/bin/env bash
# program.sh NAME: prints the path of a program that programs.sh has a function for (helm, kubectl ...); builds it first
# where that was not done yet.
set -euo pipefail
# shellcheck source=hack/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
# shellcheck source=hack/programs.sh
source "$hack/programs.sh"

declare -F "${1:-}_program" >/dev/null || die "usage: program.sh NAME, and NAME_program in programs.sh"
"$1_program"
