#!/usr/bin/env bash
# waggle-tidy must catch what it promises: each case plants one violation in a scratch tree and expects a finding.
set -euo pipefail
tidy=$1
tree=$(mktemp -d)
trap 'rm -rf "$tree"' EXIT
failures=0

fresh() {
  rm -rf "$tree"; mkdir -p "$tree"/src/base "$tree"/src/model "$tree"/tools
  printf 'waggle_library(base DEPS)\nwaggle_library(model DEPS base LIBS x)\n' > "$tree/CMakeLists.txt"
  printf '# path rule reason\n' > "$tree/tools/tidy_exempt.txt"
  printf '#pragma once\n#include "base/b.h"\n' > "$tree/src/model/m.h"
}
expect() { # mode, expected exit code, expected text, case
  local output code=0
  output=$("$tidy" "$1" "$tree") || code=$?
  if [ "$code" -ne "$2" ] || [[ "$output" != *"$3"* ]]; then
    echo "FAILED: $4: exit $code, output: $output"; failures=$((failures + 1))
  fi
}
long_function() { printf 'int F() {\n'; for ((i = 0; i < $1 - 2; ++i)); do printf '  ;\n'; done; printf '}\n'; }

fresh; expect layers 0 "" "clean layers"; expect tidy 0 "" "clean tree"
fresh; printf '#include "model/m.h"\n' > "$tree/src/base/b.cc"; expect layers 1 "base/ may not include model/" "upward include"
fresh; printf 'double x = std::exp(1);\n' > "$tree/src/base/b.cc"; expect tidy 1 "std::exp(" "libm"
fresh; printf 'static_assert(true);\n// std::exp( in words\n' > "$tree/src/base/b.cc"; expect tidy 0 "" "no false alarm"
fresh; printf 'auto t = std::chrono::system_clock::now();\n' > "$tree/src/base/b.cc"; expect tidy 1 "system_clock" "clock"
fresh; long_function 70 > "$tree/src/base/b.cc"; expect tidy 0 "" "70 lines pass"
fresh; long_function 71 > "$tree/src/base/b.cc"; expect tidy 1 "function of 71 lines" "71 lines"
printf 'src/base/b.cc function a table\n' >> "$tree/tools/tidy_exempt.txt"; expect tidy 0 "" "exempted"
long_function 60 > "$tree/src/base/b.cc"; expect tidy 1 "no longer needed" "stale exemption"
fresh; printf 'int x;\n' > "$tree/src/base/b.h"; expect tidy 1 "pragma once" "missing pragma"
[ "$failures" -eq 0 ] && echo "all cases caught"
exit "$failures"
