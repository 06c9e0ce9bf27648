# shellcheck shell=bash
# Shared by ./dev and its parts: messages, packages, a private machine to run things in.

top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
# Debian's own tools, ahead of whatever else (pyenv, Homebrew, ...) the caller has on PATH.
export PATH=/usr/local/sbin:/usr/sbin:/sbin:/usr/bin:/bin:/usr/local/bin LC_ALL=C.UTF-8

say() { printf '\033[1m>> %s\033[0m\n' "$*" >&2; }
fail() { printf 'dev: %s\n' "$*" >&2; exit 1; }
needs_root() { [ "$(id -u)" = 0 ] || fail "$1 needs root: sudo ./dev $1"; }

# A group of Debian packages, for `need`. Each is the least that its commands run with.
packages() {
  case $1 in
    build) echo g++ cmake ninja-build nettle-dev nlohmann-json3-dev libexpected-dev libboost-dev libmbedtls-dev libyaml-dev libboost-program-options-dev libssl-dev libyaml-cpp-dev libspdlog-dev prometheus-cpp-dev libsimdjson-dev ;;
    unit) echo clang lld libclang-rt-dev libgtest-dev libgmock-dev libyaml-cpp-dev ;;
    network) echo iproute2 iputils-ping nftables python3 util-linux ;;
    bench) echo gcc libc6-dev make containernetworking-plugins iptables ;;
    conformance) echo gcc libc6-dev make python3-pytest python3-pytest-xdist python3-yaml containernetworking-plugins iptables strace procps iperf3 openssl tcpdump zsh fish ;;
    sources) echo etcd-server etcd-client openssl ;;
    bgp) echo bird2 gobgpd ;;
    dhcp) echo dnsmasq-base kea-dhcp4-server kea-dhcp6-server ;;
    podman) echo podman conmon runc busybox-static ;;
    containerd) echo containerd runc busybox-static ;;
    lint) echo git clang-format clang-tidy shellcheck ;;
    vm) echo qemu-system-x86 cpio kmod busybox-static wireguard-tools ;;
    *) fail "no package group $1" ;;
  esac
}

installed() { dpkg-query -W -f='${db:Status-Status}\n' "$1" 2>/dev/null | grep -qx installed; }

# need GROUP...: installs what is missing, and touches neither apt nor the network when nothing is.
need() {
  local group package missing=()
  for group; do
    for package in $(packages "$group"); do installed "$package" || missing+=("$package"); done
  done
  [ ${#missing[@]} -gt 0 ] || return 0
  [ "$(id -u)" = 0 ] || fail "missing Debian packages: ${missing[*]} (as root, ./dev installs them)"
  say "installing ${missing[*]}"
  apt_get update && without_services apt_get install "${missing[@]}" && disable_services "${missing[@]}"
}

# Tests start their own etcd, BIRD, ... in namespaces of their own: a package must not start one on this machine.
without_services() {
  local policy=/usr/sbin/policy-rc.d status=0
  [ ! -e $policy ] || { "$@"; return; }
  printf '#!/bin/sh\nexit 101\n' > $policy && chmod +x $policy
  "$@" || status=$?
  rm -f $policy
  return "$status"
}

disable_services() { # PACKAGE...: not at the next boot either
  local unit
  [ -d /run/systemd/system ] || return 0
  dpkg -L "$@" | sed -n 's|^/.*/systemd/system/\([^/]*\.service\)$|\1|p' | while read -r unit; do
    systemctl disable --quiet "$unit" 2> /dev/null || true
  done
}

apt_get() { # silent, unless it fails
  local verb=$1 log
  shift
  log=$(mktemp)
  DEBIAN_FRONTEND=noninteractive apt-get -o Dpkg::Use-Pty=0 "$verb" --yes --no-install-recommends "$@" < /dev/null \
    > "$log" 2>&1 || { cat "$log" >&2 && rm "$log" && fail "apt-get $verb failed"; }
  rm "$log"
}

# isolated CMD...: runs it in namespaces of its own (mounts, processes, network), with nothing in /run,
# /var/lib/cni and $TMPDIR but what it puts there. The kernel takes all of it away when the command ends,
# however it ends, so that neither a failed nor a killed run leaves a namespace, a link or a container behind.
isolated() {
  local pid status=0
  setpriv --pdeathsig KILL unshare --mount --net --pid --fork --kill-child --mount-proc --propagation private \
    "$top/scripts/isolate" "$@" &
  pid=$!
  trap 'kill -KILL $pid; exit 130' INT TERM HUP
  wait "$pid" || status=$?
  trap - INT TERM HUP
  return "$status"
}
