#!/bin/bash
# images.sh - the images that are measured with, made of Debian packages
#
# usage: images.sh CACHE NAME... (as root; buildah builds them, so that no tool
# that is measured later finds its own work)
#
# CACHE/registry is then the storage of a docker-registry with those named of
#
#   bench/base      Debian minbase, one layer
#   bench/science   compilers, NumPy and SciPy, Open MPI and libraries: five layers
#   bench/debs      minbase and the packages that are installed in RUN
#   bench/compile   minbase, gcc and make, and 150 C files
#
# With the name layer, CACHE/science.tar.gz and .zst are the files of
# bench/science as one layer. What is there is not made again.
#
#   BASE    a tarball of a Debian root file system; else mmdebstrap makes one
#   SUITE   the Debian release (bookworm); MIRROR where it comes from
set -euo pipefail
export DEBIAN_FRONTEND=noninteractive

[ $# -ge 1 ] || {
    echo "usage: images.sh CACHE NAME..." >&2
    exit 2
}
cache=$(realpath -m "$1")
shift
here=$(cd "$(dirname "$0")" && pwd)
suite=${SUITE:-bookworm}
work=$cache/work
mkdir -p "$cache/registry" "$cache/debs"

have() { [ -e "$cache/registry/docker/registry/v2/repositories/bench/$1/_manifests/tags/latest/current/link" ]; }

missing=()
for i; do
    case $i in
    layer)
        [ -e "$cache/science.tar.zst" ] || missing+=(layer)
        have science || missing+=(science)
        ;;
    *) have "$i" || missing+=("$i") ;;
    esac
done
[ ${#missing[@]} -gt 0 ] || exit 0
echo "images.sh: making ${missing[*]}" >&2

if [ ! -e "$cache/base.tar" ]; then
    if [ -n "${BASE-}" ]; then
        cp "$BASE" "$cache/base.tar"
    else
        mmdebstrap --quiet --variant=minbase --mode=root "$suite" "$cache/base.tar" ${MIRROR:+"$MIRROR"}
    fi
fi

# A registry of the moment on a port of its own.
mkdir -p "$work"
port=$((20000 + $$ % 20000))
cat >"$work/registry.yml" <<END
version: 0.1
log: {level: error}
storage: {filesystem: {rootdirectory: $cache/registry}}
http: {addr: "127.0.0.1:$port"}
END
docker-registry serve "$work/registry.yml" >"$work/registry.log" 2>&1 &
registry=$!
trap 'kill $registry; rm -rf "$work"' EXIT

export TMPDIR=$work
bud=(buildah --root "$work/storage" --runroot "$work/run" --storage-driver overlay)
store() { # IMAGE DIRECTORY: build and push it
    "${bud[@]}" build --quiet --isolation chroot --layers --network host --timestamp 1700000000 \
        -v "$cache/debs:/var/cache/apt/archives" -t "bench/$1" "$2" >/dev/null
    "${bud[@]}" push --quiet --tls-verify=false --format v2s2 "bench/$1" "docker://127.0.0.1:$port/bench/$1:latest"
}

# The others are made from the base in the registry, if it is there.
if have base; then
    "${bud[@]}" pull --quiet --tls-verify=false "docker://127.0.0.1:$port/bench/base" >/dev/null
    "${bud[@]}" tag "127.0.0.1:$port/bench/base" localhost/bench/base
else
    mkdir -p "$work/base"
    cp "$cache/base.tar" "$work/base/"
    printf 'FROM scratch\nADD base.tar /\nENV DEBIAN_FRONTEND=noninteractive\nCMD ["/bin/sh"]\n' >"$work/base/Dockerfile"
    store base "$work/base"
    rm -rf "$work/base"
fi

fakeroot='mkdir /fakeroot && cd /fakeroot && apt-get -q download -o APT::Sandbox::User=root fakeroot libfakeroot'
apt='apt-get -q install -y --no-install-recommends -o APT::Sandbox::User=root -o APT::Keep-Downloaded-Packages=true'
want() { printf '%s\n' "${missing[@]}" | grep -qx "$1"; }

if want science; then
    mkdir -p "$work/science"
    cat >"$work/science/Dockerfile" <<END
FROM localhost/bench/base
RUN apt-get -q update && $apt gcc g++ make git && rm -rf /var/lib/apt/lists/*
RUN apt-get -q update && $apt gfortran cmake && rm -rf /var/lib/apt/lists/*
RUN apt-get -q update && $apt python3-numpy python3-scipy python3-matplotlib python3-pandas && rm -rf /var/lib/apt/lists/*
RUN apt-get -q update && $apt openmpi-bin libopenmpi-dev libhdf5-openmpi-dev libfftw3-dev libopenblas-dev && rm -rf /var/lib/apt/lists/*
END
    store science "$work/science"
    echo "images.sh: science" >&2
fi

if want debs; then
    mkdir -p "$work/debs"
    cp "$here/packages" "$work/debs/"
    cat >"$work/debs/Dockerfile" <<END
FROM localhost/bench/base
COPY packages /packages
RUN mkdir -p /debs/partial && apt-get -q update && $fakeroot && apt-get -q install -y --no-install-recommends --download-only -o APT::Sandbox::User=root \
        -o Dir::Cache::archives=/debs \$(cat /packages) && \
    rm -rf /debs/partial /debs/lock /var/lib/apt/lists/* /etc/apt/sources.list.d/* && : >/etc/apt/sources.list
END
    store debs "$work/debs"
    echo "images.sh: debs" >&2
fi

if want compile; then
    mkdir -p "$work/compile"
    cat >"$work/compile/Dockerfile" <<END
FROM localhost/bench/base
RUN apt-get -q update && $fakeroot && $apt gcc libc6-dev make && rm -rf /var/lib/apt/lists/*
RUN mkdir /src && cd /src && for i in \$(seq 150); do \
        printf '#include <stdio.h>\n#include <stdlib.h>\n#include <string.h>\n#include <errno.h>\n#include <math.h>\nint f%d(int n) { char b[99]; snprintf(b, sizeof b, "%%d", n); return (int)strlen(b) + %d; }\n' \$i \$i >f\$i.c; \
    done && printf 'OBJ := \$(patsubst %%.c,%%.o,\$(wildcard *.c))\nall.a: \$(OBJ)\n\tar rc \$@ \$(OBJ)\n' >Makefile
END
    store compile "$work/compile"
    echo "images.sh: compile" >&2
fi

if want layer; then
    skopeo copy --quiet --src-tls-verify=false "docker://127.0.0.1:$port/bench/science:latest" "oci:$work/oci:science"
    umoci raw unpack --image "$work/oci:science" "$work/files"
    # No devices: tar(1) as a normal user fails on them.
    tar --sort=name --numeric-owner --exclude='./dev/*' -C "$work/files" -cf "$work/science.tar" .
    gzip -6 -c <"$work/science.tar" >"$cache/science.tar.gz"
    zstd --quiet -T0 -3 "$work/science.tar" -o "$cache/science.tar.zst"
    echo "images.sh: layer" >&2
fi
