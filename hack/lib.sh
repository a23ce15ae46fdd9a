# shellcheck shell=bash
# What the scripts share: folders, Go's settings, progress lines, stamps, locks. Sourced, never run.

shopt -s inherit_errexit 2>/dev/null || true # bash before 4.4 has no such option

hack=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
repo=$(dirname "$hack")
cache=${TIDELAY_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/tidelay}
mkdir -p "$cache/log" "$cache/lock"

# One set of flags for everything that is compiled, so that Go's build cache serves every script.
export CGO_ENABLED=0 GOFLAGS=-trimpath

say() { printf '%s\n' "$*" >&2; }
die() {
  say "error: $*"
  exit 1
}
have() { command -v "$1" >/dev/null 2>&1; }

# attempt LABEL COMMAND...
# Runs COMMAND in a subshell with its output in the file $log, prints LABEL and the time it took, and leaves COMMAND's
# exit status in $status. Don't use attempt as a condition: bash ignores errexit inside one, in COMMAND too.
attempt() {
  local label=$1 start=$SECONDS
  shift
  log="$cache/log/${label//[^A-Za-z0-9.]/-}.log"
  printf '%-58s ' "$label" >&2
  set +e
  (
    set -e
    "$@"
  ) >"$log" 2>&1 </dev/null
  status=$?
  set -e
  if ((status == 0)); then
    say "$((SECONDS - start)) s"
  else
    say "failed after $((SECONDS - start)) s"
  fi
}

# step LABEL COMMAND...: an attempt that must succeed. If it does not, prints the end of its log and exits.
step() {
  attempt "$@"
  ((status == 0)) && return
  say "The end of $log:"
  tail -n 20 "$log" | sed 's/^/    /' >&2
  exit 1
}

# failed_tests LOG: what the tests that failed printed with -test.v, or the end of the log if none says that it failed.
failed_tests() {
  if ! grep -q '^--- FAIL' "$1"; then
    tail -n 40 "$1"
    return
  fi
  awk '
    /^=== [A-Z]+ / { test = $3; sub("/.*", "", test) }
    { text[test] = text[test] $0 "\n" }
    /^--- FAIL/ { printf "%s", text[$3] }' "$1"
}

# cached LABEL: the line of a step that had nothing to do.
cached() { printf '%-58s (cached)\n' "$1" >&2; }

# beside LABEL COMMAND...: starts a step in the background. For what waits for the network, beside what computes.
# join must follow. The script may have no EXIT trap of its own: this one ends what still runs when the script fails.
besides=()
beside() {
  local lines
  lines=$(mktemp)
  set -m # in a process group of its own, so that all of it can be ended
  (step "$@") 2>"$lines" &
  set +m
  besides+=("$! $lines")
  trap end_besides EXIT
}

# join waits for the steps that beside started and prints their lines. It exits where one has failed.
join() {
  local entry failed=0
  for entry in ${besides[@]+"${besides[@]}"}; do # "${besides[@]}" alone, where empty, is an error in bash before 4.4
    wait "${entry%% *}" || failed=1
    cat "${entry#* }" >&2
    rm "${entry#* }"
  done
  besides=()
  ((failed == 0)) || exit 1
}

end_besides() {
  local entry
  for entry in ${besides[@]+"${besides[@]}"}; do
    kill -- "-${entry%% *}" 2>/dev/null || true
    rm -f "${entry#* }"
  done
}

# poll SECONDS COMMAND...: runs COMMAND until it succeeds; fails when it has not after SECONDS.
poll() {
  local limit=$((SECONDS + $1))
  shift
  until "$@" >/dev/null 2>&1; do
    ((SECONDS < limit)) || return 1
    sleep 0.5
  done
}

# stamp WORD...: twelve hex digits that change when a word changes or, where a word is a path in this clone, when the
# name or the contents of a file there changes.
stamp() {
  local word files
  for word in "$@"; do
    if [[ $word == "$repo"/* ]]; then
      files=$(find "$word" -type f | LC_ALL=C sort)
      printf '%s\n' "${files//"$repo"/}"
      git hash-object --no-filters --stdin-paths <<<"$files"
    else
      printf '%s\n' "$word"
    fi
  done | git hash-object --stdin | cut -c 1-12
}

# locked NAME COMMAND...: runs COMMAND in a subshell while no other run holds the lock NAME.
locked() {
  local name=$1
  shift
  (
    if have flock && ! flock -n 9; then # macOS has none
      say "waiting for another run that holds $cache/lock/$name"
      flock 9
    fi
    "$@"
  ) 9>"$cache/lock/$name"
}

# artefact NAME STAMP LABEL COMMAND...
# Prints the folder $cache/NAME-STAMP. If it does not exist yet, COMMAND fills an empty folder, whose path is its last
# argument. That folder is renamed at the end, so it exists complete or not at all. Folders of other stamps are removed.
artefact() { locked "$1" artefact_locked "$@"; }

artefact_locked() {
  local name=$1 dir="$cache/$1-$2" label=$3
  shift 3
  if [[ -d $dir ]]; then
    cached "$label"
  else
    rm -rf "$dir.partial"
    mkdir "$dir.partial"
    step "$label" "$@" "$dir.partial"
    find "$cache" -maxdepth 1 -name "$name-????????????*" ! -path "$dir.partial" -exec rm -rf {} +
    mv "$dir.partial" "$dir"
  fi
  printf '%s\n' "$dir"
}

# go_in FOLDER ARGUMENT...: runs the go command in a module of its own, hack/FOLDER.
go_in() { GOWORK=off go -C "$hack/$1" "${@:2}"; }

# required GO.MOD PATH: the version of the module PATH that hack/GO.MOD requires.
required() {
  awk -v path="$2" '{sub(/^require /, "")} $1 == path && $2 ~ /^v/ {print $2; exit}' "$hack/$1"
}

# module_folder FOLDER PATH: where the sources of the module PATH are, at the version that the module hack/FOLDER
# requires. Fetches them if need be.
module_folder() {
  go_in "$1" mod download "$2"
  go_in "$1" list -m -f '{{.Dir}}' "$2"
}

# tool_folder TOOL PATH: the same at the version that hack/tools/TOOL.mod requires.
tool_folder() {
  GOWORK=off go -C "$repo" mod download -modfile="$hack/tools/$1.mod" "$2"
  GOWORK=off go -C "$repo" list -modfile="$hack/tools/$1.mod" -m -f '{{.Dir}}' "$2"
}

# oci ARGUMENT...: the program that writes images without an engine.
oci() { go_in modules/oci run . "$@"; }

# docker_build IMAGE ARGUMENT...: builds IMAGE and deletes the image that had the name before. Without BuildKit: it is a
# plugin that not every engine comes with, and fetches parts of itself from a registry.
docker_build() {
  local before after
  before=$(docker image inspect -f '{{.Id}}' "$1" 2>/dev/null || true)
  DOCKER_BUILDKIT=0 docker build --tag "$@"
  after=$(docker image inspect -f '{{.Id}}' "$1")
  [[ -z $before || $before == "$after" ]] || docker rmi "$before" || true # a container may still run on it
}
