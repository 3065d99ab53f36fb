#!/bin/sh
# man.sh - check the syntax of manual pages
#
# usage: man.sh PAGE...
set -eu
if command -v mandoc >/dev/null; then
    exec mandoc -T lint -W warning "$@"
fi
if ! command -v groff >/dev/null; then
    echo "man: neither mandoc nor groff is installed, syntax is not checked"
    exit 0
fi
status=0
for page; do
    out=$(groff -man -Tutf8 -ww -z "$page" 2>&1) || status=1
    if [ -n "$out" ]; then
        echo "$out" >&2
        status=1
    fi
done
exit $status
