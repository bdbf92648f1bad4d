#!/usr/bin/env bash
# The generated pages under docs/ are what the program prints today.
# Usage: docs_test.sh WAGGLE SOURCE_DIR [--update]
set -euo pipefail
waggle=$1 docs=$2/docs failures=0
for page in cli settings metrics; do
  if [ "${3:-}" = "--update" ]; then "$waggle" docs "$page" > "$docs/$page.md"; fi
  if ! diff -u "$docs/$page.md" <("$waggle" docs "$page"); then
    echo "FAILED: docs/$page.md is stale: waggle docs $page > docs/$page.md"; failures=1
  fi
done
exit "$failures"
