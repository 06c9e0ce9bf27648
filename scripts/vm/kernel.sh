#!/usr/bin/env bash
# Debian's kernel package, unpacked beside the system and not installed. Run, it fetches it; sourced, it also sets
# kernel_root and release.
set -euo pipefail

kernel_cache=${CULVERT_VM_CACHE:-/var/cache/culvert/vm}

newest_kernel() { apt-cache depends linux-image-amd64 2>/dev/null | awk '/Depends:/ && !found {print $2; found = 1}'; }

fetch_kernel() {
  local package staging
  package=$(newest_kernel)
  [ -n "$package" ] || { apt-get -qq update && package=$(newest_kernel); }
  [ -n "$package" ] || { echo "vm: apt knows no linux-image-amd64" >&2; return 1; }
  staging=$(mktemp -d "$kernel_cache/unpack.XXXXXX")
  (cd "$staging" && apt-get -qq -o APT::Sandbox::User=root download "$package" && dpkg-deb -x "$package"_*.deb root) >&2
  depmod -b "$staging/root" "$(ls "$staging/root/lib/modules")"
  mv "$staging/root" "$kernel_cache/$package"
  rm -rf "$staging"
}

find_kernel() { # any unpacked one will do: no network once there is one
  local dir
  for dir in "$kernel_cache"/linux-image-*; do
    [ -d "$dir/lib/modules" ] && kernel_root=$dir && return
  done
  return 1
}

mkdir -p "$kernel_cache"
exec {kernel_lock}> "$kernel_cache/lock"
flock "$kernel_lock"
find_kernel || { fetch_kernel && find_kernel; } || exit 125
exec {kernel_lock}>&-
# shellcheck disable=SC2034 # for vm/run
release=$(ls "$kernel_root/lib/modules")
