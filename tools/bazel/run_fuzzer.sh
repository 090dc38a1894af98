#!/bin/bash
# run_fuzzer.sh BINARY OPTION... CORPUS_FILE...: what a cc_fuzzer test runs. The inputs are copied
# into a folder of the test's own, because libFuzzer writes what it finds beside them.
set -euo pipefail
binary=$1
shift
corpus=$TEST_TMPDIR/corpus
mkdir -p "$corpus"
options=()
for argument in "$@"; do
  case $argument in
    -*) options+=("$argument") ;;
    *) cp "$argument" "$corpus/" ;;
  esac
done
# The seed is fixed so that a failure is the same failure the next time.
"$binary" -seed=1 -print_final_stats=1 -artifact_prefix="$TEST_UNDECLARED_OUTPUTS_DIR/" \
  "${options[@]}" "$corpus" && exit
status=$?
echo "The input that failed is in $TEST_UNDECLARED_OUTPUTS_DIR (bazel-testlogs/.../test.outputs)."
echo "Run it alone: BINARY THE_INPUT; then add it to the target's corpus."
exit $status
