#!/usr/bin/env bash
# The same bits from every compiler, optimisation level, sanitizer, instruction set and thread count.
#
#   tools/arithmetic_matrix.sh               known answers: g++ and clang++-14 at -O1 -O2 -O3, and with address,undefined sanitizers
#   tools/arithmetic_matrix.sh --signature   also `waggle bench --signature` (builds the whole binary per row: slow)
#   tools/arithmetic_matrix.sh --arm         also NEON: cross-compiled, run under qemu-user (packages g++-aarch64-linux-gnu, qemu-user)
#   ROWS='g++:-O2 clang++-14:-O3' tools/arithmetic_matrix.sh     only these rows
#
# Prints one table and fails if a digest differs or an answer is wrong. AVX-512 on a machine without it: tools/avx512/run.sh.
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/.."

signature=false arm=false
for argument in "$@"; do
  case "$argument" in
    --signature) signature=true ;;
    --arm) arm=true ;;
    *) sed -n '2,9p' "$0"; exit 2 ;;
  esac
done

default_rows="g++:-O1 g++:-O2 g++:-O3 clang++-14:-O1 clang++-14:-O2 clang++-14:-O3 g++:-O1:address,undefined clang++-14:-O1:address,undefined"
rows=${ROWS:-$default_rows}
build=${MATRIX_BUILD:-build/arithmetic}
jobs=${JOBS:-2}
failures=0
digests="" signatures=""  # of all rows, one a line

report() { printf '%-14s %-5s %-18s %-12s %-7s %-16s %s\n' "$@"; }

# compiler, level, sanitizers, folder
configure() {
  cmake -S . -B "$4" -G Ninja -DCMAKE_BUILD_TYPE=Matrix -DCMAKE_CXX_COMPILER="$1" -DCMAKE_CXX_FLAGS="$2" \
    -DWAGGLE_SANITIZE="$3" > "$4.log" 2>&1
}

# Prints the lines of one runner ("isa threads digest", and the exit status counts) as rows of the table.
answers() { # compiler, level, sanitizers, command...
  local compiler=$1 level=$2 sanitizers=$3 threads output; shift 3
  for threads in 1 2; do
    if ! output=$("$@" --threads "$threads"); then
      report "$compiler" "$level" "$sanitizers" "-" "$threads" "WRONG" ""; failures=$((failures + 1))
    fi
    while read -r isa _ digest; do
      [ -n "$isa" ] || continue
      report "$compiler" "$level" "$sanitizers" "$isa" "$threads" "$digest" ""
      digests+="$digest"$'\n'
    done <<< "$output"
  done
}

whole() { # compiler, level, sanitizers, binary: the behaviour signature, every table and 1 and 2 threads
  local isa threads value
  for isa in $("$4" kat --list); do
    for threads in 1 2; do
      value=$("$4" bench --signature --isa "$isa" --threads "$threads" | awk '{print $2}') || value=""
      report "$1" "$2" "$3" "$isa" "$threads" "" "${value:-FAILED}"
      signatures+="${value:-FAILED}"$'\n'
    done
  done
}

native_row() { # compiler:level[:sanitizers]
  local compiler level sanitizers folder targets=(waggle-kat)
  IFS=: read -r compiler level sanitizers <<< "$1"
  folder="$build/$(tr -c 'a-z0-9A-Z\n' '_' <<< "$1")"
  if $signature; then targets+=(waggle); fi
  mkdir -p "$build"
  if ! configure "$compiler" "$level" "$sanitizers" "$folder" ||
     ! nice cmake --build "$folder" -j "$jobs" --target "${targets[@]}" >> "$folder.log" 2>&1; then
    report "$compiler" "$level" "${sanitizers:--}" "-" "-" "DOES NOT BUILD" "$folder.log"; failures=$((failures + 1)); return
  fi
  answers "$compiler" "$level" "${sanitizers:--}" "$folder/tools/waggle-kat"
  if $signature; then whole "$compiler" "$level" "${sanitizers:--}" "$folder/bin/waggle"; fi
}

# NEON. Highway and fmt of the other architecture come from its Debian packages, unpacked into the build folder: nothing foreign is installed.
arm_row() {
  local folder sources source object apt
  folder="$PWD/$build/aarch64"
  mkdir -p "$folder"/{lists/partial,cache/archives/partial,root,include,objects}
  apt=(apt-get -qq -o APT::Architecture=arm64 -o APT::Architectures::=arm64 -o "Dir::State::lists=$folder/lists"
       -o "Dir::Cache=$folder/cache" -o APT::Sandbox::User=root)
  if [ ! -e "$folder/root/usr/lib/aarch64-linux-gnu/libhwy.so" ]; then
    (cd "$folder" && "${apt[@]}" update && "${apt[@]}" download libhwy-dev:arm64 libhwy1:arm64 libfmt-dev:arm64 libfmt9:arm64) || return 1
    for package in "$folder"/*.deb; do dpkg-deb -x "$package" "$folder/root"; done
  fi
  ln -sfn "$folder/root/usr/include/hwy" "$folder/include/hwy"
  ln -sfn "$folder/root/usr/include/fmt" "$folder/include/fmt"
  ln -sfn /usr/include/tl "$folder/include/tl"
  mapfile -t sources < <(find src/base src/kernels -name '*.cc' | grep -Ev '_(test|fuzz|bench)\.cc$'; echo tools/waggle_kat.cc)
  # The same settings as cmake/WaggleToolchain.cmake. Highway's NEON target includes AES, so the baseline must too.
  printf '%s\n' "${sources[@]}" | nice xargs -P "$jobs" -I{} sh -c '
    object="$0/objects/$(echo {} | tr / _).o"
    ${CCACHE:-ccache} aarch64-linux-gnu-g++ -std=c++20 -O2 -march=armv8-a+crypto -Wall -Wextra -Wno-missing-field-initializers \
      -ffp-contract=off -fno-fast-math -fno-associative-math -fsigned-zeros -Isrc -isystem "$0/include" -c {} -o "$object"' \
    "$folder" > "$folder.log" 2>&1 || return 1
  aarch64-linux-gnu-g++ "$folder"/objects/*.o -o "$folder/waggle-kat" -L"$folder/root/usr/lib/aarch64-linux-gnu" -lhwy -lfmt -pthread
  answers aarch64-g++ -O2 qemu-user qemu-aarch64 -L /usr/aarch64-linux-gnu \
    -E "LD_LIBRARY_PATH=$folder/root/usr/lib/aarch64-linux-gnu" "$folder/waggle-kat"
}

report compiler level sanitizers table threads "known answers" signature
for row in $rows; do native_row "$row"; done
if $arm && ! arm_row; then report aarch64-g++ -O2 - - - "DOES NOT BUILD" "$build/aarch64.log"; failures=$((failures + 1)); fi

different() { printf '%s' "$1" | sort -u | grep -c . || true; }
echo "different digests: $(different "$digests"), different signatures: $(different "$signatures"), failures: $failures"
[ "$(different "$digests")" -eq 1 ] && [ "$(different "$signatures")" -le 1 ] && [ "$failures" -eq 0 ]
