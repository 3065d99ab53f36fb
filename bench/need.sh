#!/bin/sh
# need.sh - see to it that the peers are there, from Debian
#
# As root, what is missing is installed; as another user, the one line to run is
# printed.
set -eu

packages="charliecloud charliecloud-builders python3-lark python3-requests buildah podman crun runc umoci skopeo
    docker-registry uidmap openssl fakeroot isal pigz zstd squashfs-tools mmdebstrap dpkg-dev debian-archive-keyring util-linux curl"

missing=
for p in $packages; do
    dpkg-query -W -f '${db:Status-Status}' "$p" 2>/dev/null | grep -qx installed || missing="$missing $p"
done
[ -n "$missing" ] || exit 0
if [ "$(id -u)" -ne 0 ]; then
    echo "make bench needs more packages; run: sudo apt-get install -y --no-install-recommends$missing" >&2
    exit 1
fi
echo "installing$missing"
export DEBIAN_FRONTEND=noninteractive
apt-get -qq update
# shellcheck disable=SC2086 # a list of words
apt-get -qq install -y --no-install-recommends $missing >/dev/null
# The registry's own service is not wanted.
systemctl --quiet disable --now docker-registry 2>/dev/null || true
