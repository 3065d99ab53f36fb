# shellcheck shell=bash disable=SC2154,SC2034,SC1007 # bats sets status, output, stderr
# Helpers of all files. A test starts with
#
#   load common
#   setup() { common_setup; }
#
# and has then a storage directory of its own ($VIRGA_STORAGE), a working
# directory of its own ($PWD), and the suite's registry ($REGISTRY), where
# tiny:latest is an image of busybox.

bats_require_minimum_version 1.5.0

# --- running -----------------------------------------------------------------

common_setup() {
    export VIRGA_STORAGE=$BATS_TEST_TMPDIR/storage
    export XDG_CONFIG_HOME=$BATS_TEST_TMPDIR/config XDG_RUNTIME_DIR=$BATS_TEST_TMPDIR/run
    export DOCKER_CONFIG=$BATS_TEST_TMPDIR/docker
    unset CH_IMAGE_STORAGE VIRGA_USERNAME VIRGA_PASSWORD REGISTRY_AUTH_FILE CONTAINERS_REGISTRIES_CONF
    mkdir -p "$BATS_TEST_TMPDIR/w" "$XDG_RUNTIME_DIR"
    cd "$BATS_TEST_TMPDIR/w" || return
}

# virga_run STATUS ARG... runs virga and demands an exit status. Afterwards
# $output is its standard output and $stderr its standard error.
virga_run() {
    local want=$1 expect=()
    shift
    # bats takes 127 for a mistake unless it is told.
    [ "$want" -ne 127 ] || expect=(-127)
    # shellcheck disable=SC2030,SC2031
    run --separate-stderr "${expect[@]}" timeout --foreground -k 10 "${TIME_LIMIT:-240}" virga "$@"
    if [ "$status" -ne "$want" ]; then
        echo "virga $*: status $status, want $want"
        show
        return 1
    fi
    if [[ $stderr == *panic:* || $stderr == *BUG* ]]; then
        show
        return 1
    fi
}

show() {
    printf -- '--- stdout\n%s\n--- stderr\n%s\n' "$output" "$stderr"
}

# fails PATTERN... demands that the last command said one error, which matches
# the glob patterns in this order, and nothing on standard output.
fails() {
    local pattern='*' p
    for p; do pattern+="$p*"; done
    # shellcheck disable=SC2053 # a pattern
    if [[ $(grep -c '^virga: error: ' <<<"$stderr") -ne 1 || $(grep '^virga: error: ' <<<"$stderr") != $pattern ]]; then
        echo "not one error like: $pattern"
        show
        return 1
    fi
}

# hints PATTERN demands a hint that matches.
hints() {
    # shellcheck disable=SC2053
    if [[ $(grep '^hint: ' <<<"$stderr") != *$1* ]]; then
        echo "no hint like: $1"
        show
        return 1
    fi
}

# says PATTERN demands something on standard error.
says() {
    # shellcheck disable=SC2053
    if [[ $stderr != *$1* ]]; then
        echo "not said: $1"
        show
        return 1
    fi
}

# prints TEXT demands exactly this standard output.
prints() {
    if [[ $output != "$1" ]]; then
        echo "standard output is not: $1"
        show
        return 1
    fi
}

# prints_like PATTERN demands a standard output that matches.
prints_like() {
    # shellcheck disable=SC2053
    if [[ $output != $1 ]]; then
        echo "standard output is not like: $1"
        show
        return 1
    fi
}

# missing NAME skips the test for something that the machine lacks, or fails
# where nothing may be skipped.
missing() {
    if [ -n "${VIRGA_TEST_NO_SKIP-}" ]; then
        echo "$1 is missing, and VIRGA_TEST_NO_SKIP is set"
        return 1
    fi
    skip "$1 is missing"
}

# nothing_left demands that storage holds no image, no work in progress, and
# that the named processes are gone.
nothing_left() {
    local left
    left=$(virga list)
    [ -z "$left" ] || { echo "images are left: $left"; return 1; }
    no_work_left "$@"
}

