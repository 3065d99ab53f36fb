#!/bin/sh
# lint.sh - checks of everything that the Go tools do not see
#
# The sizes are the house rules: 500 lines for a file. What is installed of
# golangci-lint and shellcheck is run.
set -eu
status=0

long=$(git ls-files '*.go' | grep -v '/z[^/]*$' | xargs wc -l | awk '$1 > 500 && $2 != "total" { print $2 ": " $1 " lines, 500 is the most" }')
if [ -n "$long" ]; then
    echo "$long" >&2
    status=1
fi

scripts=$(git ls-files '*.sh' .ci/run test/bats/run)
for s in $scripts; do
    case $(head -1 "$s") in
    *bash*) bash -n "$s" || status=1 ;;
    *) sh -n "$s" || status=1 ;;
    esac
done
if command -v shellcheck >/dev/null; then
    # shellcheck disable=SC2086
    shellcheck -S warning $scripts || status=1
fi
if command -v golangci-lint >/dev/null; then
    golangci-lint run || status=1
else
    echo "lint: golangci-lint is not installed, its checks are left out"
fi
exit $status
