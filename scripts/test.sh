# shellcheck shell=bash disable=SC2154 # top: lib.sh
# ./dev test: each part runs in namespaces of its own (see `isolated`) and reports "N passed, N failed, N skipped".

all_parts=(unit netns conformance runtime examples vm fuzz)
test_logs=$top/build/test

cmd_test() {
  local part started=$SECONDS rows=()
  needs_root test
  [ $# -gt 0 ] || set -- "${all_parts[@]}"
  for part; do is_part "$part" || fail "no test part '$part'; there are: ${all_parts[*]}"; done
  rm -rf "$test_logs" && mkdir -p "$test_logs"
  for part; do need_for "$part"; done
  for part; do run_part "$part"; done
  summary "$((SECONDS - started))" "${rows[@]}"
}

is_part() { [[ " ${all_parts[*]} " = *" $1 "* ]]; }

need_for() { # all downloads come first: the parts themselves have no network
  case $1 in
    unit | fuzz) need build unit ;;
    netns) need build unit network bgp ;;
    conformance) need build network conformance dhcp sources bgp ;;
    runtime) need build network conformance podman containerd ;;
    examples) need build network dhcp ;;
    vm) need build unit network conformance vm && "$top/scripts/vm/kernel.sh" ;;
  esac
}

preset_of() {
  case $1 in
    unit | netns | fuzz) echo dev ;;
    *) echo release ;;
  esac
}

build_for() { # what a part needs besides its preset
  [ "$1" != vm ] || build dev routing_netlink_test
}

# Appends "PART PASSED FAILED SKIPPED SECONDS" to rows. What the part says goes to stderr and to build/test/PART.log,
# through a tee beside this shell and not around it: `isolated` must be our own child, to end when we do.
run_part() {
  local part=$1 started=$SECONDS status=0 log=$test_logs/$1.log tee counts
  exec 3> >(tee "$log" >&2)
  tee=$!
  { build "$(preset_of "$part")" && build_for "$part" && say "testing: $part" &&
    isolated "$top/scripts/test-part" "$part" "$test_logs"; } >&3 2>&1 || status=$?
  exec 3>&-
  wait "$tee"
  counts=$(add_up "$log")
  rows+=("$part $(judge "$part" "$status" "$counts") $((SECONDS - started))")
}

add_up() { # the sum of a log's "N passed, N failed, N skipped" lines
  awk '/^[0-9]+ passed, [0-9]+ failed, [0-9]+ skipped\r?$/ {passed += $1; failed += $3; skipped += $5}
       END {print passed + 0, failed + 0, skipped + 0}' "$1"
}

# A part that fell over, or that ran nothing, is a failure, whatever it counted.
judge() { # PART STATUS "PASSED FAILED SKIPPED"
  local passed failed skipped
  read -r passed failed skipped <<< "$3"
  if [ "$failed" = 0 ] && { [ "$2" != 0 ] || [ "$passed" = 0 ]; }; then
    say "$1: exit status $2 with $passed passed: counted as a failure"
    failed=1
  fi
  echo "$passed $failed $skipped"
}

# The table of conformance/test_matrix.py. A blank in it is a failure once everything was run that could fill it.
show_matrix() {
  local reports=() report status=0
  for report in "$test_logs"/{conformance,guest}.xml; do [ ! -f "$report" ] || reports+=("$report"); done
  [ ${#reports[@]} -gt 0 ] || return 0
  echo
  "$top/scripts/matrix" "${reports[@]}" || status=$?
  [ ${#reports[@]} -lt 2 ] || return "$status"
}

summary() { # SECONDS "PART PASSED FAILED SKIPPED SECONDS"...
  local seconds=$1 row part passed failed skipped took sum=(0 0 0)
  shift
  show_matrix || sum[1]=1
  printf '\n%-12s %8s %8s %8s %8s\n' part passed failed skipped seconds
  for row; do
    read -r part passed failed skipped took <<< "$row"
    printf '%-12s %8d %8d %8d %8d\n' "$part" "$passed" "$failed" "$skipped" "$took"
    sum=($((sum[0] + passed)) $((sum[1] + failed)) $((sum[2] + skipped)))
  done
  printf '%-12s %8d %8d %8d %8d\n\n' all "${sum[@]}" "$seconds"
  printf '%d passed, %d failed, %d skipped\n' "${sum[@]}"
  [ "${sum[1]}" = 0 ] && [ "${sum[0]}" -gt 0 ]
}
