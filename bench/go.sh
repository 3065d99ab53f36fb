#!/bin/sh
# go.sh - the Go benchmarks, against those of before
#
# usage: go.sh [PACKAGE...]
#
# Runs the benchmarks that stand beside the code and compares with the file
# OLD, by default that of the run before, with benchstat. What
# was measured is in NEW.
#
#   BENCH  which, a regular expression (.)       COUNT  how often each (6)
#   OLD, NEW  bench/results/go-before.txt, bench/results/go.txt
set -eu

go=${GO:-go}
new=${NEW:-bench/results/go.txt}
old=${OLD:-bench/results/go-before.txt}
[ -n "${OLD-}" ] || ! [ -e "$new" ] || mv "$new" "$old"
[ $# -gt 0 ] || set -- ./build ./fakeroot ./image ./layer/... ./parser ./registry ./storage ./unpriv

$go test -run '^$' -bench "${BENCH:-.}" -benchmem -count "${COUNT:-6}" "$@" | tee "$new"
if [ -e "$old" ]; then
    # Of the Go project; not a dependency of virga.
    $go run golang.org/x/perf/cmd/benchstat@v0.0.0-20260908200009-22c9c6c9d4da "$old" "$new"
fi
