#!/bin/sh
# base.sh - unpack the essential packages of Debian, as any user
#
# usage: base.sh DIR
#
# Makes DIR/root, a root file system of Debian's essential packages and apt as
# they come out of their archives, not yet configured, and DIR/debs, the
# packages. base/Dockerfile is the second half: it lets dpkg install them.
# Nothing is written elsewhere. Needs apt-get, dpkg-deb and a Debian mirror.
#
# SUITE, MIRROR and ARCH in the environment choose another release, server or
# architecture; the default is the release of this machine if it is Debian.
set -eu

die() {
    echo "base.sh: error: $1" >&2
    exit 1
}

[ $# -eq 1 ] || die "usage: base.sh DIR"
for tool in apt-get dpkg-deb tar; do
    command -v "$tool" >/dev/null || die "$tool is missing: this script needs Debian or a relative of it"
done

# shellcheck source=/dev/null
host_suite=$(. /etc/os-release && [ "${ID-}" = debian ] && echo "${VERSION_CODENAME-}") || host_suite=
suite=${SUITE:-${host_suite:-bookworm}}
# The mirror of this machine, if it is Debian.
mirror=${MIRROR:-}
[ -n "$mirror" ] || mirror=$(apt-get indextargets --format '$(SITE) $(RELEASE)' 'Created-By: Packages' 2>/dev/null | awk -v r="$suite" '$2 == r { print $1; exit }')
[ -n "$mirror" ] || die "no mirror of Debian $suite is known here: name one, MIRROR=http://..."
arch=${ARCH:-$(dpkg --print-architecture)}
keyring=/usr/share/keyrings/debian-archive-keyring.gpg
[ -r $keyring ] || die "$keyring is missing: install debian-archive-keyring"

mkdir -p "$1"
dir=$(cd "$1" && pwd)
root=$dir/root
debs=$dir/debs
mkdir -p "$root" "$debs/partial" "$dir/apt/lists/partial"
: >"$dir/apt/status"
echo "deb [signed-by=$keyring] $mirror $suite main" >"$dir/apt/sources.list"

# An apt that knows nothing of this machine's packages and settings.
cat >"$dir/apt/apt.conf" <<EOF
APT::Architecture "$arch";
APT::Architectures { "$arch"; };
APT::Install-Recommends "false";
APT::Sandbox::User "$(id -un)";
Acquire::Languages "none";
Dir::Etc::Main "/dev/null";
Dir::Etc::Parts "/dev/null";
Dir::Etc::SourceList "$dir/apt/sources.list";
Dir::Etc::SourceParts "/dev/null";
Dir::Etc::Preferences "/dev/null";
Dir::Etc::PreferencesParts "/dev/null";
Dir::Etc::TrustedParts "/dev/null";
Dir::Cache "$dir/apt";
Dir::Cache::Archives "$debs";
Dir::State "$dir/apt";
Dir::State::Lists "$dir/apt/lists";
Dir::State::Status "$dir/apt/status";
Dir::Log "$dir/apt";
Debug::NoLocking "true";
EOF
export APT_CONFIG="$dir/apt/apt.conf" LC_ALL=C

apt_get() {
    apt-get -qq "$@" </dev/null >"$dir/apt/log" 2>&1 || {
        cat "$dir/apt/log" >&2
        die "apt-get $1 does not work with $mirror $suite"
    }
}

echo "base.sh: downloading the essential packages of Debian $suite ($arch)" >&2
apt_get update
apt_get --yes --download-only install '?essential' apt debian-archive-keyring

# /bin, /sbin and /lib are links into /usr since Debian 12; no package has them.
cd "$root"
case $arch in
amd64 | ppc64el | loong64) links="bin sbin lib lib64" ;;
*) links="bin sbin lib" ;;
esac
for d in $links; do
    mkdir -p "usr/$d"
    [ -e "$d" ] || ln -s "usr/$d" "$d"
done
for deb in "$debs"/*.deb; do
    dpkg-deb --fsys-tarfile "$deb" | tar -x --keep-directory-symlink --no-same-owner
done

# What dpkg and the packages' scripts expect to find.
mkdir -p etc/apt var/lib/dpkg/info var/lib/dpkg/updates
: >>var/lib/dpkg/status
echo "deb [signed-by=$keyring] $mirror $suite main" >etc/apt/sources.list
rm -rf "$dir/apt"
set -- "$debs"/*.deb
echo "base.sh: $# packages are unpacked in $root" >&2
