# shellcheck shell=bash
# Image archives in the format of `docker save`, written without an engine: what is in them never becomes an image of
# the user's own engine, where a stand-in by the name of pingcap/tidb would be a trap. Sourced.

# tar_layer FOLDER FILE: the layer FILE, of what is in FOLDER.
tar_layer() { tar --create --file "$2" --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner --directory "$1" .; }

# program_layer PATH PROGRAM [NAME...] FILE: a layer with PROGRAM at PATH, and links to it beside it called NAME.
program_layer() {
  local path=$1 program=$2 file=${*: -1} root name
  root=$(mktemp -d)
  install -D "$program" "$root$path"
  for name in "${@:3:$#-3}"; do
    ln -s "${path##*/}" "$root${path%/*}/$name"
  done
  tar_layer "$root" "$file"
  rm -rf "$root"
}

# archive_add FOLDER IMAGE ENTRYPOINT LAYER...: adds an image to the archive that grows in FOLDER. Its layers are names
# of layer files in FOLDER; images may share them.
archive_add() {
  local folder=$1 image=$2 entrypoint=$3 layer config
  shift 3
  config=$(stamp "$image").json
  for layer in "$@"; do
    sha256sum <"$folder/$layer" | sed 's/^/sha256:/; s/ .*//'
  done | jq -nR --arg entrypoint "$entrypoint" --arg architecture "$(go env GOARCH)" '{
      architecture: $architecture,
      os: "linux",
      config: {
        Entrypoint: [$entrypoint],
        Env: ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"]
      },
      rootfs: {type: "layers", diff_ids: [inputs]}
    }' >"$folder/$config"
  jq -nc --arg image "$image" --arg config "$config" \
    '{Config: $config, RepoTags: [$image], Layers: $ARGS.positional}' --args "$@" >>"$folder/images"
}

# archive_write FOLDER FILE
archive_write() {
  jq -s . "$1/images" >"$1/manifest.json"
  rm "$1/images"
  tar --create --file "$2" --directory "$1" .
}
