#!/bin/sh
# reproducible.sh - build twice, from two places, and compare
#
# usage: reproducible.sh VERSION
#
# The second build is of a copy in another directory, which Go's build cache
# takes for other packages.
set -eu
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

mkdir "$tmp/elsewhere"
tar -c --exclude=./.git --exclude=./bin . | tar -x -C "$tmp/elsewhere"
make -s build VERSION="$1"
make -s -C "$tmp/elsewhere" build VERSION="$1"
one=$(sha256sum <bin/virga)
two=$(sha256sum <"$tmp/elsewhere/bin/virga")
if [ "$one" != "$two" ]; then
    echo "the build is not reproducible: ${one%% *} here, ${two%% *} in another directory" >&2
    exit 1
fi
case $(LC_ALL=C file -b bin/virga 2>/dev/null) in
*"dynamically linked"*)
    echo "bin/virga is not static" >&2
    exit 1
    ;;
esac
echo "reproducible: ${one%% *} bin/virga"
