#!/bin/sh
# demo.sh - the way from nothing to a running image, without a registry
#
# usage: demo.sh VIRGA
#
# Makes a Debian base image of packages, builds hello/ on it, and runs the
# result. All of it happens as a normal user. Started by root, it goes on as
# the user who called sudo, or else as a user "virga-demo" that it creates.
# Everything is in /var/tmp/virga-demo-USER; delete that directory afterwards.
set -eu

say() { printf '\n== %s\n' "$1"; }

show() {
    printf '$ %s\n' "$*"
    "$@"
}

# as_user runs this script again as a normal user, on copies that it can read.
as_user() {
    user=${SUDO_USER:-virga-demo}
    [ "$user" != root ] || user='virga-demo'
    if ! id "$user" >/dev/null 2>&1; then
        say "creating the user $user, because root needs no virga"
        useradd --create-home --shell /bin/sh "$user"
    fi
    work=/var/tmp/virga-demo-$user
    mkdir -p "$work"
    cp -r "$here" "$work/"
    cp "$virga" "$work/virga"
    chown -R "$user:" "$work"
    cd "$work"
    exec setpriv --reuid="$user" --regid="$(id -g "$user")" --init-groups \
        env USER="$user" HOME="$(getent passwd "$user" | cut -d: -f6)" TMPDIR=/tmp "$work/examples/demo.sh" "$work/virga"
}

[ $# -eq 1 ] || {
    echo "usage: demo.sh VIRGA" >&2
    exit 2
}
here=$(cd "$(dirname "$0")" && pwd)
virga=$(cd "$(dirname "$1")" && pwd)/$(basename "$1")
[ "$(id -u)" -ne 0 ] || as_user

USER=$(id -un)
work=/var/tmp/virga-demo-$USER
export USER VIRGA_STORAGE="$work/storage"
PATH=$(dirname "$virga"):$PATH
mkdir -p "$work"
start=$(date +%s)

say "1. The files of Debian's essential packages, unpacked as $USER"
"$here/base.sh" "$work/base"

say "2. They become an image, and dpkg configures it in a RUN"
show virga import "$work/base/root" debian-unpacked
show virga build -t debian -b "$work/base/debs:/debs:ro" "$here/base" >"$work/base.log" 2>&1 || {
    cat "$work/base.log" >&2
    exit 1
}
rm -rf "$work/base"
show virga list -l

say "3. A Dockerfile: apt-get install, a compiler, two stages"
cat "$here/hello/Dockerfile"
show virga build -t hello "$here/hello"

say "4. The result"
show virga run hello
show virga run hello -- "$USER"

say "done in $(($(date +%s) - start)) seconds; now try"
cat <<EOF
export VIRGA_STORAGE=$VIRGA_STORAGE PATH=$(dirname "$virga"):\$PATH
virga shell debian                                       # look around in the base image
virga build -t hello $here/hello   # again: everything comes from the cache
virga run debian -- cat /etc/os-release                  # any program of any image
EOF
