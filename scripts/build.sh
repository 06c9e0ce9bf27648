# shellcheck shell=bash disable=SC2154 # top: lib.sh
# ./dev build, setup, clean: packages, the static libmnl, CMake.

libmnl_cache=/var/cache/culvert/libmnl-1.0.5-3.a
libmnl_sha256=7f9a7c3f470ec400171981816df189ec86b11083c3f8d391d0800ed09a87bfc3 # of the .deb

# culvert-cni is static, and Debian 12's libmnl-dev has no libmnl.a; Debian 13's package, in the same archive, has.
ensure_libmnl() {
  local system target=$top/build/deps/libmnl.a
  [ ! -s "$target" ] || return 0
  system=$(dpkg-query -L libmnl-dev | grep '/libmnl\.a$') || system=
  mkdir -p "${target%/*}"
  [ -n "$system" ] || [ -s "$libmnl_cache" ] || fetch_libmnl
  cp "${system:-$libmnl_cache}" "$target.new" && mv "$target.new" "$target"
}

fetch_libmnl() {
  local pool work
  [ "$(dpkg --print-architecture)" = amd64 ] || fail "no pinned libmnl.a for this architecture: put one at build/deps/libmnl.a"
  work=$(mktemp -d)
  pool=$(cd "$work" && apt-get download --print-uris libmnl-dev 2>/dev/null | sed -n "s|^'\(.*\)/[^/]*'.*|\1|p")
  if [ -z "$pool" ]; then # the package is installed, but apt's lists are gone (a slim image)
    apt_get update
    pool=$(cd "$work" && apt-get download --print-uris libmnl-dev | sed -n "s|^'\(.*\)/[^/]*'.*|\1|p")
  fi
  /usr/lib/apt/apt-helper -o APT::Sandbox::User=root download-file "$pool/libmnl-dev_1.0.5-3_amd64.deb" "$work/libmnl.deb" \
    "SHA256:$libmnl_sha256" >&2 || fail "cannot fetch Debian 13's libmnl-dev"
  dpkg-deb --fsys-tarfile "$work/libmnl.deb" | tar -x -C "$work" --wildcards '*/libmnl.a'
  mkdir -p "${libmnl_cache%/*}"
  cp "$work"/usr/lib/*/libmnl.a "$libmnl_cache.new" && mv "$libmnl_cache.new" "$libmnl_cache"
  rm -rf "$work"
}

# build PRESET: the whole of one CMake preset, in build/PRESET.
build() {
  local preset=$1 options=()
  need build
  case $preset in
    release) options+=(-D CULVERT_TESTS=OFF) ;; # what is shipped; dev's tests cover the same sources
    fuzz) need fuzz ;;
    *) need unit ;;
  esac
  ensure_libmnl
  say "building $preset"
  (cd "$top" && cmake --preset "$preset" "${options[@]}" > /dev/null && cmake --build "build/$preset" >&2)
}

cmd_build() { # [PRESET]: release (default), dev (ASan and UBSan), tsan or fuzz, into build/PRESET
  build "${1:-release}"
}

cmd_setup() { # [GROUP...]: install what every command here needs (or only: build unit bench ...)
  needs_root setup
  [ $# -gt 0 ] || set -- build unit network bench conformance podman containerd fuzz lint vm
  need "$@"
  ensure_libmnl
}

cmd_clean() { # remove build/ (what was downloaded stays in /var/cache/culvert)
  rm -rf "${top:?}/build"
}
