# shellcheck shell=bash disable=SC2154 # top: lib.sh
# ./dev build, setup, clean: packages and CMake.

# build PRESET [TARGET...]: the whole of one CMake preset, or some targets of it, in build/PRESET.
build() {
  local preset=$1 options=() targets=("${@:2}")
  need build
  case $preset in
    release) options+=(-D CULVERT_TESTS=OFF) ;; # what is shipped; dev's tests cover the same sources
    *) need unit ;;
  esac
  say "building $preset"
  (cd "$top" && cmake --preset "$preset" "${options[@]}" > /dev/null && cmake --build "build/$preset" ${targets:+--target "${targets[@]}"} >&2)
}

cmd_build() { # [PRESET]: release (default), dev (ASan and UBSan, fuzz targets) or tsan, into build/PRESET
  build "${1:-release}"
}

cmd_setup() { # [GROUP...]: install what every command here needs (or only: build unit bench ...)
  needs_root setup
  [ $# -gt 0 ] || set -- build unit network bench conformance dhcp sources bgp podman containerd lint vm
  need "$@"
}

cmd_clean() { # remove build/ (what was downloaded stays in /var/cache/culvert)
  rm -rf "${top:?}/build"
}