no_work_left() {
    local left p
    left=$(find "$VIRGA_STORAGE/tmp" -mindepth 1 -maxdepth 1 2>/dev/null || true)
    if [ -n "$left" ]; then
        # What a dead process left is removed by the next one.
        virga list >/dev/null
        left=$(find "$VIRGA_STORAGE/tmp" -mindepth 2 2>/dev/null || true)
    fi
    [ -z "$left" ] || { echo "work is left: $left"; return 1; }
    for p; do ended "$p" || return 1; done
}

# wait_for SECONDS COMMAND... repeats the command until it succeeds.
wait_for() {
    local end=$((SECONDS + $1))
    shift
    until "$@" >/dev/null 2>&1; do
        [ $SECONDS -lt $end ] || { echo "did not become true: $*"; return 1; }
        sleep 0.05
    done
}

# ended PATTERN waits for processes whose command lines match to be gone.
ended() {
    local end=$((SECONDS + 10))
    while pgrep -f -- "$1" >/dev/null; do
        [ $SECONDS -lt $end ] || { echo "a process is left: $(pgrep -a -f -- "$1")"; return 1; }
        sleep 0.05
    done
}

# --- terminals ---------------------------------------------------------------

# T is tmux with a server of this test's own.
T="tmux -L virga-${BATS_TEST_NUMBER-}-$$ -f /dev/null"

# terminal COLUMNS ROWS COMMAND runs it in a terminal. A file with such a test
# has teardown() { terminal_end; }.
terminal() {
    $T new-session -d -x "$1" -y "$2" "env PS1='$ ' LANG=C.UTF-8 sh"
    $T send-keys "clear; $3; echo ended=\$?" Enter
}

terminal_end() { $T kill-server 2>/dev/null || true; }

# screen TEXT... waits until the terminal shows all of them, and leaves what it
# shows in $screen.
screen() {
    local text n
    for ((n = 0; n < 300; n++)); do
        screen=$($T capture-pane -J -p -S - | sed 's/ *$//')
        for text; do [[ $screen == *"$text"* ]] || { sleep 0.1; continue 2; }; done
        return 0
    done
    printf 'the terminal never showed: %s\n%s\n' "$*" "$screen"
    return 1
}

# --- images ------------------------------------------------------------------

# tiny imports the suite's small image as "tiny".
tiny() { virga import "$SUITE_DIR/tiny.tar" tiny; }

# make_tiny DIR is a root file system of one static busybox.
make_tiny() {
    local b
    mkdir -p "$1"/{bin,etc,dev,mnt,proc,sys,tmp,usr/bin,root,var/tmp}
    b=$(command -v busybox)
    cp "$b" "$1/bin/busybox"
    for p in $("$b" --list); do
        [ "$p" = busybox ] || ln -sf busybox "$1/bin/$p"
    done
    chmod 1777 "$1/tmp" "$1/var/tmp"
    printf 'root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n' >"$1/etc/passwd"
    printf 'root:x:0:\nnogroup:x:65534:\n' >"$1/etc/group"
}

# debian gives a storage directory, shared by all tests, with the image
# "debian": minbase from $VIRGA_TEST_BASE, else made by examples/base.sh. Use
# other names for what you build.
debian() {
    export VIRGA_STORAGE=$SUITE_DIR/debian-storage
    (
        flock 9
        if [ ! -e "$SUITE_DIR/debian-ready" ]; then
            if [ -n "${VIRGA_TEST_BASE-}" ]; then
                virga import "$VIRGA_TEST_BASE" debian
            else
                "$VIRGA_TEST_TOP/examples/base.sh" "$SUITE_DIR/base"
                virga import "$SUITE_DIR/base/root" debian-unpacked
                virga build -t debian -b "$SUITE_DIR/base/debs:/debs:ro" "$VIRGA_TEST_TOP/examples/base"
            fi
            : >"$SUITE_DIR/debian-ready"
        fi
    ) 9>"$SUITE_DIR/debian-lock" >"$SUITE_DIR/debian-log" 2>&1 || {
        cat "$SUITE_DIR/debian-log"
        return 1
    }
}

