#!/usr/bin/env bash
# iptables-layer.sh: writes a layer to its standard output: the programs that kube-proxy calls, with the libraries and
# plugins that they load. Runs in the Debian image.
set -euo pipefail

programs=(/usr/sbin/xtables-nft-multi /usr/sbin/conntrack /usr/sbin/nft)
plugins=(/usr/lib/*/xtables/*.so)
out=$(mktemp -d)

{
  printf '%s\n' "${programs[@]}" "${plugins[@]}"
  ldd "${programs[@]}" "${plugins[@]}" | grep -o '[[:space:]]/[^ :]*' | tr -d '[:blank:]'
} | sort -u | xargs cp --dereference --parents --target-directory "$out"
for name in {iptables,ip6tables}{,-save,-restore}; do
  ln -s xtables-nft-multi "$out/usr/sbin/$name"
done
tar --create --sort=name --mtime=@0 --directory "$out" .
