#!/bin/sh
# need.sh - see to it that the programs are there that a target needs
#
# usage: need.sh demo|bats
#
# As root, missing Debian packages are installed. As another user, the one line
# to run is printed.
set -eu

case $1 in
demo) table="apt-get:apt dpkg-deb:dpkg setpriv:util-linux /usr/share/keyrings/debian-archive-keyring.gpg:debian-archive-keyring" ;;
bats)
    table="bats:bats /var/lib/dpkg/info/busybox-static.list:busybox-static docker-registry:docker-registry curl:curl jq:jq openssl:openssl zstd:zstd xz:xz-utils script:bsdutils
        squashfuse:squashfuse mksquashfs:squashfs-tools sqfs2tar:squashfs-tools-ng skopeo:skopeo umoci:umoci podman:podman buildah:buildah getcap:libcap2-bin ch-run:charliecloud setpriv:util-linux setsid:util-linux pgrep:procps tmux:tmux zsh:zsh fish:fish apt-get:apt /usr/share/keyrings/debian-archive-keyring.gpg:debian-archive-keyring"
    ;;
*)
    echo "usage: need.sh demo|bats" >&2
    exit 2
    ;;
esac

# Servers are in sbin, which is not everybody's PATH.
PATH=$PATH:/usr/sbin:/sbin
missing=
for entry in $table; do
    thing=${entry%%:*}
    package=${entry#*:}
    case $thing in
    /*) [ -e "$thing" ] || missing="$missing $package" ;;
    *) command -v "$thing" >/dev/null || missing="$missing $package" ;;
    esac
done
[ -n "$missing" ] || exit 0
if [ "$(id -u)" -ne 0 ]; then
    echo "make $1 needs more packages; run: sudo apt-get install -y --no-install-recommends$missing" >&2
    exit 1
fi
echo "installing$missing"
export DEBIAN_FRONTEND=noninteractive
apt-get -qq update
# shellcheck disable=SC2086 # a list of words
apt-get -qq install -y --no-install-recommends $missing >/dev/null
