#!/usr/bin/env bash
# The longer run of kill_resume_test.sh.
# Usage: kill_resume_long_test.sh WAGGLE SOURCE_DIR
exec "$(dirname "$0")/kill_resume_test.sh" "$1" "$2" 4
