#!/usr/bin/env bash
# engine.sh up|down: a Docker engine for images and the cluster.
#   up     does nothing where an engine answers. Else, as root on Linux, it starts dockerd in the background, and
#          installs it first if need be. Elsewhere it says what to do and fails
#   down   ends the engine that `up` started
set -euo pipefail
# shellcheck source=hack/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"
PATH=$PATH:/usr/sbin:/sbin
dir=$cache/engine

answers() { docker info >/dev/null 2>&1; }

# started prints the process id of the dockerd that `up` started, if that runs.
started() {
  local pid
  pid=$(cat "$dir/dockerd.pid" 2>/dev/null) || return 1
  tr '\0' ' ' 2>/dev/null <"/proc/$pid/cmdline" | grep -qF -- "--config-file $dir/daemon.json" || return 1
  printf '%s\n' "$pid"
}

# daemon_json prints dockerd's configuration: the machine's own and, where the machine may not grant CAP_SYS_RESOURCE
# (bit 24; include/uapi/linux/capability.h), a runtime that can start privileged containers all the same.
daemon_json() {
  local machine=/etc/docker/daemon.json bounding runtime='{}'
  [[ -e $machine ]] || machine=/dev/null
  bounding=$(awk '/^CapBnd/ {print $2}' /proc/self/status)
  if ! ((16#$bounding >> 24 & 1)); then
    install -m 755 "$hack/offline/runc-capbound" "$dir/runc-capbound"
    runtime=$(jq -n --arg path "$dir/runc-capbound" \
      '{"runtimes": {"capbound": {"path": $path}}, "default-runtime": "capbound"}')
  fi
  jq -n --argjson runtime "$runtime" '([inputs][0] // {}) + $runtime' "$machine"
}

start() {
  mkdir -p "$dir"
  started >/dev/null || rm -f "$dir/dockerd.pid" # left by a machine that went down
  daemon_json >"$dir/daemon.json"
  # In a session of its own, so that it outlives the terminal. Without descriptor 9, which would keep the lock.
  setsid dockerd --config-file "$dir/daemon.json" --pidfile "$dir/dockerd.pid" >"$dir/dockerd.log" 2>&1 </dev/null 9>&- &
  poll 60 answers && return
  tail -n 20 "$dir/dockerd.log"
  die "dockerd does not answer after 60 s, see $dir/dockerd.log"
}

up() {
  answers && return
  if [[ -n ${DOCKER_HOST:-} ]]; then
    die "no Docker engine answers at DOCKER_HOST=$DOCKER_HOST: start it, or unset DOCKER_HOST"
  elif [[ $(uname) != Linux ]]; then
    die "no Docker engine answers: start Docker Desktop, or whichever you use, and run this again"
  elif docker info 2>&1 | grep -q 'permission denied'; then
    die "you may not use the Docker engine: sudo usermod -aG docker $USER, then log in again"
  elif ((EUID != 0)); then
    die "no Docker engine answers: start it (sudo systemctl start docker), or run this as root"
  fi
  "$hack/deps.sh" engine
  poll 2 answers && return # where systemd runs, installing the package starts it
  step "start a Docker engine" locked engine start
}

down() {
  local pid
  if ! pid=$(started); then
    say "no Docker engine was started from here"
    return
  fi
  kill "$pid"
  poll 60 eval '! started' || die "dockerd (process $pid) does not end, see $dir/dockerd.log"
  say "the Docker engine (process $pid) has ended"
}

case ${1:-} in
  up | down) "$1" ;;
  *) die "usage: engine.sh up|down" ;;
esac