# cap_tar FILE is a tar of the file "cap", which has cap_net_raw+ep. Nobody but
# root can have one on disk.
cap_tar() {
    local dir
    dir=$(mktemp -d)
    echo x >"$dir/cap"
    tar -C "$dir" --format=pax --pax-option='SCHILY.xattr.security.capability:=AAAAAAAAAAAAAAAAAAAA' --owner=0 --group=0 -cf "$1" cap
    LC_ALL=C sed -i 's/A\{20\}/\x01\x00\x00\x02\x00\x20\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00/' "$1"
    rm -rf "$dir"
}

# has_cap TAR demands that the file "cap" in a tar has that capability.
has_cap() {
    LC_ALL=C grep -aqP 'SCHILY.xattr.security.capability=\x01\x00\x00\x02\x00\x20\x00\x00\x00{12}' "$1"
}

# dockerfile writes standard input to ./Dockerfile.
dockerfile() { cat >Dockerfile; }

# --- registries --------------------------------------------------------------

free_port() {
    local port
    while :; do
        port=$((20000 + RANDOM % 20000))
        (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null || break
    done
    echo $port
}

# registry_start DIR [CERTIFICATE KEY] [HTPASSWD] starts Debian's registry and
# sets REGISTRY (host:port), REGISTRY_PID and REGISTRY_ROOT.
registry_start() {
    local dir=$1 cert=${2-} key=${3-} htpasswd=${4-} scheme=http port
    PATH=$PATH:/usr/sbin
    mkdir -p "$dir/data"
    port=$(free_port)
    {
        printf 'version: 0.1\nlog: {level: error}\nstorage:\n  filesystem: {rootdirectory: %s}\n  delete: {enabled: true}\n' "$dir/data"
        printf 'http:\n  addr: 127.0.0.1:%s\n' "$port"
        [ -z "$cert" ] || printf '  tls: {certificate: %s, key: %s}\n' "$cert" "$key"
        [ -z "$htpasswd" ] || printf 'auth:\n  htpasswd: {realm: test, path: %s}\n' "$htpasswd"
    } >"$dir/config.yml"
    docker-registry serve "$dir/config.yml" >"$dir/log" 2>&1 3>&- 4>&- &
    REGISTRY_PID=$!
    REGISTRY=127.0.0.1:$port
    REGISTRY_ROOT=$dir/data/docker/registry/v2
    [ -z "$cert" ] || scheme=https
    wait_for 20 curl -sk -o /dev/null "$scheme://$REGISTRY/v2/" || {
        cat "$dir/log"
        return 1
    }
}

registry_stop() {
    [ -z "$1" ] || kill "$1" 2>/dev/null || true
}

# reg PATH CURL-ARGUMENT... asks the registry.
reg() {
    local path=$1
    shift
    curl -sS --fail-with-body ${REGISTRY_CURL-} "${REGISTRY_SCHEME:-http}://$REGISTRY/v2/$path" "$@"
}

digest_of() { echo "sha256:$(sha256sum "$1" | cut -d' ' -f1)"; }

# put_blob REPOSITORY FILE uploads a file and prints its digest.
put_blob() {
    local digest location
    digest=$(digest_of "$2")
    location=$(reg "$1/blobs/uploads/" -X POST -D - -o /dev/null | tr -d '\r' | sed -n 's/^[Ll]ocation: //p')
    case $location in
    /*) location=${REGISTRY_SCHEME:-http}://$REGISTRY$location ;;
    esac
    curl -sS --fail-with-body ${REGISTRY_CURL-} -X PUT -H 'Content-Type: application/octet-stream' --data-binary "@$2" "$location&digest=$digest" >/dev/null
    echo "$digest"
}

# blob_file DIGEST is the registry's own file of a blob, to be damaged.
blob_file() { echo "$REGISTRY_ROOT/blobs/sha256/${1:7:2}/${1:7}/data"; }

# push_image NAME:TAG LAYER.tar... uploads an image. In the environment:
#   TYPE=oci|docker  COMPRESS=gzip|zstd|none  ARCH=NAME  CONFIG='{...}' (its
#   "config" member). Prints the digest of the manifest.
push_image() {
    local name=${1%:*} tag=${1##*:} type=${TYPE:-oci} compress=${COMPRESS:-gzip} work diffs= layers= tar n=0 d mt
    shift
    work=$(mktemp -d)
    local mt_manifest=application/vnd.oci.image.manifest.v1+json mt_config=application/vnd.oci.image.config.v1+json
    local mt_layer=application/vnd.oci.image.layer.v1.tar
    if [ "$type" = docker ]; then
        mt_manifest=application/vnd.docker.distribution.manifest.v2+json
        mt_config=application/vnd.docker.container.image.v1+json
        mt_layer=application/vnd.docker.image.rootfs.diff.tar
    fi
    for tar; do
        n=$((n + 1))
        diffs+=${diffs:+,}\"$(digest_of "$tar")\"
        case $compress-$type in
        gzip-*) gzip -1nc "$tar" >"$work/l$n" ;;
        zstd-*) zstd -q -1 -c "$tar" >"$work/l$n" ;;
        none-*) cp "$tar" "$work/l$n" ;;
        esac
        case $compress-$type in
        gzip-docker) mt=$mt_layer.gzip ;;
        gzip-oci) mt=$mt_layer+gzip ;;
        zstd-*) mt=application/vnd.oci.image.layer.v1.tar+zstd ;;
        none-*) mt=$mt_layer ;;
        esac
        d=$(put_blob "$name" "$work/l$n")
        layers+="${layers:+,}{\"mediaType\":\"$mt\",\"digest\":\"$d\",\"size\":$(stat -c %s "$work/l$n")}"
    done
    cat >"$work/config" <<EOF
{"architecture":"${ARCH:-$(host_arch)}","os":"linux","config":${CONFIG:-{\}},"rootfs":{"type":"layers","diff_ids":[$diffs]},
"history":[{"created":"2024-01-02T03:04:05Z","created_by":"test"}]}
EOF
    d=$(put_blob "$name" "$work/config")
    printf '{"schemaVersion":2,"mediaType":"%s","config":{"mediaType":"%s","digest":"%s","size":%s},"layers":[%s]}' \
        "$mt_manifest" "$mt_config" "$d" "$(stat -c %s "$work/config")" "$layers" >"$work/manifest"
    reg "$name/manifests/$tag" -X PUT -H "Content-Type: $mt_manifest" --data-binary "@$work/manifest" >/dev/null
    digest_of "$work/manifest"
    rm -rf "$work"
}

# push_index NAME:TAG oci|docker ARCH=DIGEST... uploads an index of images that
# are there.
push_index() {
    local name=${1%:*} tag=${1##*:} type=$2 file list= pair size
    local mt=application/vnd.oci.image.index.v1+json mt_manifest=application/vnd.oci.image.manifest.v1+json
    if [ "$type" = docker ]; then
        mt=application/vnd.docker.distribution.manifest.list.v2+json
        mt_manifest=application/vnd.docker.distribution.manifest.v2+json
    fi
    shift 2
    file=$(mktemp)
    for pair; do
        size=$(reg "$name/manifests/${pair#*=}" -H "Accept: $mt_manifest" | wc -c)
        list+="${list:+,}{\"mediaType\":\"$mt_manifest\",\"digest\":\"${pair#*=}\",\"size\":$size,\"platform\":{\"os\":\"linux\",\"architecture\":\"${pair%%=*}\"}}"
    done
    printf '{"schemaVersion":2,"mediaType":"%s","manifests":[%s]}' "$mt" "$list" >"$file"
    reg "$name/manifests/$tag" -X PUT -H "Content-Type: $mt" --data-binary "@$file" >/dev/null
    rm -f "$file"
}

# layer_digest NAME:TAG N prints the digest of layer N (from 0).
layer_digest() {
    reg "${1%:*}/manifests/${1##*:}" -H 'Accept: application/vnd.oci.image.manifest.v1+json' | jq -r ".layers[$2].digest"
}

host_arch() {
    case $(uname -m) in
    x86_64) echo amd64 ;;
    aarch64) echo arm64 ;;
    ppc64le | s390x | riscv64) uname -m ;;
    *) echo unknown ;;
    esac
}
