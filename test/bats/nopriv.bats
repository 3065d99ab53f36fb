# The main job by somebody with no privilege at all: no /etc/subuid entry, no
# newuidmap, no_new_privs set.
load common
setup() {
    common_setup
    # Everything of PATH but the helpers.
    mkdir path
    local dir f
    for dir in /usr/local/bin /usr/bin /bin /usr/sbin /sbin "$(dirname "$(command -v virga)")"; do
        for f in "$dir"/*; do
            [ -e "path/${f##*/}" ] || ln -s "$f" path/
        done
    done
    rm -f path/newuidmap path/newgidmap path/fusermount path/fusermount3 path/su path/sudo
    ! grep -qs "^$USER:" /etc/subuid /etc/subgid || [ "$(id -u)" -eq 0 ] || missing "a user without /etc/subuid"
}

# nopriv ARG... is virga_run 0 ARG... with nothing to help.
nopriv() {
    run --separate-stderr env PATH="$PWD/path" setpriv --no-new-privs virga "$@"
    [ "$status" -eq 0 ] || { show; return 1; }
}

@test "pull, build, run" {
    mkdir ctx
    echo hello >ctx/f
    cat >ctx/Dockerfile <<EOF
FROM $REGISTRY/tiny
RUN grep -q 'NoNewPrivs:.*1' /proc/self/status
RUN touch /g && chown 5:6 /g
COPY f /f
CMD ["cat", "/f"]
EOF
    nopriv pull "$REGISTRY/tiny"
    nopriv build -t app ctx
    nopriv run app
    prints hello
    nopriv push app "$REGISTRY/nopriv:1"
    nopriv unpack -o out app
    [ "$(cat out/f)" = hello ]
}

@test "the binary has no privilege of its own, and is static" {
    local bin
    bin=$(realpath "$(command -v virga)")
    [ ! -u "$bin" ] && [ ! -g "$bin" ]
    [ -z "$(getcap "$bin" 2>/dev/null)" ]
    ! LC_ALL=C ldd "$bin" 2>/dev/null | grep -q '=>'
}
